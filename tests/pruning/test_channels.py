from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch_pruning.pruner.importance import Importance
from ultralytics import YOLO
from ultralytics.nn.modules.block import A2C2f, ABlock, C2f, C3k2, PSABlock
from ultralytics.nn.tasks import DetectionModel

from src.detector.checkpoint import save_detector
from src.foundation.errors import UserError
from src.pruning.bn_scale import bn_scale
from src.pruning.c2f import join_blocks, split_blocks
from src.pruning.channels import prunable_layers, prune_channels, ratios_by_round
from src.pruning.magnitude import magnitude
from src.pruning.taylor import taylor

IMAGE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def network(architecture: str) -> DetectionModel:
    torch.manual_seed(0)
    built = DetectionModel(architecture, nc=3, verbose=False).eval()
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):  # its initial statistics would hide a mistake in their handling
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return built


@pytest.mark.parametrize(("architecture", "count"), [("yolov8n.yaml", 8), ("yolo11n.yaml", 8), ("yolov8n-p6.yaml", 11)])
def test_splitting_and_joining_c2f_and_c2_changes_nothing(architecture: str, count: int) -> None:
    whole = network(architecture)
    split = deepcopy(whole)
    blocks = split_blocks(split)
    assert len(blocks) == count
    torch.testing.assert_close(split(IMAGE)[0], whole(IMAGE)[0])
    join_blocks(split, blocks)
    assert torch.equal(split(IMAGE)[0], whole(IMAGE)[0])
    assert list(split.state_dict()) == list(whole.state_dict())


@pytest.mark.parametrize(
    ("architecture", "ratio"),
    [
        ("yolov8n.yaml", 0.1),
        ("yolov8n.yaml", 0.6),
        ("yolov8n-p2.yaml", 0.3),
        ("yolov8n-p6.yaml", 0.3),
        ("yolo11n.yaml", 0.3),
        ("yolo12n.yaml", 0.3),
        ("yolo12n.yaml", 0.6),
        ("yolo26n.yaml", 0.3),
        ("yolo26n.yaml", 0.6),
    ],
)
def test_a_pruned_network_is_smaller_and_still_runs(architecture: str, ratio: float, tmp_path: Path) -> None:
    whole = network(architecture)
    pruned = prune_channels(whole, ratio=ratio, round_to=8, imgsz=64, importance=magnitude())
    assert pruned(IMAGE)[0].shape == whole(IMAGE)[0].shape
    assert sum(p.numel() for p in pruned.parameters()) < sum(p.numel() for p in whole.parameters())
    save_detector(pruned, tmp_path / "pruned.pt", 64)
    assert YOLO(tmp_path / "pruned.pt").model(IMAGE)[0].shape == whole(IMAGE)[0].shape


def test_channels_are_rounded_to_the_nearest_multiple_of_eight() -> None:
    pruned = prune_channels(network("yolov8n.yaml"), ratio=0.3, round_to=8, imgsz=64, importance=magnitude())
    # Of 16, 32, 64, 128 and 256 channels 70% are 11.2, 22.4, 44.8, 89.6 and 179.2.
    left = [pruned.model[index].conv.out_channels for index in (0, 1, 3, 5, 7)]
    assert left == [8, 24, 48, 88, 176]
    for name, module in pruned.named_modules():
        if isinstance(module, nn.Conv2d) and not name.endswith((".2", "dfl.conv")):
            assert module.out_channels % 8 == 0, name


def test_attention_keeps_its_channels_and_the_layers_around_it_lose_some() -> None:
    for architecture in ("yolo12n.yaml", "yolo26n.yaml"):
        whole = network(architecture)
        pruned = prune_channels(whole, ratio=0.6, round_to=8, imgsz=64, importance=magnitude())
        for name, block in whole.named_modules():
            if isinstance(block, (PSABlock, ABlock)):
                left = {key: value.shape for key, value in pruned.get_submodule(name).state_dict().items()}
                assert left == {key: value.shape for key, value in block.state_dict().items()}
            elif isinstance(block, (A2C2f, C3k2)):
                assert pruned.get_submodule(name).cv2.conv.out_channels < block.cv2.conv.out_channels


def test_an_end_to_end_head_keeps_the_output_channels_of_all_branches() -> None:
    head = prune_channels(network("yolo26n.yaml"), ratio=0.6, round_to=8, imgsz=64, importance=magnitude()).model[-1]
    for boxes, scores in [(head.cv2, head.cv3), (head.one2one_cv2, head.one2one_cv3)]:
        assert [branch[-1].out_channels for branch in boxes] == [4] * 3
        assert [branch[-1].out_channels for branch in scores] == [3] * 3
        assert [branch[0].conv.in_channels for branch in boxes] == [24, 48, 104]


