"""Which models are compared in speed, each pair in the same runtime."""

from __future__ import annotations

from collections.abc import Mapping

SPEEDUPS = {
    "int8_vs_fp32": ("onnx_int8", "onnx_fp32"),
    "int8_vs_teacher": ("onnx_int8", "teacher_onnx"),
    "pruned_vs_student": ("onnx_fp32", "student_onnx"),
    "student_vs_teacher": ("student_onnx", "teacher_onnx"),
    "int8_vs_fp32_openvino": ("onnx_int8_openvino", "onnx_fp32_openvino"),
}
"""By name, the model that is judged and the one that it is compared with."""


def speedups(p50_ms: Mapping[str, float]) -> dict[str, float]:
    """Return the speedups whose two models were timed: ratios of medians.

    Args:
        p50_ms: median latency by model.

    >>> speedups({"onnx_int8": 2.0, "onnx_fp32": 5.0, "student_onnx": 10.0})
    {'int8_vs_fp32': 2.5, 'pruned_vs_student': 2.0}
    """
    return {
        name: round(p50_ms[slow] / p50_ms[fast], 3)
        for name, (fast, slow) in SPEEDUPS.items()
        if fast in p50_ms and slow in p50_ms
    }
