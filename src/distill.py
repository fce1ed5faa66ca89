"""distill-student: trains a small detector on the labels and on the teacher's predictions for the same images.

Reads data/prepared and, depending on `teaching`, models/teacher.pt, data/unlabelled and data/predictions. Writes
models/student.pt, models/control/ (the same student trained on the labels alone, where asked for), reports/distill.json
and the curves in reports/distill/.
"""

from __future__ import annotations

from src.workflow.command import command

if __name__ == "__main__":
    command("distill")

from src.config.distill import Distill
from src.foundation.pipeline import PREPARED, STUDENT
from src.foundation.prepared import class_names
from src.trainings.control import train_control
from src.trainings.job import training_job
from src.trainings.student import student_network
from src.trainings.teachers import Teachers, objective_of
from src.trainings.teaching import student_criterion, teaching_inputs
from src.trainings.withholding import withheld_indices, withholding
from src.workflow.stage import StageResult
from src.workflow.stage_files import StageFiles
from src.workflow.tracking import Run


def run(params: Distill, files: StageFiles, log: Run) -> StageResult:
    """Train the student and its control; return the student's accuracy on val, its size and its arithmetic."""
    objective = objective_of(params)
    names = class_names(files.read(PREPARED))
    withheld = withheld_indices(params, names)
    student, inputs = student_network(params.student, files)
    if objective:
        inputs |= teaching_inputs(params.teaching, files)
    architectures = [student.architecture, *params.teaching.architectures]
    with training_job(params, files, log, inputs, architectures) as job:
        teachers = Teachers.of_stage(params, objective, job) if objective else None
        with student_criterion(params.teaching, student, teachers, job) as make_criterion:
            metrics = job.train_output(STUDENT, student, withholding(withheld, make_criterion))
        has_soft_targets = make_criterion is not None
        control = train_control(params, student, job, withholding(withheld, None), has_soft_targets=has_soft_targets)
        return StageResult({**metrics, "control": control, "withheld_classes": [names[index] for index in withheld]})
