"""Runs in MLflow: the only module that imports it.

The loss of tracking never stops a stage. A call that fails is kept and tried once more as the run ends; what still
fails is named in one warning. Calls that fail slowly (a server that hangs) are cut short: once `PATIENCE_S` has gone
into failures, every further call waits for the end, where the same patience holds once more. With the time limit of a
request that is at most 15 s in all.

MLflow takes seconds to import, so this happens with the first run, not with this module.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from src.foundation.digests import digest
from src.foundation.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

_logger = logging.getLogger(__name__)

EXPERIMENT = "shrink"
"""The name in MLflow, unless MLFLOW_EXPERIMENT_NAME gives another."""

PATIENCE_S = 1.5
SETTINGS = {
    # MLflow's own 120 s and 7 retries would hold a stage for a quarter of an hour per call.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Environment variables of MLflow that are set here unless the user did."""

LOCK_S = 60
"""How long to wait while another process creates the tables of a new SQLite store, which takes seconds."""

COUNTED = {"metrics", "params", "tags"}
"""Of these the warning gives the number, of all else the names."""

METRICS_PER_CALL, PARAMS_PER_CALL = 1000, 100
"""What MLflow takes in one request."""

MADE_FROM = ("src", "conf", "params.yaml", "dvc.yaml")
"""A run is dirty if these differ from its commit. DVC itself deletes and rewrites reports/ and dvc.lock as it runs."""


@contextmanager
def run(
    stage: str,
    params: Mapping[str, Any],
    config_yaml: str,
    project: Path,
    parent_run_id: str | None = None,
    name: str | None = None,
) -> Iterator[Run]:
    """Record the block as a run: FINISHED, KILLED by ctrl-C, or FAILED by any other exception, which passes through.

    Args:
        stage: such as `distill`.
        params: what people tune; nested groups become `group.key`.
        config_yaml: the whole resolved config, kept as the artifact config.yaml.
        project: the root of the checkout; see `store_uri`.
        parent_run_id: the run of the sweep to which this one belongs.
        name: what the run is called, by default after its stage and DVC experiment.
    """
    log = Run(stage, project, parent_run_id, name)
    log.params(params)
    log.text(config_yaml, "config.yaml")
    log.watch_system()
    status = "FINISHED"
    try:
        yield log
    except BaseException as error:
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        log.tags({"error": brief(error)})
        raise
    finally:
        log.end(status)


def brief(error: BaseException) -> str:
    """Return an exception in one line, without the passwords that a URL in it may hold."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return _without_password(first)[:500]


def root(project: Path) -> Path:
    """Return the folder of the local store: the main checkout, also if DVC runs an experiment in a temporary copy."""
    return Path(os.environ.get("DVC_ROOT") or project).resolve()


def store_uri(project: Path) -> str:
    """Return MLFLOW_TRACKING_URI, or else mlflow.db in `root(project)`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root(project) / 'mlflow.db'}"


@dataclass(frozen=True)
class Child:
    """A run below another one."""

    run_id: str
    name: str
    status: str
    params: dict[str, str]


@dataclass(frozen=True)
class Recorded:
    """What the store knows of a run that ended: of a sweep's parent, its winner's parameters and value.

    `spread` is the standard deviation where the value is a mean over seeds; one run alone has none. `whole` tells
    whether all of a sweep's jobs finished.
    """

    run_id: str
    stage: str
    params: dict[str, str]
    value: float | None
    spread: float
    whole: bool


@dataclass(frozen=True)
class _Store:
    """An open store and the run in it."""

    client: MlflowClient
    experiment_id: str
    run_id: str


@dataclass(frozen=True)
class _Call:
    """Something to record: `kind` and `names` are what the warning says if it cannot be."""

    kind: str
    names: tuple[str, ...]
    do: Callable[[_Store], object]


def flat_params(values: Mapping[str, Any]) -> dict[str, str]:
    """Return parameters as they are recorded: nested groups as `group.key`, everything but text as JSON writes it."""
    return {key: v if isinstance(v, str) else json.dumps(v) for key, v in _flat(values, ".").items()}


