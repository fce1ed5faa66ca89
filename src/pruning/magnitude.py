"""Channel importance by magnitude: a channel with small weights contributes little.

Li et al., "Pruning Filters for Efficient ConvNets" (arXiv 1608.08710), over whole groups of dependent channels as in
DepGraph (arXiv 2301.12900, eq. 4). Needs no data.
"""

from __future__ import annotations

from torch_pruning.pruner.importance import GroupMagnitudeImportance, Importance


def magnitude() -> Importance:
    """Return torch-pruning's group L2 norm."""
    return GroupMagnitudeImportance(p=2)
