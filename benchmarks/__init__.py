"""Long measurements, each started by a target of the Makefile, each writing a page of reports/benchmarks."""

import src  # noqa: F401  # settles the environment before a benchmark imports ultralytics or MLflow
