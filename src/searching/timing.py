"""The costs of candidates: all are timed in turns, as in eval-int8, and a table keeps the times.

The table is valid for one machine, and for the networks that were timed together.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from src.config.eval_int8 import EvalInt8
from src.deployment.forwards import HAS_OPENVINO, onnx_forward, openvino_forward
from src.deployment.images import load_image
from src.detector.checkpoint import architecture_digest
from src.evaluation.latency import Latency, is_busy, measure
from src.evaluation.machine import describe_machine
from src.foundation.atomic import whole_folder, write_json
from src.foundation.errors import SettingError, UserError
from src.foundation.prepared import class_names, images_of
from src.searching.budget import Cost
from src.searching.candidates import Candidate, Network
from src.searching.estimate import shown_time
from src.searching.settings import quantize_overrides, settings_of
from src.searching.untrained import Arithmetic, Recipe, write_untrained
from src.workflow.code import code_digest

MIB = 2**20
OPENVINO = "openvino"
ARITHMETIC = "arithmetic.json"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timed:
    """Candidates before training.

    Attributes:
        costs: of each.
        arithmetic: of their networks.
    """

    costs: dict[Candidate, Cost]
    arithmetic: dict[Network, Arithmetic]


def expect_runtimes(targets: Sequence[str]) -> None:
    """Check that the runtimes of targets are installed.

    Raises:
        SettingError: OpenVINO is not.
    """
    missing = [target for target in targets if target.startswith(OPENVINO) and not HAS_OPENVINO]
    if missing:
        raise SettingError(
            "target",
            f"{', '.join(missing)}: OpenVINO is not installed, so nothing can be timed in it: leave it out, "
            "or `pip install openvino`",
        )


def timed(candidates: Sequence[Candidate], prepared: Path, root: Path, settings: EvalInt8) -> Timed:
    """Export and quantize untrained candidates, and measure their costs. What was made before is not made again.

    Args:
        candidates: those of one network follow each other.
        prepared: the folder that prepare-labels wrote.
        root: the folder of what a search keeps.
        settings: of eval-int8, for the number of rounds and threads.

    Raises:
        UserError: a network cannot be built, pruned, exported or quantized.
    """
    targets: dict[Network, list[str]] = {}
    for candidate in candidates:
        targets.setdefault(candidate.network, []).append(candidate.target)
    folders, arithmetic = {}, {}
    begun_s = time.monotonic()
    for number, network in enumerate(tqdm(targets, desc="exporting and quantizing", unit="network")):
        try:
            folders[network] = _untrained(network, targets[network], prepared, root)
        except UserError as error:
            raise UserError(f"{network}: {error}") from error
        arithmetic[network] = Arithmetic(**json.loads((folders[network] / ARITHMETIC).read_text(encoding="utf-8")))
        if number == 0 and (rest := len(targets) - 1):
            each_s = time.monotonic() - begun_s
            _logger.info("timing the %d others takes about %s, as the first did", rest, shown_time(each_s * rest))
    files = {one: folders[one.network] / f"{one.target}.onnx" for one in candidates}
    return Timed(_kept_costs(files, prepared, root, settings), arithmetic)


def measured(files: Mapping[Candidate, Path], prepared: Path, settings: EvalInt8) -> dict[Candidate, Cost]:
    """Time INT8 files in turns, each in the runtime of its target, and return their costs.

    Args:
        files: at least one.
        prepared: the folder that prepare-labels wrote.
        settings: see `timed`.
    """
    first = images_of(prepared, "train")[0]
    forwards = {}
    for candidate, path in files.items():
        forward = openvino_forward if candidate.target.startswith(OPENVINO) else onnx_forward
        image = load_image(first, candidate.network.imgsz)
        forwards[str(candidate)] = forward(path, image, settings.latency_threads)
    latency = measure(forwards, settings.latency_rounds)
    return {
        candidate: Cost(
            latency[str(candidate)].p50_ms, latency[str(candidate)].p95_ms, round(path.stat().st_size / MIB, 4)
        )
        for candidate, path in files.items()
    }


def _untrained(network: Network, targets: Sequence[str], prepared: Path, root: Path) -> Path:
    """Return the folder with the INT8 files of an untrained network, `<target>.onnx`."""
    recipe = Recipe(
        *(settings_of(stage, network.overrides(stage)).params for stage in ("distill", "prune", "calibrate"))
    )
    quantize = {target: settings_of("quantize", quantize_overrides(network, target)).params for target in targets}
    names = class_names(prepared)
    made_by = [
        repr((recipe.distill.student, recipe.prune, recipe.calibrate, quantize, names)),
        architecture_digest(recipe.distill.student.architecture),
        code_digest("src.searching.untrained"),
        *(version(package) for package in ("torch", "ultralytics", "onnxruntime")),
    ]
    folder = root / f"untrained-{_digest(made_by)}"
    if not folder.exists():
        with whole_folder(folder) as partial:
            files = {partial / f"{target}.onnx": params for target, params in quantize.items()}
            write_json(partial / ARITHMETIC, asdict(write_untrained(recipe, files, names, prepared / "images/train")))
    return folder


def _kept_costs(
    files: Mapping[Candidate, Path], prepared: Path, root: Path, settings: EvalInt8
) -> dict[Candidate, Cost]:
    """Return the costs of the table, measured if there is none."""
    rounds, threads = settings.latency_rounds, settings.latency_threads
    names = [f"{path.parent.name}/{path.name}" for path in files.values()]
    made_by = [*names, f"{rounds} {threads}", json.dumps(describe_machine()), code_digest("src.searching.timing")]
    table = root / f"latency-{_digest(made_by)}.json"
    if not table.exists():
        _logger.info("timing %d candidates in turns, %d rounds, %d thread(s)", len(files), rounds, threads)
        write_json(table, [asdict(cost) for cost in measured(files, prepared, settings).values()])
    read = json.loads(table.read_text(encoding="utf-8"))
    costs = {candidate: Cost(**row) for candidate, row in zip(files, read, strict=True)}
    if is_busy(Latency(cost.p50_ms, cost.p95_ms) for cost in costs.values()):
        _logger.warning("the machine was busy during the timing: to repeat it on an idle one, remove %s", table)
    return costs


def _digest(made_by: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(made_by).encode()).hexdigest()[:16]
