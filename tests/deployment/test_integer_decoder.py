from __future__ import annotations

import numpy as np
import pytest
import torch

from src.deployment.integer_decoder import Grid, Level, decode, decode_level, levels_from

STRIDES = (8, 16, 32)


@pytest.mark.parametrize("bins", [16, 1], ids=["DFL", "YOLO26: distances"])
def test_float_inputs_give_what_the_head_of_ultralytics_gives(bins: int) -> None:
    from ultralytics.nn.modules.head import Detect

    torch.manual_seed(0)
    head = Detect(nc=3, reg_max=bins, ch=(8, 16, 32)).eval()
    head.stride = torch.tensor([float(stride) for stride in STRIDES])
    sides = [(6, 4), (3, 2), (2, 1)]  # a rectangle, so that rows are not taken for columns
    features = [3 * torch.randn(1, channels, *side) for channels, side in zip((8, 16, 32), sides, strict=True)]
    with torch.inference_mode():
        expected = head([one.clone() for one in features])[0].numpy()
        raw = [(head.cv2[level](one), head.cv3[level](one)) for level, one in enumerate(features)]
    levels = [
        decode_level(boxes.numpy(), classes.numpy(), stride)
        for (boxes, classes), stride in zip(raw, STRIDES, strict=True)
    ]
    found = np.concatenate(levels, axis=2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_integers_are_read_on_the_grid_of_their_own_output() -> None:
    levels = [Level(8, Grid("b", 0.5, 100), Grid("c", 0.25, 200))]
    boxes = np.full((1, 4, 1, 1), 102, dtype=np.uint8)  # 1: the distance to each side, in cells of 8 px
    classes = np.array([200, 255], dtype=np.uint8).reshape(1, 2, 1, 1)  # 0 and 13.75
    found = decode({"b": boxes, "c": classes}, levels)[0, :, 0]
    np.testing.assert_allclose(found, [4, 4, 16, 16, 0.5, 1], atol=1e-5)


def test_signed_integers_do_not_overflow() -> None:
    assert Grid("c", 1.0, 127).values(np.array([-128], dtype=np.int8)) == -255


def test_levels_are_read_from_a_card() -> None:
    grid = {"name": "b", "scale": 0.5, "zero_point": 3}
    rows = [{"stride": 8, "boxes": grid, "classes": {**grid, "name": "c"}}]
    assert levels_from(rows) == [Level(8, Grid("b", 0.5, 3), Grid("c", 0.5, 3))]
