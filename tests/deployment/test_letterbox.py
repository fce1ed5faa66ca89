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


@pytest.mark.parametrize(
    ("image_wh", "placed_wh", "left_top", "inside", "in_image"),
    [
        pytest.param((200, 100), (160, 80), (0, 8), (40, 28, 80, 68), (50, 25, 100, 75), id="the width is filled"),
        pytest.param((100, 200), (48, 96), (56, 0), (68, 24, 92, 72), (25, 50, 75, 150), id="the height is filled"),
        pytest.param((100, 100), (96, 96), (32, 0), (32, 0, 200, 96), (0, 0, 100, 100), id="a square, cut at its edge"),
    ],
)
def test_an_image_fills_the_input_in_one_direction(
    image_wh: tuple[int, int],
    placed_wh: tuple[int, int],
    left_top: tuple[int, int],
    inside: tuple[int, ...],
    in_image: tuple[int, ...],
) -> None:
    pixels, placement = letterbox(np.full((*image_wh[::-1], 3), 255, dtype=np.uint8), (96, 160))
    assert pixels.shape == (1, 3, 96, 160)
    assert (placement.placed_wh, placement.left_top) == (placed_wh, left_top)
    top, bottom = left_top[1], left_top[1] + placed_wh[1]
    assert (pixels[0, :, top:bottom, left_top[0] : left_top[0] + placed_wh[0]] == 1).all()
    assert (pixels == 1).sum() == 3 * placed_wh[0] * placed_wh[1]
    assert placement.to_image(np.array([inside], dtype=np.float64)).tolist() == [pytest.approx(in_image)]
