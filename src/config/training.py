"""Settings of every stage that trains."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

from src.config.augmentation import Augmentation
from src.config.common import Common
from src.foundation.constraints import OneOf, Range


@dataclass(kw_only=True)
class Training(Common):
    """The trainer's arguments, under ultralytics' names."""

    seed: Annotated[int, Range(least=0)]
    epochs: Annotated[int, Range(least=1)]
    batch: Annotated[int, Range(least=1)]
    optimizer: Annotated[str, OneOf("SGD", "Adam", "AdamW", "RMSProp", "NAdam", "RAdam", "auto")]
    lr0: Annotated[float, Range(above=0)]
    lrf: Annotated[float, Range(above=0, most=1)]
    weight_decay: Annotated[float, Range(least=0)]
    warmup_epochs: Annotated[float, Range(least=0)]
    patience: Annotated[int, Range(least=0)]
    augmentation: Augmentation

    def trainer_arguments(self) -> dict[str, Any]:
        """Return the arguments of ultralytics' trainer."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(Training)}
        for other in ("augmentation", "device", "threads", "precision"):  # flat there; the stage settles the others
            del own[other]
        return {**own, **dataclasses.asdict(self.augmentation)}