def recorded(project: Path, run_id: str) -> Recorded:
    """Return what the store knows of a run.

    Raises:
        UserError: the store does not answer, has no such run, or it did not finish. A sweep in which jobs failed is
            fine as long as it has a winner.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri = store_uri(project)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise UserError(f"{uri}: no runs are recorded there yet: run a stage or a sweep first")
    try:
        run = MlflowClient(uri).get_run(run_id)
    except MlflowException as error:
        raise UserError(f"run {run_id}: not in {uri} ({brief(error)}): copy the id from the MLflow page") from error
    except SQLAlchemyError as error:
        raise UserError(f"{uri}: cannot be read ({brief(error)}): put the store back, or remove it") from error
    metrics = run.data.metrics
    if run.info.status != "FINISHED" and "best" not in metrics:
        raise UserError(
            f"run {run_id}: expected one that finished or a sweep with a winner, found {run.info.status}: "
            "name another run, such as a job that finished in the sweep's children.csv"
        )
    return Recorded(
        run_id,
        run.data.tags.get("stage", ""),
        dict(run.data.params),
        metrics.get("best", metrics.get("val/map50_95")),
        metrics.get("best_std", 0.0),
        run.info.status == "FINISHED",
    )


class Run:
    """One run. Its methods record at once if the store answers, at the end if it does not; they never raise for it."""

    def __init__(self, stage: str, project: Path, parent_run_id: str | None = None, name: str | None = None) -> None:
        self._project = project
        self._uri = store_uri(project)
        self._name = name or " ".join(filter(None, [stage, os.environ.get("DVC_EXP_NAME")]))
        self._tags = _identity(stage, project)
        if parent_run_id:
            self._tags["mlflow.parentRunId"] = parent_run_id
        self._begun_ms = _now_ms()
        self._store: _Store | None = None
        self._monitor: SystemMetricsMonitor | None = None
        self._failing_s = 0.0
        self._reason = ""
        self._failed: list[_Call] = []  # tried once
        self._waiting: list[_Call] = []  # not yet tried
        self._lost: list[_Call] = []
        self._record("run", (self._name,), lambda store: None)

    @property
    def run_id(self) -> str | None:
        """The run's id; None while the store has not answered."""
        return self._store.run_id if self._store else None

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters, nested groups as `group.key`, everything but text as JSON writes it."""
        texts = flat_params(values)

        def do(store: _Store) -> None:
            from mlflow.entities import Param

            for some in _slices([Param(k, v) for k, v in texts.items()], PARAMS_PER_CALL):
                store.client.log_batch(store.run_id, params=some)

        self._record("params", tuple(texts), do)

    def metrics(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Record numbers. Nested groups become `group/key`, by which MLflow sorts its charts.

        What is not a number (a name, a list, None) is left to the report that holds it.
        """
        numbers = {k: float(v) for k, v in _flat(values, "/").items() if isinstance(v, int | float)}
        now_ms = _now_ms()

        def do(store: _Store) -> None:
            from mlflow.entities import Metric

            entries = [Metric(_allowed(k), v, now_ms, step or 0) for k, v in numbers.items()]
            for some in _slices(entries, METRICS_PER_CALL):
                store.client.log_batch(store.run_id, metrics=some)

        self._record("metrics", tuple(numbers), do)

    def tags(self, values: Mapping[str, str]) -> None:
        """Record tags, as they are."""

        def do(store: _Store) -> None:
            from mlflow.entities import RunTag

            for some in _slices([RunTag(k, v) for k, v in values.items()], PARAMS_PER_CALL):
                store.client.log_batch(store.run_id, tags=some)

        self._record("tags", tuple(values), do)

    def text(self, text: str, name: str) -> None:
        """Record `text` as the artifact `name`."""
        self._record("artifacts", (name,), lambda store: store.client.log_text(store.run_id, text, name))

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Record a copy of a file, or of a folder with all that it holds, in the artifact folder `folder`."""
        self._record(
            "artifacts", (self._shown(path),), lambda store: store.client.log_artifact(store.run_id, str(path), folder)
        )

    def dataset(self, name: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
        """Record the dataset that the run reads: an md5 of it, where it lies, and figures that describe it."""

        def do(store: _Store) -> None:
            from mlflow.entities import Dataset, DatasetInput

            entity = Dataset(
                name, digest, "local", json.dumps({"uri": source}), schema=None, profile=json.dumps(profile)
            )
            store.client.log_inputs(store.run_id, datasets=[DatasetInput(entity)])

        self._record("datasets", (name,), do)

    def onnx_model(self, path: Path, sample: np.ndarray, registered_name: str | None = None) -> None:
        """Record an ONNX model in MLflow's ONNX flavor, with the signature that `sample` shows.

        Args:
            path: the .onnx file.
            sample: float32 (N, 3, H, W) in [0, 1], what the model takes; it is run once to see what comes out.
            registered_name: also make a version of this name in the model registry.
        """
        self._record("models", (self._shown(path),), lambda store: _log_onnx(store, path, sample, registered_name))

    def link(self, reads: Mapping[str, Path], writes: Mapping[str, Path]) -> None:
        """Tie this run to the runs that wrote what it read, by the md5 of the files: tags and a clickable description.

        Tags: `output.<name>` is the md5 of a file written, `upstream.<name>` the run that wrote a file read.
        """
        inputs, outputs = self._digests(reads), self._digests(writes)
        self.tags({f"output.{name}": md5 for name, md5 in outputs.items()})
        self._record("links", tuple(inputs), lambda store: _link_upstream(store, inputs, outputs))

    def child(self, name: str, params: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
        """Record a finished run below this one: something that was tried on the way."""
        run = Run(self._tags["stage"], self._project, self.run_id, name)
        run.params(params)
        run.metrics(metrics)
        run.end("FINISHED")

    def children(self) -> list[Child] | None:
        """Return the runs below this one, oldest first; None if the store does not answer."""
        found: list[Child] = []

        def do(store: _Store) -> None:
            runs = store.client.search_runs(
                [store.experiment_id],
                f"tags.`mlflow.parentRunId` = '{store.run_id}'",
                order_by=["attributes.start_time ASC"],
            )
            found.extend(Child(r.info.run_id, r.info.run_name, r.info.status, r.data.params) for r in runs)

        return found if self._record("links", ("children",), do) else None

    def close_child(self, child: Child, status: str) -> None:
        """End a run below this one whose process can no longer do it."""
        self._record("status", (child.name,), lambda store: store.client.set_terminated(child.run_id, status))

    def watch_system(self) -> None:
        """Record the use of processor, memory, disk and network (and GPU, if there is one) until the end."""
        if self._store is None:
            self._lost.append(_Call("system metrics", ("all",), lambda store: None))
            return
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._monitor = SystemMetricsMonitor(self._store.run_id, tracking_uri=self._uri)
        self._monitor.start()

    def end(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED, and warn of what could not be recorded."""
        if self._monitor:
            # Its thread may be waiting for a server that hangs.
            closing = threading.Thread(target=self._monitor.finish, daemon=True)
            closing.start()
            closing.join(PATIENCE_S)
        last = _Call("status", (status,), lambda store: store.client.set_terminated(store.run_id, status))
        self._failing_s = 0.0
        # What failed comes last: if the fault lies in the call itself, it must not cost the others their chance.
        for call in [*self._waiting, last, *self._failed]:
            if self._failing_s >= PATIENCE_S or not self._try(call):
                self._lost.append(call)
        if self._lost and self._monitor:
            self._lost.append(_Call("system metrics", ("the last",), lambda store: None))
        if self._lost:
            print(self._warning(), file=sys.stderr, flush=True)

    def _record(self, kind: str, names: tuple[str, ...], do: Callable[[_Store], object]) -> bool:
        call = _Call(kind, names, do)
        if self._failing_s >= PATIENCE_S:
            self._waiting.append(call)
            return False
        if not self._try(call):
            self._failed.append(call)
            return False
        return True

    def _try(self, call: _Call) -> bool:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        importlib.import_module("mlflow")  # takes seconds, which are no failure of the store
        begun_s = time.monotonic()
        try:
            if self._store is None:
                self._store = self._open()
            call.do(self._store)
        # Whatever a tracking store throws (HTTP, SQL, disk, a missing cloud library) must not cost a trained model.
        except Exception as error:
            _logger.debug("could not record %s %s", call.kind, call.names, exc_info=True)
            self._failing_s += time.monotonic() - begun_s
            self._reason = brief(error)
            return False
        return True

    def _open(self) -> _Store:
        from mlflow import MlflowClient

        for noisy in ("mlflow", "alembic"):  # a line per migration of a new store; what fails is in our own warning
            logging.getLogger(noisy).setLevel(logging.ERROR)
        # Processes that find no tables all create them, and all but one crash.
        with _lock(self._uri):
            client = MlflowClient(self._uri)
            experiment_id = self._experiment(client)
        begun = client.create_run(experiment_id, start_time=self._begun_ms, tags=self._tags, run_name=self._name)
        return _Store(client, experiment_id, begun.info.run_id)

    def _experiment(self, client: MlflowClient) -> str:
        from mlflow import MlflowException

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        # A server knows where artifacts go. A local store would put them under the working directory, which for a
        # queued DVC experiment is a copy that is thrown away.
        artifacts = None if self._uri.startswith("http") else (root(self._project) / "mlruns").as_uri()
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(client.create_experiment(name, artifacts))
            except MlflowException:
                experiment = client.get_experiment_by_name(name)  # another process was faster
                if experiment is None:
                    raise
        return str(experiment.experiment_id)

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
            f"{kind} ({len(some)} values)" if kind in COUNTED else f"{kind} ({', '.join(dict.fromkeys(some))})"
            for kind, some in sorted(names.items())
        ]
        return (
            f"warning: MLflow at {_without_password(self._uri)} did not record all of run {self._name!r}: missing are "
            f"{', '.join(parts)}. Reason: {self._reason}. The files themselves are unharmed, under {self._project}."
        )


