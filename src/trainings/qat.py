"""Quantization-aware training as part of quantize: the float network teaches itself to be rounded."""

from __future__ import annotations

from typing import Any

from src.config import Quantize
from src.deployment.export import export_onnx
from src.detector.checkpoint import load_detector
from src.quantization.calibrated_network import Bench
from src.quantization.fake_quantization import unaware
from src.quantization.search import Setting
from src.trainings.job import train_on_the_way
from src.trainings.teachers import taught_by
from src.workflow.stage import Place
from src.workflow.tracking import Run

NETWORK = "models/pruned.pt"


def trained_for(setting: Setting, bench: Bench, params: Quantize, place: Place, log: Run, **tuning: Any) -> Bench:
    """Train the pruned network to be quantized in this setting, and return the bench of what comes out.

    With `method` tuned it is trained without rounding: the control that shows what the epochs alone are worth.

    Args:
        setting: what is rounded, and how.
        bench: of the float network as it is.
        params: the stage's; its settings are the trainer's.
        place: where the float network lies.
        log: gets a run below the stage's.
        tuning: what `train_on_the_way` needs: prepared, device, kept.

    Raises:
        UserError: models/pruned.onnx does not hold the weights of models/pruned.pt.
    """
    path = place.read(NETWORK)
    network = load_detector(path)
    varied = [setting.calibrator, f"per_channel={setting.per_channel}", f"symmetric={setting.symmetric_activations}"]
    rounds = params.method != "tuned"
    weights = train_on_the_way(
        bench.aware(network, setting) if rounds else network,
        "-".join(["qat" if rounds else "tuned", *varied, f"float_layers={setting.float_layers}"]),
        params,
        log,
        make_criterion=taught_by(path, params, place, tuning["prepared"]) if params.alpha else None,
        finished=lambda trained: unaware(trained, network) if rounds else trained,
        **tuning,
    )
    exported = weights.with_suffix(".onnx")
    export_onnx(weights, exported, params.imgsz)
    return bench.with_weights(exported)
