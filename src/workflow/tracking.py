"""An MLflow run whose failures never stop a stage.

A call that fails is repeated once when the run ends; one warning lists the calls that still fail. A server that hangs
does not hold the stage for long: once failed calls have taken `PATIENCE_S`, all further calls wait for the end of the
run, where the same limit applies again. With the time limit of a request, this costs at most 15 s in all.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.foundation.digests import digest
from src.foundation.errors import printable
from src.workflow.abandoned import close_abandoned
from src.workflow.lineage import identity_tags, link_upstream
from src.workflow.logged_model import log_onnx_model
from src.workflow.names import LONGEST_NAME, LONGEST_PARAM, LONGEST_TAG, cut, metric_part
from src.workflow.store import OpenStore, brief, open_store, prepare_mlflow, store_uri, without_password
from src.workflow.trial import OnStep, TrialPruned, ignore

if TYPE_CHECKING:
    import numpy as np
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

_logger = logging.getLogger(__name__)

PATIENCE_S = 1.5

COUNTED = {"metrics", "params", "tags"}
"""Kinds of calls for which the warning gives the number of values. For all other kinds it gives the names."""

METRICS_PER_CALL, PARAMS_PER_CALL = 1000, 100
"""MLflow's limits for one request."""


@contextmanager
def run(
    stage: str,
    params: Mapping[str, Any],
    config_yaml: str,
    project: Path,
    parent_run_id: str | None = None,
    name: str | None = None,
) -> Iterator[Run]:
    """Record the block as a run: FINISHED, KILLED (ctrl-C, or a search stopped it) or FAILED (other exceptions).

    Exceptions are raised again.

    Runs of processes of this machine that were killed before they could close them are closed first.

    Args:
        stage: such as `distill`.
        params: the tunable settings; nested groups become `group.key`.
        config_yaml: the whole resolved config, saved as the artifact config.yaml.
        project: the root of the checkout; see `store_uri`.
        parent_run_id: the sweep's parent run, if this run is a job of a sweep.
        name: the name of the run; by default its stage and DVC experiment.
    """
    log = Run(stage, project, parent_run_id, name)
    status = "FINISHED"
    try:
        log.close_abandoned()
        log.params(params)
        log.text(config_yaml, "config.yaml")
        log.watch_system()
        yield log
    except TrialPruned as pruned:
        status = "KILLED"
        log.tags({"pruned": str(pruned)})
        raise
    except BaseException as error:
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        log.tags({"error": brief(error)})
        raise
    finally:
        log.end(status)


@dataclass(frozen=True)
class Child:
    """A child run."""

    run_id: str
    name: str
    status: str
    params: dict[str, str]


@dataclass(frozen=True)
class _Call:
    """A call to the store. The warning lists `kind` and `names` if the call fails."""

    kind: str
    names: tuple[str, ...]
    do: Callable[[OpenStore], object]


def flat_params(values: Mapping[str, Any]) -> dict[str, str]:
    """Return parameters as they are recorded: nested groups as `group.key`, all values except strings as JSON.

    A value that is longer than MLflow's limit is cut, and ends with its length and md5.

    >>> flat_params({"T": 2.0, "augmentation": {"mosaic": 0.5}, "strict": False, "optimizer": "AdamW"})
    {'T': '2.0', 'augmentation.mosaic': '0.5', 'strict': 'false', 'optimizer': 'AdamW'}
    """
    texts = {key: v if isinstance(v, str) else json.dumps(v) for key, v in _flat(values, ".").items()}
    return {key: cut(text, LONGEST_PARAM) for key, text in texts.items()}


def run_name(text: str) -> str:
    """Return the name that a run gets: a long one is cut, and ends with its length and md5."""
    return cut(text, LONGEST_NAME)


