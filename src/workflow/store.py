"""The MLflow store: where it is, how it is opened, and what it knows of a run that ended.

MLflow takes seconds to import, so this happens when a store is opened, not with this module.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from src.foundation.errors import UserError, printable
from src.workflow.moved_store import follow_the_project

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as EntityOfRun

EXPERIMENT = "shrink"
"""The name in MLflow, unless MLFLOW_EXPERIMENT_NAME gives another."""

COLUMNS = ("attributes.`Created`", "metrics.`val/map50_95`", "metrics.`size_mib`", "metrics.`latency/speedup`")
"""Of the runs' table in the shared view `shrink`, which `make ui` names."""

VIEW = {
    "searchFilter": "",
    "orderByKey": "attributes.start_time",
    "orderByAsc": False,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "modelVersionFilter": "All Runs",
    "datasetsFilter": [],
    "selectedColumns": COLUMNS,
}

VIEW_TAG = "mlflow.sharedViewState.shrink"

EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # the page opens its view for model training
    VIEW_TAG: json.dumps(VIEW),
}

SETTINGS = {
    # MLflow's own 120 s and 7 retries would hold a stage for a quarter of an hour per call.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "5",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""Environment variables of MLflow that are set here unless the user did."""

UNKNOWN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""Codes of MLflow's error for a name or id that is not in the store."""

LOCK_S = 60
"""How long to wait while another process creates the tables of a new SQLite store, which takes seconds."""


@dataclass(frozen=True)
class OpenStore:
    """An open store and the run in it."""

    client: MlflowClient
    experiment_id: str
    run_id: str


@dataclass(frozen=True)
class RecordedRun:
    """A run that ended, as the store has it: of a sweep's parent, the parameters and the value of its winner.

    Attributes:
        run_id: in MLflow.
        stage: that ran.
        params: by flat key, as text.
        value: val mAP50-95; None if none was recorded.
        spread: standard deviation over seeds where the value is their mean; 0 for a single run.
        complete: whether all jobs of a sweep finished.
    """

    run_id: str
    stage: str
    params: dict[str, str]
    value: float | None
    spread: float
    complete: bool


def main_checkout(project: Path) -> Path:
    """Return the folder of the local store: the main checkout, also if DVC runs an experiment in a temporary copy."""
    return Path(os.environ.get("DVC_ROOT") or project).resolve()


def store_uri(project: Path) -> str:
    """Return MLFLOW_TRACKING_URI, or else that of mlflow.db in the main checkout."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_local_database(project)}"


def prepare_mlflow() -> None:
    """Import MLflow, which takes seconds, with the settings of this project."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401

    # A line per migration of a new store, a traceback per failed call. `Run` warns of what fails, in one line.
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)


def open_store(project: Path, name: str, tags: Mapping[str, str], begun_ms: int) -> OpenStore:
    """Open the store and begin a run in it.

    Args:
        project: the root of the checkout.
        name: of the run.
        tags: of the run.
        begun_ms: when it began, ms since 1970.

    Raises:
        Exception: whatever the store raises.
    """
    from mlflow import MlflowClient

    uri = store_uri(project)
    _expect_whole_password(uri)
    # Processes that find no tables all create them, and all but one crash.
    with _lock(uri):
        client = MlflowClient(uri)
        _follow_the_project(uri, project)
        experiment_id = _experiment_id(client, uri, project)
    begun = client.create_run(experiment_id, start_time=begun_ms, tags=dict(tags), run_name=name)
    return OpenStore(client, experiment_id, begun.info.run_id)


@contextmanager
def reading_store(project: Path) -> Iterator[MlflowClient]:
    """Yield a client of a store in which something is recorded.

    Raises:
        UserError: there is no store yet, or the block or the store fails.
    """
    prepare_mlflow()
    from mlflow import MlflowClient, MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri = store_uri(project)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///").partition("?")[0]).exists():
        raise UserError(f"{uri}: no runs are recorded there yet: run a stage or a sweep first")
    _expect_whole_password(uri)
    try:
        client = MlflowClient(uri)
        _follow_the_project(uri, project)
        yield client
    except (MlflowException, SQLAlchemyError, sqlite3.Error, ImportError) as error:
        shown = without_password(uri)
        if "locked" in str(error):
            raise UserError(f"{shown}: another process holds it: wait until it has ended, or end it") from error
        raise UserError(f"{shown}: cannot be read ({brief(error)}): put the store back, or remove it") from error


