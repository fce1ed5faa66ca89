"""MLflow's model registry: quantize adds a version as the candidate, a promotion makes it the champion.

A version holds the bytes of models/int8.onnx, so the verdict of eval-int8 on it is found by their md5: in the runs of
eval-int8 that read these bytes, or else in the report of the checkout, if dvc.lock says that it is about them (where
`dvc repro` found the report up to date there is no run).
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from src.evaluation.gate import gate_passes
from src.foundation.digests import digest
from src.foundation.errors import UserError
from src.foundation.pipeline import INT8_ONNX
from src.workflow.lineage import git_output
from src.workflow.store import UNKNOWN, OpenStore, brief, reading_store, store_uri, without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

CANDIDATE, CHAMPION = "candidate", "champion"
"""Aliases: of the version that was registered last, and of the one that was promoted last."""

MODEL_FILE = "model.onnx"
"""In the folder of a logged model, as MLflow's ONNX flavor calls it."""

REPORT = "reports/eval_int8.json"

REPLACED = ("replaced.by", "replaced.at")
"""Tags of a version that was the champion."""


@dataclass(frozen=True)
class GateResult:
    """What eval-int8 measured on the bytes of a version.

    Attributes:
        drop: loss of test mAP50-95 against ONNX FP32.
        max_drop: the loss that the gate allows.
        source: where both are recorded.
        ended_well: whether all gates of the stage passed, those of a smallest accuracy among them.
    """

    drop: float
    max_drop: float
    source: str
    ended_well: bool = True

    def __str__(self) -> str:
        """Return the verdict in words."""
        smallest = "" if self.ended_well or not gate_passes(self.drop, self.max_drop) else ", another gate failed"
        return (
            f"INT8 lost {self.drop:g} of mAP50-95 against ONNX FP32, the gate allows {self.max_drop:g}{smallest} "
            f"({self.source})"
        )


def add_candidate(store: OpenStore, name: str, logged: LoggedModel) -> None:
    """Make a logged model of the run a version in the registry, and give it the alias `candidate`."""
    from mlflow import MlflowException

    try:
        store.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = store.client.create_model_version(
        name, logged.artifact_location, store.run_id, await_creation_for=0, model_id=logged.model_id
    )
    store.client.set_registered_model_alias(name, CANDIDATE, version.version)


def promote_version(project: Path, asked: str) -> str:
    """Give a version the alias `champion`, if the gate passed for its bytes, and record who did it in tags.

    Args:
        project: the root of the checkout.
        asked: the version, as NAME/VERSION or NAME@ALIAS; NAME alone is NAME@candidate.

    Returns:
        What changed, in words.

    Raises:
        UserError: the store or the version is not there, or the gate did not pass or was not run for its bytes.
    """
    with reading_store(project) as client:
        version = _find(client, asked, without_password(store_uri(project)))
        shown = f"{version.name}/{version.version}"
        before = client.get_registered_model(version.name).aliases.get(CHAMPION)
        if before is not None and str(before) == str(version.version):
            return f"{shown} is the champion already: nothing changed"
        verdict = _passed(client, project, version, shown)
        _record(client, project, version, before, verdict)
        # Last: what is interrupted before can be repeated.
        client.set_registered_model_alias(version.name, CHAMPION, version.version)
    back = f"{version.name}/{before}; back to it: python -m src.promote --model {version.name}/{before}"
    return f"{shown} is the champion: {verdict}\nbefore: {'none' if before is None else back}"


def _find(client: MlflowClient, asked: str, store: str) -> ModelVersion:
    """Return the version that a user named.

    Raises:
        UserError: there is none.
    """
    from mlflow import MlflowException

    name, slash, number = asked.partition("/")
    name, _, alias = (name, "", "") if slash else name.partition("@")
    try:
        if slash:
            return client.get_model_version(name, number)
        return client.get_model_version_by_alias(name, alias or CANDIDATE)
    except MlflowException as error:
        if error.error_code not in UNKNOWN:
            raise
        names = ", ".join(sorted(model.name for model in client.search_registered_models())) or "none"
        raise UserError(
            f"{asked}: not in the registry of {store} ({brief(error)}): expected NAME, NAME/VERSION or NAME@ALIAS of "
            f"a model there ({names}); `quantize.register` adds one"
        ) from error


