from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest

from src.deployment.images import load_image
from src.foundation.errors import UserError
from src.quantization.ranges.observation import observe
from tests.quantization.networks import IMGSZ, random_images, single_convolution


def test_observations_of_a_convolution_agree_with_numpy(tmp_path: Path) -> None:
    model, weights, biases = single_convolution()
    inputs = {Path(f"{index}"): np.random.default_rng(index).normal(size=(1, 3, 4, 4)) for index in range(5)}
    calls = []
    found = observe(
        model,
        list(inputs),
        lambda path: inputs[path].astype(np.float32),
        bins=16,
        threads=1,
        on_image=lambda: calls.append(None),
    )
    x = np.concatenate([value.astype(np.float32) for value in inputs.values()])
    y = np.einsum("oi,nihw->nohw", weights, x) + biases[:, None, None]
    assert list(found) == ["x", "y"]
    for name, values in {"x": x, "y": y}.items():
        histogram = found[name].histogram
        assert histogram.least == pytest.approx(values.min(), rel=1e-6)
        assert histogram.greatest == pytest.approx(values.max(), rel=1e-6)
        expected, _ = np.histogram(values, bins=16, range=(histogram.least, histogram.greatest))
        assert np.abs(histogram.counts - expected).sum() <= 2  # float32 against float64 at the edge of a bin
        assert histogram.counts.sum() == values.size
        ends = np.stack([values.min(axis=(1, 2, 3)), values.max(axis=(1, 2, 3))], axis=1)
        np.testing.assert_allclose(found[name].extremes, ends, rtol=1e-5)
    assert len(calls) == 2 * len(inputs)


def test_every_float_activation_of_a_detector_is_observed(networks: dict[str, Path], tmp_path: Path) -> None:
    model = onnx.load(networks["yolov8n"])
    images = random_images(tmp_path, 2)
    found = observe(model, images, partial(load_image, imgsz=IMGSZ), bins=8, threads=1, on_image=lambda: None)
    assert next(iter(found)) == "images"
    assert "output0" in found
    assert set(found) == {"images", *(name for node in model.graph.node for name in node.output)}
    assert found["images"].histogram.counts.sum() == 2 * 3 * IMGSZ * IMGSZ


def test_an_activation_that_is_not_finite_is_named() -> None:
    model, _, _ = single_convolution()
    infinite = np.full((1, 3, 4, 4), np.inf, dtype=np.float32)
    with pytest.raises(UserError, match=r"found inf or NaN in tensor x: check the training"):
        observe(model, [Path("sun.png")], lambda path: infinite, bins=4, threads=1, on_image=lambda: None)
