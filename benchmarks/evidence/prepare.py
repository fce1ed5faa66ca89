"""prepare: a dataset, checked and split by prepare-labels, with a part of its test images sealed.

    python -m benchmarks.evidence.prepare bccd

Writes made/<data>/data/prepared, made/<data>/sealed/data/prepared and reports/evidence/prepare-<data>.json.
"""

from __future__ import annotations

import os

from benchmarks.evidence import MADE
from benchmarks.evidence.running import begin, performed, write_result
from benchmarks.evidence.sealing import seal, split_digest
from benchmarks.evidence.settings import STAGES, overrides_of
from src import PROJECT
from src.foundation.pipeline import PREPARED
from src.workflow.command import guarded


def main() -> None:
    """Prepare the dataset that the command line names."""
    begun = begin("prepare")
    protocol, run = begun.protocol, begun.run
    folder = MADE / run.data
    prepared, sealed = folder / PREPARED, folder / "sealed" / PREPARED
    with performed(run, STAGES[run.kind], overrides_of(run, protocol), PROJECT) as done:
        prepared.parent.mkdir(parents=True, exist_ok=True)
        os.replace(done.output / PREPARED, prepared)
        seal(prepared, sealed, protocol.sealed.share, protocol.sealed.seed)
        counts = {"images": done.metrics["images"], "sealed": len(list((sealed / "images/test").iterdir()))}
    write_result(begun, digests={"sealed": split_digest(sealed, "test")}, facts=counts)


if __name__ == "__main__":
    raise SystemExit(guarded(main))
