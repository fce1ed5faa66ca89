"""Serves the demo on this machine: a page that detects in the browser, with INT8 or with INT8 and FP32.

    make demo              then open http://127.0.0.1:8000

The page loads models/int8.onnx, and models/pruned.onnx if it is there, as they are. It begins with an image of the test
split, if there is one. Images of visitors stay in the browser.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from src.deployment.description import describe
from src.evaluation.agreement import LEAST_IOU
from src.foundation.errors import UserError

PROJECT = Path(__file__).resolve().parents[1]
HOST, PORT = "127.0.0.1", 8000
INT8, FP32 = "models/int8.onnx", "models/pruned.onnx"
MODELS = {"/models/fp32.onnx": FP32, "/models/int8.onnx": INT8}
RUNTIME = "demo/node_modules/onnxruntime-web/dist"
IMAGES, LABELS = "data/prepared/images/test", "data/prepared/labels/test"
TIFF = {".tif", ".tiff"}
"""Most browsers do not show it."""


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

    def __init__(self, *args: Any, project: Path, samples: Mapping[str, Path], **kwargs: Any) -> None:
        self.project = project
        self.samples = samples
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
        """Answer with a file, or with what the page must know of the detector."""
        if self.path != "/detector.json":
            super().do_GET()
            return
        try:
            self._answer(json.dumps(self._describe()).encode())
        except UserError as error:
            self.send_error(HTTPStatus.NOT_FOUND, str(error))

    def translate_path(self, path: str) -> str:
        """Return the path of the file for an address."""
        if path in MODELS:
            return str(self.project / MODELS[path])
        if path.startswith("/runtime/"):
            return str(self.project / RUNTIME / Path(path).name)
        if path in self.samples:
            return str(self.samples[path])
        return super().translate_path(path)

    def log_message(self, *args: Any) -> None:
        """Do not log requests."""

    def end_headers(self) -> None:
        """Let the browser ask each time whether a file is new: the pipeline may have written another network."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def _describe(self) -> dict[str, Any]:
        fp32 = (self.project / FP32).is_file()
        return {
            **asdict(describe(self.project / INT8)),
            "fp32": fp32,
            "least_iou": LEAST_IOU,
            "samples": len(self.samples),
        }

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def samples(project: Path) -> dict[str, Path]:
    """Return the images of the prepared test split that have objects and that browsers show, by address."""
    images = [
        image
        for image in sorted((project / IMAGES).glob("*"))
        if image.suffix.lower() not in TIFF and _has_objects(project / LABELS / f"{image.stem}.txt")
    ]
    return {f"/samples/{number}": image for number, image in enumerate(images)}


def _has_objects(labels: Path) -> bool:
    return labels.is_file() and labels.stat().st_size > 0


def server(project: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of the demo on the loopback interface; port 0 takes a free port.

    Raises:
        SystemExit: the INT8 model or onnxruntime-web is not there.
    """
    if not (project / INT8).is_file():
        sys.exit(f"error: {INT8} is not there: run `dvc repro` (or `dvc pull`) first")
    if not (project / RUNTIME).is_dir():
        sys.exit(f"error: {RUNTIME} is not there: run `make demo`, or `npm ci` in demo/")
    return ThreadingHTTPServer((HOST, port), partial(Handler, project=project, samples=samples(project)))


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
