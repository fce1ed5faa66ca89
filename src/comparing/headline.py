"""The table of a comparison: the few metrics that decide, each with a verdict on its change."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from src.comparing.changes import Change, Meaning, judged, present
from src.comparing.noise import accuracy_noise, latency_noise, speedup_noise
from src.comparing.sides import ACCURACY, LATENCY, Side
from src.evaluation.speedups import SPEEDUPS
from src.foundation.pipeline import FLOAT_ONNX, INT8_ONNX, PRUNED, STUDENT, TEACHER

_Noise = Callable[[Side, Side, str], float | None]

FILES = {
    "teacher": TEACHER,
    "student": STUDENT,
    "pruned": PRUNED,
    "onnx_fp32": FLOAT_ONNX,
    "onnx_int8": INT8_ONNX,
    "teacher_onnx": TEACHER,
    "student_onnx": STUDENT,
    "onnx_fp32_openvino": FLOAT_ONNX,
    "onnx_int8_openvino": INT8_ONNX,
}
"""The file of each model in reports/latency.json."""


SIZE_NOISE_MIB = 0.01
"""Names and metadata in a file are longer or shorter by this much; weights make its size."""


@dataclass(frozen=True)
class Row:
    """A metric of the table.

    Attributes:
        title: its name for people.
        report: the path of its report.
        metric: its dotted path there.
        higher_is_better: its direction.
        noise: returns the largest change that is noise, from both sides and the metric.
    """

    title: str
    report: str
    metric: str
    higher_is_better: bool
    noise: _Noise


def _of_size(before: Side, now: Side, metric: str) -> float:
    return SIZE_NOISE_MIB


def _of_latency(before: Side, now: Side, metric: str) -> float | None:
    return latency_noise(before, now, metric.partition(".")[0])


def _of_speedup(before: Side, now: Side, metric: str) -> float | None:
    return speedup_noise(before, now, metric.removeprefix("speedup."))


ROWS = (
    Row("mAP50-95, teacher", ACCURACY, "teacher.map50_95", True, accuracy_noise),
    Row("mAP50-95, student", ACCURACY, "student.map50_95", True, accuracy_noise),
    Row("mAP50-95, pruned", ACCURACY, "pruned.map50_95", True, accuracy_noise),
    Row("mAP50-95, INT8", ACCURACY, "onnx_int8.map50_95", True, accuracy_noise),
    Row("mAP50-95 that INT8 loses against FP32", ACCURACY, "int8_drop.vs_fp32", False, accuracy_noise),
    Row("INT8, MiB", ACCURACY, "onnx_int8.size_mib", False, _of_size),
    Row("INT8, p50 ms", LATENCY, "onnx_int8.p50_ms", False, _of_latency),
    Row("speedup of INT8 over FP32", LATENCY, "speedup.int8_vs_fp32", True, _of_speedup),
)
"""At most eight: what a reviewer reads."""


def table(before: Side, now: Side, timed_alike: Collection[str], latencies_compare: bool) -> list[Change]:
    """Return the rows that a side has at least. Latencies that cannot be compared are left out.

    Args:
        before: one side.
        now: the other one.
        timed_alike: models that are the same bytes on both sides, and were timed by the same code.
        latencies_compare: whether latencies in onnxruntime can be compared.
    """
    changes = []
    for row in ROWS:
        old, new = (side.metric(row.report, row.metric) for side in (before, now))
        timed = row.report == LATENCY
        if (old is None and new is None) or (timed and not latencies_compare):
            continue
        noise = row.noise(before, now, row.metric)
        verdict = present(old, new)
        if verdict is None:
            assert old is not None
            assert new is not None
            same = timed and _times_the_same(row.metric, timed_alike)
            verdict = Meaning.SAME_FILE if same else judged(old, new, noise, row.higher_is_better)
        changes.append(Change(row.title, row.report, row.metric, old, new, verdict, noise))
    return changes


def _times_the_same(metric: str, timed_alike: Collection[str]) -> bool:
    """Return whether a latency or speedup is that of the same files on both sides, so that only noise changed it."""
    name = metric.removeprefix("speedup.")
    models = SPEEDUPS[name] if name in SPEEDUPS else (name.partition(".")[0],)
    return {FILES[model] for model in models} <= set(timed_alike)
