from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from src import calibrate
from src.config import Calibrate
from src.files import digest
from src.quantization.affine import scale_and_zero_point
from src.stage import Place
from tests.quantization.networks import IMGSZ, Log, tiny_project

PARAMS = Calibrate(
    imgsz=IMGSZ, device="cpu", threads=1, workers=0, images=3, seed=0, method="percentile", percentile=90.0, bins=64
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tiny_project(tmp_path_factory.mktemp("calibrate"))
    # Ranges must not know the images that are scored: with these gone, the stage cannot look.
    for split in ("val", "test"):
        shutil.rmtree(root / "data" / "prepared" / "images" / split)
    return root


@pytest.fixture(scope="module")
def metrics(project: Path) -> dict[str, Any]:
    return calibrate.run(PARAMS, Place("calibrate", "", project, project), Log())


def test_training_images_alone_make_ranges_of_every_tensor(project: Path, metrics: dict[str, Any]) -> None:
    content = json.loads((project / "models/calibration.json").read_text())
    assert len(content["images"]) == metrics["images"] == 3
    assert all(name.startswith("train_") for name in content["images"])
    assert content["onnx_md5"] == digest(project / "models/pruned.onnx")
    assert content["method"] == {"name": "percentile", "percentile": 90.0}
    assert len(content["tensors"]) == metrics["tensors"] > 200
    for tensor in content["tensors"].values():
        assert tensor["low"] <= 0 <= tensor["high"]
        assert (tensor["scale"], tensor["zero_point"]) == (
            pytest.approx(scale_and_zero_point(tensor["low"], tensor["high"])[0], rel=1e-6),
            scale_and_zero_point(tensor["low"], tensor["high"])[1],
        )
    assert 0 < metrics["clipped_share_mean"] < 0.1
    pictures = sorted((project / "reports/calibrate").iterdir())
    assert [path.name for path in pictures] == ["depth.png", "outliers.png"]
    assert all(path.stat().st_size < 300_000 for path in pictures)


@pytest.mark.usefixtures("metrics")
def test_the_same_inputs_give_the_same_bytes(project: Path, tmp_path: Path) -> None:
    calibrate.run(PARAMS, Place("calibrate", "", project, tmp_path), Log())
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 4
    for name in written:
        assert (tmp_path / name).read_bytes() == (project / name).read_bytes(), name
