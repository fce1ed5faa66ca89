"""Importance by first-order Taylor expansion: what the loss would change by if a channel were zero.

Molchanov et al., "Importance Estimation for Neural Network Pruning" (CVPR 2019), from weight times gradient of the loss
on training images. Theirs (eq. 8) squares each product and sums; torch-pruning's, used here, sums the absolute products
over a channel and averages over its group.
"""

from __future__ import annotations

from torch_pruning.pruner.importance import GroupTaylorImportance, Importance


def taylor() -> Importance:
    """Return torch-pruning's group criterion; the network's parameters need their gradients when it is asked."""
    return GroupTaylorImportance()
