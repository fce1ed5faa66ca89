from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ultralytics.nn.tasks import DetectionModel

from src.detector.dataset import view_of
from src.detector.precision import compute_in_float32, dtype_for, train_in_bfloat16
from src.detector.training import NewNetwork, train
from tests.conftest import TINY_TRAINING

IMAGES = torch.rand(8, 3, 96, 96, generator=torch.Generator().manual_seed(0))


def network(architecture: str = "yolov8n.yaml") -> DetectionModel:
    torch.manual_seed(0)
    return DetectionModel(architecture, nc=3, verbose=False)


@pytest.mark.parametrize(
    ("capability", "expected"),
    [("amx_bf16", torch.bfloat16), ("avx512_bf16", torch.bfloat16), ("avx512_f", torch.float32)],
)
def test_the_type_is_that_of_the_processor(
    monkeypatch: pytest.MonkeyPatch, capability: str, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True, "avx2": True})
    assert dtype_for("auto", "cpu") == expected
    assert dtype_for("float32", "cpu") == torch.float32
    assert dtype_for("bfloat16", "cpu") == torch.bfloat16


@pytest.mark.parametrize("architecture", ["yolov8n.yaml", "yolo26n.yaml"])
def test_predictions_in_training_are_rounded_and_returned_in_float32(architecture: str) -> None:
    built = network(architecture).train()
    exact = built(IMAGES)
    train_in_bfloat16(built)
    rounded = built(IMAGES)
    if "one2many" in exact:
        exact, rounded = exact["one2many"], rounded["one2many"]
    for name in ("boxes", "scores"):
        assert rounded[name].dtype == torch.float32
        assert not torch.equal(rounded[name], exact[name])
        assert (rounded[name] - exact[name]).abs().mean() < 0.2 * exact[name].std()
    assert all(level.dtype == torch.float32 for level in rounded["feats"])


def test_validation_is_in_float32() -> None:
    built = network().eval()
    exact = built(IMAGES)[0]
    train_in_bfloat16(built)
    torch.testing.assert_close(built(IMAGES)[0], exact)


def test_the_network_is_as_before_afterwards() -> None:
    built = network()
    train_in_bfloat16(built)
    compute_in_float32(built)
    assert type(built) is DetectionModel
    assert all(weight.is_contiguous() for weight in built.parameters())
    for name, weight in network().state_dict().items():
        assert torch.equal(built.state_dict()[name], weight), name


def test_a_training_in_bfloat16_differs_and_returns_a_plain_detector(prepared: Path, tmp_path: Path) -> None:
    settings = {**TINY_TRAINING, "epochs": 1}
    with view_of(prepared) as data:
        exact, rounded = (
            train(
                NewNetwork("yolov8n.yaml"), data, settings, device="cpu", checkpoint=tmp_path / str(dtype), dtype=dtype
            )
            for dtype in (torch.float32, torch.bfloat16)
        )
    assert type(rounded.network) is DetectionModel
    first, second = exact.network.model[0].conv.weight, rounded.network.model[0].conv.weight
    assert second.dtype == torch.float32
    assert not torch.equal(first, second)
    torch.testing.assert_close(first, second, rtol=0.1, atol=0.05)
