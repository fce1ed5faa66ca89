"""latency: the time of one forward pass of a dataset's chains and of its teacher, in several processes.

    make evidence-latency                              (on an idle machine)
    python -m benchmarks.evidence.latency bccd

Reads made/<data>/{chains,models}: the networks of each chain's first seed that are there. Writes
reports/evidence/latency-<data>.json with the median of each process. The file is of one processor: that of another one
replaces it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.evidence import MADE
from benchmarks.evidence.protocol import Protocol
from benchmarks.evidence.running import begin, write_result
from benchmarks.evidence.runs import chains
from src import PROJECT
from src.deployment.export import export_onnx
from src.detector.checkpoint import load_detector
from src.evaluation.machine import describe_machine
from src.foundation.digests import digest
from src.foundation.errors import UserError
from src.foundation.pipeline import TEACHER
from src.workflow.command import guarded

TEACHER_NETWORK = "teacher"


def main() -> None:
    """Time the networks of the dataset that the command line names."""
    begun = begin("latency")
    settings = begun.protocol.latency
    with TemporaryDirectory(prefix="latency-") as scratch:
        networks = _networks(begun.run.data, begun.protocol, Path(scratch))
        found = [_in_a_process(networks, settings.rounds) for _ in range(settings.processes)]
        read = {name: digest(path) for name, path in networks.items()}
    medians = {
        name: {runtime: [one[name][runtime] for one in found] for runtime in runtimes}
        for name, runtimes in found[0].items()
    }
    write_result(begun, digests={}, facts={"p50_ms": medians, "networks": read, "machine": describe_machine()})


def network_name(chain: str, network: str) -> str:
    """Return the name of a network in the file: relu-heads/pruned/int8."""
    return f"{chain}/{network}"


def _networks(data: str, protocol: Protocol, scratch: Path) -> dict[str, Path]:
    """Return the teacher as ONNX, and both networks of each chain, by name.

    Raises:
        UserError: no chain has run.
    """
    folder = MADE / data
    found: dict[str, Path] = {}
    for run in chains(protocol):
        kept = folder / f"chains/{run.variant}-{run.after}-{run.seed}"
        if run.data == data and kept.is_dir():
            for network in sorted(kept.iterdir()):
                kind = network.name.partition(".")[0].partition("_")[0]  # fp32.onnx, int8_openvino_model
                found.setdefault(network_name(f"{run.variant}/{run.after}", kind), network)
    if not found:
        raise UserError(f"{folder / 'chains'} holds no networks: `make evidence ONLY='chain@{data}-*'`")
    teacher = folder / TEACHER
    exported = scratch / "teacher.onnx"
    export_onnx(teacher, exported, load_detector(teacher).args["imgsz"])
    return {TEACHER_NETWORK: exported, **found}


def _in_a_process(networks: dict[str, Path], rounds: int) -> dict[str, dict[str, float]]:
    names = json.dumps({name: str(path) for name, path in networks.items()})
    command = [sys.executable, "-m", "benchmarks.evidence.timing", str(rounds), names]
    done = subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    raise SystemExit(guarded(main))
