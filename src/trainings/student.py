"""The student before its training: initial weights of the user's, of its teacher's, or none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from src.config.architecture import FROM_TEACHER, Architecture
from src.detector.checkpoint import load_detector
from src.detector.dataset import expect_classes
from src.detector.training import NewNetwork
from src.foundation.pipeline import PREPARED, TEACHER
from src.foundation.prepared import class_names
from src.teaching.weight_selection import select_weights
from src.trainings.networks import new_network, own_weights
from src.workflow.stage_files import StageFiles


def student_weights(student: Architecture, files: StageFiles) -> list[Path]:
    """Return the file that the initial weights come from; none if the student starts from scratch."""
    return [files.read(TEACHER)] if student.weights == FROM_TEACHER else own_weights(student, files)


def student_network(student: Architecture, files: StageFiles) -> NewNetwork:
    """Return the student with its initial weights.

    Raises:
        UserError: the architecture is unknown, or the weights cannot be read or do not suit it.
    """
    if student.weights != FROM_TEACHER:
        return new_network(student, files)
    teacher = load_detector(files.read(TEACHER))
    expect_classes(teacher, class_names(files.read(PREPARED)), files.read(TEACHER))
    network = NewNetwork(student.architecture, student.activation)
    return replace(network, weights=select_weights(teacher, student.architecture))