class Run:
    """One run. Methods record at once, or at the end of the run if the store fails. They never raise its errors.

    Attributes:
        on_step: called with the metrics of each step. It may raise `TrialPruned`.
    """

    def __init__(self, stage: str, project: Path, parent_run_id: str | None = None, name: str | None = None) -> None:
        self._project = project
        self._uri = store_uri(project)
        self._name = run_name(name or " ".join(filter(None, [stage, os.environ.get("DVC_EXP_NAME")])))
        self._tags = identity_tags(stage, project)
        if parent_run_id:
            self._tags["mlflow.parentRunId"] = parent_run_id
        self._begun_ms = _now_ms()
        self.on_step: OnStep = ignore
        self._store: OpenStore | None = None
        self._monitor: SystemMetricsMonitor | None = None
        self._failing_s = 0.0
        self._reason = ""
        self._failed: list[_Call] = []  # tried once
        self._waiting: list[_Call] = []  # not yet tried
        self._lost: list[_Call] = []
        self._record("run", (self._name,), lambda store: None)

    @property
    def run_id(self) -> str | None:
        """The run's id; None until the store has answered."""
        return self._store.run_id if self._store else None

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters as `flat_params` returns them."""
        texts = flat_params(values)

        def do(store: OpenStore) -> None:
            from mlflow.entities import Param

            for some in _slices([Param(k, v) for k, v in texts.items()], PARAMS_PER_CALL):
                store.client.log_batch(store.run_id, params=some)

        self._record("params", tuple(texts), do)

    def metrics(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Record numbers. Nested groups become `group/key`: MLflow groups its charts by this prefix.

        Keys may be any text, such as names of classes: `metric_part` maps each to a name that MLflow allows.
        Values that are not numbers (a name, a list, None) are skipped; they are in the stage's report.
        """
        numbers = {k: float(v) for k, v in _flat(values, "/", metric_part).items() if isinstance(v, int | float)}
        now_ms = _now_ms()

        def do(store: OpenStore) -> None:
            from mlflow.entities import Metric

            entries = [Metric(k, v, now_ms, step or 0) for k, v in numbers.items()]
            for some in _slices(entries, METRICS_PER_CALL):
                store.client.log_batch(store.run_id, metrics=some)

        self._record("metrics", tuple(numbers), do)
        if step is not None:
            self.on_step(values, step)

    def tags(self, values: Mapping[str, str]) -> None:
        """Record tags. A value that is longer than MLflow's limit is cut, and ends with its length and md5."""

        def do(store: OpenStore) -> None:
            from mlflow.entities import RunTag

            for some in _slices([RunTag(k, cut(v, LONGEST_TAG)) for k, v in values.items()], PARAMS_PER_CALL):
                store.client.log_batch(store.run_id, tags=some)

        self._record("tags", tuple(values), do)

    def text(self, text: str, name: str) -> None:
        """Record `text` as the artifact `name`."""
        self._record("artifacts", (name,), lambda store: store.client.log_text(store.run_id, text, name))

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Record a copy of a file, or of a folder with its content, in the artifact folder `folder`."""
        self._record(
            "artifacts", (self._shown(path),), lambda store: store.client.log_artifact(store.run_id, str(path), folder)
        )

    def dataset(self, name: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
        """Record the dataset that the run reads: its md5, its path, and figures that describe it."""

        def do(store: OpenStore) -> None:
            from mlflow.entities import Dataset, DatasetInput

            entity = Dataset(
                name, digest, "local", json.dumps({"uri": source}), schema=None, profile=json.dumps(profile)
            )
            store.client.log_inputs(store.run_id, datasets=[DatasetInput(entity)])

        self._record("datasets", (name,), do)

    def onnx_model(self, path: Path, sample: np.ndarray, registered_name: str | None = None) -> None:
        """Record an ONNX model in MLflow's ONNX flavor, with the signature inferred from `sample`.

        Args:
            path: the .onnx file.
            sample: float32 (N, 3, H, W) in [0, 1], an input of the model; the model runs on it once, for the signature.
            registered_name: also create a version of this name in the model registry, as the candidate.
        """
        self._record("models", (self._shown(path),), lambda store: log_onnx_model(store, path, sample, registered_name))

    def link(self, reads: Mapping[str, Path], writes: Mapping[str, Path]) -> None:
        """Link this run to the runs that wrote its inputs, by the md5 of the files: in tags, and in the description.

        Tags: `input.<name>` and `output.<name>` are the md5 of a file, `upstream.<name>` is the id of the run that
        wrote an input.
        """
        inputs, outputs = self._digests(reads), self._digests(writes)
        self.tags({f"input.{name}": md5 for name, md5 in inputs.items()})
        self.tags({f"output.{name}": md5 for name, md5 in outputs.items()})
        self._record("links", tuple(inputs), lambda store: link_upstream(store, inputs, outputs))

    def child(
        self, name: str, params: Mapping[str, Any], metrics: Mapping[str, Any], files: Path | None = None
    ) -> None:
        """Record a finished child run, such as one try of a search, with a copy of the files in a folder."""
        run = Run(self._tags["stage"], self._project, self.run_id, name)
        run.params(params)
        run.metrics(metrics)
        if files is not None:
            run.artifact(files)
        run.end("FINISHED")

    def children(self) -> list[Child] | None:
        """Return the child runs, oldest first; None if the store does not answer."""
        found: list[Child] = []

        def do(store: OpenStore) -> None:
            runs = store.client.search_runs(
                [store.experiment_id],
                f"tags.`mlflow.parentRunId` = '{store.run_id}'",
                order_by=["attributes.start_time ASC"],
            )
            found.extend(Child(r.info.run_id, r.info.run_name, r.info.status, r.data.params) for r in runs)

        return found if self._record("links", ("children",), do) else None

    def take_over(self, run_id: str) -> None:
        """Move the child runs of an earlier run below this one: its params are fixed, this run gets a new winner."""

        def do(store: OpenStore) -> None:
            for child in store.client.search_runs([store.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'"):
                store.client.set_tag(child.info.run_id, "mlflow.parentRunId", store.run_id)
            store.client.set_tag(run_id, "continued_by", store.run_id)
            if store.client.get_run(run_id).info.status == "RUNNING":
                store.client.set_terminated(run_id, "KILLED")

        self._record("links", ("children",), do)

    def close_child(self, child: Child, status: str) -> None:
        """Close a child run whose process can no longer do it."""
        self._record("status", (child.name,), lambda store: store.client.set_terminated(child.run_id, status))

    def close_abandoned(self) -> None:
        """Close as KILLED all runs that are RUNNING in the experiment, but whose process of this machine has died."""
        self._record("status", ("runs of killed processes",), close_abandoned)

    def watch_system(self) -> None:
        """Record the use of CPU, memory, disk and network (and GPU, if there is one) until the run ends."""
        if self._store is None:
            self._lost.append(_Call("system metrics", ("all",), lambda store: None))
            return
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._monitor = SystemMetricsMonitor(self._store.run_id, tracking_uri=self._uri)
        self._monitor.start()

    def end(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED, and print a warning if something was not recorded."""
        if self._monitor:
            # Its thread may be waiting for a server that hangs.
            closing = threading.Thread(target=self._monitor.finish, daemon=True)
            closing.start()
            closing.join(PATIENCE_S)
        last = _Call("status", (status,), lambda store: store.client.set_terminated(store.run_id, status))
        self._failing_s = 0.0
        # Failed calls come last: if a call itself is faulty, it must not prevent the others.
        for call in [*self._waiting, last, *self._failed]:
            if self._failing_s >= PATIENCE_S or not self._try(call):
                self._lost.append(call)
        if self._lost and self._monitor:
            self._lost.append(_Call("system metrics", ("the last",), lambda store: None))
        if self._lost:
            print(printable(self._warning()), file=sys.stderr, flush=True)

    def _record(self, kind: str, names: tuple[str, ...], do: Callable[[OpenStore], object]) -> bool:
        call = _Call(kind, names, do)
        if self._failing_s >= PATIENCE_S:
            self._waiting.append(call)
            return False
        if not self._try(call):
            self._failed.append(call)
            return False
        return True

    def _try(self, call: _Call) -> bool:
        prepare_mlflow()  # takes seconds that do not count as a failure of the store
        started_s = time.monotonic()
        try:
            if self._store is None:
                self._store = open_store(self._project, self._name, self._tags, self._begun_ms)
            call.do(self._store)
        # No error of a tracking store (HTTP, SQL, disk, a missing cloud library) may cost a trained model.
        except Exception as error:
            _logger.debug("could not record %s %s", call.kind, call.names, exc_info=True)
            self._failing_s += time.monotonic() - started_s
            self._reason = brief(error)
            return False
        return True

    def _digests(self, paths: Mapping[str, Path]) -> dict[str, str]:
        known = {}
        for name, path in paths.items():
            try:
                known[name] = digest(path)
            except FileNotFoundError as error:
                self._reason = brief(error)
                self._lost.append(_Call("digests", (name,), lambda store: None))
        return known

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self._project) if path.is_relative_to(self._project) else path)

    def _warning(self) -> str:
        names: dict[str, list[str]] = {}
        for call in self._lost:
            names.setdefault(call.kind, []).extend(call.names)
        parts = [
            f"{kind} ({len(some)} values)" if kind in COUNTED else f"{kind} ({', '.join(sorted(set(some)))})"
            for kind, some in sorted(names.items())
        ]
        return (
            f"warning: MLflow at {without_password(self._uri)} did not record all of run {self._name!r}. Missing: "
            f"{', '.join(parts)}. Reason: {self._reason}. The output files are not affected, see {self._project}."
        )


def _flat(
    values: Mapping[str, Any], separator: str, named: Callable[[str], str] = str, prefix: str = ""
) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, separator, named, f"{prefix}{named(key)}{separator}")
        else:
            flat[prefix + named(key)] = value
    return flat


def _slices(items: list[Any], size: int) -> list[list[Any]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
