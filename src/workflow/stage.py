"""What all stages share: where files lie, tracking, and errors in one line.

A stage is a function `run(params, place, log)`. It gets its typed parameters, a `Place` to read from and write to and a
tracking `Run` to log to, and returns its final metrics, which become reports/<stage>.json.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src import config
from src.foundation.atomic import write_json
from src.foundation.digests import digest
from src.foundation.errors import UserError
from src.workflow import sweep, tracking

INTERRUPTED = 130
"""The exit code by which shells know Ctrl-C."""

_logger = logging.getLogger(__name__)

Metrics = Mapping[str, Any]
Stage = Callable[[Any, "Place", tracking.Run], Metrics]


@dataclass
class Place:
    """Where a stage's files lie: inputs in the project, outputs in the project (under DVC) or in Hydra's folder.

    It remembers what was read and written: tracking links runs by the digests of these files.

    Attributes:
        stage: its name.
        settings: its resolved config, as YAML.
        project: the root that inputs are read from.
        output: the root that outputs are written to.
        in_sweep: whether this is a job of a Hydra sweep.
    """

    stage: str
    settings: str
    project: Path
    output: Path
    in_sweep: bool = False
    was_read: dict[str, Path] = field(default_factory=dict)
    was_written: dict[str, Path] = field(default_factory=dict)

    def read(self, name: str) -> Path:
        """Return where the output `name` (such as models/teacher.pt) of an earlier stage lies.

        Raises:
            UserError: it is not there.
        """
        path = self.project / name
        if not path.exists():
            raise UserError(f"{name} is not there: run `dvc repro` (or `dvc pull`) first")
        self.was_read[name] = path
        return path

    def read_own(self, name: str) -> Path:
        """Return where a file of the user's own lies, there or not; a relative name counts from the project."""
        path = self.project / name
        if path.exists():
            self.was_read[name] = path
        return path

    def write(self, name: str) -> Path:
        """Return where this stage may write its output `name`; the parent folder is made."""
        path = self.output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.was_written[name] = path
        return path

    def cache(self, name: str) -> Path:
        """Return the folder of a cache that all runs of the project share; nothing depends on what is in it."""
        return self.project / ".cache" / name

    @contextmanager
    def checkpoint(self) -> Iterator[Path]:
        """Yield a folder where trainings keep their state; it survives the block only if an exception ends it.

        Its name is a digest of settings, code and all that was read so far: a run of other parameters or inputs never
        finds it. A process that finds it in use by another one gets a folder of its own.
        """
        key = hashlib.md5(self.settings.encode())
        for name, path in sorted(self.was_read.items()):
            key.update(f"{name} {digest(path)}\n".encode())
        for module in sorted(Path(__file__).parents[1].rglob("*.py")):
            key.update(module.read_bytes())
        path = self.project / ".checkpoints" / f"{self.stage}-{key.hexdigest()}"
        path.parent.mkdir(exist_ok=True)
        lock = FileLock(path.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            path = path.with_suffix(f".{os.getpid()}")
        path.mkdir(exist_ok=True)
        try:
            yield path
            shutil.rmtree(path)
            path.with_suffix(".lock").unlink(missing_ok=True)
        finally:
            lock.release()


def execute(stage: str, run: Stage, composed: DictConfig) -> float | None:
    """Run a stage with the config that Hydra composed, and record it.

    Returns:
        val mAP50-95, by which sweeps choose a winner; None where a stage has none.
    """
    try:
        return _execute(stage, run, composed)
    except UserError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        # Left to Hydra, the error would come with a line of its own.
        sys.exit(f"error: {error}")


def _execute(stage: str, run: Stage, composed: DictConfig) -> float | None:
    params = config.typed(stage, composed)
    settings = OmegaConf.to_yaml(composed, resolve=True)
    job = sweep.job()
    place = Place(stage, settings, config.PROJECT, _output_root(), in_sweep=job is not None)
    tunables = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(tunables, dict)
    parent, name = (job.parent_run_id, job.name) if job else (None, None)
    with tracking.run(stage, {str(k): v for k, v in tunables.items()}, settings, config.PROJECT, parent, name) as log:
        try:
            metrics = run(params, place, log)
            report = place.write(f"reports/{stage}.json")
            write_json(report, metrics)
            log.metrics(metrics)
            log.artifact(report)
            _logger.info("%s; outputs are in %s", _score(metrics), place.output)
        finally:
            # Also for a gate that fails: what it judged was written and can be traced back.
            log.link(_linked(place.was_read), _linked(place.was_written))
    return metrics.get("val", {}).get("map50_95")


def _score(metrics: Metrics) -> str:
    value = metrics.get("val", {}).get("map50_95")
    return "done" if value is None else f"val mAP50-95 {value:.4f}"


def guard(main: Callable[[], Any]) -> None:
    """Call a stage's `main`: what a user can mend is one line on stderr and exit code 1, without a traceback.

    A request to end (SIGTERM, by which queues end a job) is taken like Ctrl-C: what was begun is closed.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors through to here instead of printing them in several lines
    failed = True
    try:
        config.register()
        main()
        failed = False
    except (UserError, HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {_in_one_line(error)}")
    except (OSError, yaml.YAMLError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    finally:
        sweep.finish(failed)


def _linked(paths: Mapping[str, Path]) -> dict[str, Path]:
    """Return the models and data among these files, as far as they were written."""
    return {name: path for name, path in paths.items() if name.startswith(("data/", "models/")) and path.exists()}


def _output_root() -> Path:
    """Return the project's root under DVC, Hydra's folder by hand and in sweeps: these must not touch DVC's outputs."""
    hydra = HydraConfig.get()
    under_dvc = "DVC_STAGE" in os.environ and hydra.mode == RunMode.RUN
    return config.PROJECT if under_dvc else Path(hydra.runtime.output_dir)


def _in_one_line(error: BaseException) -> str:
    """Return the message; Hydra's, which spread over lines, without what only describes its own objects."""
    if isinstance(error, UserError):
        return str(error)
    text = "\n".join([str(error), *([str(error.__cause__)] if error.__cause__ else [])])
    text = text.partition("Config search path:")[0]
    lines = (line.strip().rstrip(".") for line in text.splitlines())
    # Hydra advises to add the key, which nothing would use.
    passed_over = ("To append to your config use", "object_type=", "reference_type=")
    kept = [line.replace("full_key:", "key") for line in lines if line and not line.startswith(passed_over)]
    message = "; ".join(dict.fromkeys(kept)).replace(":; ", ": ")
    unknown = re.search(r"Key '([^']+)' not in '(\w+)'", message)
    return message + (config.suggestion(unknown[1], unknown[2]) if unknown else "")
