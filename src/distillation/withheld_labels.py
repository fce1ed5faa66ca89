"""Withheld labels: the hard loss is not told some classes, so only soft targets can teach them.

Hinton, Vinyals and Dean (arXiv 1503.02531, section 3) left every 3 out of the images that a student of digits got, and
it still recognized most of them: a teacher's scores for other digits tell what a 3 looks like. Most images of a
detector show objects of several classes, so here the images stay and the labels go. The teacher's scores for these very
objects are then among the soft targets, which asks for less than the paper does.

A hard loss without these boxes alone would teach that the class is absent: each of its objects would be background,
with a target of 0 for its score. So the score of such a class has no part in the hard loss, at no location. To the
other classes its objects are background, which is true.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from src.detector.criterion import Batch

TARGETS = ("batch_idx", "cls", "bboxes")
"""The entries of ultralytics' training batch with a row per box."""


def told_alone(batch: Batch, withheld: Sequence[int]) -> Batch:
    """Return a batch without the boxes of some classes.

    Args:
        batch: ultralytics' training batch, with `cls` (M, 1) for its M boxes.
        withheld: indices of classes.
    """
    classes = batch["cls"].view(-1)
    kept = ~torch.isin(classes, torch.tensor(withheld, dtype=classes.dtype, device=classes.device))
    return {**batch, **{name: batch[name][kept] for name in TARGETS}}


def ignore_scores(hard: Any, withheld: Sequence[int]) -> None:
    """Let a hard loss ignore the scores of some classes: its weights of classes, which it lacks otherwise, are 0 there.

    Args:
        hard: ultralytics' detection loss, or its loss of end-to-end heads, which has one for each branch.
        withheld: indices of classes.
    """
    for one in (hard.one2many, hard.one2one) if hasattr(hard, "one2many") else (hard,):
        assert one.class_weights is None, "the weights of classes are set elsewhere"
        one.class_weights = torch.ones(1, 1, one.nc, device=one.device)
        one.class_weights[..., list(withheld)] = 0
