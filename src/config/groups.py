"""The schemas of Hydra's groups: `schema/<group>/<name>`, or `schema/<group>` where a group has a single one."""

from __future__ import annotations

from src.config.architecture import Architecture
from src.config.augmentation import Augmentation
from src.config.data import CocoFolder, DigitScenes, VocFolder, YoloFolder
from src.config.distillation import Distillation
from src.config.teaching import (
    Assistants,
    BornAgain,
    Ensemble,
    HardTargets,
    LabelSmoothing,
    MeanTeacher,
    Mutual,
    Offline,
    Predictions,
    Unlabelled,
)

GROUPS = ("data", "teacher", "student", "augmentation", "distillation", "teaching")
"""The groups that `choices` in params.yaml chooses from."""

GROUP_SCHEMAS: dict[str, dict[str, type]] = {
    "schema": {"architecture": Architecture, "augmentation": Augmentation, "distillation": Distillation},
    "schema/data": {"digits": DigitScenes, "voc": VocFolder, "coco": CocoFolder, "yolo": YoloFolder},
    "schema/teaching": {
        "offline": Offline,
        "ensemble": Ensemble,
        "assistants": Assistants,
        "born_again": BornAgain,
        "mean_teacher": MeanTeacher,
        "mutual": Mutual,
        "unlabelled": Unlabelled,
        "predictions": Predictions,
        "label_smoothing": LabelSmoothing,
        "hard": HardTargets,
    },
}
