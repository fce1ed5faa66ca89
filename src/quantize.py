"""quantize: turns the pruned student's ONNX into INT8, with the ranges that calibrate saved.

`method=qat` trains the network for it first and observes the result. Controls: `tuned`, the same training without
rounding; `dynamic`, whose ranges are found at run time; `fp16`; and `int4`, weights of 4 bits in float arithmetic.

Reads models/pruned.onnx, models/calibration.json and data/prepared (val, to score the result; train, to find sensitive
layers and to train), and models/pruned.pt to train. Writes models/int8.onnx, reports/quantize.json and
reports/quantize/: what `max_drop` tried and, where asked for or needed, the sensitivity of every layer.
"""

from __future__ import annotations

from src.workflow.command import command

if __name__ == "__main__":
    command("quantize")

import logging
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from src.config.quantize import WITHOUT_RANGES, Quantize
from src.deployment.forwards import forwards_by_runtime
from src.deployment.kernels import count_convolutions
from src.detector.accuracy import Accuracy, validate
from src.detector.dataset import view_of
from src.evaluation.latency import measure
from src.foundation.atomic import whole_file, whole_folder
from src.foundation.digests import digest
from src.foundation.errors import SettingError
from src.foundation.pipeline import CALIBRATION, FLOAT_ONNX, INT8_ONNX, PREPARED, PRUNED
from src.quantization.calibrated_network import CalibratedNetwork, LayerRanking
from src.quantization.dynamic import quantize_dynamically
from src.quantization.fp16 import to_fp16
from src.quantization.int4 import to_int4_weights
from src.quantization.ranges.calibration import read_calibration
from src.quantization.search import Candidate, Try, best, search
from src.quantization.setting import Setting
from src.reporting.quantization_tables import write_sensitivity, write_tries
from src.trainings.job import MIB, TrainingJob, training_job
from src.trainings.qat import train_for
from src.trainings.teachers import Teachers, objective_of
from src.workflow.stage import StageResult
from src.workflow.stage_files import StageFiles
from src.workflow.tracking import Run

LATENCY_ROUNDS = 30

_logger = logging.getLogger(__name__)


def run(params: Quantize, files: StageFiles, log: Run) -> StageResult:
    """Quantize, and return the size, the kernels and the accuracy on val of the result."""
    source, target = files.read(FLOAT_ONNX), files.write(INT8_ONNX)
    calibration = read_calibration(files.read(CALIBRATION), source, params.imgsz)
    objective = objective_of(params)
    inputs = {FLOAT_ONNX: source, CALIBRATION: files.read(CALIBRATION), PRUNED: files.project / PRUNED}
    with training_job(params, files, log, inputs) as job, view_of(job.prepared) as data:
        network = CalibratedNetwork(onnx.load(source), calibration, job.prepared / "images/train", params.cpu_threads)
        first = _first(params)
        ranking = LayerRanking(network, first.setting, params.sensitivity_images)
        _expect_layers(params.float_layers, len(ranking.layers))
        work = _Work(network, ranking, job, Teachers.of_stage(params, objective, job) if objective else None)
        val = partial(validate, data_yaml=data, split="val", imgsz=params.imgsz, device=job.device)
        method, chosen, tried = params.method, first, list[Try]()
        if params.max_drop is not None:
            tried = _search(first, work, val(source).map50_95, params.max_drop, val)
            chosen = best(tried).candidate
            method = _method(chosen)
        with whole_file(target) as incomplete:
            onnx.save(METHODS[method](work, chosen.setting), incomplete)
        accuracy = val(target)
    _write_report(params, chosen, tried, ranking, files, log)
    _record(params, next(network.images()), files, log)
    return StageResult(_metrics(params, chosen, tried, accuracy, source, target))


@dataclass
class _Work:
    """The inputs of the methods.

    Attributes:
        network: the float network with its ranges.
        ranking: its layers by sensitivity.
        job: of the methods that train.
        teachers: loads the float network as the teacher of these; None: the labels alone teach.
        trained: the networks that were trained, by setting and whether they were rounded.
    """

    network: CalibratedNetwork
    ranking: LayerRanking
    job: TrainingJob
    teachers: Teachers | None
    trained: dict[tuple[Setting, bool], CalibratedNetwork] = field(default_factory=dict)

    def train(self, setting: Setting, *, rounding: bool) -> CalibratedNetwork:
        """Return the network after a training, which takes place once per setting."""
        key = (setting, rounding)
        if key not in self.trained:
            make_criterion = self.teachers.taught_by(self.job.files.read(PRUNED)) if self.teachers else None
            self.trained[key] = train_for(
                setting, self.network, self.ranking, self.job, make_criterion, rounding=rounding
            )
        return self.trained[key]


def static(work: _Work, setting: Setting) -> onnx.ModelProto:
    """Quantize with the ranges that calibrate saved."""
    return work.network.quantized(setting, work.ranking)


def qat(work: _Work, setting: Setting) -> onnx.ModelProto:
    """Train with rounding, observe again, quantize."""
    return work.train(setting, rounding=True).quantized(setting, work.ranking)


