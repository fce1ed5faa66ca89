from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from src import calibrate
from src.config.calibrate import Calibrate
from src.foundation.digests import digest
from src.foundation.errors import UserError
from src.quantization.ranges.calibrators import CALIBRATORS
from src.workflow.stage_files import StageFiles
from tests.quantization.grid import scale_and_zero_point
from tests.quantization.networks import IMGSZ, Log, tiny_project

pytestmark = pytest.mark.slow

PARAMS = Calibrate(
    imgsz=IMGSZ,
    device="cpu",
    threads=1,
    precision="float32",
    workers=0,
    images=3,
    seed=0,
    equalize=False,
    momentum=0.9,
    percentile=90.0,
    bins=256,
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tiny_project(tmp_path_factory.mktemp("calibrate"))
    # Ranges must not depend on the images of val and test: without these files the stage cannot read them.
    for split in ("val", "test"):
        shutil.rmtree(root / "data" / "prepared" / "images" / split)
    return root


@pytest.fixture(scope="module")
def metrics(project: Path) -> dict[str, Any]:
    return dict(calibrate.run(PARAMS, StageFiles("calibrate", project, project), Log()).metrics)


def test_ranges_of_every_tensor_come_from_training_images_only(project: Path, metrics: dict[str, Any]) -> None:
    content = json.loads((project / "models/calibration.json").read_text())
    assert len(content["images"]) == metrics["images"] == 3
    assert all(name.startswith("train_") for name in content["images"])
    assert content["onnx_md5"] == digest(project / "models/pruned.onnx")
    assert content["settings"] == {"momentum": 0.9, "percentile": 90.0}
    assert len(content["tensors"]) == metrics["tensors"] > 200
    for tensor in content["tensors"].values():
        assert list(tensor["ranges"]) == list(CALIBRATORS)
        least, greatest = tensor["ranges"]["minmax"]
        for low, high in tensor["ranges"].values():
            assert least <= low <= 0 <= high <= greatest


def test_a_table_and_pictures_show_the_share_that_each_calibrator_clips(project: Path, metrics: dict[str, Any]) -> None:
    assert metrics["clipped_share"]["minmax"]["most"] == 0
    assert 0 < metrics["clipped_share"]["percentile"]["mean"] < 0.1
    table = pd.read_csv(project / "reports/calibrate/ranges.csv")
    for row in table.itertuples():
        scale, zero_point = scale_and_zero_point(row.low, row.high)
        assert (row.scale, row.zero_point) == (pytest.approx(scale, rel=1e-6), zero_point)
    assert len(table) == metrics["tensors"] * len(CALIBRATORS)
    percentile = table[table["calibrator"] == "percentile"]
    assert percentile["clipped_share"].mean() == pytest.approx(metrics["clipped_share"]["percentile"]["mean"], abs=1e-7)
    pictures = sorted((project / "reports/calibrate").glob("*.png"))
    assert [path.name for path in pictures] == ["depth.png", "outliers.png"]
    assert all(path.stat().st_size < 400_000 for path in pictures)


@pytest.mark.usefixtures("metrics")
def test_the_same_inputs_give_the_same_bytes(project: Path, tmp_path: Path) -> None:
    calibrate.run(PARAMS, StageFiles("calibrate", project, tmp_path), Log())
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 5
    for name in written:
        assert (tmp_path / name).read_bytes() == (project / name).read_bytes(), name


def test_a_network_that_cannot_be_equalized_is_refused(project: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"equalize must be false .* \(SiLU cannot be equalized\)"):
        calibrate.run(replace(PARAMS, equalize=True), StageFiles("calibrate", project, tmp_path), Log())


@pytest.mark.parametrize("damage", [b"", b"no weights", None], ids=["empty", "text", "truncated"])
def test_damaged_weights_are_refused(project: Path, tmp_path: Path, damage: bytes | None) -> None:
    shutil.copytree(project, tmp_path / "project")
    weights = tmp_path / "project/models/pruned.pt"
    weights.write_bytes(weights.read_bytes()[:-1000] if damage is None else damage)
    with pytest.raises(UserError, match=r"models/pruned\.pt: not a checkpoint that can be loaded safely"):
        calibrate.run(PARAMS, StageFiles("calibrate", tmp_path / "project", tmp_path), Log())
