"""Trains, prunes and quantizes a candidate by the pipeline's own stages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from src.config.distill import Distill
from src.config.prune import Prune
from src.foundation.pipeline import CALIBRATION, FLOAT_ONNX, INT8_ONNX, PRUNED, STUDENT, TEACHER
from src.searching.candidates import Candidate, Network
from src.searching.chain import Chain, Made
from src.searching.halving import scaled
from src.searching.settings import quantize_overrides

OUTPUTS = (STUDENT, PRUNED, FLOAT_ONNX, CALIBRATION, INT8_ONNX)


@dataclass(frozen=True)
class Pipeline:
    """The stages of the pipeline, for any candidate and for fewer epochs.

    Attributes:
        chain: runs the stages and keeps their results.
        teacher: its file.
        distill, prune: the settings in params.yaml.
    """

    chain: Chain
    teacher: Path
    distill: Distill
    prune: Prune

    def epochs(self, of_rung: int) -> dict[str, int]:
        """Return the epochs of each stage in a rung whose distillation has so many epochs."""
        return {
            "distill": of_rung,
            "prune": scaled(self.prune.epochs, of_rung, self.distill.epochs, least=self.prune.rounds),
        }

    def distilled(self, network: Network, of_rung: int, parent_run_id: str | None) -> Made:
        """Return the student of a network. Networks that differ in the share of channels share it."""
        epochs = self.epochs(of_rung)["distill"]
        name = f"{_student(network)}, {epochs} epochs"
        models = {TEACHER: self.teacher}
        return self.chain.make("distill", network.overrides("distill", epochs), models, parent_run_id, name)

    def pruned(self, network: Network, of_rung: int, parent_run_id: str | None) -> Made:
        """Return the pruned and fine-tuned network."""
        epochs = self.epochs(of_rung)["prune"]
        student = self.distilled(network, of_rung, parent_run_id).folder / STUDENT
        models = {TEACHER: self.teacher, STUDENT: student}
        name = f"{network}, {of_rung} and {epochs} epochs"
        return self.chain.make("prune", network.overrides("prune", epochs), models, parent_run_id, name)

    def quantized(self, candidate: Candidate, of_rung: int, parent_run_id: str | None) -> tuple[Made, dict[str, Path]]:
        """Return the INT8 network of a candidate, and all models that led to it by their names in the pipeline."""
        network = candidate.network
        student = self.distilled(network, of_rung, parent_run_id)
        pruned = self.pruned(network, of_rung, parent_run_id)
        models = {STUDENT: student.folder / STUDENT, PRUNED: pruned.folder / PRUNED}
        calibrated = self.chain.make("calibrate", network.overrides("calibrate"), models, parent_run_id, str(network))
        models |= {name: calibrated.folder / name for name in (FLOAT_ONNX, CALIBRATION)}
        overrides = quantize_overrides(network, candidate.target)
        made = self.chain.make("quantize", overrides, models, parent_run_id, str(candidate))
        return made, {**models, INT8_ONNX: made.folder / INT8_ONNX}


def _student(network: Network) -> str:
    return str(network).rpartition(",")[0]
