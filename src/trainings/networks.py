"""The network that a training starts from: its architecture, activation and initial weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from src.config.architecture import Architecture
from src.detector.checkpoint import load_detector
from src.detector.training import NewNetwork
from src.workflow.stage_files import StageFiles


def own_weights(architecture: Architecture, files: StageFiles) -> list[Path]:
    """Return the user's file of initial weights; none if the network starts from scratch."""
    return [] if architecture.weights is None else [files.read_own(architecture.weights)]


def new_network(architecture: Architecture, files: StageFiles) -> NewNetwork:
    """Return a new network, with the user's initial weights if there are any.

    Raises:
        UserError: the architecture is unknown, or the weights cannot be read.
    """
    network = NewNetwork(architecture.architecture, architecture.activation)
    for path in own_weights(architecture, files):
        network = replace(network, weights=load_detector(path, trust=architecture.trust_weights))
    return network
