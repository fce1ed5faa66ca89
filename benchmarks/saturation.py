"""Accuracy of INT8 files on x86 without VNNI, where sums of 8-bit products are cut off at 16 bits.

    make bench-saturation

`src.deploy` makes the files from the models of this checkout. OpenVINO runs each on val twice, in processes of their
own: with all instructions of this processor, and with AVX2 alone (oneDNN's limit). onnxruntime has no such limit, so
its files run in OpenVINO, too. Writes reports/benchmarks/saturation.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping

from benchmarks.photographs import run_stage
from src import PROJECT
from src.evaluation.machine import describe_machine
from src.foundation.atomic import write_text
from src.foundation.digests import digest
from src.foundation.pipeline import FLOAT_ONNX

PAGE = PROJECT / "reports/benchmarks/saturation.md"
TARGETS = ("openvino", "openvino_avx2", "onnxruntime", "onnxruntime_avx2")
LIMIT = "ONEDNN_MAX_CPU_ISA"
ISAS = {"all instructions": None, "AVX2 alone": "AVX2"}
FP32 = "ONNX FP32"
SCORE = """
import json
import sys
from pathlib import Path
from src.delivery.measuring import accuracy_of
from src.delivery.opened import in_openvino
from src.deployment.description import describe
from src.foundation.pipeline import PREPARED
found = {}
for name, file in json.loads(sys.argv[1]).items():
    detector = describe(Path(file))
    opened = in_openvino(Path(file), threads=1)
    found[name] = accuracy_of(opened, detector.names, Path(PREPARED), detector.imgsz).map50_95
print(json.dumps(found))
"""


def main() -> None:
    """Make the files, score them and write the page."""
    argparse.ArgumentParser(description="INT8 where sums of 8-bit products are cut off.").parse_args()
    with tempfile.TemporaryDirectory(prefix="saturation-") as made:
        run_stage(PROJECT, "deploy", f"target=[{','.join(TARGETS)}]", "max_drop=1", f"hydra.run.dir={made}")
        run_stage(
            PROJECT, "quantize", "target=openvino", "float_head=false", "register=null", f"hydra.run.dir={made}/whole"
        )
        files = {name: f"{made}/models/{name}/int8.onnx" for name in TARGETS}
        files["openvino, the head in integers, too (quantize.float_head: false)"] = f"{made}/whole/models/int8.onnx"
        scores = {title: _scores({FP32: FLOAT_ONNX, **files}, isa) for title, isa in ISAS.items()}
    write_text(PAGE, page(scores, digest(PROJECT / FLOAT_ONNX)))


def _scores(files: Mapping[str, str], isa: str | None) -> dict[str, float]:
    """Return the mAP50-95 on val of each file in a process that may use so many instructions."""
    environment = {key: value for key, value in os.environ.items() if key != LIMIT} | ({LIMIT: isa} if isa else {})
    command = [sys.executable, "-c", SCORE, json.dumps(files)]
    done = subprocess.run(command, cwd=PROJECT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def page(scores: Mapping[str, Mapping[str, float]], md5: str) -> str:
    """Return the benchmark's page.

    Args:
        scores: mAP50-95 by file, by instructions.
        md5: of the network in float.
    """
    machine = describe_machine()
    lines = [
        "# INT8 where sums of 8-bit products are cut off",
        "",
        f"mAP50-95 on val, percent, in OpenVINO {machine['versions'].get('openvino', '')}: {machine['cpu']} with "
        f"all its instructions ({', '.join(machine['flags'])}), and with those of AVX2 alone (`{LIMIT}=AVX2`). All "
        f"files are made from the same network in float, md5 {md5}; one seed.",
        "",
        "`make bench-saturation`",
        "",
        f"| file | {' | '.join(scores)} | difference |",
        f"| --- |{' --- |' * len(scores)} --- |",
    ]
    first, second = scores.values()
    for name in first:
        with_all, limited = 100 * first[name], 100 * second[name]
        lines.append(f"| {name} | {with_all:.2f} | {limited:.2f} | {limited - with_all:+.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
