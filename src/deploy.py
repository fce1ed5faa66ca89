"""deploy: files for devices and runtimes: `python -m src.deploy 'target=[integer]'`.

A file is written only with its agreement and accuracy measured: it is made from the pruned student, read back, run on
val in its own runtime and compared with ONNX FP32. One that loses more than `max_drop`, or cannot be read back, is not
written, and the command fails. `dvc repro` does the same for each of `deploy.target` in params.yaml.

Reads models/pruned.pt, models/pruned.onnx, models/calibration.json and data/prepared. Writes a folder per target with
the file and its card (JSON, and the same facts in Markdown), and a page with all numbers.
"""

from __future__ import annotations

from src.workflow.command import command

if __name__ == "__main__":
    command("deploy")

import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import onnx

from src.config.composition import composed, register, typed
from src.config.deploy import Deploy
from src.config.eval_int8 import EvalInt8
from src.config.quantize import Quantize
from src.config.stages import STAGES
from src.delivery.card import MIB, Measured, facts_of
from src.delivery.measuring import accuracy_of, detections_of
from src.delivery.opened import Opened, in_onnxruntime
from src.delivery.target import Source, Target
from src.deployment.detections import Detections
from src.deployment.images import load_image
from src.detector.checkpoint import load_detector
from src.detector.dataset import expect_classes
from src.detector.runtime import settle
from src.evaluation.agreement import LEAST_IOU, compare
from src.evaluation.detections import LEAST_SCORE
from src.evaluation.gate import gate_passes
from src.evaluation.latency import Latency, is_busy, measure
from src.evaluation.machine import describe_machine
from src.foundation.atomic import whole_folder, write_json, write_text
from src.foundation.digests import digest
from src.foundation.errors import UserError
from src.foundation.pipeline import CALIBRATION, FLOAT_ONNX, PREPARED, PRUNED
from src.foundation.prepared import class_names, images_of
from src.quantization.calibrated_network import CalibratedNetwork
from src.quantization.ranges.calibration import read_calibration
from src.quantization.setting import Setting
from src.reporting.deploy_report import Row, write_card, write_page
from src.targets import target_of
from src.workflow.stage import StageResult
from src.workflow.stage_files import StageFiles
from src.workflow.tracking import Run

FP32 = "ONNX FP32"

_logger = logging.getLogger(__name__)


def run(params: Deploy, files: StageFiles, log: Run) -> StageResult:
    """Make, measure and write the files; return the figures, and a failure if one was not written."""
    targets = {name: target_of(name) for name in params.target}
    _expect_packages(targets)
    quantize, evaluation = pipeline_settings()
    settle("cpu", evaluation.cpu_threads)
    prepared = files.read(PREPARED)
    log.dataset("prepared", digest(prepared), PREPARED, {"split": "val"})
    source = _source(quantize, prepared, files)
    with tempfile.TemporaryDirectory(prefix="deploy-") as scratch:
        trial = _Trial.of(prepared, evaluation, files)
        found, faults = _tried(targets, source, trial, Path(scratch), params.max_drop)
        latency = trial.latencies(found)
        for name, measured in found.items():
            folder = None if name in faults else _write(name, targets[name], measured, trial, files)
            metrics = {**measured.metrics(), "latency": asdict(latency[name]), "written": folder is not None}
            log.child(name, {"target": name, "max_drop": params.max_drop}, metrics, folder)
        busy = is_busy(latency.values())
        rows = _rows(targets, found, faults, latency, trial)
        page = files.write(f"{files.report}.md")
        write_text(page, write_page(rows, _conditions(params, trial, busy)))
        log.artifact(page, folder="report")
    return StageResult(_results(rows, busy), "; ".join(faults.values()) or None)


def pipeline_settings() -> tuple[Quantize, EvalInt8]:
    """Return the settings of params.yaml by which files are quantized and timed."""
    register(STAGES)
    quantize, evaluation = (typed(stage, composed(stage)[0]) for stage in ("quantize", "eval_int8"))
    return quantize, evaluation


@dataclass(frozen=True)
class _Trial:
    """What every file is measured on.

    Attributes:
        prepared: the folder that prepare-labels wrote.
        names: of the classes.
        images: of val.
        evaluation: the size of the images, threads, and how files are timed.
        fp32: the network in float, with its accuracy.
        detections: those of the network in float, per image.
        made_from: the md5 of each file that a file is made from, by name.
    """

    prepared: Path
    names: list[str]
    images: list[Path]
    evaluation: EvalInt8
    fp32: Measured
    detections: list[Detections]
    made_from: dict[str, str]

    @classmethod
    def of(cls, prepared: Path, evaluation: EvalInt8, files: StageFiles) -> _Trial:
        """Return the trial, with the network in float measured."""
        names, images, imgsz = class_names(prepared), images_of(prepared, "val"), evaluation.imgsz
        network = files.read(FLOAT_ONNX)
        opened = in_onnxruntime(network, evaluation.latency_threads)
        accuracy = accuracy_of(opened, names, prepared, imgsz)
        detections = list(detections_of(opened, names, images, imgsz))
        made_from = {name: digest(files.read(name)) for name in (PRUNED, FLOAT_ONNX, CALIBRATION)}
        fp32 = Measured(network, opened, accuracy, accuracy, {})
        return cls(prepared, names, images, evaluation, fp32, detections, made_from)

    def measured(self, target: Target, source: Source, folder: Path) -> Measured:
        """Make a target's file in a new folder, read it back, and measure it on val.

        Raises:
            UserError: it cannot be made or read back.
        """
        folder.mkdir()
        file = folder / target.file
        target.write(source, file)
        opened = target.open(file, self.evaluation.latency_threads)
        imgsz = self.evaluation.imgsz
        accuracy = accuracy_of(opened, self.names, self.prepared, imgsz)
        compared = zip(self.images, self.detections, detections_of(opened, self.names, self.images, imgsz), strict=True)
        agreement = {image.name: compare(first, second, LEAST_IOU) for image, first, second in compared}
        beside = tuple(folder / name for name in target.beside)
        return Measured(file, opened, accuracy, self.fp32.accuracy, agreement, beside)

    def latencies(self, found: Mapping[str, Measured]) -> dict[str, Latency]:
        """Time one forward pass of every file and of the network in float, in turns."""
        image = load_image(self.images[0], self.evaluation.imgsz)

        def forward(opened: Opened) -> Any:
            prepared = opened.prepare(image)
            return lambda: opened.run(prepared)

        files = {FP32: self.fp32, **found}
        return measure({name: forward(one.opened) for name, one in files.items()}, self.evaluation.latency_rounds)


