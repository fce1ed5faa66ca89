"""Time and memory as the work grows: images, runs in the store, jobs of a sweep.

    make bench-growth

In a small project of the last commit: prepare-labels of more and more images, and an idle `dvc repro` with them; the
start of a run and the answer to MLflow's table with more and more runs; sweeps of more and more quantize jobs. Each
measurement is kept in .cache/benchmarks, so an interrupted benchmark goes on. Writes reports/benchmarks/growth.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from urllib.request import Request, urlopen

import cv2
import numpy as np
import yaml
from tqdm import tqdm

from benchmarks.photographs import cloned, kept_folder
from benchmarks.reliability.stores import Server
from benchmarks.reliability.victim import Victim, python
from src import PROJECT
from src.evaluation.machine import describe_machine
from src.foundation.atomic import write_json, write_text

PAGE = PROJECT / "reports/benchmarks/growth.md"
IMAGES, RUNS, JOBS = (1_000, 10_000, 100_000), (10, 100, 1_000), (10, 50, 200)
SIDE_PX = 64
REPEATS = 5
PER_PAGE = 100
"""Number of runs that MLflow's table asks for at once."""

STAGES = ("prepare_labels", "quantize")
JOBS_OF_QUANTIZE = "a sweep of quantize, by job"

RECORD_RUNS = """
import sys
from pathlib import Path
from tqdm import tqdm
from src.workflow.tracking import Run
for number in tqdm(range(int(sys.argv[1])), desc="runs"):
    run = Run("distill", Path.cwd())
    run.params({f"param_{index}": index for index in range(40)})
    run.metrics({f"metric_{index}": index for index in range(20)})
    run.end("FINISHED")
"""
START_A_RUN = """
import time
from pathlib import Path
from src.workflow.store import prepare_mlflow
from src.workflow.tracking import Run
prepare_mlflow()
begun = time.perf_counter()
run = Run("distill", Path.cwd())
run.close_abandoned()
run.end("FINISHED")
print("seconds", time.perf_counter() - begun)
"""


@dataclass(frozen=True)
class Cost:
    """The cost of a piece of work.

    Attributes:
        seconds: of the whole work.
        mib: the largest memory of its processes; None: not measured.
    """

    seconds: float
    mib: float | None = None


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description="Time and memory as the work grows.")
    for name, sizes in (("images", IMAGES), ("runs", RUNS), ("jobs", JOBS)):
        parser.add_argument(f"--{name}", type=int, nargs="*", default=sizes, help=f"{name} ({sizes})")
    arguments = parser.parse_args()
    kept = kept_folder("growth", STAGES)
    found: dict[str, dict[int, Cost]] = {}
    measurements = {
        **{f"images-{number}": partial(measure_images, number=number) for number in arguments.images},
        "-".join(("runs", *map(str, arguments.runs))): partial(measure_runs, numbers=arguments.runs),
        **{f"jobs-{number}": partial(measure_jobs, number=number) for number in arguments.jobs},
    }
    for key, measurement in tqdm(measurements.items(), desc="measurements"):
        for name, costs in _known(kept / f"{key}.json", measurement).items():
            found.setdefault(name, {}).update(costs)
    write_text(PAGE, page(found))


def _known(path: Path, measurement: Callable[[Path], Mapping[str, Mapping[int, Cost]]]) -> dict[str, dict[int, Cost]]:
    """Return the costs of a measurement, by kind of work and by number. A known one is not made again."""
    if not path.exists():
        with tempfile.TemporaryDirectory(prefix="growth-") as scratch:
            costs = measurement(Path(scratch))
            rows = {name: {number: asdict(cost) for number, cost in of.items()} for name, of in costs.items()}
            write_json(path, rows)
    read = json.loads(path.read_text(encoding="utf-8"))
    return {name: {int(number): Cost(**cost) for number, cost in of.items()} for name, of in read.items()}


def measure_images(folder: Path, number: int) -> dict[str, dict[int, Cost]]:
    """Return the costs of preparing images, and of an idle `dvc repro` with them."""
    project = cloned(folder / "project")
    write_images(folder / "images", number)
    params = (project / "params.yaml").read_text(encoding="utf-8")
    params = params.replace("data: digits ", "data: yolo ").replace("root: data/raw ", f"root: {folder / 'images'} ")
    (project / "params.yaml").write_text(params, encoding="utf-8")
    by_hand = _cost(project, python("src.prepare_labels", "hydra.run.dir=outputs/by_hand"))
    under_dvc = _cost(project, python("dvc", "repro", "prepare-labels"))
    idle = [_cost(project, python("dvc", "repro", "prepare-labels")).seconds for _ in range(REPEATS)]
    return {
        "prepare-labels, by image": {number: by_hand},
        "prepare-labels under `dvc repro`, by image": {number: under_dvc},
        "`dvc repro` with nothing to do": {number: Cost(statistics.median(idle))},
    }


