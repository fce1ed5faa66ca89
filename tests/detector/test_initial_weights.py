from __future__ import annotations

import pytest
import torch
from torch import nn
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel, yaml_model_load

from src.detector.initial_weights import take_weights, told_share


def network_of(names: list[str], architecture: str = "yolov8n.yaml", activation: str | None = None) -> DetectionModel:
    description = {**yaml_model_load(architecture), **({"activation": activation} if activation else {})}
    network = DetectionModel(description, nc=len(names), verbose=False)
    network.names = dict(enumerate(names))
    return network


@pytest.fixture(scope="module")
def eighty() -> DetectionModel:
    torch.manual_seed(0)
    network = network_of([f"thing {index}" for index in range(79)] + ["Cell"])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01)
    return network


def last_layers(network: DetectionModel) -> list[nn.Conv2d]:
    return [branch[-1] for branch in network.model[-1].cv3]


def test_all_but_the_last_layers_of_the_classes_is_taken(eighty: DetectionModel) -> None:
    network = network_of(["a", "b", "c"])
    take_weights(eighty, network)
    own, given = network.state_dict(), eighty.state_dict()
    other = {name for name in own if own[name].shape != given[name].shape or not torch.equal(own[name], given[name])}
    assert other == {f"model.22.cv3.{level}.2.{kind}" for level in range(3) for kind in ("weight", "bias")}
    assert (
        told_share(eighty, network)
        == f"{len(own) - 6} of {len(own)} tensors taken; the last layers of 3 classes start anew"
    )


def test_classes_of_the_same_name_keep_their_rows(eighty: DetectionModel) -> None:
    network = network_of(["dog", " cell"])
    take_weights(eighty, network)
    for own, given in zip(last_layers(network), last_layers(eighty), strict=True):
        assert torch.equal(own.weight[1], given.weight[79])
        assert not torch.equal(own.weight[0], given.weight[0])
    assert told_share(eighty, network).endswith("of 1 classes start anew, those of  cell are taken by name")


def test_numbers_are_no_names() -> None:
    weights, network = network_of([str(index) for index in range(80)]), network_of(["0", "1"])
    take_weights(weights, network)
    assert told_share(weights, network).endswith("the last layers of 2 classes start anew")


def test_the_same_classes_take_all(eighty: DetectionModel) -> None:
    network = network_of(list(eighty.names.values()))
    take_weights(eighty, network)
    assert told_share(eighty, network) == f"{len(network.state_dict())} of {len(network.state_dict())} tensors taken"


def test_a_widened_branch_has_the_activation_of_its_network(eighty: DetectionModel) -> None:
    network = network_of(["a", "b", "c"], activation="nn.ReLU()")
    take_weights(eighty, network)
    assert network.model[-1].cv3[0][0].conv.out_channels == 80
    acts = {type(module.act) for module in network.modules() if isinstance(module, Conv)} - {nn.Identity}
    assert acts == {nn.ReLU}
    assert isinstance(eighty.model[0].act, nn.SiLU)
