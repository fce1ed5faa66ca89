from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from src.distillation.cached_teacher import FORGOTTEN_AFTER_S, CachedTeacher
from src.distillation.predictions import Predictions
from src.distillation.soft_loss import SURE
from src.distillation.teacher import FrozenTeacher, Teacher
from tests.distillation.networks import batch_of_two, network

IMAGES = batch_of_two()["img"]


def cached(
    folder: Path, key: str = "a", *, teacher: Teacher | None = None, limit_bytes: int = 2**30, features: bool = True
) -> CachedTeacher:
    teacher = teacher or FrozenTeacher(network(1))
    return CachedTeacher(teacher, key, folder, limit_bytes=limit_bytes, features=features)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno == logging.WARNING]


def expect_same(stored: Predictions, expected: Predictions) -> None:
    for name, branch in expected.branches.items():
        assert torch.equal(stored.branches[name].scores, branch.scores)
        sure = branch.importance() >= SURE
        assert sure.any()
        assert not sure.all()
        assert torch.equal(stored.branches[name].boxes.transpose(1, 2)[sure], branch.boxes.transpose(1, 2)[sure])
    assert all(torch.equal(one, other) for one, other in zip(stored.features, expected.features, strict=True))


@pytest.mark.parametrize("architecture", ["yolov8n.yaml", "yolo26n.yaml"])
def test_stored_predictions_equal_the_teachers_to_the_bit(tmp_path: Path, architecture: str) -> None:
    teacher = FrozenTeacher(network(1, architecture))
    first, second = cached(tmp_path, teacher=teacher), cached(tmp_path, teacher=teacher)
    expected, stored = first(IMAGES), second(IMAGES)
    assert (first.hits, first.misses, second.hits, second.misses) == (0, 1, 1, 0)
    expect_same(stored, expected)
    expect_same(stored, teacher(IMAGES))
    for branch in stored.branches.values():
        assert not branch.boxes.transpose(1, 2)[branch.importance() < SURE].any(), (
            "boxes that no loss reads are not stored"
        )


def test_features_are_stored_only_if_they_are_compared(tmp_path: Path) -> None:
    teacher = cached(tmp_path, features=False)
    assert teacher(IMAGES).features == teacher(IMAGES).features == ()
    assert teacher.hits == 1
    assert len(cached(tmp_path, features=True)(IMAGES).features) == 3


def other_pixel() -> Tensor:
    changed = IMAGES.clone()
    changed[1, 2, 63, 63] += 1 / 255
    return changed


def test_another_batch_or_teacher_is_computed(tmp_path: Path) -> None:
    cached(tmp_path)(IMAGES)
    for teacher, images in (
        (cached(tmp_path), other_pixel()),
        (cached(tmp_path), IMAGES.reshape(2, 3, 32, 128)),
        (cached(tmp_path, "b"), IMAGES),
    ):
        teacher(images)
        assert teacher.misses == 1


def test_a_full_cache_warns_once_and_still_predicts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    teacher = cached(tmp_path, limit_bytes=1)
    with caplog.at_level(logging.WARNING):
        predicted = [teacher(images) for images in (IMAGES, other_pixel(), other_pixel() * 0.5)]
    assert all(torch.isfinite(predictions.branches["one2many"].scores).all() for predictions in predicted)
    assert len(list(tmp_path.iterdir())) == 1
    assert len(warnings_of(caplog)) == 1
    assert "the limit that cache_gib sets: new predictions are computed each time" in caplog.text


def test_a_full_cache_deletes_entries_unused_for_a_day(tmp_path: Path) -> None:
    one, other = IMAGES, other_pixel()
    teacher = cached(tmp_path, limit_bytes=1)
    teacher(one)
    (path,) = tmp_path.iterdir()
    os.utime(path, (time.time() - 2 * FORGOTTEN_AFTER_S,) * 2)
    cached(tmp_path)(one)  # used: no longer old
    teacher = cached(tmp_path, limit_bytes=1)
    teacher(other)
    assert list(tmp_path.iterdir()) == [path]
    os.utime(path, (time.time() - 2 * FORGOTTEN_AFTER_S,) * 2)
    teacher = cached(tmp_path, limit_bytes=1)
    teacher(other)
    assert path not in list(tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 1


def test_a_damaged_entry_is_computed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = cached(tmp_path)(IMAGES)
    (path,) = tmp_path.iterdir()
    for damage in (b"", b"not a file of torch", path.read_bytes()[:-500]):
        path.write_bytes(damage)
        teacher = cached(tmp_path)
        expect_same(teacher(IMAGES), expected)
        assert teacher.misses == 1
        assert "cannot be read" in caplog.text
        expect_same(cached(tmp_path)(IMAGES), expected)


def test_a_folder_that_cannot_be_written_causes_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    teacher = cached(tmp_path)
    teacher(IMAGES)
    teacher(other_pixel())
    assert len(warnings_of(caplog)) == 1
    assert "No space left on device" in caplog.text
    assert not list(tmp_path.iterdir())
