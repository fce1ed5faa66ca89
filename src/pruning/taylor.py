"""Channel importance by first-order Taylor expansion: the estimated change of the loss if the channel were zero.

Molchanov et al., "Importance Estimation for Neural Network Pruning" (CVPR 2019): weight times gradient of the loss on
training images. The paper (eq. 8) squares each product and sums. torch-pruning, used here, sums the absolute products
over a channel and averages over its group.
"""

from __future__ import annotations

from torch_pruning.pruner.importance import GroupTaylorImportance, Importance


def taylor() -> Importance:
    """Return torch-pruning's group criterion, which reads the gradients of the network's parameters."""
    return GroupTaylorImportance()