def _expect_packages(targets: Mapping[str, Target]) -> None:
    """Check that what the targets need is installed. Without it ultralytics would install packages of TFLite itself.

    Raises:
        UserError: with all that is missing.
    """
    missing = [f"{name} needs {lacking}" for name, target in targets.items() if (lacking := target.lacking())]
    if missing:
        raise UserError("; ".join(missing))


def _source(quantize: Quantize, prepared: Path, files: StageFiles) -> Source:
    """Return what files are made from.

    Raises:
        UserError: the network, its ranges and the dataset do not belong together.
    """
    weights = files.read(PRUNED)
    expect_classes(load_detector(weights), class_names(prepared), weights)
    network = files.read(FLOAT_ONNX)
    calibration = read_calibration(files.read(CALIBRATION), network, quantize.imgsz)
    if quantize.method != "static":
        _logger.warning("quantize.method is %s; files are made from the pruned student: static", quantize.method)
    setting = Setting(**{item.name: getattr(quantize, item.name) for item in fields(Setting)})
    calibrated = CalibratedNetwork(onnx.load(network), calibration, prepared / "images/train", quantize.cpu_threads)
    return Source(weights, calibrated, setting, quantize.sensitivity_images)


def _tried(
    targets: Mapping[str, Target], source: Source, trial: _Trial, scratch: Path, max_drop: float
) -> tuple[dict[str, Measured], dict[str, str]]:
    """Make and measure the file of every target; return those that could be, and why files are not to be written."""
    found, faults = {}, {}
    for name, target in targets.items():
        try:
            found[name] = trial.measured(target, source, scratch / name)
        except UserError as error:
            faults[name] = f"{name}: {error}"
            continue
        if not gate_passes(found[name].drop, max_drop):
            faults[name] = _too_much(name, found[name], max_drop)
    return found, faults


def _too_much(name: str, measured: Measured, max_drop: float) -> str:
    return (
        f"{name}: mAP50-95 {measured.accuracy.map50_95:.4f} on val, {measured.drop:.4f} below FP32 "
        f"({measured.fp32.map50_95:.4f}), max_drop allows {max_drop:g}: {measured.file.name} was not written"
    )


def _write(name: str, target: Target, measured: Measured, trial: _Trial, files: StageFiles) -> Path:
    """Write a file with its card, and return their folder."""
    facts = facts_of(name, target, measured, trial.names, trial.evaluation.imgsz, trial.made_from)
    with whole_folder(files.write(f"models/{name}")) as folder:
        for file in (measured.file, *measured.beside):
            shutil.copy(file, folder / file.name)
        write_json(folder / "card.json", facts)
        write_text(folder / "card.md", write_card(facts))
    return files.outputs[f"models/{name}"]


def _rows(
    targets: Mapping[str, Target],
    found: Mapping[str, Measured],
    faults: Mapping[str, str],
    latency: Mapping[str, Latency],
    trial: _Trial,
) -> list[Row]:
    flags = describe_machine()["flags"]
    size_mib = round(trial.fp32.file.stat().st_size / MIB, 4)
    fp32 = Row(FP32, {"val": asdict(trial.fp32.accuracy), "size_mib": size_mib}, latency[FP32])
    return [
        fp32,
        *(
            Row(
                name,
                found[name].metrics() if name in found else None,
                latency.get(name),
                target.foreign(flags),
                faults.get(name),
            )
            for name, target in targets.items()
        ),
    ]


def _results(rows: list[Row], busy: bool) -> dict[str, Any]:
    """Return all figures, as they are in reports/deploy.json; the network in float is the first of the rows.

    `busy` tells that the machine was, so that the times cannot be compared.
    """
    fp32, *files = rows
    targets = {
        row.name: {
            **(row.metrics or {}),
            **_latency(row),
            "foreign": row.foreign,
            "written": row.fault is None,
            "fault": row.fault,
        }
        for row in files
    }
    return {"fp32": {**(fp32.metrics or {}), **_latency(fp32)}, "targets": targets, "busy": busy}


def _latency(row: Row) -> dict[str, Any]:
    return {"latency": asdict(row.latency)} if row.latency else {}


def _conditions(params: Deploy, trial: _Trial, busy: bool) -> list[str]:
    threads = trial.evaluation.latency_threads
    return [
        f"Accuracy and agreement on the {len(trial.images)} images of val, each file in its runtime on this machine.",
        f"Same detections: of those with a score of {LEAST_SCORE:g} or more, the share that FP32 and the file have in "
        f"common (class, and IoU of {LEAST_IOU:g}).",
        f"Time: one forward pass on {describe_machine()['cpu']}, {threads} thread(s), in turns. A file that loses more "
        f"than {params.max_drop:g} of mAP50-95 is not written.",
        *(["The machine was busy: do not compare these times."] if busy else []),
    ]
