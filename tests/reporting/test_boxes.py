from __future__ import annotations

import numpy as np
import pytest

from src.deployment.detections import Detections
from src.reporting.boxes import draw_boxes, enlarged

ONE = Detections(np.array([[100.0, 100, 300, 300]]), np.array([0.5]), np.array([0]))


@pytest.mark.parametrize(("side_px", "line_px"), [(400, 2), (640, 2), (2560, 8)])
def test_lines_grow_in_large_pictures(side_px: int, line_px: int) -> None:
    picture = np.zeros((400, side_px, 3), dtype=np.uint8)
    draw_boxes(picture, ONE, ["cat"], scale=1)
    row = picture[200, :200].any(axis=1)
    assert line_px <= row.sum() <= line_px + 1
    assert abs(np.argwhere(row).mean() - 100) <= 1


def test_a_small_picture_is_enlarged_and_a_large_one_is_copied() -> None:
    small, scale = enlarged(np.zeros((40, 80, 3), dtype=np.uint8))
    assert (small.shape, scale) == ((160, 320, 3), 4)
    pixels = np.zeros((400, 800, 3), dtype=np.uint8)
    copy, scale = enlarged(pixels)
    copy[:] = 1
    assert scale == 1
    assert not pixels.any()
