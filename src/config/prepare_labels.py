"""Settings of prepare-labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from src.config.data import Data, DigitScenes
from src.foundation.constraints import Pattern, Range


@dataclass(kw_only=True)
class PrepareLabels:
    """The type of `data` decides which reader is used.

    Attributes:
        seed: of the split, and of the embedded dataset.
        strict: faults that could be mended are fatal, too.
        largest_mended_share: of the boxes; a dataset in which more have to be mended is refused. 1: none is, and no
            convention is looked for.
        val_fraction, test_fraction: of the images, where the folder brings no split.
        label_fraction: share of the training images that keep their labels; the others become images without labels.
        group_by: a regular expression: images whose names agree in what it finds are not divided; None: all are.
    """

    data: Data
    seed: Annotated[int, Range(least=0)]
    strict: bool
    largest_mended_share: Annotated[float, Range(above=0, most=1)]
    val_fraction: Annotated[float, Range(above=0, below=1)]
    test_fraction: Annotated[float, Range(above=0, below=1)]
    label_fraction: Annotated[float, Range(above=0, most=1)]
    group_by: Annotated[str | None, Pattern()]

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield the key and the fault of each value that contradicts another one."""
        val, test = self.val_fraction, self.test_fraction
        if not val + test < 1:
            yield "val_fraction", f"and test_fraction together must be below 1, got {val:g} + {test:g}"
        if isinstance(self.data, DigitScenes):
            yield from ((f"data.{key}", fault) for key, fault in self.data.contradictions())
