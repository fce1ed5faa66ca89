"""The detector that a search finds within a budget, against the default chain of the same latency, over seeds.

    make bench-budget DATA=bccd ROOT=path/to/BCCD IMGSZ=320
    python -m benchmarks.budget bccd path/to/BCCD 320 --teacher-epochs 30

In a clone of the last commit: the teacher, once; then for each seed the default chain, run by DVC, whose latency is the
budget, and `src.search` with this budget. Both INT8 files are scored on test and timed in turns. What was made is kept
in .cache/benchmarks, so an interrupted benchmark goes on. Writes reports/benchmarks/budget-<data>.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from benchmarks.paired import difference, spread
from benchmarks.photographs import cloned, kept_folder, run_stage
from src import PROJECT
from src.deployment.forwards import onnx_forward
from src.deployment.images import load_image
from src.detector import runtime
from src.detector.accuracy import validate
from src.detector.dataset import view_of
from src.evaluation.latency import measure
from src.evaluation.machine import describe_machine
from src.foundation.atomic import whole_file, write_json, write_text
from src.foundation.pipeline import INT8_ONNX, PREPARED
from src.foundation.prepared import images_of
from src.searching.candidates import Network as Searched

STAGES = ("prepare_labels", "train_teacher", "distill", "prune", "calibrate", "quantize", "search")
SLACK = 1.03
"""The budget over the latency of the chain's own network: it is timed again after its training, and must still fit."""

ROUNDS = 200


@dataclass(frozen=True)
class Network:
    """An INT8 file, and the side of its square input, px."""

    name: str
    path: Path
    imgsz: int


@dataclass(frozen=True)
class Detector:
    """An INT8 detector.

    Attributes:
        name: of the network.
        test: its mAP50-95 on test.
        p50_ms: median latency, one thread, in turns with the other one of its seed.
    """

    name: str
    test: float
    p50_ms: float


def main() -> None:
    """Make what is missing, measure and write the page."""
    parser = argparse.ArgumentParser(description="A search within a budget against the default chain.")
    parser.add_argument("data", help="a file of conf/data")
    parser.add_argument("root", type=Path, help="the folder of labelled images")
    parser.add_argument("imgsz", type=int, help="side of the default chain's input, px")
    parser.add_argument("--teacher-epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--candidates", nargs="*", help="lists of src.search; none: sides, ratios and activations")
    arguments = parser.parse_args()
    smaller, larger = (round(factor * arguments.imgsz / 32) * 32 for factor in (0.8, 1.2))
    lists = arguments.candidates or [
        "students=[yolov8n]",
        "activation=[null,relu]",
        f"imgsz=[{smaller},{arguments.imgsz},{larger}]",
        "ratio=[0.0,0.3]",
    ]
    settings = [
        f"choices.data={arguments.data}",
        f"data.root={arguments.root.resolve()}",
        "choices.augmentation=objects",
        f"common.imgsz={arguments.imgsz}",
        f"train_teacher.epochs={arguments.teacher_epochs}",
        "distill.control=never",  # the control is no part of the chain that the search is compared with
    ]
    kept = kept_folder(f"budget-{arguments.data}", STAGES, settings, lists)
    project = cloned(kept / "project")
    pairs = [
        _seed(project, kept / f"seed-{seed}", [*settings, *_seeded(seed)], arguments.imgsz, lists)
        for seed in tqdm(range(arguments.seeds), desc="seeds")
    ]
    target = PROJECT / f"reports/benchmarks/budget-{arguments.data}.md"
    conditions = (
        f"A teacher of {arguments.teacher_epochs} epochs, from scratch, one for all seeds; the chain has the settings "
        f"of params.yaml, at {arguments.imgsz} px."
    )
    write_text(target, page(arguments.data, conditions, lists, pairs))


def _seeded(seed: int) -> list[str]:
    return [f"{stage}.seed={seed}" for stage in ("distill", "prune", "calibrate", "quantize")]


def _seed(
    project: Path, folder: Path, settings: Sequence[str], imgsz: int, lists: Sequence[str]
) -> tuple[Detector, Detector]:
    """Return the default chain's detector and the one that a search finds. A known result is not computed again."""
    result = folder / "result.json"
    if not result.exists():
        default = Network("the default chain", _chain(project, folder, settings), imgsz)
        winner = _search(project, folder, _budget_ms(project, folder, imgsz, lists), lists)
        networks = [default, winner]
        names = [each.name for each in networks]
        rows = zip(names, _on_test(project, networks), _milliseconds(project, networks), strict=True)
        write_json(result, [asdict(Detector(*row)) for row in rows])
    first, second = (Detector(**row) for row in json.loads(result.read_text(encoding="utf-8")))
    return first, second


