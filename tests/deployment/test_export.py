from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from src.deployment.export import export_onnx
from src.detector.checkpoint import load_detector
from tests.quantization.networks import untrained_detector


def test_onnx_agrees_with_torch_and_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    weights = untrained_detector("yolov8n", 3, tmp_path / "detector.pt")
    for name in ("a", "b"):
        export_onnx(weights, tmp_path / f"{name}.onnx", 64)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()

    facts = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert "date" not in facts
    assert facts["stride"] == "32"
    assert facts["imgsz"] == "[64, 64]"
    assert "class 0" in facts["names"]

    image = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"images": image})
    with torch.inference_mode():
        expected = load_detector(weights)(torch.from_numpy(image))[0].numpy()
    np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-3)
