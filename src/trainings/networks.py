"""The network that a training starts from: its architecture, activation and initial weights."""

from __future__ import annotations

import logging
from pathlib import Path

from ultralytics.nn.tasks import DetectionModel

from src.config.architecture import Architecture
from src.detector.checkpoint import find_architecture, load_detector
from src.detector.initial_weights import expect_same_architecture, take_weights, told_share
from src.detector.training import NewNetwork
from src.foundation.errors import UserError
from src.foundation.pipeline import PREPARED
from src.foundation.prepared import class_names
from src.workflow.stage_files import StageFiles

_logger = logging.getLogger(__name__)


def new_network(architecture: Architecture, files: StageFiles) -> tuple[NewNetwork, dict[str, Path]]:
    """Return a network with the user's initial weights, if there are any, and the file of these weights by its name.

    A line tells how much of the file the network takes.

    Raises:
        UserError: the architecture is unknown, or the weights cannot be read or are of another one.
    """
    if architecture.weights is None:
        return NewNetwork(architecture.architecture, architecture.activation), {}
    path = files.read_own(architecture.weights)
    names = dict(enumerate(class_names(files.read(PREPARED))))
    network = DetectionModel(find_architecture(architecture.architecture), nc=len(names), verbose=False)
    network.names = names
    weights = own_weights(architecture, path, network)
    take_weights(weights, network)
    _logger.info("%s: %s", architecture.weights, told_share(weights, network))
    return NewNetwork(architecture.architecture, architecture.activation, weights), {architecture.weights: path}


def own_weights(architecture: Architecture, path: Path, network: DetectionModel) -> DetectionModel:
    """Return the user's initial weights for a network.

    Args:
        architecture: whose `weights` they are.
        path: their file.
        network: of this architecture, untrained.

    Raises:
        UserError: the file cannot be read, or is of another architecture.
    """
    weights = load_detector(path, trust=architecture.trust_weights)
    try:
        expect_same_architecture(weights, network)
    except UserError as error:
        raise UserError(f"{path}, for {architecture.architecture}: {error}") from error
    return weights
