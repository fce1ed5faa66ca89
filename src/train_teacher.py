"""train-teacher: trains the large detector that teaches the student.

Reads data/prepared and the user's initial weights. Writes models/teacher.pt, reports/train_teacher.json and the curves
in reports/train_teacher/.
"""

from __future__ import annotations

from src.workflow.command import command

if __name__ == "__main__":
    command("train_teacher")

from src.config.train_teacher import TrainTeacher
from src.foundation.pipeline import PREPARED, TEACHER
from src.foundation.prepared import class_names
from src.trainings.job import training_job
from src.trainings.networks import new_network
from src.workflow.stage import StageResult
from src.workflow.stage_files import StageFiles
from src.workflow.tracking import Run


def run(params: TrainTeacher, files: StageFiles, log: Run) -> StageResult:
    """Train the teacher and return its accuracy on val, its size and its arithmetic."""
    network, inputs = new_network(params.teacher, files)
    if files.is_pipeline:  # by hand, later stages may get other settings
        from src.trainings.later_stages import expect_later_stages  # torch-pruning takes a second to import

        expect_later_stages(network.architecture, class_names(files.read(PREPARED)), files.project)
    with training_job(params, files, log, inputs, [network.architecture]) as job:
        return StageResult(job.train_output(TEACHER, network))