def test_an_architecture_that_cannot_be_traced_is_refused_in_a_line() -> None:
    with pytest.raises(UserError, match=r"^prune: torch-pruning cannot trace this architecture \(.*prune.ratio=0$"):
        prune_channels(network("yolov9t.yaml"), ratio=0.3, round_to=8, imgsz=64, importance=magnitude())


def test_the_head_keeps_its_output_channels() -> None:
    head = prune_channels(network("yolov8n.yaml"), ratio=0.6, round_to=8, imgsz=64, importance=magnitude()).model[-1]
    assert [branch[-1].out_channels for branch in head.cv2] == [64] * 3
    assert [branch[-1].out_channels for branch in head.cv3] == [3] * 3


def fill_gradients(split: DetectionModel) -> None:
    predictions = split(IMAGE)[1]
    (predictions["scores"].square().sum() + predictions["boxes"].square().sum()).backward()


@pytest.mark.parametrize("importance", [magnitude, bn_scale, taylor])
def test_the_least_important_channels_are_removed(importance: Callable[[], Importance]) -> None:
    whole = network("yolov8n.yaml")
    last = [module for module in whole.modules() if isinstance(module, C2f)][-1]
    bottleneck = last.m[0].cv1  # only the convolution after it depends on its channels
    weak = torch.arange(0, 128, 3)[:40]
    with torch.no_grad():
        bottleneck.conv.weight[weak] = 0
        bottleneck.bn.weight[weak] = 0
        last.m[0].cv2.conv.weight[:, weak] = 0
    strong = torch.tensor([index for index in range(128) if index not in set(weak.tolist())])
    pruned = prune_channels(
        whole, ratio=0.3, round_to=8, imgsz=64, importance=importance(), fill_gradients=fill_gradients
    )
    kept = [module for module in pruned.modules() if isinstance(module, C2f)][-1].m[0].cv1.bn.weight
    assert len(kept) == len(strong) == 88
    assert (kept != 0).all()


def test_taylor_ranks_by_gradients_not_by_size() -> None:
    whole = network("yolov8n.yaml")
    last = [module for module in whole.modules() if isinstance(module, C2f)][-1]
    idle = torch.arange(0, 128, 3)[:40]
    with torch.no_grad():  # large weights, but nothing reads their output
        last.m[0].cv1.conv.weight[idle] *= 10
        last.m[0].cv2.conv.weight[:, idle] = 0
    pruned = prune_channels(whole, ratio=0.3, round_to=8, imgsz=64, importance=taylor(), fill_gradients=fill_gradients)
    left = [module for module in pruned.modules() if isinstance(module, C2f)][-1].m[0].cv2.conv.weight
    assert (left.abs().sum(dim=(0, 2, 3)) > 0).all()
    assert all(parameter.grad is None for parameter in pruned.parameters())


def test_several_rounds_end_with_the_channels_of_a_single_round() -> None:
    whole = network("yolov8n.yaml")
    at_once = prune_channels(whole, ratio=0.5, round_to=8, imgsz=64, importance=magnitude())
    left = whole
    for ratio in ratios_by_round(0.5, 3):
        left = prune_channels(left, ratio=ratio, round_to=8, imgsz=64, importance=magnitude(), original=whole)
    widths = [[m.out_channels for m in n.modules() if isinstance(m, nn.Conv2d)] for n in (at_once, left)]
    assert widths[0] == widths[1]


def test_spared_layers_keep_their_channels() -> None:
    whole = network("yolov8n.yaml")
    layers = prunable_layers(whole)
    assert layers == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 18, 19, 21, 22]
    for alone in (2, 9, 22):
        spared = set(layers) - {alone}
        left = prune_channels(whole, ratio=0.5, round_to=8, imgsz=64, importance=magnitude(), spared=spared)
        changed = {
            index
            for index, (before, after) in enumerate(zip(whole.model, left.model, strict=True))
            if [m.out_channels for m in before.modules() if isinstance(m, nn.Conv2d)]
            != [m.out_channels for m in after.modules() if isinstance(m, nn.Conv2d)]
        }
        assert changed == {alone}


def test_every_round_removes_the_same_share_of_the_remaining_channels() -> None:
    assert ratios_by_round(0.75, 2) == pytest.approx([0.5, 0.75])
    assert ratios_by_round(0.3, 1) == pytest.approx([0.3])


def test_a_ratio_of_zero_returns_an_equal_copy() -> None:
    whole = network("yolov8n.yaml")
    copy = prune_channels(whole, ratio=0, round_to=8, imgsz=64, importance=magnitude())
    assert copy is not whole
    assert torch.equal(copy(IMAGE)[0], whole(IMAGE)[0])
