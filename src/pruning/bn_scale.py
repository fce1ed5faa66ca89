"""Importance by the scale of batch normalization: a channel that is scaled to nothing is nothing.

Liu et al., "Learning Efficient Convolutional Networks through Network Slimming" (arXiv 1708.06519, section 3). The
paper trains with an L1 penalty that drives scales apart; the students here are trained without. Needs no data.
"""

from __future__ import annotations

from torch_pruning.pruner.importance import BNScaleImportance, Importance


def bn_scale() -> Importance:
    """Return torch-pruning's mean absolute scale over a group."""
    return BNScaleImportance()
