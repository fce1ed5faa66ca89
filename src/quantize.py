"""Turn the pruned student's ONNX into INT8 with the ranges that calibrate saved; nothing is observed again.

`method` qat trains the network for it first, and observes what came out. There are controls: tuned, the same training
without rounding; dynamic, whose ranges are found at run time; fp16; and int4, weights of 4 bits in float arithmetic.

Reads models/pruned.onnx, models/calibration.json and data/prepared (val, to score the result; train, to find the layers
that suffer most and to train); to train also models/pruned.pt. Writes models/int8.onnx, reports/quantize.json and
reports/quantize/: what `max_drop` tried, and the sensitivity of every layer where that was asked for or needed.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import asdict, astuple, fields
from functools import cache, partial
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from omegaconf import DictConfig

from src.config import CALIBRATORS, Quantize
from src.deployment.kernels import count_convolutions
from src.detector.accuracy import Accuracy, validate
from src.detector.dataset import view_of
from src.detector.runtime import settle
from src.evaluation.latency import forwards_by_runtime, measure
from src.foundation.atomic import whole_file, whole_folder
from src.foundation.digests import digest
from src.foundation.errors import UserError
from src.quantization import WITHOUT_RANGES
from src.quantization.calibrated_network import Bench
from src.quantization.calibration import read_calibration
from src.quantization.dynamic import quantize_dynamically
from src.quantization.fp16 import halve
from src.quantization.int4 import with_int4_weights
from src.quantization.int8 import Int8
from src.quantization.search import Setting, Try, best, search
from src.reporting.quantization_plots import draw_sensitivity
from src.trainings.qat import trained_for
from src.workflow import stage
from src.workflow.tracking import Run

MIB = 2**20

LATENCY_ROUNDS = 30

_logger = logging.getLogger(__name__)


def run(params: Quantize, place: stage.Place, log: Run) -> dict[str, Any]:
    """Quantize, and return how large, how fast in kind and how accurate on val the result is."""
    _expect_used(params)
    device = settle(params.device, params.threads)
    float_network = place.read("models/pruned.onnx")
    calibration = read_calibration(place.read("models/calibration.json"), float_network, params.imgsz)
    prepared = place.read("data/prepared")
    bench = Bench(
        onnx.load(float_network),
        calibration,
        _how(params),
        prepared / "images" / "train",
        params.bias_correction,
        params.sensitivity_images,
        params.threads,
    )
    if params.float_layers > len(bench.layers):
        most = len(bench.layers)
        raise UserError(f"quantize.float_layers must be at most {most}, all there are, got {params.float_layers}")
    with place.checkpoint() as kept, view_of(prepared) as data_yaml:

        @cache
        def bench_of(setting: Setting) -> Bench:
            if not setting.trained:
                return bench
            return trained_for(setting, bench, params, place, log, prepared=prepared, device=device, kept=kept)

        val = partial(validate, data_yaml=data_yaml, split="val", imgsz=params.imgsz, device=device)
        tried = _search(params, bench_of, float_network, val, log) if params.max_drop is not None else []
        setting = best(tried).setting if tried else _setting(params)
        network = place.write("models/int8.onnx")
        with whole_file(network) as incomplete:
            onnx.save(_quantized(params, bench_of(setting), setting), incomplete)
        accuracy = val(network)
    convolutions = count_convolutions(network)
    report = place.write("reports/quantize")
    with whole_folder(report) as folder:
        _write_tries(tried, folder / "tries.csv")
        if params.sensitivity or setting.float_layers:
            _write_sensitivity(bench, folder)
    log.artifact(report, folder="plots")
    if params.method not in WITHOUT_RANGES:
        log.tags({f"chosen.{name}": str(value) for name, value in asdict(setting).items()})
    log.dataset("prepared", digest(prepared), "data/prepared", {"split": "val"})
    log.onnx_model(network, next(bench.images()), params.register)
    # To MLflow alone: a report is the same on every run, and times are not.
    log.metrics({"latency": _latency(float_network, network, next(bench.images()), params.threads)})
    return {
        "method": params.method,
        "target": params.target,
        "val": asdict(accuracy),
        "size_mib": round(network.stat().st_size / MIB, 4),
        "fp32_size_mib": round(float_network.stat().st_size / MIB, 4),
        "integer_convolutions": convolutions.integer,
        "convolutions": convolutions.integer + convolutions.float,
        "float_layers": setting.float_layers,
        "tries": len(tried),
    }


def _latency(float_network: Path, network: Path, image: NDArray[np.float32], threads: int) -> dict[str, Any]:
    """Return the median ms of both networks, timed in turns, and their ratio: so that sweeps can be judged by speed.

    Where OpenVINO is installed, its times go under `openvino`.
    """
    runs = {
        f"{runtime} {name}": forward
        for name, path in (("fp32", float_network), ("int8", network))
        for runtime, forward in forwards_by_runtime(path, image, threads).items()
    }
    latency = measure(runs, LATENCY_ROUNDS)

    def compared(runtime: str) -> dict[str, float]:
        fp32, int8 = (latency[f"{runtime} {name}"].p50_ms for name in ("fp32", "int8"))
        return {"fp32_p50_ms": fp32, "int8_p50_ms": int8, "speedup": round(fp32 / int8, 3)}

    in_openvino = {"openvino": compared("openvino")} if "openvino int8" in latency else {}
    return {**compared("onnxruntime"), **in_openvino}


def _quantized(params: Quantize, bench: Bench, setting: Setting) -> onnx.ModelProto:
    match params.method:
        case "dynamic":
            return quantize_dynamically(bench.model, float_head=params.float_head)
        case "fp16":
            return halve(bench.model)
        case "int4":
            return with_int4_weights(bench.model)
        case _:
            return bench.quantized(setting)


def _how(params: Quantize) -> Int8:
    return Int8(
        target=params.target,
        format=params.format,
        activation_type=params.activation_type,
        weight_type=params.weight_type,
        per_channel=params.per_channel,
        symmetric_activations=params.symmetric_activations,
        symmetric_weights=params.symmetric_weights,
        float_head=params.float_head,
    )


def _setting(params: Quantize) -> Setting:
    return Setting(
        params.calibrator,
        params.per_channel,
        params.symmetric_activations,
        params.float_layers,
        trained=params.method in ("qat", "tuned"),
    )


def _expect_used(params: Quantize) -> None:
    """Check that nothing was asked for that the method would pass over, or the model registry refuse.

    Raises:
        UserError: something was.
    """
    asked = {
        "max_drop": params.max_drop is not None,
        "bias_correction": params.bias_correction,
        "float_layers": params.float_layers > 0,
        "sensitivity": params.sensitivity,
    }
    unused = [key for key, wanted in asked.items() if wanted and params.method in WITHOUT_RANGES]
    if params.max_drop is not None and params.method == "tuned":
        unused = ["max_drop"]  # whose last step is to train with rounding
    if unused:
        raise UserError(
            f"quantize.{unused[0]} has no meaning for quantize.method={params.method}: expected static or qat, or "
            f"quantize.{unused[0]} as it is by default: edit params.yaml"
        )
    name = params.register
    if name is not None and (not name.strip() or set(name) & set("/:")):  # MLflow would refuse it after the work
        raise UserError(f"quantize.register must be a name without / and :, or null, got {name!r}: edit params.yaml")


def _search(
    params: Quantize,
    bench_of: Callable[[Setting], Bench],
    float_network: Path,
    val: Callable[[Path], Accuracy],
    log: Run,
) -> list[Try]:
    """Try settings until one loses at most `max_drop` on val; each is a run below this one."""
    assert params.max_drop is not None
    float_map50_95 = val(float_network).map50_95

    def score(setting: Setting) -> float:
        with tempfile.TemporaryDirectory(prefix="quantize-") as scratch:
            network = Path(scratch) / "int8.onnx"
            onnx.save(bench_of(setting).quantized(setting), network)
            map50_95 = val(network).map50_95
        name = ",".join(f"{key}={value}" for key, value in asdict(setting).items())
        log.child(name, asdict(setting), {"val": {"map50_95": map50_95}})
        _logger.info("%s: val mAP50-95 %.4f, %.4f below FP32", name, map50_95, float_map50_95 - map50_95)
        return map50_95

    tried = search(_setting(params), CALIBRATORS, float_map50_95, params.max_drop, score)
    if tried[-1].drop > params.max_drop:
        _logger.warning(
            "quantize.max_drop=%s does not hold: the best of %d settings loses %.4f: allow more",
            params.max_drop,
            len(tried),
            best(tried).drop,
        )
    return tried


def _write_tries(tried: list[Try], path: Path) -> None:
    columns = [field.name for field in fields(Setting)] + ["val_map50_95", "drop", "bought"]
    rows = [(*astuple(one.setting), one.map50_95, one.drop, one.bought) for one in tried]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)


def _write_sensitivity(bench: Bench, folder: Path) -> None:
    table = pd.DataFrame([asdict(error) for error in bench.errors])
    table.to_csv(folder / "sensitivity.csv", index=False, float_format="%.4f")
    draw_sensitivity(dict(table.itertuples(index=False)), bench.layers, folder / "sensitivity.png")


@hydra.main(version_base="1.3", config_path="../conf", config_name="quantize")
def main(config: DictConfig) -> float | None:
    """Run the stage as its configuration says."""
    return stage.execute("quantize", run, config)


if __name__ == "__main__":
    stage.guard(main)
