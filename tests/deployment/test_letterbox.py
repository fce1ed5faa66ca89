from __future__ import annotations

import numpy as np
import pytest
from ultralytics.utils.ops import scale_boxes

from src.deployment.letterbox import PADDING, letterbox


@pytest.mark.parametrize("size_wh", [(64, 64), (640, 427), (427, 640), (33, 64), (20, 11), (2000, 3)])
def test_boxes_find_back_to_the_image(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    square, placement = letterbox(np.full((height, width, 3), 255, dtype=np.uint8), 64)
    covered = np.argwhere(square[0, 0] != np.float32(PADDING) / np.float32(255))
    (top, left), (bottom, right) = covered.min(axis=0), covered.max(axis=0) + 1
    boxes = np.array([[left, top, right, bottom]], dtype=np.float64)
    assert placement.to_image(boxes).tolist() == [pytest.approx([0, 0, width, height])]


@pytest.mark.parametrize("size_wh", [(640, 427), (33, 64), (97, 101)])
def test_boxes_are_those_of_ultralytics_validation(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    _, placement = letterbox(np.zeros((height, width, 3), dtype=np.uint8), 64)
    random = np.random.default_rng(0)
    boxes = random.uniform(-10, 74, (50, 4))
    placed_wh = placement.placed_wh
    ratio_pad = ((placed_wh[1] / height, placed_wh[0] / width), placement.left_top)
    expected = scale_boxes((64, 64), boxes.copy(), (height, width), ratio_pad=ratio_pad)
    np.testing.assert_allclose(placement.to_image(boxes), expected, atol=1e-9)