def recorded_run(project: Path, run_id: str) -> RecordedRun:
    """Return a run that ended, as the store has it.

    Raises:
        UserError: the store does not answer, has no such run, or it did not finish. A sweep in which jobs failed is
            accepted if it has a winner.
    """
    with reading_store(project) as client:
        run = _run_of(client, project, run_id)
    metrics = run.data.metrics
    if run.info.status != "FINISHED" and "best" not in metrics:
        raise UserError(
            f"run {run_id}: expected one that finished or a sweep with a winner, found {run.info.status}: "
            "name another run, such as a job that finished in the sweep's children.csv"
        )
    return RecordedRun(
        run_id,
        run.data.tags.get("stage", ""),
        dict(run.data.params),
        metrics.get("best", metrics.get("val/map50_95")),
        metrics.get("best_std", 0.0),
        run.info.status == "FINISHED",
    )


def attach(project: Path, run_id: str, stage: str, text: str, name: str) -> None:
    """Add a text to the artifacts of a recorded run. It replaces one of the same name.

    Args:
        project: the root of the checkout.
        run_id: in MLflow; also of a run that failed.
        stage: that must have run, such as `eval_int8`.
        text: of the artifact.
        name: its path among the run's artifacts.

    Raises:
        UserError: the store does not answer, has no such run, or another stage ran.
    """
    with reading_store(project) as client:
        ran = _run_of(client, project, run_id).data.tags.get("stage")
        if ran != stage:
            raise UserError(
                f"run {run_id}: expected a run of {stage}, found one of {ran}: copy the id from the MLflow page"
            )
        try:
            client.log_text(run_id, text, name)
        except OSError as error:
            raise UserError(f"run {run_id}: {name} cannot be added ({brief(error)}): make it writable") from error


def brief(error: BaseException) -> str:
    """Return an exception in one line, without control characters and the passwords that a URL in it may hold."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return printable(without_password(first))[:500]


def without_password(text: str) -> str:
    """Return a text with the user and password of each URL left out. Paths of files may contain an @.

    >>> without_password("no answer from http://ann:s/e@cret@localhost:5000/api")
    'no answer from http://localhost:5000/api'
    >>> without_password("sqlite:////home/ann@work/mlflow.db")
    'sqlite:////home/ann@work/mlflow.db'
    """
    return re.sub(r"(\b(?!sqlite|file)[a-zA-Z][\w+.-]*://)\S*@", r"\1", text)


def _run_of(client: MlflowClient, project: Path, run_id: str) -> EntityOfRun:
    """Return a run of a store.

    Raises:
        UserError: the store has no such run.
    """
    from mlflow import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in UNKNOWN:
            raise
        shown = without_password(store_uri(project))
        raise UserError(f"run {run_id}: not in {shown} ({brief(error)}): copy the id from the MLflow page") from error


def _expect_whole_password(uri: str) -> None:
    """Check that no character of a password ends the part of the URL that it is in: its rest would be shown and sent.

    Raises:
        UserError: it does. Libraries for HTTP read an @ in a password as it is meant, those of databases do not.
    """
    scheme, _, rest = uri.partition("://")
    server = re.split("[/?#]", rest, maxsplit=1)[0]
    if scheme.startswith(("sqlite", "file")) or "@" not in rest:
        return
    if (":" in server and "@" in rest[len(server) :]) or (not scheme.startswith("http") and server.count("@") > 1):
        raise UserError(
            "MLFLOW_TRACKING_URI: cannot tell its password from its server: "
            "write @ as %40, / as %2F, ? as %3F and # as %23 in the password"
        )


def _follow_the_project(uri: str, project: Path) -> None:
    if uri == f"sqlite:///{_local_database(project)}":
        follow_the_project(_local_database(project), _local_artifacts(project), VIEW_TAG)


def _local_database(project: Path) -> Path:
    return main_checkout(project) / "mlflow.db"


def _local_artifacts(project: Path) -> Path:
    return main_checkout(project) / "mlruns"


def _experiment_id(client: MlflowClient, uri: str, project: Path) -> str:
    from mlflow import MlflowException

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    # A server knows where artifacts go. A local store would put them under the working directory, which for a
    # queued DVC experiment is a temporary copy.
    artifacts = None if uri.startswith("http") else _local_artifacts(project).as_uri()
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name, artifacts, tags=EXPERIMENT_TAGS))
        except MlflowException:
            experiment = client.get_experiment_by_name(name)  # another process was faster
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"the experiment {name!r} is deleted: restore it with `mlflow experiments restore -x "
            f"{experiment.experiment_id}`, or name another one in MLFLOW_EXPERIMENT_NAME"
        )
    return str(experiment.experiment_id)


def _lock(uri: str) -> AbstractContextManager[object]:
    if not uri.startswith("sqlite:///"):
        return nullcontext()
    return FileLock(f"{uri.removeprefix('sqlite:///')}.lock", LOCK_S)
