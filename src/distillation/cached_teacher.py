"""An on-disk cache of a teacher's predictions: the runs of a sweep use the same augmented batches again.

The name of an entry is a digest of the batch and of everything else that the predictions depend on, so an outdated
entry is never used. Scores are stored for all locations, boxes only where the soft loss compares them (`SURE`), and
features only if they are compared. All are stored in half precision. The teacher rounds its predictions to half
precision anyway, so the student's weights are the same to the bit as without the cache. Parallel jobs share the folder:
files are written atomically. When the folder is full, entries that no run has used for a day are deleted.
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
from src.distillation.teacher import Teacher
from src.foundation.atomic import whole_file

RECOUNT = 256
"""After this many computed batches a process measures the folder again, because other processes write to it too."""

FORGOTTEN_AFTER_S = 86_400
"""Seconds without use after which an entry can be deleted: a day, longer than jobs of a sweep wait for each other.

Deleting only the oldest entries would delete the ones that the next job needs first.
"""

_logger = logging.getLogger(__name__)


class CachedTeacher:
    """A teacher that computes its predictions for a batch only once.

    Args:
        teacher: computes the predictions that are not in the cache.
        key: identifies the teacher's weights, its code and everything else that changes its predictions.
        folder: the folder of the cache; it is created if needed.
        limit_bytes: largest size of the folder. When it is full of entries used in the last day, no more are added, and
            one warning is logged.
        features: whether features are compared, and so stored.
    """

    def __init__(self, teacher: Teacher, key: str, folder: Path, *, limit_bytes: int, features: bool) -> None:
        self.teacher = teacher
        self.head = teacher.head
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
        """Return the predictions for images (N, 3, H, W) in [0, 1], from the cache if they are there."""
        path = self._folder / f"{self._answer_key(images)}.pt"
        stored = _read(path, images.device)
        if stored is not None:
            self.hits += 1
            _mark_used(path)
            return stored
        self.misses += 1
        predictions = self.teacher(images)
        if not self._features:
            predictions = Predictions(predictions.branches, ())
        self._write(path, predictions)
        return predictions

    def _answer_key(self, images: Tensor) -> str:
        # The last digits of predictions depend on these.
        device = images.device
        conditions = f"{torch.__version__} {torch.get_num_threads()} {device.type}"
        key = hashlib.sha256(f"{self._teacher_key} {self._features} {tuple(images.shape)} {conditions}".encode())
        key.update(images.contiguous().cpu().numpy().data)
        return key.hexdigest()

    def _write(self, path: Path, predictions: Predictions) -> None:
        if self._full:
            return
        if self.misses % RECOUNT == 0:
            self._bytes = _size(self._folder)
        if self._bytes >= self._limit_bytes:
            _forget(self._folder)
            self._bytes = _size(self._folder)
        if self._bytes >= self._limit_bytes:
            self._stop_writing(f"holds {self._bytes / 2**30:.1f} GiB, the limit that cache_gib sets")
            return
        try:
            # Into a file of Python's: torch's own raises a RuntimeError without a reason if the disk is full.
            with whole_file(path) as partial, partial.open("wb") as file:
                torch.save(_packed(predictions), file)
            self._bytes += path.stat().st_size
        except OSError as error:
            self._stop_writing(f"cannot be written ({error})")

    def _stop_writing(self, why: str) -> None:
        self._full = True
        _logger.warning(
            "the cache of the teacher's predictions, %s, %s: new predictions are computed each time. "
            "Raise cache_gib or delete the folder, which is created again. The results do not change",
            self._folder,
            why,
        )


def _packed(predictions: Predictions) -> dict[str, Any]:
    branches = {}
    for name, branch in predictions.branches.items():
        sure = branch.importance() >= SURE
        boxes = branch.boxes.transpose(1, 2)[sure]  # (K, 4 * R)
        branches[name] = {
            "scores": branch.scores.half(),
            "places": sure.flatten().nonzero()[:, 0].int(),
            "boxes": boxes.half(),
        }
    return {"branches": branches, "features": [level.half() for level in predictions.features]}


def _read(path: Path, device: torch.device) -> Predictions | None:
    """Return stored predictions; None if there is no file, or it cannot be read."""
    try:
        return _unpacked(torch.load(path, map_location=device, weights_only=True))
    except FileNotFoundError:
        return None
    except Exception as error:  # torch raises many types for a damaged file; it is written again
        _logger.warning("%s cannot be read (%s): the predictions are computed again", path, type(error).__name__)
        return None


def _unpacked(stored: dict[str, Any]) -> Predictions:
    branches = {}
    for name, branch in stored["branches"].items():
        scores = branch["scores"].float()
        images, _, locations = scores.shape
        boxes = scores.new_zeros(images * locations, branch["boxes"].shape[1])
        boxes[branch["places"].long()] = branch["boxes"].float()
        branches[name] = Branch(scores, boxes.unflatten(0, (images, locations)).transpose(1, 2))
    return Predictions(branches, tuple(level.float() for level in stored["features"]))


def _mark_used(path: Path) -> None:
    with suppress(OSError):  # another process has deleted it, or another user owns it
        os.utime(path)


def _forget(folder: Path) -> None:
    """Delete the entries that were not used for `FORGOTTEN_AFTER_S`."""
    for path in folder.glob("*.pt"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > FORGOTTEN_AFTER_S:
                path.unlink()


def _size(folder: Path) -> int:
    """Return the bytes of all entries. A file that another process has just deleted counts as zero."""
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                total += entry.stat().st_size
            except FileNotFoundError:
                continue
    return total
