"""The labels that are withheld from a student: which classes they are of, and its training loss without them.

Every network that teaches the student is told all labels, also if the stage trains it.
"""

from __future__ import annotations

from collections.abc import Sequence

from src.config.distill import Distill
from src.config.teaching import HardTargets, LabelSmoothing, MeanTeacher, Predictions
from src.detector.criterion import LearningCriterion, MakeCriterion, TrainingContext
from src.distillation.distillation_loss import HardLoss
from src.distillation.losses import LOSSES, SCORES
from src.foundation.errors import SettingError
from src.trainings.teachers import objective_of

KEY = "withheld_classes"


def withheld_indices(params: Distill, names: Sequence[str]) -> list[int]:
    """Return the indices of the classes whose labels are withheld, in their order.

    With alpha = 0 or without a teacher nothing teaches them: that is the control.

    Args:
        params: of the stage.
        names: the names of the dataset's classes, by index.

    Raises:
        SettingError: a class is unknown, none is left, or there are soft targets but none for these classes' scores.
    """
    withheld = params.withheld_classes
    if unknown := [name for name in withheld if name not in names]:
        raise SettingError(KEY, f"must name classes of the dataset ({', '.join(names)}), got {', '.join(unknown)}")
    if not withheld:
        return []
    if set(withheld) == set(names):
        raise SettingError(KEY, "must leave a class whose labels the student gets, got all classes of the dataset")
    if (objective := objective_of(params)) and not isinstance(params.teaching, HardTargets | LabelSmoothing):
        if isinstance(params.teaching, MeanTeacher):
            raise SettingError(KEY, "needs a teacher that gets these labels: teaching=mean_teacher has none")
        if isinstance(params.teaching, Predictions):
            fact = "cannot be used with teaching=predictions, whose images without predicted boxes keep their labels"
            raise SettingError(KEY, fact)
        if not any(LOSSES[name].compares == SCORES for name in objective.weights):
            raise SettingError(KEY, "needs soft targets for class scores: give distillation.response a weight above 0")
    return [index for index, name in enumerate(names) if name in withheld]


def withholding(classes: Sequence[int], make_criterion: MakeCriterion | None) -> MakeCriterion | None:
    """Return a function that makes the training loss without the labels of some classes.

    Args:
        classes: their indices. Without any, the loss is returned as it is.
        make_criterion: makes the training loss; None: ultralytics' own.
    """
    if not classes:
        return make_criterion

    def made(training: TrainingContext) -> LearningCriterion:
        criterion = (make_criterion or HardLoss)(training)
        assert isinstance(criterion, HardLoss)
        criterion.withhold(classes)
        return criterion

    return made