def _passed(client: MlflowClient, project: Path, version: ModelVersion, shown: str) -> GateResult:
    """Return the verdict on a version.

    Raises:
        UserError: there is none, or the gate did not pass.
    """
    md5 = _md5(client, project, version, shown)
    max_drop = _max_drop(project)
    verdict = _of_runs(client, md5, max_drop) or _of_report(project, md5, max_drop)
    if verdict is None:
        raise UserError(
            f"{shown}: eval-int8 was not run on its bytes (md5 {md5}): make its settings those of the pipeline with "
            f"`python -m src.promote {version.run_id}`, and run `dvc repro`"
        )
    if not verdict.ended_well or not gate_passes(verdict.drop, verdict.max_drop):
        raise UserError(f"{shown}: the gate did not pass: {verdict}: promote another version")
    return verdict


def _max_drop(project: Path) -> float:
    """Return the loss that the pipeline's gate allows.

    Raises:
        UserError: params.yaml cannot be read.
    """
    try:
        return float(_yaml(project / "params.yaml")["eval_int8"]["max_drop"])
    except (OSError, YAMLError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"params.yaml: expected a number eval_int8.max_drop, found {brief(error)}: mend it") from error


def _md5(client: MlflowClient, project: Path, version: ModelVersion, shown: str) -> str:
    """Return the md5 of a version's file, from the store of artifacts itself.

    Raises:
        UserError: it is not there.
    """
    from mlflow import MlflowException
    from mlflow.artifacts import download_artifacts

    folder = client.get_model_version_download_uri(version.name, version.version)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            uri = f"{folder}/{MODEL_FILE}"
            return digest(Path(download_artifacts(uri, dst_path=scratch, tracking_uri=store_uri(project))))
    except (MlflowException, OSError) as error:
        raise UserError(
            f"{shown}: its file {MODEL_FILE} cannot be read from {without_password(folder)} ({brief(error)}): put it "
            "back, or register the model again"
        ) from error


def _of_runs(client: MlflowClient, md5: str, max_drop: float) -> GateResult | None:
    """Return the verdict of the last run of eval-int8 that measured these bytes; None if there is no such run.

    The gate is the stricter one of the run's and params.yaml's: a run by hand may have had any.
    """
    found = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()],
        f"tags.stage = 'eval_int8' and tags.`input.{INT8_ONNX}` = '{md5}' "
        "and metrics.`int8_drop/vs_fp32` > -2 and params.max_drop != ''",  # it measured them to the end
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    if not found:
        return None
    [run] = found
    drop = run.data.metrics["int8_drop/vs_fp32"]
    limit = min(max_drop, float(run.data.params["max_drop"]))
    return GateResult(drop, limit, f"run {run.info.run_id}", run.info.status == "FINISHED")


def _of_report(project: Path, md5: str, max_drop: float) -> GateResult | None:
    """Return the verdict of the checkout's report; None if dvc.lock does not have it as a report about these bytes."""
    try:
        stage = _yaml(project / "dvc.lock")["stages"]["eval-int8"]
        md5s = {file["path"]: file["md5"] for file in [*stage["deps"], *stage["outs"]]}
        if md5s[INT8_ONNX] != md5 or md5s[REPORT] != digest(project / REPORT):
            return None
        report = json.loads((project / REPORT).read_text(encoding="utf-8"))
        return GateResult(float(report["int8_drop"]["vs_fp32"]), max_drop, REPORT)
    except (OSError, YAMLError, ValueError, KeyError, TypeError):  # of no run that ended well
        return None


def _record(
    client: MlflowClient, project: Path, version: ModelVersion, before: str | None, verdict: GateResult
) -> None:
    """Write who promotes a version, when, from which commit and why; and at the version before, what replaced it."""
    name, now = version.name, datetime.now(UTC).isoformat(timespec="seconds")
    tags = {
        "promoted.by": git_output(project, "config", "user.name") or "unknown",
        "promoted.at": now,
        "promoted.commit": git_output(project, "rev-parse", "HEAD") or "unknown",
        "promoted.dirty": json.dumps(bool(git_output(project, "status", "--porcelain", "--untracked-files=no"))),
        "promoted.before": "none" if before is None else str(before),
        "promoted.verdict": str(verdict),
    }
    for key, value in tags.items():
        client.set_model_version_tag(name, version.version, key, value)
    for key in REPLACED:
        if key in version.tags:
            client.delete_model_version_tag(name, version.version, key)
    if before is not None:
        for key, value in zip(REPLACED, (str(version.version), now), strict=True):
            client.set_model_version_tag(name, before, key, value)


def _yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
