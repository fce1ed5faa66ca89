"""Ways of teaching the student (group `teaching`): one schema per way."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar

from src.foundation.constraints import NotEmpty, OneOf, Range


@dataclass(kw_only=True)
class Teaching:
    """A way of teaching.

    Attributes:
        starts_from_teacher: whether the pipeline's teacher teaches.
    """

    starts_from_teacher: ClassVar[bool] = False

    @property
    def architectures(self) -> list[str]:
        """The architectures of the networks that are trained besides the student."""
        return []

    def pairs(self, student: str) -> list[tuple[str, str]]:
        """Return pairs of a teacher and its student, as architectures, without the pipeline's own teacher.

        Args:
            student: the student's architecture.
        """
        return []


@dataclass(kw_only=True)
class Offline(Teaching):
    """A frozen teacher."""

    starts_from_teacher = True


@dataclass(kw_only=True)
class Ensemble(Teaching):
    """The teacher and others, averaged. The others are trained on the labels first, with the stage's own settings.

    Attributes:
        others: architectures.
        weighting: the same for all, or by each teacher's best class score at a place.
    """

    starts_from_teacher = True

    others: Annotated[list[str], NotEmpty()]
    weighting: Annotated[str, OneOf("mean", "confidence")]

    @property
    def architectures(self) -> list[str]:
        """The others."""
        return self.others


@dataclass(kw_only=True)
class Assistants(Teaching):
    """A chain of networks from the teacher to the student: each is taught by the one before.

    Attributes:
        chain: architectures.
    """

    starts_from_teacher = True

    chain: Annotated[list[str], NotEmpty()]

    @property
    def architectures(self) -> list[str]:
        """The chain."""
        return self.chain

    def pairs(self, student: str) -> list[tuple[str, str]]:
        """Each network of the chain and the next one; the student is the last."""
        return list(pairwise([*self.chain, student]))


@dataclass(kw_only=True)
class BornAgain(Teaching):
    """The student's own earlier generations; the first of them learns from the labels alone.

    Attributes:
        generations: number of generations before the student itself.
    """

    generations: Annotated[int, Range(least=1)]

    def pairs(self, student: str) -> list[tuple[str, str]]:
        """The student and its next generation."""
        return [(student, student)]


@dataclass(kw_only=True)
class MeanTeacher(Teaching):
    """The moving average of the student."""


@dataclass(kw_only=True)
class Mutual(Teaching):
    """A second network that is trained at the same time.

    Attributes:
        peer: its architecture.
    """

    peer: str

    @property
    def architectures(self) -> list[str]:
        """The peer."""
        return [self.peer]

    def pairs(self, student: str) -> list[tuple[str, str]]:
        """The peer and the student, both ways."""
        return [(self.peer, student), (student, self.peer)]


@dataclass(kw_only=True)
class Unlabelled(Teaching):
    """A frozen teacher, also on images without labels.

    Attributes:
        folder: of these images.
    """

    starts_from_teacher = True

    folder: str


@dataclass(kw_only=True)
class Predictions(Teaching):
    """Boxes with scores that any detectors predicted, from files.

    Attributes:
        files: a folder of JSON files in the form of COCO's results.
        folder: of images without labels, on some of which the detectors predicted.
        classes: the name of the dataset's class for an id or a name of a class in the files; others keep their name.
        min_score: boxes with a lower score are left out.
        iou: boxes that overlap at least so much can be of one object.
    """

    files: str
    folder: str
    classes: dict[Any, str]
    min_score: Annotated[float, Range(least=0, most=1)]
    iou: Annotated[float, Range(above=0, most=1)]


@dataclass(kw_only=True)
class LabelSmoothing(Teaching):
    """A control without teacher: smoothed labels.

    Attributes:
        smoothing: share of a label that is spread over all classes.
    """

    smoothing: Annotated[float, Range(above=0, below=1)]


@dataclass(kw_only=True)
class HardTargets(Teaching):
    """A control without teacher: the labels alone."""
