from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from src.deployment.description import Description, describe
from src.foundation.errors import UserError
from tests.quantization.networks import IMGSZ, single_convolution


@pytest.mark.slow
def test_an_export_says_its_classes_and_its_side(networks: dict[str, Path]) -> None:
    assert describe(networks["yolov8n"]) == Description(["class 0", "class 1", "class 2"], (IMGSZ, IMGSZ))
    assert describe(networks["yolo26n"]).imgsz == (IMGSZ, IMGSZ)


def changed(network: Path, target: Path, key: str, value: str) -> Path:
    """Write a network whose metadata have another value."""
    model = onnx.load(network)
    next(entry for entry in model.metadata_props if entry.key == key).value = value
    onnx.save(model, target)
    return target


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("names", "{0: 'a'}", r"expected one output \[1, 5, locations\], found \[1, 7, 84\]"),
        ("names", "{1: 'a'}", "no class names or no size"),
        ("names", "a, b", "no class names or no size"),
        ("imgsz", "[32, 32]", r"expected one input \[1, 3, 32, 32\], found \[1, 3, 64, 64\]"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(
    networks: dict[str, Path], tmp_path: Path, key: str, value: str, fault: str
) -> None:
    with pytest.raises(UserError, match=rf"other\.onnx: not a detector that this project exported: .*{fault}"):
        describe(changed(networks["yolov8n"], tmp_path / "other.onnx", key, value))


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    onnx.save(single_convolution()[0], tmp_path / "single.onnx")
    for name, fault in {"text": "it is no network in ONNX", "single": "no class names"}.items():
        with pytest.raises(UserError, match=f"{name}.onnx: .*{fault}"):
            describe(tmp_path / f"{name}.onnx")
