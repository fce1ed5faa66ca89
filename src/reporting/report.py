"""reports/report.md: the page that a person reads first. Numbers in, Markdown out; nothing is measured here.

It says what each step cost and gained against the step before, in words that do not flatter: a pruned model that is
slower is called slower, and a difference that a second seed could undo is called noise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src.config.quantize import WITHOUT_RANGES
from src.evaluation.gate import gate_passes

ACCURACY_NOISE = 0.01
"""Of mAP50-95: small test sets move by a few tenths of a point between seeds, and there is one seed here."""

LATENCY_NOISE = 0.03
"""Relative: medians of the same network in the same process differ by about this much."""

TITLES = {
    "teacher": "Teacher",
    "student": "Student",
    "pruned": "Pruned student",
    "onnx_fp32": "ONNX FP32",
    "onnx_int8": "ONNX INT8",
}


@dataclass(frozen=True)
class Timed:
    """A model in a runtime.

    Attributes:
        model: its name in reports/eval_int8.json.
        key: its name in reports/latency.json.
        runtime: torch, onnxruntime or OpenVINO.
    """

    model: str
    key: str
    runtime: str


def timed(latency: Mapping[str, Any]) -> list[Timed]:
    """Return the models as they are run: each in its own runtime, then those that OpenVINO ran, too."""
    own = [Timed(name, name, "onnxruntime" if name.startswith("onnx") else "torch") for name in TITLES]
    in_openvino = [Timed(name, f"{name}_openvino", "OpenVINO") for name in TITLES]
    return own + [one for one in in_openvino if one.key in latency]


@dataclass(frozen=True)
class Pictures:
    """Links to pictures, relative to the page: the plots, and FP32 beside INT8 by image, worst agreement first."""

    pareto: str
    per_class: str
    worst: Sequence[str]


def write_report(
    accuracy: Mapping[str, Any],
    latency: Mapping[str, Any],
    upstream: Mapping[str, Mapping[str, Any]],
    settings_yaml: str,
    max_drop: float,
    pictures: Pictures,
) -> str:
    """Return the page as Markdown.

    Args:
        accuracy: what reports/eval_int8.json holds.
        latency: what reports/latency.json holds.
        upstream: metrics of the earlier stages, by stage.
        settings_yaml: params.yaml as it stands.
        max_drop: the gate, of mAP50-95.
        pictures: where they are.
    """
    sections = [
        "# From teacher to INT8",
        _verdict(accuracy, latency, max_drop),
        "## The five models, on test",
        _models(accuracy, latency),
        *_caveats(upstream["quantize"], latency),
        f"![accuracy over latency]({pictures.pareto})",
        "## What each step cost and gained",
        _steps(accuracy, latency),
        "## Do INT8 and FP32 find the same things?",
        _agreement(accuracy["agreement"], pictures.worst),
        "## Accuracy by class",
        f"![mAP50-95 by class]({pictures.per_class})",
        "## How time was measured",
        _machine(latency),
        "## What the earlier stages reported",
        "\n\n".join(_stage(name, metrics) for name, metrics in upstream.items()),
        "## Settings",
        f"```yaml\n{settings_yaml.strip()}\n```",
    ]
    return "\n\n".join(sections) + "\n"


def _verdict(accuracy: Mapping[str, Any], latency: Mapping[str, Any], max_drop: float) -> str:
    teacher, int8 = accuracy["teacher"], accuracy["onnx_int8"]
    drop = accuracy["int8_drop"]["vs_fp32"]
    outcome = "passed" if gate_passes(drop, max_drop) else "**FAILED**"
    return (
        f"The INT8 model is {_times(teacher['size_mib'] / int8['size_mib'])} smaller than the teacher's file and "
        f"{_speed(latency['speedup']['int8_vs_teacher'])} than the teacher in the same runtime; its mAP50-95 on test "
        f"is {_points(int8['map50_95'])} where the teacher's is {_points(teacher['map50_95'])}.\n\n"
        f"Gate: {outcome}. INT8 may lose {100 * max_drop:.1f} points of mAP50-95 against ONNX FP32; it "
        f"{'lost' if drop >= 0 else 'gained'} {abs(100 * drop):.1f}."
    )


def _models(accuracy: Mapping[str, Any], latency: Mapping[str, Any]) -> str:
    rows = []
    for one in timed(latency):
        model, times = accuracy[one.model], latency[one.key]
        rows.append(
            [
                TITLES[one.model],
                f"{model['size_mib']:.2f}",
                f"{model['parameters'] / 1e6:.2f}",
                f"{model['gflops']:.2f}",
                _points(model["map50_95"]),
                _points(model["map50"]),
                f"{times['p50_ms']:.2f}",
                f"{times['p95_ms']:.2f}",
                one.runtime,
            ]
        )
    header = ["model", "MiB", "M parameters", "GFLOPs", "mAP50-95", "mAP50", "p50 ms", "p95 ms", "runtime"]
    teacher_ms, student_ms = latency["teacher_onnx"]["p50_ms"], latency["student_onnx"]["p50_ms"]
    return (
        f"{_table(header, rows)}\n\nIn onnxruntime the teacher takes {teacher_ms:.2f} ms and the student "
        f"{student_ms:.2f} ms. mAP in percent. `.pt` files hold 16-bit weights, ONNX FP32 32-bit ones."
    )


def _caveats(quantize: Mapping[str, Any], latency: Mapping[str, Any]) -> list[str]:
    """Say where the last model is not what its title says, or was not run where it is meant to run."""
    in_openvino = "onnx_int8_openvino" in latency
    if quantize["method"] in WITHOUT_RANGES:
        return [f"**The last model is a control**, `quantize.method={quantize['method']}`: no static INT8."]
    if quantize["target"] != "onnxruntime":
        there = "the last row has" if in_openvino else "was not measured: it is not installed"
        return [
            f"**INT8 is placed for OpenVINO** (`quantize.target={quantize['target']}`). onnxruntime computes its "
            f"convolutions before a SiLU in float, so its speed there says nothing of OpenVINO's, which {there}."
        ]
    if in_openvino:
        return [
            "INT8 is placed for onnxruntime, so its speed in OpenVINO is not the best that can be had there: see "
            "`quantize.target`."
        ]
    return []


def _steps(accuracy: Mapping[str, Any], latency: Mapping[str, Any]) -> str:
    speedup = latency["speedup"]
    steps = [
        ("A smaller network", "teacher", "student", speedup["student_vs_teacher"]),
        ("Pruning and fine-tuning", "student", "pruned", speedup["pruned_vs_student"]),
        ("Export to ONNX FP32", "pruned", "onnx_fp32", latency["pruned"]["p50_ms"] / latency["onnx_fp32"]["p50_ms"]),
        ("INT8", "onnx_fp32", "onnx_int8", speedup["int8_vs_fp32"]),
    ]
    lines = []
    for title, before, after, faster in steps:
        gained = accuracy[after]["map50_95"] - accuracy[before]["map50_95"]
        sizes = f"{accuracy[before]['size_mib']:.2f} to {accuracy[after]['size_mib']:.2f} MiB"
        lines.append(
            f"- **{title}** ({TITLES[before]} to {TITLES[after]}): {sizes}; {_speed(faster)}; {_change(gained)}."
        )
    lines.append("")
    lines.append("Speeds compare both sides in onnxruntime, but for the export, which goes from torch to onnxruntime.")
    if "int8_vs_fp32_openvino" in speedup:
        lines.append(f"In OpenVINO, INT8 is {_speed(speedup['int8_vs_fp32_openvino'])} than FP32.")
    return "\n".join(lines)


def _agreement(agreement: Mapping[str, Any], worst: Sequence[str]) -> str:
    mean_iou = agreement["mean_matched_iou"]
    overlap = "no pair was found" if mean_iou is None else f"pairs overlap by a mean IoU of {mean_iou:.3f}"
    text = (
        f"On {agreement['images']} test images, {100 * agreement['share_matched']:.1f}% of detections (score at least "
        f"{agreement['least_score']}) have a partner of the same class with IoU at least {agreement['least_iou']} in "
        f"the other model; {overlap}; {agreement['images_in_full_agreement']} images agree in full."
    )
    shown = "\n\n".join(f"![FP32 beside INT8]({link})" for link in worst)
    return f"{text}\n\nThe images that agree least, FP32 on the left, INT8 on the right:\n\n{shown}" if worst else text


def _machine(latency: Mapping[str, Any]) -> str:
    machine = latency["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    flags = ", ".join(machine["flags"]) or "no vector flags known"
    return (
        f"The forward pass alone, one image of {machine['imgsz']} px, on {machine['cpu']} ({flags}; "
        f"{machine['cores']} cores), {machine['threads']} thread(s), {machine['rounds']} rounds in each of which every "
        f"model was timed once, after a pass that was not. {versions}."
    )


def _stage(name: str, metrics: Mapping[str, Any]) -> str:
    rows = [[f"`{key}`", _number(value)] for key, value in _flat(metrics)]
    return f"<details><summary>{name}</summary>\n\n{_table(['metric', 'value'], rows)}\n\n</details>"


def _change(gained: float) -> str:
    """Say what happened to mAP50-95; a small change in either direction is not a result."""
    text = f"mAP50-95 {100 * gained:+.1f} points"
    return f"{text} (within noise: one seed)" if abs(gained) < ACCURACY_NOISE else text


def _speed(faster: float) -> str:
    """Say how two latencies compare; `faster` is the older over the newer."""
    if abs(faster - 1) <= LATENCY_NOISE:
        return f"no faster ({_times(faster)}, within noise)"
    if faster < 1:
        return f"**slower** ({_times(faster)} the speed)"
    return f"{_times(faster)} faster"


def _times(ratio: float) -> str:
    return f"{ratio:.2f} times"


def _points(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    # A bar in a name would end the cell.
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(re.sub(r"\|", r"\|", cell) for cell in line) + " |" for line in lines)


def _flat(metrics: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the single values among nested metrics, by dotted name."""
    found: list[tuple[str, Any]] = []
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, int | float | str):
            found.append((f"{prefix}{key}", value))
    return found
