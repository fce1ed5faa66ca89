from __future__ import annotations

from src.evaluation.speedups import speedups


def test_a_speedup_is_the_slower_median_over_the_faster_in_the_same_runtime() -> None:
    medians = {
        "teacher": 60.0,
        "student": 50.0,
        "pruned": 40.0,
        "teacher_onnx": 24.0,
        "student_onnx": 12.0,
        "onnx_fp32": 8.0,
        "onnx_int8": 2.0,
        "onnx_fp32_openvino": 7.0,
        "onnx_int8_openvino": 1.0,
    }
    expected = {
        "int8_vs_fp32": 4.0,
        "int8_vs_teacher": 12.0,
        "pruned_vs_student": 1.5,
        "student_vs_teacher": 2.0,
        "int8_vs_fp32_openvino": 7.0,
    }
    assert speedups(medians) == expected
    without_openvino = {name: one for name, one in medians.items() if "openvino" not in name}
    assert speedups(without_openvino) == {k: v for k, v in expected.items() if "openvino" not in k}
