"""Channel importance by the scale of batch normalization: a channel with a scale near zero contributes little.

Liu et al., "Learning Efficient Convolutional Networks through Network Slimming" (arXiv 1708.06519, section 3). The
paper trains with an L1 penalty that drives many scales to zero; the students here are trained without it. Needs no
data.
"""

from __future__ import annotations

from torch_pruning.pruner.importance import BNScaleImportance, Importance


def bn_scale() -> Importance:
    """Return torch-pruning's importance by scale: the mean absolute scale over a group."""
    return BNScaleImportance()
