"""The whole pipeline on real photographs: BCCD, teacher yolov8s, student yolov8n, 320 px, from scratch.

    make bench-bccd BCCD=path/to/BCCD

Runs `dvc exp run` in a temporary clone of the last commit, so that neither the pipeline's outputs nor params.yaml are
touched, and writes reports/benchmarks/bccd.md: the measured table with command, machine and minutes.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from src import files

PROJECT = Path(__file__).resolve().parents[1]
PAGE = PROJECT / "reports/benchmarks/bccd.md"
SETTINGS = {
    "choices.data": "bccd",
    "choices.augmentation": "objects",
    "common.imgsz": 320,
    "train_teacher.epochs": 50,
    "distill.epochs": 50,
    "prune.epochs": 20,
}


def main() -> None:
    """Run the benchmark on the folder that the command line names."""
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "Annotations").is_dir():
        sys.exit("error: name the folder that holds BCCD's Annotations and JPEGImages: make bench-bccd BCCD=...")
    root = Path(sys.argv[1]).resolve()
    command = [sys.executable, "-m", "dvc", "exp", "run"]
    for key, value in {**SETTINGS, "data.root": root}.items():
        command += ["-S", f"{key}={value}"]
    with tempfile.TemporaryDirectory(prefix="bccd-") as scratch:
        clone = Path(scratch) / "project"
        subprocess.run(["git", "clone", "-q", str(PROJECT), str(clone)], check=True)
        begun = time.monotonic()
        subprocess.run(command, cwd=clone, check=True)
        minutes = (time.monotonic() - begun) / 60
        report = (clone / "reports/report.md").read_text(encoding="utf-8")
    files.write_text(PAGE, page(report, minutes))


def page(report: str, minutes: float) -> str:
    """Return the benchmark's page: what of report.md holds without its pictures, under the command that made it."""
    settings = [part for key, value in SETTINGS.items() for part in ("-S", f"{key}={value}")]
    command = shlex.join(["dvc", "exp", "run", *settings, "-S", "data.root=path/to/BCCD"])
    body = report.partition("\n")[2].partition("\n## What the earlier stages reported")[0]
    # What only leads to pictures goes with them.
    body = body.replace("## Accuracy by class\n", "")
    kept = [line for line in body.splitlines() if not line.startswith(("![", "The images that agree least"))]
    head = [
        "# BCCD: 364 photographs of blood cells",
        "",
        "Teacher yolov8s and student yolov8n, both from scratch, one seed; BCCD's own split (205 / 87 / 72 images).",
        "",
        f"`{command}` took {minutes:.0f} minutes.",
    ]
    return re.sub("\n{3,}", "\n\n", "\n".join([*head, *kept])).rstrip() + "\n"


if __name__ == "__main__":
    main()
