"""Where labelled images come from (group `data`): one schema per form of folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from src.foundation.constraints import Range

Side = Annotated[float, Range(above=0, most=1)]


@dataclass(kw_only=True)
class Data:
    """The folder of the images and labels; section `data` of params.yaml."""

    root: str


@dataclass(kw_only=True)
class DigitScenes(Data):
    """The embedded dataset: scenes composed of scikit-learn's handwritten digits.

    Attributes:
        train_images, val_images, test_images: number of scenes per split.
        size_px: side of a scene.
        fewest_digits, most_digits: per scene.
        smallest, largest: side of a digit, as a fraction of the scene's side.
        rotation_deg: largest rotation of a digit, either way.
    """

    train_images: Annotated[int, Range(least=1)]
    val_images: Annotated[int, Range(least=1)]
    test_images: Annotated[int, Range(least=1)]
    size_px: Annotated[int, Range(least=32)]
    fewest_digits: Annotated[int, Range(least=0)]
    most_digits: Annotated[int, Range(least=1)]
    smallest: Side
    largest: Side
    rotation_deg: Annotated[float, Range(least=0, most=180)]

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield the key and the fault of each value that contradicts another one."""
        for least, most in (("fewest_digits", "most_digits"), ("smallest", "largest")):
            if getattr(self, least) > getattr(self, most):
                yield least, f"must be at most {most}, got {getattr(self, least)} and {getattr(self, most)}"


@dataclass(kw_only=True)
class VocFolder(Data):
    """Pascal VOC: an XML file per image. Folders are relative to the root; None: the usual names.

    Attributes:
        class_names: by index; None: every name that occurs, sorted.
    """

    annotations: str | None
    images: str | None
    split_lists: str | None
    class_names: list[str] | None


@dataclass(kw_only=True)
class CocoFolder(Data):
    """COCO: a JSON file for the whole set, or one per split. Names are relative to the root; None: the usual names."""

    annotations: str | None
    images: str | None


@dataclass(kw_only=True)
class YoloFolder(Data):
    """YOLO: a text file per image and a data.yaml, relative to the root; None: the usual names."""

    data_yaml: str | None
