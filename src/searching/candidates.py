"""The candidates of a search: combinations of a network and the runtime that its INT8 graph suits."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from src.config.search import Search
from src.foundation.image_size import as_setting, size_in_words


@dataclass(frozen=True)
class Network:
    """A network that can be trained.

    Attributes:
        student: a file of conf/student.
        activation: in place of the student's own; None: its own.
        imgsz: px, side of the square input, or height and width.
        ratio: share of the channels that prune removes.
    """

    student: str
    activation: str | None
    imgsz: int | tuple[int, int]
    ratio: float

    def __str__(self) -> str:
        """Return its name.

        >>> print(Network("yolov8n", "relu", 160, 0.3))
        yolov8n relu, 160 px, 30% pruned
        """
        network = f"{self.student} {self.activation}" if self.activation else self.student
        return f"{network}, {size_in_words(self.imgsz)} px, {100 * self.ratio:g}% pruned"

    def overrides(self, stage: str, epochs: int | None = None) -> list[str]:
        """Return the settings with which a stage of the pipeline makes this network, in Hydra's grammar.

        Args:
            stage: distill, prune, calibrate or quantize.
            epochs: of its training; None: those of params.yaml.
        """
        own = {"distill": [f"student={self.student}"], "prune": [f"ratio={self.ratio}"]}.get(stage, [])
        if stage == "distill" and self.activation:
            own.append(f"student.activation={self.activation}")
        return [f"imgsz={as_setting(self.imgsz)}", *own, *([] if epochs is None else [f"epochs={epochs}"])]


@dataclass(frozen=True)
class Candidate:
    """A network and the runtime that its INT8 graph suits."""

    network: Network
    target: str

    def __str__(self) -> str:
        """Return its name."""
        return f"{self.network}, {self.target}"


def candidates_of(settings: Search) -> list[Candidate]:
    """Return all combinations of the lists of a search; those of one network follow each other."""
    sizes = [tuple(size) if isinstance(size, list) else size for size in settings.imgsz]
    networks = dict.fromkeys(
        Network(*values) for values in product(settings.students, settings.activation, sizes, settings.ratio)
    )
    return [Candidate(network, target) for network in networks for target in dict.fromkeys(settings.target)]