def _log_onnx(store: _Store, path: Path, sample: np.ndarray, registered_name: str | None) -> None:
    import mlflow.onnx
    import onnx
    import onnxruntime
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model, infer_signature

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: sample}
    answer = dict(zip([o.name for o in session.get_outputs()], session.run(None, feed), strict=True))
    # The client's calls, not mlflow.onnx.log_model: that one works on MLflow's global run and store.
    logged = store.client.create_logged_model(store.experiment_id, path.stem, store.run_id)
    model = Model(
        artifact_path=logged.artifact_location,
        run_id=store.run_id,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
        signature=infer_signature(feed, answer),
    )
    with tempfile.TemporaryDirectory() as folder:
        mlflow.onnx.save_model(
            onnx.load(path),
            f"{folder}/model",
            mlflow_model=model,
            pip_requirements=[f"onnx=={onnx.__version__}", f"onnxruntime=={onnxruntime.__version__}"],
            onnx_execution_providers=["CPUExecutionProvider"],
        )
        store.client.log_model_artifacts(logged.model_id, f"{folder}/model")
    store.client.finalize_logged_model(logged.model_id, "READY")
    store.client.log_outputs(store.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    if registered_name:
        try:
            store.client.create_registered_model(registered_name)
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        store.client.create_model_version(
            registered_name, logged.artifact_location, store.run_id, await_creation_for=0, model_id=logged.model_id
        )


def _link_upstream(store: _Store, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    lines = []
    for name, md5 in inputs.items():
        found = store.client.search_runs(
            [store.experiment_id],
            f"tags.`output.{name}` = '{md5}'",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        if found:
            info = found[0].info
            store.client.set_tag(store.run_id, f"upstream.{name}", info.run_id)
            link = f"[{info.run_name}](#/experiments/{info.experiment_id}/runs/{info.run_id})"
            lines.append(f"- reads `{name}`, written by {link}")
        else:
            lines.append(f"- reads `{name}` (md5 {md5}), written by no run in this store")
    lines += [f"- writes `{name}` (md5 {md5})" for name, md5 in outputs.items()]
    store.client.set_tag(store.run_id, "mlflow.note.content", "\n".join(lines))


def _identity(stage: str, project: Path) -> dict[str, str]:
    """Return the tags that say where a run comes from: stage, commit, DVC stage and experiment."""
    tags = {"stage": stage, "mlflow.source.name": f"python -m src.{stage}", "mlflow.source.type": "LOCAL"}
    for tag, variable in {"dvc.stage": "DVC_STAGE", "dvc.experiment": "DVC_EXP_NAME"}.items():
        if value := os.environ.get(variable):
            tags[tag] = value
    commit = _git(project, "rev-parse", "HEAD")
    if commit:
        tags["mlflow.source.git.commit"] = commit
        tags["git.dirty"] = json.dumps(bool(_git(project, "status", "--porcelain", "--", *MADE_FROM)))
    return tags


def _git(project: Path, *arguments: str) -> str | None:
    """Return what git says; None without git or outside of a repository."""
    try:
        # DVC may hold the lock of git's index.
        command = ["git", "--no-optional-locks", *arguments]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _flat(values: Mapping[str, Any], separator: str, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, separator, f"{prefix}{key}{separator}")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _allowed(name: str) -> str:
    """Return a name with what MLflow refuses (class names may hold anything) replaced by underscores."""
    return re.sub(r"[^\w/.\- :]", "_", name)


def _slices(items: list[Any], size: int) -> list[list[Any]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)


def _lock(uri: str) -> AbstractContextManager[object]:
    if not uri.startswith("sqlite:///"):
        return nullcontext()
    return FileLock(f"{uri.removeprefix('sqlite:///')}.lock", LOCK_S)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
