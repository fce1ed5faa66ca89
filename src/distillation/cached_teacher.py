"""A cache of a teacher's answers on disk: runs of a sweep show it the same augmented batches again.

An answer is found by a digest of the batch and of all that the answer depends on, so an outdated one is never used.
Scores are kept whole, boxes only where the soft loss compares them (`SURE`), features only if they are compared. All
are kept in half precision, to which a teacher rounds anyway, so the student's weights are the same to the bit as
without the cache. Jobs that run side by side share the folder: files are written whole or not at all. When the folder
is full, answers that no run has asked for in a while are deleted.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.distillation.predictions import Branch, Predictions
from src.distillation.soft_loss import SURE
from src.distillation.teacher import Teacher, precision
from src.foundation.atomic import whole_file

RECOUNT = 256
"""After this many answers a process counts anew what all processes have written."""

FORGOTTEN_AFTER_S = 86_400
"""A day: longer than the jobs of a sweep wait for each other. Deleting just the oldest answers would delete those that
the next job asks for first."""

_logger = logging.getLogger(__name__)


class CachedTeacher:
    """A teacher that computes its answer to a batch once.

    Args:
        teacher: gives the answers that are not in the cache.
        key: identifies its weights, its code and all else that changes its answers.
        folder: of the cache; it is made.
        limit_bytes: largest size of the folder. When it is full of answers of the last day, no more are added, and a
            warning says so once.
        features: whether features are compared, and kept.
    """

    def __init__(self, teacher: Teacher, key: str, folder: Path, *, limit_bytes: int, features: bool) -> None:
        self.teacher = teacher
        self.channels = teacher.channels
        self.bins = teacher.bins
        self.hits = 0
        self.misses = 0
        self._teacher_key = key
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._features = features
        folder.mkdir(parents=True, exist_ok=True)
        self._bytes = _size(folder)
        self._full = False

    def to(self, device: torch.device) -> None:
        """Move the teacher to a device."""
        self.teacher.to(device)

    def __call__(self, images: Tensor) -> Predictions:
        """Return the predictions for images (N, 3, H, W) in [0, 1], computed now or earlier."""
        path = self._folder / f"{self._answer_key(images)}.pt"
        known = _read(path, images.device)
        if known is not None:
            self.hits += 1
            _mark_used(path)
            return known
        self.misses += 1
        answer = self.teacher(images)
        if not self._features:
            answer = Predictions(answer.branches, ())
        self._write(path, answer)
        return answer

    def _answer_key(self, images: Tensor) -> str:
        # The last digits of an answer depend on these.
        device = images.device
        conditions = f"{torch.__version__} {torch.get_num_threads()} {device.type} {precision(device)}"
        key = hashlib.sha256(f"{self._teacher_key} {self._features} {tuple(images.shape)} {conditions}".encode())
        key.update(images.contiguous().cpu().numpy().data)
        return key.hexdigest()

    def _write(self, path: Path, answer: Predictions) -> None:
        if self._full:
            return
        if self.misses % RECOUNT == 0:
            self._bytes = _size(self._folder)
        if self._bytes >= self._limit_bytes:
            _forget(self._folder)
            self._bytes = _size(self._folder)
        if self._bytes >= self._limit_bytes:
            self._stop_writing(f"holds {self._bytes / 2**30:.1f} GiB, all that cache_gib allows")
            return
        try:
            with whole_file(path) as partial:
                torch.save(_packed(answer), partial)
            self._bytes += path.stat().st_size
        except (OSError, RuntimeError) as error:  # torch makes the second of a full disk
            self._stop_writing(f"cannot be written ({error})")

    def _stop_writing(self, why: str) -> None:
        self._full = True
        _logger.warning(
            "the cache of the teacher's answers, %s, %s: new answers are computed each time. "
            "Raise cache_gib or delete the folder, which is made anew. The results are the same",
            self._folder,
            why,
        )


def _packed(answer: Predictions) -> dict[str, Any]:
    branches = {}
    for name, branch in answer.branches.items():
        sure = branch.importance() >= SURE
        boxes = branch.boxes.transpose(1, 2)[sure]  # (K, 4 * R)
        branches[name] = {
            "scores": branch.scores.half(),
            "places": sure.flatten().nonzero()[:, 0].int(),
            "boxes": boxes.half(),
        }
    return {"branches": branches, "features": [level.half() for level in answer.features]}


def _read(path: Path, device: torch.device) -> Predictions | None:
    """Return a kept answer; None if there is none, or it cannot be read."""
    try:
        return _unpacked(torch.load(path, map_location=device, weights_only=True))
    except FileNotFoundError:
        return None
    except Exception as error:  # torch raises all kinds for a damaged file; it is written again
        _logger.warning("%s cannot be read (%s): the teacher is asked again", path, type(error).__name__)
        return None


def _unpacked(kept: dict[str, Any]) -> Predictions:
    branches = {}
    for name, branch in kept["branches"].items():
        scores = branch["scores"].float()
        images, _, places = scores.shape
        boxes = scores.new_zeros(images * places, branch["boxes"].shape[1])
        boxes[branch["places"].long()] = branch["boxes"].float()
        branches[name] = Branch(scores, boxes.unflatten(0, (images, places)).transpose(1, 2))
    return Predictions(branches, tuple(level.float() for level in kept["features"]))


def _mark_used(path: Path) -> None:
    with suppress(OSError):  # another process has removed it, or it belongs to somebody else
        os.utime(path)


def _forget(folder: Path) -> None:
    """Remove what nobody has asked for in `FORGOTTEN_AFTER_S`."""
    for path in folder.glob("*.pt"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > FORGOTTEN_AFTER_S:
                path.unlink()


def _size(folder: Path) -> int:
    """Return the bytes of the answers; those that another process has just removed count nothing."""
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                total += entry.stat().st_size
            except FileNotFoundError:
                continue
    return total
