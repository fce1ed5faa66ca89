"""Long measurements, each started by a target of the Makefile, each writing a page of reports/benchmarks."""
