"""opening: the chosen variants on the sealed test images, once, when all choices are made.

    python -m benchmarks.evidence.opening bccd

Reads made/<data>/{sealed,students}. Writes reports/evidence/opening-<data>.json. As long as `sealed.open` in
params.yaml is false, it reads no image and says so in that file. Once it has measured, it refuses to do so again: a
second look would make the sealed images a part of the choice.
"""

from __future__ import annotations

from benchmarks.evidence import MADE
from benchmarks.evidence.measuring import measure, to_text
from benchmarks.evidence.protocol import Protocol
from benchmarks.evidence.running import begin, write_result
from benchmarks.evidence.runs import Run, content_of, students
from benchmarks.evidence.sealing import split_digest
from benchmarks.evidence.settings import overrides_of, typed_params
from src.foundation.digests import digest
from src.foundation.errors import UserError
from src.foundation.pipeline import PREPARED
from src.workflow.command import guarded


def main() -> None:
    """Measure the chosen variants on the sealed images of the dataset that the command line names."""
    begun = begin("opening")
    protocol, run = begun.protocol, begun.run
    before = content_of(run)
    if before and before["opened"]:
        raise UserError(
            f"the sealed images of {run.data} were read at commit {before['made']['commit'][:10]}: they are read once; "
            f"keep {run.result.name} as it is"
        )
    found = _measured(run, protocol) if protocol.sealed.open else {}
    sealed = MADE / run.data / "sealed" / PREPARED
    facts = {"opened": protocol.sealed.open, "students": found}
    write_result(begun, digests={"sealed": split_digest(sealed, "test")}, facts=facts)


def _measured(run: Run, protocol: Protocol) -> dict[str, dict[str, object]]:
    """Return the accuracy of each student of the chosen variants, with its weights' digest, by the run's name."""
    sealed = MADE / run.data / "sealed" / PREPARED
    chosen = [one for one in students(protocol) if one.data == run.data and one.variant in protocol.sealed.variants]
    found: dict[str, dict[str, object]] = {}
    for one in chosen:
        weights = MADE / run.data / f"students/{one.variant}-{one.seed}.pt"
        params = typed_params("distill", overrides_of(one, protocol))
        measured = measure(weights, sealed, params.imgsz, params.device, params.cpu_threads)
        facts = {"variant": one.variant, "seed": one.seed, "weights": digest(weights)}
        found[one.name] = {**facts, "test": measured.accuracy, "draws": to_text(measured.scores)}
    return found


if __name__ == "__main__":
    raise SystemExit(guarded(main))
