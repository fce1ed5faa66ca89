"""Whether the latencies of two sides can be compared: processor, threads and runtime must be the same."""

from __future__ import annotations

from typing import Any

from src.comparing.sides import LATENCY, Side, value_at

RUNTIMES = {"teacher": "torch", "student": "torch", "pruned": "torch"}
"""The runtime of a model in reports/latency.json; the others ran in onnxruntime or OpenVINO."""

UNKNOWN = "not recorded"


def runtime_of(metric: str) -> str:
    """Return the package that ran a model of reports/latency.json.

    >>> runtime_of("teacher.p50_ms"), runtime_of("onnx_int8_openvino.p50_ms"), runtime_of("speedup.int8_vs_fp32")
    ('torch', 'openvino', 'onnxruntime')
    """
    model = metric.removeprefix("speedup.").partition(".")[0]
    return "openvino" if model.endswith("_openvino") else RUNTIMES.get(model, "onnxruntime")


def other_conditions(before: Side, now: Side, runtime: str) -> list[str]:
    """Return what keeps latencies in a runtime from being compared, a phrase each; none: they can be.

    Latencies that a side does not have, or without the machine that they were measured on, cannot.
    """
    for side in (before, now):
        if LATENCY not in side.reports:
            return [f"{LATENCY} cannot be read or is not there ({side.name})"]
        if not isinstance(value_at(side.reports[LATENCY], "machine"), dict):
            return [f"the machine is not recorded ({side.name})"]
    pairs = {
        "processor": (processor(before), processor(now)),
        "threads": (_of_machine(before, "threads"), _of_machine(now, "threads")),
        runtime: (_of_machine(before, f"versions.{runtime}"), _of_machine(now, f"versions.{runtime}")),
    }
    return [
        f"{what} {UNKNOWN if old is None else old} before, {UNKNOWN if new is None else new} now"
        for what, (old, new) in pairs.items()
        if old != new or old is None
    ]


def processor(side: Side) -> str | None:
    """Return the processor that latencies were measured on: its name, number of cores and vector flags."""
    name, cores, flags = (_of_machine(side, key) for key in ("cpu", "cores", "flags"))
    if name is None:
        return None
    shown = " ".join(str(flag) for flag in flags) if isinstance(flags, list) else "flags not recorded"
    return f"{name} ({cores} cores; {shown})"


def versions(side: Side) -> dict[str, str]:
    """Return the versions of the packages that latencies were measured with."""
    found = _of_machine(side, "versions")
    return {str(package): str(version) for package, version in found.items()} if isinstance(found, dict) else {}


def _of_machine(side: Side, key: str) -> Any:
    return value_at(side.reports.get(LATENCY), f"machine.{key}")
