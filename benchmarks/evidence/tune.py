"""tune: chooses settings of a variant on val, by short trainings of one seed, as many for each method.

    python -m benchmarks.evidence.tune bccd heads

Reads made/<data>/{data,models}. Writes made/<data>/tuned/<method>.json with the choice and
reports/evidence/tune-<data>-<method>.json with all tries. An interrupted tuning goes on with the try that it was at.
"""

from __future__ import annotations

import json
import shutil

from benchmarks.evidence import MADE
from benchmarks.evidence.running import begin, minutes_of, performed, write_result
from benchmarks.evidence.settings import STAGES, overrides_of
from benchmarks.evidence.tuned import computing, tuned_file
from src.foundation.atomic import write_json
from src.foundation.digests import digest
from src.foundation.pipeline import TEACHER
from src.workflow.command import guarded


def main() -> None:
    """Tune the method on the dataset that the command line names."""
    begun = begin("tune")
    run, protocol = begun.run, begun.protocol
    method = protocol.tuning.methods[str(run.variant)]
    project, kept = MADE / run.data, MADE / run.data / f".{run.name}"
    with minutes_of(run) as minutes:
        for number, settings in enumerate(method.tries):
            path = kept / f"{number}.json"
            if path.exists() and json.loads(path.read_text(encoding="utf-8"))["params"] == begun.plan.params:
                continue
            wanted = [*overrides_of(run, protocol), *settings]
            distills_model = protocol.variants[method.variant].distill_model
            overrides, compute = computing(wanted, distills_model=distills_model)
            with performed(run, STAGES[run.kind], overrides, project, compute) as done:
                found = {"map50_95": done.metrics["val"]["map50_95"], "epochs": done.metrics["epochs"]}
            write_json(path, {"params": begun.plan.params, "settings": settings, **found})
    tries = [json.loads((kept / f"{number}.json").read_text(encoding="utf-8")) for number in range(len(method.tries))]
    best = max(tries, key=lambda one: one["map50_95"])  # the first of equals
    chosen = tuned_file(project, str(run.variant))
    write_json(chosen, {"settings": best["settings"], "epochs": sum(one["epochs"] for one in tries)})
    shutil.rmtree(kept)
    shown = [{key: value for key, value in one.items() if key != "params"} for one in tries]
    facts = {"minutes": minutes[0], "tries": shown, "chosen": best["settings"]}
    write_result(begun, digests={"teacher": digest(project / TEACHER), "tuned": digest(chosen)}, facts=facts)


if __name__ == "__main__":
    raise SystemExit(guarded(main))