def _chain(project: Path, folder: Path, settings: Sequence[str]) -> Path:
    """Make the default chain with DVC, which makes only what is missing, and return a copy of its INT8 file.

    The project is left with these settings in params.yaml, which the search reads.
    """
    options = [part for setting in settings for part in ("-S", setting)]
    subprocess.run([sys.executable, "-m", "dvc", "exp", "run", *options, "quantize"], cwd=project, check=True)
    kept = folder / "chain.onnx"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(kept) as partial:
        shutil.copy(project / INT8_ONNX, partial)
    return kept


def _budget_ms(project: Path, folder: Path, imgsz: int, lists: Sequence[str]) -> float:
    """Return the budget: the search's own timing of the chain's network, with some slack.

    A timing apart from it would be of another minute and of other neighbours in the caches: within the noise of both,
    the chain's network would be over the budget by chance.

    Raises:
        SystemExit: the chain's network is no candidate.
    """
    run_stage(project, "search", "budget_ms=1e-3", *lists, f"hydra.run.dir={folder / 'timed'}", fails=True)
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    own = (params["choices"]["student"], "", str(imgsz), str(params["prune"]["ratio"]))
    with (project / "reports/search/candidates.csv").open(encoding="utf-8") as table:
        for row in csv.DictReader(table):
            if (row["student"], row["activation"], row["imgsz"], row["ratio"]) == own:
                return round(SLACK * float(row["p50_ms"]), 3)
    sys.exit(f"error: the candidates {' '.join(lists)} lack the chain's own network {own}: add it")


def _search(project: Path, folder: Path, budget_ms: float, lists: Sequence[str]) -> Network:
    """Search with the settings that the chain left in params.yaml, and return the winner."""
    found = folder / "search"
    run_stage(project, "search", f"budget_ms={budget_ms}", *lists, f"hydra.run.dir={found}")
    winner = json.loads((found / "reports/search.json").read_text(encoding="utf-8"))["winner"]
    return Network(named(winner), found / INT8_ONNX, winner["imgsz"])


def _milliseconds(project: Path, networks: Sequence[Network]) -> list[float]:
    """Return the median latency of INT8 files in onnxruntime, timed in turns, ms."""
    image = images_of(project / PREPARED, "train")[0]
    forwards = {str(each.path): onnx_forward(each.path, load_image(image, each.imgsz), threads=1) for each in networks}
    return [latency.p50_ms for latency in measure(forwards, ROUNDS).values()]


def _on_test(project: Path, networks: Sequence[Network]) -> list[float]:
    device = runtime.settle("cpu", 1)
    with view_of(project / PREPARED) as data:
        return [validate(each.path, data, split="test", imgsz=each.imgsz, device=device).map50_95 for each in networks]


def named(winner: Mapping[str, Any]) -> str:
    """Return the name of a search's winner.

    >>> named({"student": "yolov8n", "activation": None, "imgsz": 256, "ratio": 0.3})
    'yolov8n, 256 px, 30% pruned'
    """
    return str(Searched(winner["student"], winner["activation"], winner["imgsz"], winner["ratio"]))


def page(title: str, conditions: str, lists: Sequence[str], pairs: Sequence[tuple[Detector, Detector]]) -> str:
    """Return the benchmark's page.

    Args:
        title: of the data.
        conditions: a sentence on the teacher and the chain.
        lists: the candidates, as overrides of the search.
        pairs: the default chain's detector and the found one, by seed.
    """
    machine = describe_machine()
    chain, found = ([100 * pair[index].test for pair in pairs] for index in (0, 1))
    lines = [
        f"# A search within a budget against the default chain: {title}",
        "",
        f"{conditions} The budget is {SLACK} times the latency of the chain's network, by the search's own timing, so "
        "this network is a candidate. The winner was chosen on val. mAP50-95 on test, percent. Latency: one image, "
        f"1 thread, onnxruntime, median of {ROUNDS} rounds in turns, {machine['cpu']} ({', '.join(machine['flags'])}).",
        "",
        f"Candidates: `{' '.join(lists)}`.",
        "",
        "| seed | detector | test mAP50-95 | p50 ms |",
        "| --- | --- | --- | --- |",
    ]
    for seed, pair in enumerate(pairs):
        lines += [f"| {seed} | {each.name} | {100 * each.test:.1f} | {each.p50_ms:.2f} |" for each in pair]
    if len(pairs) > 1:
        lines += [
            "",
            f"Default chain {spread(chain)}, found {spread(found)}. The difference, paired by seed, with a 95% t "
            f"interval: {difference(chain, found)}. The search trains several networks where the chain trains one.",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
