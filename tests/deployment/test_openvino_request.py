"""OpenVINO's requests beside signals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.quantization.networks import single_convolution

pytest.importorskip("openvino", reason="the extra openvino is not installed")

SCRIPT = """
import os, signal, sys
from pathlib import Path
from src.deployment.openvino_request import open_request
first, second = (open_request(Path(sys.argv[1]), threads=1) for _ in range(2))
del first
del second
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_signal_is_handled_after_networks_are_gone(tmp_path: Path) -> None:
    onnx.save(single_convolution()[0], tmp_path / "network.onnx")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "network.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
