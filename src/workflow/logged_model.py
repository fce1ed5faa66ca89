"""An ONNX model in MLflow's ONNX flavor, with its signature."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from src.workflow.registry import MODEL_FILE, add_candidate
from src.workflow.store import OpenStore

if TYPE_CHECKING:
    import numpy as np


def log_onnx_model(store: OpenStore, path: Path, sample: np.ndarray, registered_name: str | None) -> None:
    """Log an ONNX file as a model of the run.

    Args:
        store: with the run.
        path: the .onnx file.
        sample: float32 (N, 3, H, W) in [0, 1]; the model runs on it once, for the signature.
        registered_name: also make a version of this name in the model registry, as the candidate.
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
            save_as_external_data=False,
        )
        # The bytes of the file, not what onnx makes of them: the gate's verdict on a version is found by their md5.
        shutil.copyfile(path, f"{folder}/model/{MODEL_FILE}")
        store.client.log_model_artifacts(logged.model_id, f"{folder}/model")
    store.client.finalize_logged_model(logged.model_id, "READY")
    store.client.log_outputs(store.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    if registered_name:
        add_candidate(store, registered_name, logged)
