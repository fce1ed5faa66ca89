"""chain: a student to INT8: pruned where asked for, exported, calibrated and quantized, by this project or by a rival.

    python -m benchmarks.evidence.chain bccd relu-heads pruned 0

Reads made/<data>/{data,models} and the student. Writes made/<data>/chains/<student>-<after>-<seed>/, with its float
network and its INT8 network, and reports/evidence/chain-<data>-<student>-<after>-<seed>.json.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import rivals
from benchmarks.evidence import MADE
from benchmarks.evidence.measuring import measure
from benchmarks.evidence.running import Begun, begin, measured_facts, minutes_of, performed, write_result
from benchmarks.evidence.runs import Run, content_of
from benchmarks.evidence.settings import chain_overrides, typed_params
from src.deployment.images import choose_images
from src.foundation.atomic import whole_folder
from src.foundation.digests import digest
from src.foundation.errors import UserError
from src.foundation.pipeline import CALIBRATION, FLOAT_ONNX, INT8_ONNX, PREPARED, PRUNED, STUDENT, TEACHER
from src.workflow.command import guarded

WRITES = {"prune": [PRUNED], "calibrate": [FLOAT_ONNX, CALIBRATION], "quantize": [INT8_ONNX]}
TRAINING = ("qat", "tuned")
"""Methods of quantize that train."""

CALIBRATION_IMAGES, MIB = 128, 2**20
ULTRALYTICS_QAT = "ultralytics_qat"


def main() -> None:
    """Quantize the student that the command line names."""
    begun = begin("chain")
    run, folder = begun.run, MADE / begun.run.data
    student = folder / f"students/{run.variant}-{run.seed}.pt"
    before = _result_of_student(run, student)
    overrides = chain_overrides(run, begun.protocol)
    quantize = typed_params("quantize", overrides["quantize"])
    project = _project(run, student, is_pruned="prune" in overrides)
    with minutes_of(run) as minutes:
        int8 = _to_int8(begun, overrides, quantize, project)
        kept = folder / f"chains/{run.variant}-{run.after}-{run.seed}"
        networks = _keep({"fp32": project / FLOAT_ONNX, "int8": int8}, kept)
        found = {
            name: {
                **measured_facts(
                    measure(network, folder / PREPARED, quantize.imgsz, quantize.device, quantize.cpu_threads)
                ),
                "size_mib": round(_bytes(network) / MIB, 4),
            }
            for name, network in networks.items()
        }
    shutil.rmtree(project)
    epochs = before["epochs"]
    own = epochs["own"] + _epochs_after(overrides, quantize, begun.protocol.after[str(run.after)].rival)
    facts = {"epochs": {"own": own, "below": epochs["below"]}, "minutes": minutes[0], **found}
    digests = {"teacher": before["digests"]["teacher"], "student": digest(student)}
    digests |= {name: digest(network) for name, network in networks.items()}
    write_result(begun, digests=digests, facts=facts, params=quantize)


def _result_of_student(run: Run, student: Path) -> Mapping[str, Any]:
    """Return the result of the chain's student.

    Raises:
        UserError: there is none, or it is of other weights.
    """
    name = Run("student", run.data, run.variant, seed=run.seed)
    found = content_of(name)
    if found is None or found["digests"]["weights"] != digest(student):
        raise UserError(f"{name.result} is not the result of {student}: run its stage again, or restore both")
    return found


def _project(run: Run, student: Path, *, is_pruned: bool) -> Path:
    """Return the folder in which the stages of a chain hand on; an interrupted chain finds its own again."""
    project, folder = MADE / run.data / f".chain-{run.name}", MADE / run.data
    links = {"data": folder / "data", TEACHER: folder / TEACHER, STUDENT: student}
    if not is_pruned:
        links[PRUNED] = student
    for name, target in links.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    return project


def _to_int8(begun: Begun, overrides: Mapping[str, list[str]], quantize: Any, project: Path) -> Path:
    """Run the stages of a chain that have not yet run, and return the INT8 network."""
    rival = begun.protocol.after[str(begun.run.after)].rival
    for stage, some in overrides.items():
        if rival and stage == "quantize":
            return RIVALS[rival](project, quantize)
        if all((project / name).exists() for name in WRITES[stage]):
            continue
        with performed(begun.run, stage, some, project) as done:
            for name in reversed(WRITES[stage]):
                os.replace(done.output / name, project / name)
    return project / INT8_ONNX


def _epochs_after(overrides: Mapping[str, list[str]], quantize: Any, rival: str | None) -> int:
    """Return the number of epochs after the student's own."""
    pruning = int(typed_params("prune", overrides["prune"]).epochs) if "prune" in overrides else 0
    trains = quantize.method in TRAINING or rival == ULTRALYTICS_QAT
    return pruning + (int(quantize.epochs) if trains else 0)


def _keep(networks: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """Copy networks into a folder, under their names, and return where they are."""
    with whole_folder(folder) as partial:
        for name, network in networks.items():
            if network.is_dir():
                shutil.copytree(network, partial / _kept_as(name, network))
            else:
                shutil.copy(network, partial / _kept_as(name, network))
    return {name: folder / _kept_as(name, network) for name, network in networks.items()}


def _kept_as(name: str, network: Path) -> str:
    return f"{name}_openvino_model" if network.is_dir() else f"{name}{network.suffix}"


def _bytes(network: Path) -> int:
    weights = next(network.glob("*.bin")) if network.is_dir() else network
    return weights.stat().st_size


def _ultralytics_export(form: str) -> Callable[[Path, Any], Path]:
    def quantized(project: Path, quantize: Any) -> Path:
        if form == "openvino" and not rivals.HAS_NNCF:
            raise UserError("NNCF is not installed: `pip install -c constraints.txt -e '.[bench]'`")
        images = choose_images(project / PREPARED / "images/train", CALIBRATION_IMAGES, seed=0)
        return rivals.ultralytics_int8(project / PRUNED, images, quantize.imgsz, form)

    return quantized


def _ultralytics_qat(project: Path, quantize: Any) -> Path:
    if not rivals.HAS_MODELOPT:
        raise UserError("nvidia-modelopt is not installed: `pip install -c constraints.txt -e '.[bench]'`")
    folder = project / "ultralytics-qat"
    return rivals.ultralytics_qat(project / PRUNED, project / PREPARED, quantize.trainer_arguments(), folder)


RIVALS: dict[str, Callable[[Path, Any], Path]] = {
    "ultralytics_export": _ultralytics_export("onnx"),
    ULTRALYTICS_QAT: _ultralytics_qat,
    "nncf": _ultralytics_export("openvino"),
}
"""Other tools: each returns the INT8 network of models/pruned.pt in a folder."""


if __name__ == "__main__":
    raise SystemExit(guarded(main))
