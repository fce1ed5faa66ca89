"""The student before its training: initial weights of the user's, of its teacher's, or none."""

from __future__ import annotations

from pathlib import Path

from src.config.architecture import FROM_TEACHER, Architecture
from src.detector.checkpoint import load_detector
from src.detector.dataset import expect_classes
from src.detector.training import NewNetwork
from src.foundation.pipeline import PREPARED, TEACHER
from src.foundation.prepared import class_names
from src.teaching.weight_selection import select_weights
from src.trainings.networks import new_network
from src.workflow.stage_files import StageFiles


def student_network(student: Architecture, files: StageFiles) -> tuple[NewNetwork, dict[str, Path]]:
    """Return a student with its initial weights, the user's or its teacher's, and their file by its name.

    Raises:
        UserError: the architecture is unknown, or the weights cannot be read or do not suit it.
    """
    if student.weights != FROM_TEACHER:
        return new_network(student, files)
    path = files.read(TEACHER)
    teacher = load_detector(path)
    expect_classes(teacher, class_names(files.read(PREPARED)), path)
    weights = select_weights(teacher, student.architecture)
    return NewNetwork(student.architecture, student.activation, weights), {TEACHER: path}