def tuned(work: _Work, setting: Setting) -> onnx.ModelProto:
    """Control: the training of `qat` without rounding."""
    return work.train(setting, rounding=False).quantized(setting, work.ranking)


def dynamic(work: _Work, setting: Setting) -> onnx.ModelProto:
    """Control: ranges are found while the network runs."""
    return quantize_dynamically(work.network.model, float_head=setting.float_head)


def fp16(work: _Work, setting: Setting) -> onnx.ModelProto:
    """Control: half precision."""
    return to_fp16(work.network.model)


def int4(work: _Work, setting: Setting) -> onnx.ModelProto:
    """Control: weights of 4 bits."""
    return to_int4_weights(work.network.model)


METHODS = {"static": static, "qat": qat, "tuned": tuned, "dynamic": dynamic, "fp16": fp16, "int4": int4}


def _first(params: Quantize) -> Candidate:
    setting = Setting(**{item.name: getattr(params, item.name) for item in fields(Setting)})
    return Candidate(setting, trained=params.method in ("qat", "tuned"))


def _method(candidate: Candidate) -> str:
    return "qat" if candidate.trained else "static"


def _expect_layers(float_layers: int, there: int) -> None:
    if float_layers > there:
        raise SettingError("float_layers", f"must be at most {there}, the number of layers, got {float_layers}")


def _search(
    first: Candidate, work: _Work, float_map50_95: float, max_drop: float, val: Callable[[Path], Accuracy]
) -> list[Try]:
    """Try candidates until one loses at most `max_drop` on val; each is a run below the stage's."""

    def score(candidate: Candidate) -> float:
        with tempfile.TemporaryDirectory(prefix="quantize-") as scratch:
            network = Path(scratch) / "int8.onnx"
            onnx.save(METHODS[_method(candidate)](work, candidate.setting), network)
            map50_95 = val(network).map50_95
        name = ",".join(f"{key}={value}" for key, value in candidate.varied.items())
        work.job.log.child(name, candidate.varied, {"val": {"map50_95": map50_95}})
        _logger.info("%s: val mAP50-95 %.4f, %.4f below FP32", name, map50_95, float_map50_95 - map50_95)
        return map50_95

    tried = search(first, float_map50_95, max_drop, score)
    if tried[-1].drop > max_drop:
        _logger.warning(
            "quantize.max_drop=%s does not hold: the best of %d settings loses %.4f: allow more",
            max_drop,
            len(tried),
            best(tried).drop,
        )
    return tried


def _write_report(
    params: Quantize, chosen: Candidate, tried: list[Try], ranking: LayerRanking, files: StageFiles, log: Run
) -> None:
    report = files.write("reports/quantize")
    with whole_folder(report) as folder:
        write_tries(tried, folder / "tries.csv")
        if params.sensitivity or chosen.setting.float_layers:
            write_sensitivity(ranking, folder)
    log.artifact(report, folder="plots")
    if params.method not in WITHOUT_RANGES:
        log.tags({f"chosen.{name}": str(value) for name, value in chosen.varied.items()})


def _record(params: Quantize, image: NDArray[np.float32], files: StageFiles, log: Run) -> None:
    """Record the dataset, the model and, in MLflow alone, the latency: the report is the same on every run."""
    log.dataset("prepared", digest(files.inputs[PREPARED]), PREPARED, {"split": "val"})
    log.onnx_model(files.outputs[INT8_ONNX], image, params.register)
    log.metrics({"latency": _latency(files.inputs[FLOAT_ONNX], files.outputs[INT8_ONNX], image, params.cpu_threads)})


def _latency(source: Path, target: Path, image: NDArray[np.float32], threads: int) -> dict[str, Any]:
    """Return the median ms of both networks, timed in turns, and their ratio, so that sweeps can be judged by speed.

    Where OpenVINO is installed, its times are under `openvino`.
    """
    forwards = {
        f"{runtime} {name}": forward
        for name, path in (("fp32", source), ("int8", target))
        for runtime, forward in forwards_by_runtime(path, image, threads).items()
    }
    latency = measure(forwards, LATENCY_ROUNDS)

    def compared(runtime: str) -> dict[str, float]:
        fp32, int8 = (latency[f"{runtime} {name}"].p50_ms for name in ("fp32", "int8"))
        return {"fp32_p50_ms": fp32, "int8_p50_ms": int8, "speedup": round(fp32 / int8, 3)}

    in_openvino = {"openvino": compared("openvino")} if "openvino int8" in latency else {}
    return {**compared("onnxruntime"), **in_openvino}


def _metrics(
    params: Quantize, chosen: Candidate, tried: list[Try], accuracy: Accuracy, source: Path, target: Path
) -> dict[str, Any]:
    convolutions = count_convolutions(target)
    return {
        "method": params.method,
        "target": params.target,
        "val": asdict(accuracy),
        "size_mib": round(target.stat().st_size / MIB, 4),
        "fp32_size_mib": round(source.stat().st_size / MIB, 4),
        "integer_convolutions": convolutions.integer,
        "convolutions": convolutions.integer + convolutions.float,
        "float_layers": chosen.setting.float_layers,
        "tries": len(tried),
    }
