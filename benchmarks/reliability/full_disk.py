"""A disk that is full: at the outputs of every stage, the scratch folder, the checkpoints, the cache, the store."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from random import Random

from benchmarks.reliability.victim import NOT_RECORDED, PIPELINE, Attempt, Ended, Running, Victim, python

LISTING = "files on the full disk:"
MOUNTED = f'''
mount -t tmpfs -o size="$1" tmpfs "$2" || exit 99
folder=$2; shift 2
"$@"; code=$?
echo "{LISTING}"
cd "$folder" && find . -type f -exec md5sum {{}} +
exit $code
'''

PLACES = (*PIPELINE, "scratch", "checkpoints", "cache", "store")


def possible() -> bool:
    """Return whether this machine lets a user mount a file system of limited size in a namespace."""
    call = ["unshare", "--map-root-user", "--mount", "true"]
    return subprocess.run(call, capture_output=True, check=False).returncode == 0


def full_disk(victim: Victim, number: int) -> Attempt:
    """Run a stage whose disk has little space at one place, then again with enough, and compare the outputs."""
    random = Random(f"disk {number}")
    place = PLACES[number % len(PLACES)]
    stage = place if place in PIPELINE else "distill-student"
    output = victim.root / f"outputs/disk-{number}"
    folders = {
        "scratch": victim.root / ".cache/scratch",
        "checkpoints": victim.root / ".checkpoints",
        "cache": victim.root / ".cache/teacher",
        "store": victim.root / ".cache/store",
    }
    folder = folders.get(place, output)
    folder.mkdir(parents=True, exist_ok=True)
    kib = random.choice((16, 64, 256))  # less than any stage's outputs, and than a store
    environment = {
        "scratch": {"TMPDIR": str(folder)},
        "store": {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"},
    }.get(place, {})
    arguments = [f"hydra.run.dir={output}", *(["cache=always"] if place == "cache" else [])]
    ended = _run_in_little_space(victim, folder, kib, stage, arguments, environment)
    expected = victim.undisturbed["digests"][stage]
    lost = _complaints(ended, expected, ends_well=place in ("cache", "store"))
    if place == "store" and NOT_RECORDED not in ended.text:
        lost.append("the record is incomplete, and the stage does not say so")
    again = victim.by_hand(stage, f"hydra.run.dir={output}-again").end()
    lost += [again.complaint] if again.complaint else []
    found = victim.digests(stage, Path(f"{output}-again"))
    lost += [f"{name} differs afterwards" for name, md5 in found.items() if md5 != expected[name]]
    return Attempt("a full disk", place, f"{kib} KiB", lost)


def _run_in_little_space(
    victim: Victim, folder: Path, kib: int, stage: str, arguments: list[str], environment: dict[str, str]
) -> Ended:
    """Run a stage in a namespace where `folder` is a file system of so many KiB."""
    script = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNTED, "sh", f"{kib}k", str(folder)]
    return Running(victim.root, [*script, *python(f"src.{PIPELINE[stage]}", *arguments)], environment).end()


def _complaints(ended: Ended, expected: Mapping[str, str], *, ends_well: bool) -> list[str]:
    text, _, listing = ended.text.partition(LISTING)
    lost = []
    for line in listing.splitlines():
        md5, _, name = line.partition("  ./")
        if ".partial" in name:
            lost.append(f"{name} is left")
        elif expected.get(name, md5) != md5:
            lost.append(f"{name} is not whole")
    if "Traceback (most recent call last)" in text:
        lost.append("a traceback")
    if ends_well and ended.code:
        lost.append(f"exit code {ended.code}: {text.strip().splitlines()[-1]}")
    return lost
