from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from src.evaluation import latency
from src.evaluation.latency import (
    WARM_UP_ROUNDS,
    forwards_by_runtime,
    measure,
    onnx_forward,
    torch_forward,
    torch_threads,
)
from tests.quantization.networks import IMGSZ, single_convolution, untrained_detector


class Machine:
    """A clock that only what is timed moves on."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.calls: list[str] = []

    def clock(self) -> float:
        return self.now_s

    def takes(self, name: str, *times_s: float) -> Callable[[], None]:
        """Return a call that takes these times in turn."""

        def call() -> None:
            self.now_s += times_s[self.calls.count(name) % len(times_s)]
            self.calls.append(name)

        return call


def test_every_round_runs_each_twice_in_a_row_and_begins_with_another() -> None:
    machine = Machine()
    measure({name: machine.takes(name, 0.001) for name in "abc"}, 6, clock=machine.clock)
    rounds = ["".join(machine.calls[start : start + 6]) for start in range(0, len(machine.calls), 6)]
    assert len(rounds) == WARM_UP_ROUNDS + 6
    assert rounds[WARM_UP_ROUNDS:] == ["aabbcc", "bbccaa", "ccaabb", "aabbcc", "bbccaa", "ccaabb"]


def test_a_pass_after_anothers_is_not_timed() -> None:
    machine = Machine()
    calls = {"cold then warm": machine.takes("cold then warm", 0.5, 0.1), "flat": machine.takes("flat", 0.2)}
    found = measure(calls, 5, clock=machine.clock)
    assert {name: latency.p95_ms for name, latency in found.items()} == {"cold then warm": 100, "flat": 200}


def test_median_and_95th_percentile_in_ms_without_the_warm_up() -> None:
    machine = Machine()
    slow_start = [9.0] * 2 * WARM_UP_ROUNDS + [0.001 * k for k in range(1, 22) for _ in range(2)]
    found = measure(
        {"ramp": machine.takes("ramp", *slow_start), "flat": machine.takes("flat", 0.25)}, 21, clock=machine.clock
    )
    assert (found["ramp"].p50_ms, found["ramp"].p95_ms) == (pytest.approx(11), pytest.approx(20))
    assert (found["flat"].p50_ms, found["flat"].p95_ms) == (pytest.approx(250), pytest.approx(250))


def test_forwards_give_what_the_networks_give(tmp_path: Path) -> None:
    model, weights, biases = single_convolution()
    onnx.save(model, tmp_path / "single.onnx")
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 4)).astype(np.float32)
    [answer] = onnx_forward(tmp_path / "single.onnx", x, threads=1)()  # type: ignore[misc]
    assert np.allclose(answer, np.einsum("oi,nihw->nohw", weights, x) + biases[:, None, None], atol=1e-5)
    detector = untrained_detector("yolov8n", 3, tmp_path / "detector.pt")
    image = np.zeros((1, 3, IMGSZ, IMGSZ), dtype=np.float32)
    answer = torch_forward(detector, image)()
    assert answer[0].shape == (1, 7, 84)  # type: ignore[index]


def test_every_runtime_that_is_there_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _, _ = single_convolution()
    network = tmp_path / "single.onnx"
    onnx.save(model, network)
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 4)).astype(np.float32)
    forwards = forwards_by_runtime(network, x, threads=1)
    assert list(forwards) == (["onnxruntime", "openvino"] if latency.HAS_OPENVINO else ["onnxruntime"])
    answers = [forward()[0] for forward in forwards.values()]
    for answer in answers:
        np.testing.assert_allclose(answer, answers[0], atol=1e-5)
    monkeypatch.setattr(latency, "HAS_OPENVINO", False)
    assert list(forwards_by_runtime(network, x, threads=1)) == ["onnxruntime"]


@pytest.mark.skipif(not latency.HAS_OPENVINO, reason="the extra openvino is not installed")
def test_what_openvino_cannot_run_is_timed_without_it_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = helper.make_node("Inverse", ["x"], ["y"], domain="com.microsoft")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in "xy")
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "own.onnx")
    assert list(forwards_by_runtime(tmp_path / "own.onnx", np.eye(2, dtype=np.float32), threads=1)) == ["onnxruntime"]
    assert "own.onnx was not timed in OpenVINO, which cannot run it: " in caplog.text


def test_torchs_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
