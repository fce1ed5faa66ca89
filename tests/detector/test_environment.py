from __future__ import annotations

import pytest
import torch
import torchvision
from ultralytics.utils import SETTINGS
from ultralytics.utils.nms import TorchNMS

from src.detector import runtime, torchvision_operators
from src.foundation.errors import UserError


def test_nms_keeps_the_box_with_the_better_score() -> None:
    torchvision_operators.admit_own_operators()
    boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30.0]])
    # IoU of the first two is 81 / 100: the one with the better score stays.
    assert torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9, 0.3]), 0.5).tolist() == [1, 2]
    assert torchvision.ops.nms(torch.empty(0, 4), torch.empty(0), 0.5).tolist() == []


@pytest.mark.parametrize("count", [1, 50, 400])
def test_nms_keeps_the_same_boxes_as_ultralytics(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    centres, sides = torch.rand(count, 2, generator=generator) * 100, torch.rand(count, 2, generator=generator) * 40 + 2
    boxes, scores = torch.cat([centres - sides / 2, centres + sides / 2], 1), torch.rand(count, generator=generator)
    assert torch.equal(torchvision_operators._nms(boxes, scores, 0.6), TorchNMS.nms(boxes, scores, 0.6))


def test_the_integrations_of_ultralytics_are_off() -> None:
    assert not any(SETTINGS[name] for name in ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb"))


def test_the_number_of_threads_stays_as_set() -> None:
    from ultralytics.utils.torch_utils import select_device

    assert runtime.settle("cpu", 1) == "cpu"
    select_device("cpu", verbose=False)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("device", ["cuda", "99", "gpu"])
def test_a_missing_device_is_refused(device: str) -> None:
    with pytest.raises(UserError, match=f"got {device}"):
        runtime.settle(device, 1)
