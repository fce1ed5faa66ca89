from pathlib import Path

import numpy as np
import pytest

from src.foundation.digests import digest
from src.foundation.errors import UserError
from src.quantization.ranges.calibration import CalibratedTensor, Calibration, read_calibration, write_calibration
from src.quantization.ranges.histogram import Histogram


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "pruned.onnx"
    path.write_bytes(b"a network")
    return path


def calibration_of(network: Path) -> Calibration:
    third = float(np.float32(1 / 3))
    tensors = {
        "images": CalibratedTensor(Histogram(0.0, 1.0, np.array([3, 4])), {"minmax": (0.0, 1.0), "mse": (0.0, 0.5)}),
        'a "b"': CalibratedTensor(
            Histogram(-third, 2.5, np.array([1, 6])), {"minmax": (-third, 2.5), "mse": (-third, 2.0)}
        ),
        "dead": CalibratedTensor(Histogram(0.0, 0.0, np.array([7, 0])), {"minmax": (0.0, 0.0), "mse": (0.0, 0.0)}),
    }
    return Calibration(digest(network), 64, {"percentile": 99.9}, ("a.png", "b.png"), tensors)


def test_a_written_calibration_is_read_back(network: Path, tmp_path: Path) -> None:
    written = calibration_of(network)
    write_calibration(tmp_path / "calibration.json", written)
    read = read_calibration(tmp_path / "calibration.json", network, 64)
    assert (read.onnx_md5, read.imgsz, read.settings, read.images) == (
        written.onnx_md5,
        written.imgsz,
        written.settings,
        written.images,
    )
    for calibrator in ("minmax", "mse"):
        assert {name: np.float32(bounds).tolist() for name, bounds in read.ranges(calibrator).items()} == {
            name: np.float32(bounds).tolist() for name, bounds in written.ranges(calibrator).items()
        }
    for name, tensor in written.tensors.items():
        assert read.tensors[name].histogram.counts.tolist() == tensor.histogram.counts.tolist()


def test_the_file_has_a_line_per_tensor_and_the_same_bytes_each_time(network: Path, tmp_path: Path) -> None:
    for name in ("first.json", "second.json"):
        write_calibration(tmp_path / name, calibration_of(network))
    text = (tmp_path / "first.json").read_text()
    assert text == (tmp_path / "second.json").read_text()
    [line] = [line for line in text.splitlines() if line.startswith('"a \\"b\\""')]
    assert '"minmax": [-0.33333334, 2.5], "mse": [-0.33333334, 2.0]' in line
    assert line.endswith('"counts": [1, 6]},')


def test_the_ranges_of_another_network_are_refused(network: Path, tmp_path: Path) -> None:
    write_calibration(tmp_path / "calibration.json", calibration_of(network))
    network.write_bytes(b"another network")
    with pytest.raises(UserError, match=r"expected the ranges of pruned\.onnx .* found the ranges of another network"):
        read_calibration(tmp_path / "calibration.json", network, 64)


def test_another_image_size_is_refused(network: Path, tmp_path: Path) -> None:
    write_calibration(tmp_path / "calibration.json", calibration_of(network))
    with pytest.raises(UserError, match=r"imgsz must be 64, .* got 96"):
        read_calibration(tmp_path / "calibration.json", network, 96)


@pytest.mark.parametrize("content", ["", "{}", '{"tensors": {"a": {}}}', "[]"])
def test_a_file_that_is_not_a_calibration_is_refused(content: str, network: Path, tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text(content)
    with pytest.raises(UserError, match="not a calibration"):
        read_calibration(tmp_path / "calibration.json", network, 64)
