"""The settings of the pipeline's stages for the candidates of a search: those of params.yaml, with a few others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from src import PROJECT
from src.config.composition import composed, register, typed
from src.config.search import Search
from src.config.stages import STAGES
from src.foundation.errors import UserError
from src.searching.candidates import Network
from src.workflow.stage import tunables

TRAINED_BY = ("distill", "prune")
"""The stages that train a candidate."""


@dataclass(frozen=True)
class StageSettings:
    """The settings of a stage.

    Attributes:
        params: typed.
        tunables: as its run in MLflow records them.
        config_yaml: the whole config.
    """

    params: Any
    tunables: dict[str, Any]
    config_yaml: str


def settings_of(stage: str, overrides: Sequence[str] = ()) -> StageSettings:
    """Return the settings of a stage of the pipeline. Hydra, which runs the search, is initialized.

    Args:
        stage: such as `distill`.
        overrides: of params.yaml, in Hydra's grammar.

    Raises:
        UserError: a value is unknown or out of range.
    """
    config, chosen = composed(stage, overrides)
    return StageSettings(typed(stage, config), tunables(config, chosen), OmegaConf.to_yaml(config, resolve=True))


def expect_admitted(search: Search) -> None:
    """Check that the pipeline's stages admit every value of a search's lists.

    Raises:
        UserError: with all faults.
    """
    register(STAGES)
    tried = [
        *(("students", "distill", f"student={name}") for name in search.students),
        *(("activation", "distill", f"student.activation={name}") for name in search.activation if name),
        *(("imgsz", "distill", f"imgsz={side}") for side in search.imgsz),
        *(("ratio", "prune", f"ratio={share}") for share in search.ratio),
        *(("target", "quantize", f"target={name}") for name in search.target),
    ]
    faults = []
    for key, stage, override in tried:
        if fault := _fault(stage, override):
            faults.append(f"{key}: {override.partition('=')[2]}: {fault}")
    if faults:
        raise UserError("; ".join(faults))


def _fault(stage: str, override: str) -> str | None:
    group, _, name = override.partition("=")
    if group == "student" and not (PROJECT / f"conf/student/{name}.yaml").is_file():
        known = sorted(path.stem for path in (PROJECT / "conf/student").glob("*.yaml"))
        return f"expected a file of conf/student: {', '.join(known)}"
    try:
        settings_of(stage, [override])
    except UserError as error:
        return str(error)
    return None


def recipe(network: Network, target: str, epochs: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Return the settings of each stage that makes a candidate, for `src.promote`.

    Args:
        network: of the candidate.
        target: its runtime.
        epochs: of the stages that train it.
    """
    stages: Iterable[tuple[str, list[str]]] = [
        ("train_teacher", []),
        *((stage, network.overrides(stage, epochs[stage])) for stage in TRAINED_BY),
        ("calibrate", network.overrides("calibrate")),
        ("quantize", quantize_overrides(network, target)),
    ]
    return {stage: settings_of(stage, overrides).tunables for stage, overrides in stages}


def quantize_overrides(network: Network, target: str) -> list[str]:
    """Return the settings with which quantize makes a candidate. A search registers no versions of a model."""
    return [*network.overrides("quantize"), f"target={target}", "register=null"]
