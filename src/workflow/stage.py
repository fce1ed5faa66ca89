"""A stage in its surroundings: typed settings, its files, its MLflow run, its report, its errors.

A stage is a function `run(params, files, log)`. It gets its typed settings, the `StageFiles` that it reads and writes
and the MLflow `Run` that it logs to, and returns a `StageResult`.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from src import PROJECT
from src.config.composition import typed
from src.config.groups import GROUPS
from src.config.stages import UNRECORDED
from src.foundation.atomic import write_json
from src.foundation.errors import UserError
from src.workflow import sweep, tracking
from src.workflow.advice import with_advice
from src.workflow.one_writer import only_writer
from src.workflow.stage_files import StageFiles

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageResult:
    """The result of a stage.

    Attributes:
        metrics: nested; they become reports/<stage>.json (of deploy@integer reports/deploy/integer.json) and the
            metrics of the MLflow run.
        failure: why the stage fails although all its outputs are good, such as a gate that does not pass; None: it
            passes. It is raised after everything is written and recorded.
    """

    metrics: Mapping[str, Any]
    failure: str | None = None

    @property
    def val_map50_95(self) -> float | None:
        """The accuracy by which sweeps choose a winner; None where a stage measures none."""
        value = self.metrics.get("val", {}).get("map50_95")
        return None if value is None else float(value)


Stage = Callable[[Any, StageFiles, tracking.Run], StageResult]


def execute(stage: str, load: Callable[[], Any], composed: DictConfig) -> float | None:
    """Run a stage with the config that Hydra composed, and record it.

    One of `UNRECORDED` is a function `run(params, files)`, and is not recorded.

    Args:
        stage: its name.
        load: returns its `run`. It is called once the config is known to be good: importing what computes takes
            seconds.
        composed: the config.

    Returns:
        val mAP50-95, by which sweeps choose a winner; None where a stage measures none.
    """
    try:
        return _execute(stage, load, composed)
    except UserError as error:
        message = with_advice(error, stage)
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise UserError(message) from error
        # Hydra would print the error with a line of its own.
        sys.exit(f"error: {message}")


def _execute(stage: str, load: Callable[[], Any], composed: DictConfig) -> float | None:
    params = typed(stage, composed)
    run = load()
    if stage in UNRECORDED:
        run(params, StageFiles(stage, PROJECT, _output_root()))
        return None
    job = sweep.job()
    files = StageFiles(stage, PROJECT, _output_root(), in_sweep=job is not None, item=_item())
    config_yaml = OmegaConf.to_yaml(composed, resolve=True)
    parent, name = (job.parent_run_id, job.name) if job else (None, None)
    alone = only_writer(PROJECT, stage) if files.is_pipeline else nullcontext()
    tunable = tunables(composed, HydraConfig.get().runtime.choices)
    with alone, tracking.run(stage, tunable, config_yaml, PROJECT, parent, name) as log:
        if job:
            log.on_step = job.on_step
        return perform(run, params, files, log).val_map50_95


def perform(run: Stage, params: Any, files: StageFiles, log: tracking.Run) -> StageResult:
    """Run a stage with typed settings; write its report, and record it.

    Raises:
        UserError: the stage raised it, or has a failure although all its outputs are good.
    """
    try:
        result = run(params, files, log)
        report = files.write(f"{files.report}.json")
        write_json(report, result.metrics)
        log.metrics(result.metrics)
        log.artifact(report)
        _logger.info("%s; outputs are in %s", _score(result), files.output)
    finally:
        # After a failure, too: what was written can be traced back.
        log.link(_models_and_data(files.inputs), _models_and_data(files.outputs))
    if result.failure is not None:
        raise UserError(result.failure)
    return result


def tunables(composed: DictConfig, chosen: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings and the chosen file of each group, as params.yaml names it: `choices: {student: yolov8n}`.

    Args:
        composed: the config of a stage.
        chosen: the files that Hydra chose, by group.
    """
    values = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(values, dict)
    choices = {group: chosen[group] for group in GROUPS if group in chosen}
    return {**{str(key): value for key, value in values.items()}, "choices": choices}


def _score(result: StageResult) -> str:
    return "done" if result.val_map50_95 is None else f"val mAP50-95 {result.val_map50_95:.4f}"


def _models_and_data(paths: Mapping[str, Path]) -> dict[str, Path]:
    return {name: path for name, path in paths.items() if name.startswith(("data/", "models/")) and path.exists()}


def _item() -> str | None:
    """Return which of the stages that DVC makes of a `foreach` this is; None: it is no such stage."""
    return os.environ.get("DVC_STAGE", "").partition("@")[2] or None


def _output_root() -> Path:
    """Return the project under DVC, and Hydra's folder by hand and in sweeps, which must not touch DVC's outputs."""
    hydra = HydraConfig.get()
    under_dvc = "DVC_STAGE" in os.environ and hydra.mode == RunMode.RUN
    return PROJECT if under_dvc else Path(hydra.runtime.output_dir)
