"""reports/report.md: the page to read first. The input is numbers, the output Markdown; nothing is measured here.

The first line is the verdict; what speaks against the run comes next, before any number. The page compares each step
with the step before. A pruned model that is slower is called slower, and a difference that other test images could
reverse is called noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src.config.quantize import WITHOUT_RANGES
from src.evaluation.bootstrap import DRAWS, Difference
from src.evaluation.gate import Gates
from src.evaluation.verdict import Verdict
from src.foundation.image_size import size_in_words
from src.reporting.escaping import code, fenced, plain
from src.reporting.verdict_words import headline, objections

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
    """Return the models with their runtimes: each in its own, then the models that OpenVINO ran, too."""
    own = [Timed(name, name, "onnxruntime" if name.startswith("onnx") else "torch") for name in TITLES]
    in_openvino = [Timed(name, f"{name}_openvino", "OpenVINO") for name in TITLES]
    return own + [one for one in in_openvino if one.key in latency]


@dataclass(frozen=True)
class Pictures:
    """Links to pictures, relative to the page: two plots, and images with FP32 beside INT8, worst agreement first."""

    pareto: str
    per_class: str
    worst: Sequence[str]


def write_report(
    accuracy: Mapping[str, Any],
    latency: Mapping[str, Any],
    upstream: Mapping[str, Mapping[str, Any]],
    settings_yaml: str,
    verdict: Verdict,
    gates: Gates,
    pictures: Pictures,
) -> str:
    """Return the page as Markdown.

    Args:
        accuracy: the content of reports/eval_int8.json.
        latency: the content of reports/latency.json.
        upstream: metrics of the earlier stages, by stage.
        settings_yaml: the content of params.yaml.
        verdict: what speaks against the run.
        gates: the limits of INT8.
        pictures: the links to them.
    """
    caution = ["These changes show nothing: see the verdict."] if verdict.proves_nothing else []
    sections = [
        f"# Verdict: {headline(verdict, accuracy, latency, upstream['quantize'])}",
        *_objections(verdict),
        "## From teacher to INT8",
        _summary(accuracy, latency),
        _gates(accuracy, verdict, gates),
        "## The five models, on test",
        _models(accuracy, latency),
        *_caveats(upstream["quantize"], latency),
        f"![accuracy over latency]({pictures.pareto})",
        "## Cost and gain of each step",
        *caution,
        _steps(accuracy, latency),
        "## What distillation gained",
        *caution,
        _distillation(accuracy, upstream["distill"]),
        *_withheld(accuracy, upstream["distill"]["withheld_classes"]),
        "## Agreement of INT8 and FP32",
        _agreement(accuracy["agreement"], pictures.worst),
        "## Accuracy by class",
        f"![mAP50-95 by class]({pictures.per_class})",
        "## How latency was measured",
        _machine(latency),
        "## Metrics of the earlier stages",
        "\n\n".join(_stage(name, metrics) for name, metrics in upstream.items()),
        "## Settings",
        fenced(settings_yaml, "yaml"),
    ]
    return "\n\n".join(sections) + "\n"


def _objections(verdict: Verdict) -> list[str]:
    lines = "\n".join(f"- {line}" for line in objections(verdict))
    return [lines] if lines else []


def _summary(accuracy: Mapping[str, Any], latency: Mapping[str, Any]) -> str:
    teacher, int8 = accuracy["teacher"], accuracy["onnx_int8"]
    return (
        f"The INT8 file is {_times(teacher['size_mib'] / int8['size_mib'])} smaller than the teacher's file. In the "
        f"same runtime, INT8 is {_speed(latency['speedup']['int8_vs_teacher'])} as the teacher. On test, mAP50-95 is "
        f"{_points(int8['map50_95'])} for INT8 and {_points(teacher['map50_95'])} for the teacher."
    )


def _gates(accuracy: Mapping[str, Any], verdict: Verdict, gates: Gates) -> str:
    drop = accuracy["int8_drop"]["vs_fp32"]
    passed = "passed, which shows nothing" if verdict.proves_nothing else "passed"
    limits = [
        f"INT8 may lose {_points(gates.max_drop)} points of mAP50-95 against ONNX FP32; it "
        f"{'lost' if drop >= 0 else 'gained'} {_points(abs(drop))}."
    ]
    if gates.min_map50_95 is not None:
        reached = _points(accuracy["onnx_int8"]["map50_95"])
        limits.append(f"It needs {_points(gates.min_map50_95)}; it has {reached}.")
    if gates.min_class_map50_95 is not None:
        limits.append(f"It needs {_points(gates.min_class_map50_95)} on each class.")
    return f"Gate: {'**FAILED**' if verdict.fails else passed}. {' '.join(limits)}"


def _models(accuracy: Mapping[str, Any], latency: Mapping[str, Any]) -> str:
    rows = []
    in_mj = latency["machine"]["no_energy"] is None
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
                *([f"{times['energy_mj']:.1f}"] if in_mj else []),
                one.runtime,
            ]
        )
    header = ["model", "MiB", "M parameters", "GFLOPs", "mAP50-95", "mAP50", "p50 ms", "p95 ms"]
    header += ["mJ", "runtime"] if in_mj else ["runtime"]
    teacher_ms, student_ms = latency["teacher_onnx"]["p50_ms"], latency["student_onnx"]["p50_ms"]
    return (
        f"{_table(header, rows)}\n\nIn onnxruntime the teacher takes {teacher_ms:.2f} ms and the student "
        f"{student_ms:.2f} ms. mAP is in percent. `.pt` files have 16-bit weights, ONNX FP32 files 32-bit weights."
    )


def _caveats(quantize: Mapping[str, Any], latency: Mapping[str, Any]) -> list[str]:
    """Return a note if the last model is a control, or if it is timed in a runtime for which it is not made."""
    in_openvino = "onnx_int8_openvino" in latency
    if quantize["method"] in WITHOUT_RANGES:
        return [f"**The last model is a control** (`quantize.method={quantize['method']}`), not static INT8."]
    if quantize["target"] != "onnxruntime":
        measured = "The last row is INT8 in OpenVINO." if in_openvino else "OpenVINO is not installed: it has no row."
        return [
            f"**The INT8 graph is made for OpenVINO** (`quantize.target={quantize['target']}`). onnxruntime computes "
            "its convolutions before a SiLU in float, so its latency in onnxruntime does not show its latency in "
            f"OpenVINO. {measured}"
        ]
    if in_openvino:
        return [
            "The INT8 graph is made for onnxruntime, so it does not reach the best speed in OpenVINO: see "
            "`quantize.target`."
        ]
    return []


def _steps(accuracy: Mapping[str, Any], latency: Mapping[str, Any]) -> str:
    speedup = latency["speedup"]
    steps = [
        ("A smaller network", "teacher", "student", speedup["student_vs_teacher"], "student_vs_teacher"),
        ("Pruning and fine-tuning", "student", "pruned", speedup["pruned_vs_student"], "pruned_vs_student"),
        (
            "Export to ONNX FP32",
            "pruned",
            "onnx_fp32",
            latency["pruned"]["p50_ms"] / latency["onnx_fp32"]["p50_ms"],
            "fp32_vs_pruned",
        ),
        ("INT8", "onnx_fp32", "onnx_int8", speedup["int8_vs_fp32"], "int8_vs_fp32"),
    ]
    lines = []
    for title, before, after, faster, name in steps:
        change = _change(Difference(**accuracy["differences"][name]))
        sizes = f"{accuracy[before]['size_mib']:.2f} to {accuracy[after]['size_mib']:.2f} MiB"
        lines.append(f"- **{title}** ({TITLES[before]} to {TITLES[after]}): {sizes}; {_speed(faster)}; {change}.")
    lines.append("")
    lines.append("Speeds compare both models in onnxruntime. Only the export compares torch with onnxruntime.")
    if "int8_vs_fp32_openvino" in speedup:
        lines.append(f"In OpenVINO, INT8 is {_speed(speedup['int8_vs_fp32_openvino'])} as FP32.")
    lines.append("")
    lines.append(
        f"Brackets hold 95% of the differences on {DRAWS} draws of the test images, the same for both models (paired "
        "bootstrap). They know nothing of other seeds: each network was trained with one; sweep `seed=0,1,2`."
    )
    return "\n".join(lines)


def _distillation(accuracy: Mapping[str, Any], distill: Mapping[str, Any]) -> str:
    control = distill["control"]
    if control is None:
        return (
            "Not known: no control was trained. `distill.control` turned it off, or the student has no soft targets "
            "(`distill.alpha`, `choices.teaching`)."
        )
    gained = Difference(**accuracy["differences"]["student_vs_control"])
    rows = [
        [name, _points(val["map50_95"]), _points(test["map50_95"])]
        for name, val, test in (
            ("labels alone", control["val"], accuracy["control"]),
            ("labels and soft targets", distill["val"], accuracy["student"]),
        )
    ]
    return (
        f"{_table(['trained on', 'val mAP50-95', 'test mAP50-95'], rows)}\n\nThe control is the same student, from the "
        "same initial weights, for as many epochs and with the same seed, trained on the labels alone. On test, "
        f"the soft targets: {_change(gained)}. One seed was trained: sweep `seed=0,1,2` before you believe a gain."
    )


def _withheld(accuracy: Mapping[str, Any], classes: Sequence[str]) -> list[str]:
    """Return the accuracy on the classes whose labels the student did not get; nothing if it got all."""
    if not classes:
        return []
    models = {name: accuracy[name] for name in ("teacher", "student", "control") if name in accuracy}
    rows = [[code(name), *(_of_class(model, name) for model in models.values())] for name in classes]
    return [
        "The student did not get the labels of these classes (`distill.withheld_classes`), nor did the control. The "
        "teacher did. mAP50-95 on test:",
        _table(["class", *models], rows),
    ]


def _of_class(model: Mapping[str, Any], name: str) -> str:
    return _points(model["per_class"][name]["map50_95"]) if name in model["per_class"] else "no box"


def _agreement(agreement: Mapping[str, Any], worst: Sequence[str]) -> str:
    images, with_detections = agreement["images"], agreement["images_with_detections"]
    if not with_detections:
        return (
            f"Neither model finds anything at a score of {agreement['least_score']} in the {images} test images: there "
            "is nothing to agree on."
        )
    mean_iou = agreement["mean_matched_iou"]
    overlap = "There are no pairs." if mean_iou is None else f"The mean IoU of the pairs is {mean_iou:.3f}."
    of_all = f"{images}" if with_detections == images else f"{with_detections} of {images}"
    without = "" if with_detections == images else " In the others neither model finds anything."
    text = (
        f"On {of_all} test images, on average {100 * agreement['share_matched']:.1f}% of an image's "
        f"detections (score at least {agreement['least_score']}) match a detection of the other model: same class, IoU "
        f"at least {agreement['least_iou']}. {overlap} In {agreement['images_in_full_agreement']} images all "
        f"detections match.{without}"
    )
    shown = "\n\n".join(f"![FP32 beside INT8]({link})" for link in worst)
    title = "The images with the least agreement, FP32 on the left, INT8 on the right:"
    return f"{text}\n\n{title}\n\n{shown}" if worst else text


def _machine(latency: Mapping[str, Any]) -> str:
    machine = latency["machine"]
    versions = plain(", ".join(f"{name} {version}" for name, version in machine["versions"].items()))
    flags = plain(", ".join(machine["flags"])) or "no vector flags known"
    return (
        f"Only the forward pass is timed: one image of {size_in_words(machine['imgsz'])} px, on "
        f"{plain(machine['cpu'])} "
        f"({flags}; {machine['cores']} cores), {machine['threads']} thread(s), {machine['rounds']} rounds. In each "
        f"round every model runs twice, and the second pass is timed. {versions}.\n\n{_energy(machine['no_energy'])}"
    )


def _energy(no_energy: str | None) -> str:
    if no_energy is not None:
        return f"The energy per image was not measured: {plain(no_energy)}."
    return (
        "mJ is the energy of the processor's packages per image, with their idle power and the work of other "
        "processes: compare the models, on an idle machine."
    )


def _stage(name: str, metrics: Mapping[str, Any]) -> str:
    rows = [[code(key), _shown(value)] for key, value in _flat(metrics)]
    return f"<details><summary>{name}</summary>\n\n{_table(['metric', 'value'], rows)}\n\n</details>"


def _change(change: Difference) -> str:
    """Return the change of mAP50-95 in words: a gain or a loss only if its interval excludes 0."""
    interval = f"[{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
    if change.is_noise:
        return f"mAP50-95 {100 * change.gained:+.1f} points {interval}, within noise"
    return f"{'gains' if change.gained > 0 else 'loses'} {_points(abs(change.gained))} points of mAP50-95 {interval}"


def _speed(faster: float) -> str:
    """Return a comparison of two latencies in words, for `is ... as`; `faster` is the older latency over the newer."""
    if abs(faster - 1) <= LATENCY_NOISE:
        return f"about as fast ({_times(faster)}, within noise)"
    return f"{_times(faster)} as fast" if faster > 1 else f"**slower**: {_times(faster)} as fast"


def _times(ratio: float) -> str:
    return f"{ratio:.2f} times"


def _points(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _shown(value: float | str) -> str:
    if isinstance(value, str):
        return code(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _flat(metrics: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the numbers and strings of nested metrics, by dotted name."""
    found: list[tuple[str, Any]] = []
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, int | float | str):
            found.append((f"{prefix}{key}", value))
    return found
