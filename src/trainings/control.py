"""The control of a distillation: the same student, trained on the labels alone, without a teacher.

It starts from the same initial weights and is trained for as many epochs with the same seed, so the difference is what
the soft targets gain. It is a helper of the stage's job, so a stage that was killed in its training resumes there.
"""

from __future__ import annotations

import shutil
from typing import Any

from src.config.distill import Distill
from src.detector.criterion import MakeCriterion
from src.detector.training import NewNetwork
from src.foundation.atomic import whole_folder
from src.foundation.pipeline import CONTROL, CONTROL_WEIGHTS
from src.trainings.job import TrainingJob


def train_control(
    params: Distill,
    student: NewNetwork,
    job: TrainingJob,
    make_criterion: MakeCriterion | None,
    *,
    has_soft_targets: bool,
) -> dict[str, Any] | None:
    """Train the control where it is asked for, and return its metrics; None if none is trained.

    Its folder is written in any case, because it is an output of the pipeline.

    Args:
        params: of the stage.
        student: the network before its training.
        job: of the stage.
        make_criterion: makes its training loss, which has no soft targets; None: ultralytics' own.
        has_soft_targets: whether the student has any. Without them the control would be the student.
    """
    wanted = params.control == "always" or (params.control == "pipeline" and job.files.is_pipeline)
    trained = job.train_helper("control", student, make_criterion) if wanted and has_soft_targets else None
    with whole_folder(job.files.write(CONTROL)) as folder:
        if trained:
            shutil.copy(trained, folder / CONTROL_WEIGHTS)
    return job.helper_metrics("control") if trained else None
