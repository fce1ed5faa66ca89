"""The evidence: a DVC pipeline with a stage per training, a small JSON per result, and the page made of these.

benchmarks/evidence is a DVC project of its own within the repository: the product's `dvc repro`, `dvc status`,
`dvc exp run` and `dvc metrics diff` do not see it, and it keeps its models in a cache of its own.

    params.yaml     the protocol: data, variants, seeds, tables, and the order of importance
    plan.py         what each run depends on: its settings and its code, in a file per run
    prepare.py, teacher.py, predictions.py, student.py, tune.py, chain.py, latency.py      a kind of run each
    opening.py      the sealed part of the test images, read once
    page.py         the page, from the results alone
    everything.py   runs what is missing or stale, most important first, within a limit of time
"""

from __future__ import annotations

from src import PROJECT

EVIDENCE = PROJECT / "benchmarks/evidence"
MADE = EVIDENCE / "made"
"""Prepared data, teachers and students: outputs in DVC's cache."""

RESULTS = PROJECT / "reports/evidence"
"""A JSON per run, in git."""
