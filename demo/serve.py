"""Serves the demo on this machine: a page that runs FP32 and INT8 side by side in the browser.

    make demo              then open http://127.0.0.1:8000

The page loads models/pruned.onnx and models/int8.onnx as they are; images stay in the browser.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from src.deployment.description import describe

PROJECT = Path(__file__).resolve().parents[1]
HOST, PORT = "127.0.0.1", 8000
MODELS = {"/models/fp32.onnx": "models/pruned.onnx", "/models/int8.onnx": "models/int8.onnx"}
RUNTIME = "demo/node_modules/onnxruntime-web/dist"


class Handler(SimpleHTTPRequestHandler):
    """Maps the page's addresses to files of the project. It serves no other file of the project, and lists no folder.

    It answers only requests that name this machine as their host: a page from elsewhere could let its own name point
    here (DNS rebinding), and read the answers.
    """

    extensions_map: ClassVar[dict[str, str]] = {
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def __init__(self, *args: Any, project: Path, **kwargs: Any) -> None:
        self.project = project
        super().__init__(*args, directory=str(project / "demo/page"), **kwargs)

    def parse_request(self) -> bool:
        """Read a request, and refuse it if it is meant for another host."""
        if not super().parse_request():
            return False
        port = self.server.server_address[1]
        if self.headers.get("Host") not in {f"{host}:{port}" for host in (HOST, "localhost")}:
            self.send_error(HTTPStatus.FORBIDDEN, "this server answers only its own address")
            return False
        return True

    def list_directory(self, path: Any) -> None:
        """List no folder."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def do_GET(self) -> None:
        """Answer with a file, or with the class names and the input size of the detector."""
        if self.path == "/detector.json":
            self._answer(json.dumps(asdict(describe(self.project / "models/int8.onnx"))).encode())
        else:
            super().do_GET()

    def translate_path(self, path: str) -> str:
        """Return the path of the file for an address."""
        if path in MODELS:
            return str(self.project / MODELS[path])
        if path.startswith("/runtime/"):
            return str(self.project / RUNTIME / Path(path).name)
        return super().translate_path(path)

    def log_message(self, *args: Any) -> None:
        """Do not log requests."""

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def server(project: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of the demo on the loopback interface; port 0 takes a free port.

    Raises:
        SystemExit: a model or onnxruntime-web is not there.
    """
    for name in MODELS.values():
        if not (project / name).is_file():
            sys.exit(f"error: {name} is not there: run `dvc repro` (or `dvc pull`) first")
    if not (project / RUNTIME).is_dir():
        sys.exit(f"error: {RUNTIME} is not there: run `make demo`, or `npm ci` in demo/")
    return ThreadingHTTPServer((HOST, port), partial(Handler, project=project))


def main() -> None:
    """Serve until interrupted."""
    with server(PROJECT, PORT) as serving:
        print(f"http://{HOST}:{serving.server_port}  (Ctrl-C stops the server)", flush=True)
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
