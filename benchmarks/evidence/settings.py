"""The settings of each run, composed as its stage composes them, and the digests of what a run depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import Any

from hydra import initialize_config_dir
from omegaconf import DictConfig

from benchmarks.evidence.protocol import Protocol
from benchmarks.evidence.runs import Run
from src import PROJECT
from src.config import composition
from src.config.composition import register, typed
from src.workflow.code import code_digest
from src.workflow.stage import tunables

STAGES = {
    "prepare": "prepare_labels",
    "teacher": "train_teacher",
    "predictions": "write_predictions",
    "student": "distill",
    "tune": "distill",
    "opening": "distill",
    "chain": "quantize",
}
"""The stage of the pipeline that does the work of each kind of run; a chain has others before it."""

OF_ALL_STAGES = ("imgsz", "device", "threads", "precision", "workers")
"""Settings that stages which train nothing have, too."""

COMPUTED_BY = {
    "prepare": ("src.prepare_labels", "benchmarks.evidence.sealing"),
    "teacher": ("src.train_teacher", "benchmarks.evidence.measuring"),
    "predictions": ("src.write_predictions",),
    "student": ("src.distill", "benchmarks.evidence.measuring"),
    "chain": ("src.prune", "src.calibrate", "src.quantize", "benchmarks.evidence.measuring"),
    "rival": ("src.prune", "src.calibrate", "benchmarks.rivals", "benchmarks.evidence.measuring"),
    "latency": ("benchmarks.evidence.timing",),
    "opening": ("benchmarks.evidence.measuring",),
    "distill_model": ("benchmarks.evidence.distill_model", "benchmarks.evidence.measuring"),
}
"""The modules that compute a result, with all that they import; the scripts beside them only call these."""

LIBRARIES = ("torch", "ultralytics")
"""Another version of these trains other networks."""


@dataclass(frozen=True)
class Plan:
    """What a run depends on besides the files that it reads.

    Attributes:
        run: it.
        computed_by: the key of `COMPUTED_BY` of its code.
        settings: of its stage, resolved.
        code: digest of the code that computes it, and of the libraries' versions.
        params: digest of the settings, without a student's seed.
        protocol: digest of what all students of the dataset share, whatever their variant.
    """

    run: Run
    computed_by: str
    settings: Mapping[str, Any]
    code: str
    params: str
    protocol: str

    @property
    def content(self) -> dict[str, Any]:
        """What the file of the plan holds."""
        digests = {"code": self.code, "params": self.params, "protocol": self.protocol}
        return {
            "run": {key: value for key, value in vars(self.run).items() if value is not None},
            "computed_by": self.computed_by,
            "digests": digests,
            "settings": dict(self.settings),
        }


def plan_of(run: Run, protocol: Protocol) -> Plan:
    """Return what a run depends on.

    Raises:
        UserError: Hydra cannot compose its settings.
    """
    if run.kind == "latency":
        settings = {"processes": protocol.latency.processes, "rounds": protocol.latency.rounds}
        return Plan(run, run.kind, settings, code_of(run.kind), _digest(settings), _digest(settings))
    overrides = [one for one in overrides_of(run, protocol) if run.seed is None or not one.startswith("seed=")]
    settings, kind = dict(_resolved(STAGES[run.kind], tuple(overrides))), run.kind
    if run.kind == "prepare":
        settings["sealed"] = {"share": protocol.sealed.share, "seed": protocol.sealed.seed}
    if run.kind == "opening":
        settings["sealed"] = {"open": protocol.sealed.open, "variants": protocol.sealed.variants}
    if run.kind == "student":
        variant = protocol.variants[str(run.variant)]
        longer = {"teachers_epochs": variant.teachers_epochs, "more_epochs": variant.more_epochs}
        settings = {**settings, "seed": None, **longer, "tuned": variant.tuned}
        kind = "distill_model" if variant.distill_model else kind
    if run.kind == "tune":
        method = protocol.tuning.methods[str(run.variant)]
        settings["tries"] = method.tries
        kind = "distill_model" if protocol.variants[method.variant].distill_model else "student"
    if run.kind == "chain":
        rival = protocol.after[str(run.after)].rival
        every = chain_overrides(replace(run, seed=0), protocol)
        settings = {"rival": rival, **{stage: _resolved(stage, tuple(some)) for stage, some in every.items()}}
        kind = "rival" if rival else kind
    shared = _resolved(STAGES[run.kind], tuple(_shared_overrides(run, protocol)))
    return Plan(run, kind, settings, code_of(kind), _digest(settings), _digest(shared))


def overrides_of(run: Run, protocol: Protocol) -> list[str]:
    """Return the overrides of the stage that does the work of a run, the strongest last."""
    found = _shared_overrides(run, protocol)
    if run.kind == "student":
        variant = protocol.variants[str(run.variant)]
        epochs = max(1, round(variant.share * protocol.datasets[run.data].epochs))
        found += [*variant.settings, f"epochs={epochs}", f"seed={run.seed}"]
    if run.kind == "tune":
        tuning = protocol.tuning
        variant = protocol.variants[tuning.methods[str(run.variant)].variant]
        epochs = max(1, round(tuning.share * protocol.datasets[run.data].epochs))
        found += [*variant.settings, f"epochs={epochs}", f"seed={tuning.seed}"]
    return found


def chain_overrides(run: Run, protocol: Protocol) -> dict[str, list[str]]:
    """Return the overrides of each stage of a chain, in their order; without `prune` where it is not pruned."""
    after, variant = protocol.after[str(run.after)], protocol.variants[str(run.variant)]
    common = [*protocol.datasets[run.data].train, *_of_all_stages(variant.settings)]
    seed = f"seed={run.seed}"
    pruning = {} if after.prune is None else {"prune": [*common, "cache=never", *after.prune, seed]}
    quantizing = [*common, "cache=never", *after.quantize, seed]
    return {**pruning, "calibrate": _of_all_stages(common), "quantize": quantizing}


def _of_all_stages(overrides: list[str]) -> list[str]:
    return [one for one in overrides if one.partition("=")[0] in OF_ALL_STAGES]


def composed(stage: str, overrides: list[str]) -> tuple[DictConfig, dict[str, str]]:
    """Return the config of a stage, as `python -m src.<stage>` composes it, and the chosen file of each group."""
    _register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return composition.composed(stage, overrides)


def typed_params(stage: str, overrides: list[str]) -> Any:
    """Return the typed settings of a stage with overrides."""
    return typed(stage, composed(stage, overrides)[0])


def code_of(kind: str) -> str:
    """Return the digest of the code and the libraries that compute a kind of run."""
    versions = [f"{library} {version(library).partition('+')[0]}" for library in LIBRARIES]
    return _digest([code_digest(*COMPUTED_BY[kind]), *versions])


def _shared_overrides(run: Run, protocol: Protocol) -> list[str]:
    dataset = protocol.datasets[run.data]
    match run.kind:
        case "prepare":
            return [*dataset.prepare, f"data.root={dataset.root}"]
        case "teacher":
            own = protocol.teacher
            limits = [f"epochs={own.epochs}", f"patience={own.patience}"]
            return [*dataset.train, *own.settings, *dataset.teacher, *limits]
        case "predictions":
            return _of_all_stages(dataset.train)
        case "chain":
            return [*dataset.train, "cache=never"]
        case _:
            return [*dataset.train, *protocol.student.settings, f"epochs={dataset.epochs}"]


@cache
def _register() -> None:
    register([*STAGES.values(), "prune", "calibrate"])


@cache
def _resolved(stage: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    return tunables(*composed(stage, list(overrides)))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
