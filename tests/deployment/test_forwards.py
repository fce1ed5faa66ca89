from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from src.deployment import forwards
from src.deployment.forwards import forwards_by_runtime, onnx_forward, torch_forward
from src.deployment.session import open_session
from tests.quantization.networks import IMGSZ, single_convolution, untrained_detector


def test_forwards_return_the_outputs_of_the_networks(tmp_path: Path) -> None:
    model, weights, biases = single_convolution()
    onnx.save(model, tmp_path / "single.onnx")
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 4)).astype(np.float32)
    [output] = onnx_forward(tmp_path / "single.onnx", x, threads=1)()  # type: ignore[misc]
    assert np.allclose(output, np.einsum("oi,nihw->nohw", weights, x) + biases[:, None, None], atol=1e-5)
    detector = untrained_detector("yolov8n", 3, tmp_path / "detector.pt")
    image = np.zeros((1, 3, IMGSZ, IMGSZ), dtype=np.float32)
    output = torch_forward(detector, image)()
    assert output[0].shape == (1, 7, 84)  # type: ignore[index]


def test_installed_runtimes_return_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _, _ = single_convolution()
    network = tmp_path / "single.onnx"
    onnx.save(model, network)
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 4)).astype(np.float32)
    found = forwards_by_runtime(network, x, threads=1)
    assert list(found) == (["onnxruntime", "openvino"] if forwards.HAS_OPENVINO else ["onnxruntime"])
    outputs = [forward()[0] for forward in found.values()]
    for output in outputs:
        np.testing.assert_allclose(output, outputs[0], atol=1e-5)
    monkeypatch.setattr(forwards, "HAS_OPENVINO", False)
    assert list(forwards_by_runtime(network, x, threads=1)) == ["onnxruntime"]


@pytest.mark.skipif(not forwards.HAS_OPENVINO, reason="the extra openvino is not installed")
def test_a_network_that_openvino_cannot_run_is_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = helper.make_node("Inverse", ["x"], ["y"], domain="com.microsoft")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in "xy")
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "own.onnx")
    assert list(forwards_by_runtime(tmp_path / "own.onnx", np.eye(2, dtype=np.float32), threads=1)) == ["onnxruntime"]
    assert "own.onnx was not timed in OpenVINO, which cannot run it: " in caplog.text


def test_onnxruntime_and_openvino_get_the_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _, _ = single_convolution()
    network = tmp_path / "single.onnx"
    onnx.save(model, network)
    sessions = []

    def opened(*arguments: object, **options: object) -> object:
        sessions.append(open_session(*arguments, **options))  # type: ignore[arg-type]
        return sessions[-1]

    monkeypatch.setattr(forwards, "open_session", opened)
    compiled: list[int] = []
    if forwards.HAS_OPENVINO:
        import openvino

        plain = openvino.Core.compile_model

        def compile_model(*arguments: object) -> object:
            found = plain(*arguments)
            compiled.append(found.get_property("INFERENCE_NUM_THREADS"))
            return found

        monkeypatch.setattr(openvino.Core, "compile_model", compile_model)
    forwards_by_runtime(network, np.zeros((1, 3, 4, 4), dtype=np.float32), threads=2)
    assert [session.get_session_options().intra_op_num_threads for session in sessions] == [2]
    assert compiled == ([2] if forwards.HAS_OPENVINO else [])
