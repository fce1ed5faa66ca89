"""The network that a training starts from: its architecture, activation and initial weights."""

from __future__ import annotations

from pathlib import Path

from src.config.architecture import Architecture
from src.detector.checkpoint import load_detector
from src.detector.training import NewNetwork
from src.workflow.stage_files import StageFiles


def new_network(architecture: Architecture, files: StageFiles) -> tuple[NewNetwork, dict[str, Path]]:
    """Return a network with the user's initial weights, if there are any, and the file of these weights by its name.

    Raises:
        UserError: the architecture is unknown, or the weights cannot be read.
    """
    if architecture.weights is None:
        return NewNetwork(architecture.architecture, architecture.activation), {}
    path = files.read_own(architecture.weights)
    weights = load_detector(path, trust=architecture.trust_weights)
    return NewNetwork(architecture.architecture, architecture.activation, weights), {architecture.weights: path}
