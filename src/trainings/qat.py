"""Training before quantization: quantization-aware training (QAT), and its control without rounding.

The float network is the teacher: it teaches its copy to be rounded.
"""

from __future__ import annotations

from src.deployment.export import export_onnx
from src.detector.checkpoint import load_detector
from src.detector.criterion import MakeCriterion
from src.foundation.pipeline import PRUNED
from src.quantization.calibrated_network import CalibratedNetwork, LayerRanking
from src.quantization.fake_quantization import without_fake_quantization
from src.quantization.setting import Setting
from src.trainings.job import TrainingJob


def train_for(
    setting: Setting,
    network: CalibratedNetwork,
    ranking: LayerRanking,
    job: TrainingJob,
    make_criterion: MakeCriterion | None,
    *,
    rounding: bool,
) -> CalibratedNetwork:
    """Train the pruned network for a setting, and return it calibrated again.

    Args:
        setting: where and how the network is rounded.
        network: the float network before this training.
        ranking: tells which layers stay in float.
        job: of the stage.
        make_criterion: makes the training loss; None: ultralytics' own.
        rounding: round in the forward pass (QAT). Without it the training shows what the epochs alone gain.

    Raises:
        UserError: the ONNX file does not hold the weights of the checkpoint.
    """
    checkpoint = load_detector(job.files.read(PRUNED))
    varied = [setting.calibrator, f"per_channel={setting.per_channel}", f"symmetric={setting.symmetric_activations}"]
    # Not in bfloat16: its 8 significant bits would round as coarsely as INT8 does.
    weights = job.in_float32().train_helper(
        "-".join(["qat" if rounding else "tuned", *varied, f"float_layers={setting.float_layers}"]),
        network.fake_quantized(checkpoint, setting, ranking) if rounding else checkpoint,
        make_criterion,
        finish=lambda trained: without_fake_quantization(trained, checkpoint) if rounding else trained,
    )
    exported = weights.with_suffix(".onnx")
    export_onnx(weights, exported, job.imgsz)
    return network.with_weights(exported)
