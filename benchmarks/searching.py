"""A search with optuna against a grid: T and alpha of the student, on the digits.

    make bench-searching

In a clone of the last commit with the default data and teacher: a grid of 12 settings as a sweep, then searches over
the same ranges with half as many trials, one per seed of the search. All begin with an empty cache. A winner's accuracy
on val is the best of several, so each winner is trained again with other seeds and scored on test. Writes
reports/benchmarks/searching.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import optuna

from benchmarks.paired import difference, spread
from benchmarks.photographs import cloned, kept_folder, run_stage
from src import PROJECT
from src.detector import runtime
from src.detector.accuracy import validate
from src.detector.dataset import view_of
from src.evaluation.machine import describe_machine
from src.foundation.atomic import write_json, write_text
from src.foundation.pipeline import PREPARED, STUDENT, TEACHER
from src.foundation.processors import processors_for
from src.workflow.sweep import contenders, outcomes_of, winner_of
from src.workflow.trial import NAME, storage

PAGE = PROJECT / "reports/benchmarks/searching.md"
STAGES = ("prepare_labels", "train_teacher", "distill")
IMGSZ, EPOCHS = 160, 6
TEMPERATURES, ALPHAS = (1, 2, 3, 5), (0.3, 0.5, 0.7)
GRID = "grid"
SEARCHED = ("T=interval(1,5)", "alpha=interval(0.3,0.7)")
SEARCH_SEEDS, FRESH_SEEDS = (0, 1, 2), (1, 2, 3)


@dataclass(frozen=True)
class Found:
    """The result of a sweep.

    Attributes:
        settings: of the winner, as overrides.
        val: mAP50-95 of the winner.
        trials: number of settings that were tried.
        stopped: number of those that were stopped early.
        epochs: number of epochs of all trainings.
        seconds: of the whole sweep.
    """

    settings: list[str]
    val: float
    trials: int
    stopped: int
    epochs: int
    seconds: float


def main() -> None:
    """Run the missing sweeps and write the page."""
    argparse.ArgumentParser(description="A search with optuna against a grid of T x alpha.").parse_args()
    kept = kept_folder("searching", STAGES)
    project = cloned(kept / "project")
    if not (project / TEACHER).exists():
        run_stage(project, "prepare_labels", "hydra.run.dir=.")
        run_stage(project, "train_teacher", "hydra.run.dir=.")
    half = len(TEMPERATURES) * len(ALPHAS) // 2
    grid = [f"T={','.join(map(str, TEMPERATURES))}", f"alpha={','.join(map(str, ALPHAS))}"]
    sweeps = {GRID: grid}
    for seed in SEARCH_SEEDS:
        sweeper = [f"hydra.sweeper.n_trials={half}", f"hydra.sweeper.seed={seed}", "hydra.sweeper.startup_trials=3"]
        sweeps[f"search, seed {seed}"] = ["hydra/sweeper=optuna", *SEARCHED, *sweeper]
    found = {name: _sweep(project, name, arguments) for name, arguments in sweeps.items()}
    write_text(PAGE, page(found, {name: _on_test(project, name, each.settings) for name, each in found.items()}))


def _sweep(project: Path, name: str, arguments: Sequence[str]) -> Found:
    """Return the result of a sweep that begins with an empty cache. A known result is not computed again."""
    folder = project / "multirun" / name.replace(", ", "-").replace(" ", "-")
    result = folder / "result.json"
    if not result.exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(project / ".cache", ignore_errors=True)
        begun = time.perf_counter()
        run_stage(project, "distill", "-m", f"epochs={EPOCHS}", *arguments, f"hydra.sweep.dir={folder}")
        seconds = time.perf_counter() - begun
        outcomes = outcomes_of(folder)
        winner = winner_of(contenders(outcomes))
        assert winner is not None, "a sweep without a job that finished has failed"
        stopped = sum(outcome.status == "PRUNED" for outcome in outcomes)
        settings = [each for each in winner.jobs[0].overrides if each.startswith(("T=", "alpha="))]
        epochs = EPOCHS * len(outcomes) if name == GRID else _epochs_of_search(folder)
        found = Found(settings, winner.value, len(outcomes), stopped, epochs, seconds)
        write_json(result, asdict(found))
    return Found(**json.loads(result.read_text(encoding="utf-8")))


def _epochs_of_search(folder: Path) -> int:
    """Return the number of epochs of all trials: each reports every epoch to the study."""
    study = optuna.load_study(study_name=NAME, storage=storage(folder))
    return sum(len(trial.intermediate_values) for trial in study.get_trials(deepcopy=False))


def _on_test(project: Path, name: str, settings: Sequence[str]) -> list[float]:
    """Return the mAP50-95 on test of a winner's settings, trained with fresh seeds."""
    device = runtime.settle("cpu", processors_for("auto"))
    found = []
    for seed in FRESH_SEEDS:
        folder = project / "outputs" / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
        if not (folder / STUDENT).exists():
            overrides = [f"epochs={EPOCHS}", f"seed={seed}", "cache=always", *settings]
            run_stage(project, "distill", *overrides, f"hydra.run.dir={folder}")
        with view_of(project / PREPARED) as data:
            found.append(validate(folder / STUDENT, data, split="test", imgsz=IMGSZ, device=device).map50_95)
    return found


def page(found: Mapping[str, Found], on_test: Mapping[str, Sequence[float]]) -> str:
    """Return the benchmark's page.

    Args:
        found: by sweep, the grid among them.
        on_test: mAP50-95 of each winner with fresh seeds, the same ones for all.
    """
    machine, grid = describe_machine(), found[GRID]
    lines = [
        "# A search against a grid",
        "",
        f"T and alpha of the default student on the digits, {EPOCHS} epochs. {machine['cpu']} "
        f"({', '.join(machine['flags'])}), {machine['cores']} processors, torch {machine['versions']['torch']}.",
        "",
        "`make bench-searching`",
        "",
        f"The grid has T of {', '.join(map(str, TEMPERATURES))} times alpha of {', '.join(map(str, ALPHAS))}. A search "
        "draws from the ranges between. Each begins with an empty cache.",
        "",
        "| | trials | stopped early | epochs | s | of the grid's time | winner | its val mAP50-95 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, each in found.items():
        settings = ", ".join(each.settings)
        cells = [each.trials, each.stopped, each.epochs, f"{each.seconds:.0f}", f"{each.seconds / grid.seconds:.2f}"]
        lines.append(f"| {name} | {' | '.join(map(str, cells))} | {settings} | {100 * each.val:.1f} |")
    lines += [
        "",
        f"The same winners on test, trained with {len(FRESH_SEEDS)} other seeds, mAP50-95 in percent:",
        "",
        "| winner of | test | minus the grid's, 95% t interval |",
        "| --- | --- | --- |",
    ]
    for name, values in on_test.items():
        percent = [100 * value for value in values]
        compared = "" if name == GRID else difference([100 * value for value in on_test[GRID]], percent)
        lines.append(f"| {name} | {spread(percent)} | {compared} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
