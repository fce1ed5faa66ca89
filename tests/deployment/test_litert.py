from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from src.deployment import litert
from src.deployment.export import export_tflite
from src.deployment.images import load_image
from src.deployment.kernels import Convolutions
from src.foundation.errors import UserError
from src.targets import litert as target
from src.targets.litert import read_back
from tests.quantization.networks import IMGSZ, random_images, untrained_detector

pytestmark = pytest.mark.slow

OF_DFL = {"yolov8n": 1, "yolo11n": 1, "yolo26n": 0}


@pytest.mark.parametrize("architecture", OF_DFL)
def test_all_convolutions_except_dfl_run_in_integers(architecture: str, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    weights = untrained_detector(architecture, 2, tmp_path / "network.pt")
    images = [load_image(path, IMGSZ) for path in random_images(tmp_path / "images", 3)]
    network, target = export_tflite(weights, tmp_path, IMGSZ), tmp_path / "int8.tflite"
    litert.quantize_tflite(network, target, images, threads=1)
    found = litert.count_tflite_convolutions(target)
    assert found.float == OF_DFL[architecture]
    assert found.integer > 60
    assert target.stat().st_size < 0.3 * network.stat().st_size
    assert np.isfinite(read_back(target, 1)(images[0])).all()


@pytest.mark.parametrize("architecture", OF_DFL)
def test_a_learned_convolution_in_float_is_refused(
    architecture: str, networks: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = SimpleNamespace(
        model=onnx.load(networks[architecture]),
        images=list,
        calibration=SimpleNamespace(images=[], imgsz=IMGSZ),
        threads=1,
    )
    monkeypatch.setattr(target, "export_tflite", lambda *arguments: tmp_path)
    monkeypatch.setattr(target, "quantize_tflite", lambda *arguments, **options: None)
    in_float = OF_DFL[architecture]
    monkeypatch.setattr(target, "count_tflite_convolutions", lambda file: Convolutions(integer=60, float=in_float))
    target.write(SimpleNamespace(weights=tmp_path, network=network), tmp_path)
    monkeypatch.setattr(target, "count_tflite_convolutions", lambda file: Convolutions(integer=60, float=in_float + 1))
    with pytest.raises(UserError, match=r"^1 learned convolutions stay in float$"):
        target.write(SimpleNamespace(weights=tmp_path, network=network), tmp_path)
