"""An ONNX model in MLflow's ONNX flavor, with its signature."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from src.workflow.store import OpenStore

if TYPE_CHECKING:
    import numpy as np


def log_onnx_model(store: OpenStore, path: Path, sample: np.ndarray, registered_name: str | None) -> None:
    """Log an ONNX file as a model of the run.

    Args:
        store: with the run.
        path: the .onnx file.
        sample: float32 (N, 3, H, W) in [0, 1]; the model runs on it once, for the signature.
        registered_name: also make a version of this name in the model registry.
    """
    import mlflow.onnx
    import onnx
    import onnxruntime
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model, infer_signature

    from src.deployment.session import open_session

    session = open_session(path)
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
