"""Who teaches the student (group `teaching`): one schema per way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from src.foundation.constraints import NotEmpty, OneOf, Range


@dataclass(kw_only=True)
class Teaching:
    """A way of teaching."""


@dataclass(kw_only=True)
class Offline(Teaching):
    """A frozen teacher."""


@dataclass(kw_only=True)
class Ensemble(Teaching):
    """The teacher and others, averaged. The others are trained on the labels first, with the stage's own settings.

    Attributes:
        others: architectures.
        weighting: the same for all, or by each teacher's best class score at a place.
    """

    others: Annotated[list[str], NotEmpty()]
    weighting: Annotated[str, OneOf("mean", "confidence")]


@dataclass(kw_only=True)
class Assistants(Teaching):
    """A chain of networks from the teacher to the student: each is taught by the one before.

    Attributes:
        chain: architectures.
    """

    chain: Annotated[list[str], NotEmpty()]


@dataclass(kw_only=True)
class BornAgain(Teaching):
    """The student's own earlier generations; the first of them learns from the labels alone.

    Attributes:
        generations: number of generations before the student itself.
    """

    generations: Annotated[int, Range(least=1)]


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


@dataclass(kw_only=True)
class Unlabelled(Teaching):
    """A frozen teacher, also on images without labels.

    Attributes:
        folder: of these images.
    """

    folder: str


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
