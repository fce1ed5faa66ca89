"""Initial weights: what a new network takes from a trained one, such as ultralytics' pretrained files."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel

from src.foundation.errors import UserError


def expect_same_architecture(weights: DetectionModel, network: DetectionModel) -> None:
    """Check that initial weights have all of a network's tensors, in the same shapes.

    ultralytics would load only the tensors that happen to fit. The classification branches (the head's cv3) depend on
    the number of classes, and may differ.

    Raises:
        UserError: a tensor is missing or has another shape.
    """
    given, own = weights.state_dict(), network.state_dict()
    head = f"model.{len(network.model) - 1}."
    unlike = [
        name
        for name, tensor in own.items()
        if not (name.startswith(head) and "cv3." in name) and (name not in given or given[name].shape != tensor.shape)
    ]
    if unlike:
        raise UserError(
            f"the initial weights are of another architecture: {len(unlike)} of {len(own)} tensors are missing or "
            f"have another shape, for example {unlike[0]}: choose weights of this architecture, or null for random ones"
        )


def take_weights(weights: DetectionModel, network: DetectionModel) -> None:
    """Give a new network initial weights, as `ultralytics.YOLO(file).train` does, in place.

    ultralytics widens the classification branches to those of `weights`, where a branch's width depends on the number
    of classes. It takes the rows of classes whose names both have; the last layers of the others keep random weights.

    Args:
        weights: of the same architecture, see `expect_same_architecture`.
        network: with its own number of classes and, where they are known, their names.
    """
    source = deepcopy(weights)
    own = dict(network.named_modules())
    for name, module in source.named_modules():
        # A widened branch is a copy from `weights`: with its activation a network with ReLU would keep some SiLU.
        if isinstance(module, Conv) and not isinstance(module.act, nn.Identity):
            module.act = deepcopy(own[name].act)
    network.load(source, verbose=False)


def told_share(weights: DetectionModel, network: DetectionModel) -> str:
    """Return in words how much of its initial weights a network has taken: tensors, and classes known by name."""
    given, own = weights.state_dict(), network.state_dict()
    taken = [name for name, tensor in own.items() if name in given and torch.equal(tensor, given[name])]
    # ultralytics takes no names for known that are only numbers, as those of a network without names.
    numbered = any(all(str(key) == str(name) for key, name in one.names.items()) for one in (weights, network))
    known = set() if numbered else {_spelled(name) for name in weights.names.values()}
    same = [name for name in network.names.values() if _spelled(name) in known]
    share = f"{len(taken)} of {len(own)} tensors taken"
    if len(taken) == len(own):
        return share
    anew = f"the last layers of {len(network.names) - len(same)} classes start anew"
    return f"{share}; {anew}" + (f", those of {', '.join(same)} are taken by name" if same else "")


def _spelled(name: str) -> str:
    """Return a class's name as ultralytics compares it."""
    return str(name).strip().lower()
