"""The names of the stages, and where their schemas are."""

from __future__ import annotations

from importlib import import_module

STAGES = ("prepare_labels", "train_teacher", "distill", "prune", "calibrate", "quantize", "eval_int8")
"""In the order of the pipeline; each has a section in params.yaml."""

PER_TARGET = ("deploy",)
"""In the pipeline once for each target that its section in params.yaml names: by default for none."""

BY_HAND = ("predict", "search", "write_predictions")
"""Run by hand only; without a section in params.yaml."""

UNRECORDED = ("predict", "write_predictions")
"""Commands that only use what others made: they get no MLflow run, whose library takes seconds to import."""


def schema_of(stage: str) -> type:
    """Return the dataclass of a stage's settings, such as `EvalInt8` in src/config/eval_int8.py for eval_int8."""
    schema: type = getattr(import_module(f"src.config.{stage}"), stage.title().replace("_", ""))
    return schema
