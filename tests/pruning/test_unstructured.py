from __future__ import annotations

import pytest
import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from src.pruning.unstructured import share_of_zeros, zero_weights


@pytest.fixture(scope="module")
def network() -> DetectionModel:
    torch.manual_seed(0)
    built = DetectionModel("yolov8n.yaml", nc=3, verbose=False)
    with torch.no_grad():
        built.model[0].conv.weight *= 100  # none of these is small among all layers
    return built


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [m for name, m in network.named_modules() if isinstance(m, nn.Conv2d) and "dfl" not in name]


def test_each_layer_loses_its_smallest_weights(network: DetectionModel) -> None:
    pruned = zero_weights(network, ratio=0.5, over_all_layers=False)
    for before, after in zip(convolutions(network), convolutions(pruned), strict=True):
        gone = after.weight == 0
        assert gone.float().mean() == pytest.approx(0.5, abs=0.01)
        assert before.weight[gone].abs().max() <= before.weight[~gone].abs().min()
        assert torch.equal(after.weight[~gone], before.weight[~gone])


def test_globally_the_smallest_weights_of_all_layers_become_zero(network: DetectionModel) -> None:
    pruned = zero_weights(network, ratio=0.5, over_all_layers=True)
    assert share_of_zeros(pruned) == pytest.approx(0.5, abs=0.001)
    assert share_of_zeros(pruned.model[0]) == 0
    assert share_of_zeros(network) < 0.001, "the given network does not change"


def test_zeros_get_no_gradient(network: DetectionModel) -> None:
    pruned = zero_weights(network, ratio=0.5, over_all_layers=False)
    pruned.train()(torch.rand(2, 3, 64, 64))["scores"].sum().backward()
    weight = pruned.model[0].conv.weight
    assert (weight.grad[weight == 0] == 0).all()
    assert weight.grad[weight != 0].abs().sum() > 0