def write_images(folder: Path, number: int) -> None:
    """Write images in YOLO's form, all different, with a box each."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for index in tqdm(range(number), desc="images"):
        coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        pixels = cv2.resize(coarse, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"images/{index:06d}.jpg"), pixels)
        (folder / f"labels/{index:06d}.txt").write_text(f"{index % 3} 0.5 0.5 0.4 0.4\n", encoding="utf-8")
    names = {0: "a", 1: "b", 2: "c"}
    (folder / "data.yaml").write_text(yaml.safe_dump({"train": "images", "names": names}), encoding="utf-8")


def _cost(project: Path, command: Sequence[str]) -> Cost:
    """Return the time of a command, and the largest memory of it and of the processes that it waited for."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=project, env={**os.environ, "PATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr
    complaint = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"error: {' '.join(command)} failed: {complaint[-2000:]}")
    return Cost(time.perf_counter() - begun, usage.ru_maxrss / 1024)


def measure_runs(folder: Path, numbers: Sequence[int]) -> dict[str, dict[int, Cost]]:
    """Return the costs of a run and of MLflow's table with so many runs in the store."""
    project = cloned(folder / "project")
    starts, tables, recorded = {}, {}, 0
    for number in sorted(numbers):
        subprocess.run([sys.executable, "-c", RECORD_RUNS, str(number - recorded)], cwd=project, check=True)
        recorded = number
        seconds = []
        for _ in range(REPEATS):
            output = subprocess.run(
                [sys.executable, "-c", START_A_RUN], cwd=project, check=True, capture_output=True, text=True
            ).stdout
            seconds.append(float(output.rpartition("seconds ")[2]))
        starts[number] = Cost(statistics.median(seconds))
        tables[number] = Cost(_table(project))
    return {"a run in the store, begun and ended": starts, f"MLflow's table of {PER_PAGE} runs": tables}


def _table(project: Path) -> float:
    """Return the seconds that a server takes to answer the request of MLflow's table: a median."""
    server = Server(project, project)
    body = json.dumps({"experiment_ids": ["1"], "max_results": PER_PAGE, "order_by": ["attributes.start_time DESC"]})
    request = Request(
        f"{server.uri}/api/2.0/mlflow/runs/search", body.encode(), {"Content-Type": "application/json"}, method="POST"
    )
    seconds = []
    for _ in range(REPEATS + 1):
        begun = time.perf_counter()
        with urlopen(request, timeout=60) as answer:
            answer.read()
        seconds.append(time.perf_counter() - begun)
    server.end()
    return statistics.median(seconds[1:])


def measure_jobs(folder: Path, number: int) -> dict[str, dict[int, Cost]]:
    """Return the cost of a sweep of so many quantize jobs."""
    victim = Victim.made(folder / "project")
    # Without `sensitivity` this setting is not read: the jobs differ in name and do the same work.
    jobs = f"sensitivity_images={','.join(map(str, range(1, number + 1)))}"
    return {JOBS_OF_QUANTIZE: {number: _cost(victim.root, python("src.quantize", "-m", jobs, "method=static"))}}


def page(found: Mapping[str, Mapping[int, Cost]]) -> str:
    """Return the page: a table for each kind of work."""
    machine = describe_machine()
    lines = [
        "# Time and memory as the work grows",
        "",
        f"{machine['cpu']}, {machine['cores']} processors. Images of {SIDE_PX} px; runs with 40 params and 20 metrics; "
        f"quantize jobs of a small detector. Work that is repeated: medians of {REPEATS}. Other work may have shared "
        "the machine: the numbers show how the time grows, not how short it can be.",
        "",
        "`make bench-growth`",
    ]
    for name, costs in found.items():
        lines += [
            "",
            f"## {name[0].upper()}{name[1:]}",
            "",
            "| number | s | ms each | MiB |",
            "| --- | --- | --- | --- |",
        ]
        for number, cost in costs.items():
            mib = "" if cost.mib is None else f"{cost.mib:.0f}"
            lines.append(f"| {number:,} | {cost.seconds:.2f} | {1000 * cost.seconds / number:.2f} | {mib} |")
        lines += ["", verdict(costs)]
    return "\n".join(lines) + "\n"


def verdict(costs: Mapping[int, Cost]) -> str:
    """Return whether the time grows faster than the number, from the smallest to the largest.

    >>> verdict({10: Cost(1.0), 100: Cost(5.0)})
    '10 times as many take 5.0 times as long: it grows no faster than the work.'
    """
    if len(costs) < 2:
        return "One number alone tells nothing about growth."
    (few, least), *_, (many, most) = sorted(costs.items())
    times, longer = many / few, most.seconds / least.seconds
    how = "no faster than the work" if longer <= times else "faster than the work"
    return f"{times:.0f} times as many take {longer:.1f} times as long: it grows {how}."


if __name__ == "__main__":
    main()
