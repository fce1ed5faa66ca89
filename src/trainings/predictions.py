"""A student of files: the boxes that other detectors predicted in the training images."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from src.config.teaching import Predictions
from src.detector.criterion import MakeCriterion
from src.distillation.objective import Objective
from src.foundation.errors import printable
from src.foundation.prepared import class_names, images_of
from src.labels.faults import counted
from src.teaching.detections_file import Detections, Wanted, read_detections
from src.teaching.predicted_boxes import learning_from_boxes
from src.teaching.predicted_dataset import predicted_boxes
from src.teaching.unlabelled_images import name_in_view, unlabelled_images, view_of_unlabelled
from src.trainings.job import TrainingJob

UNLABELLED, PREDICTIONS = "images without labels", "predictions"
"""The names of folders among the inputs of a job."""

NAMED_CLASSES = 5
"""So many classes that the dataset does not have are named on the screen."""

_logger = logging.getLogger(__name__)


@contextmanager
def taught_by_files(teaching: Predictions, objective: Objective, job: TrainingJob) -> Iterator[MakeCriterion]:
    """Yield a function that makes the loss of a student of the predictions in files.

    What was read and left out is recorded in the stage's run, and told on the screen.

    Args:
        teaching: the settings.
        objective: of the student.
        job: of the stage, with the folders among its inputs.

    Raises:
        UserError: see `read_detections`, `unlabelled_images` and `learning_from_boxes`.
    """
    train = images_of(job.prepared, "train")
    aside = unlabelled_images(job.inputs[UNLABELLED], job.prepared, may_be_none=True)
    names = class_names(job.prepared)
    held_out = [image for split in ("val", "test") for image in images_of(job.prepared, split)]
    classes = {str(given): name for given, name in teaching.classes.items()}  # YAML reads an id as a number
    wanted = Wanted([*train, *aside], held_out, names, classes, teaching.min_score)
    detections = read_detections(job.inputs[PREDICTIONS], wanted)
    found = detections.found
    seen = [image for image in aside if image in found]
    predicted = predicted_boxes(
        {image.name: found[image] for image in train if image in found},
        {name_in_view(index, image): found[image] for index, image in enumerate(seen)},
        len(names),
        teaching.iou,
    )
    boxes = len(predicted.scores) - len(names)
    counts = _Counts(boxes, len(predicted.labelled), len(train), len(seen), len(aside))
    job.log.metrics({"predictions": {**asdict(counts), **detections.counts()}})
    _tell(counts, detections)
    if not seen:
        yield learning_from_boxes(predicted, None, objective)
        return
    with view_of_unlabelled(seen) as folder:
        yield learning_from_boxes(predicted, folder, objective)


@dataclass(frozen=True)
class _Counts:
    """Numbers of boxes, after the fusion, and of images: with predictions, and all."""

    boxes: int
    labelled_images: int
    all_labelled_images: int
    unlabelled_images: int
    all_unlabelled_images: int


def _tell(counts: _Counts, detections: Detections) -> None:
    """Log what was read, and what was left out."""
    _logger.info(
        "%s from %s: in %d of %s and %d of %s without labels",
        counted(counts.boxes, "predicted box"),
        counted(detections.files, "file"),
        counts.labelled_images,
        counted(counts.all_labelled_images, "labelled image"),
        counts.unlabelled_images,
        counted(counts.all_unlabelled_images, "image"),
    )
    if counts.labelled_images < counts.all_labelled_images:
        _logger.warning(
            "%s have no prediction: there the labels are the soft targets, too",
            counted(counts.all_labelled_images - counts.labelled_images, "labelled image"),
        )
    if counts.unlabelled_images < counts.all_unlabelled_images:
        without = counted(counts.all_unlabelled_images - counts.unlabelled_images, "image")
        _logger.warning("%s without labels have no prediction either: they are left out", without)
    for reason, count in detections.left_out.items():
        if count:
            _logger.warning("%s %s: left out", counted(count, "detection"), reason.replace("_", " "))
    if detections.unknown_classes:
        named = ", ".join(f"{name} ({count})" for name, count in detections.unknown_classes.most_common(NAMED_CLASSES))
        _logger.warning("classes that the dataset does not have, most frequent first: %s", printable(named))
    if detections.clipped:
        _logger.warning("%s crossed the edge of their image: clipped", counted(detections.clipped, "box"))
