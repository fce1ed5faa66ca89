"""Where params.yaml meets conf/: what Hydra composes for a stage, as that stage's typed and checked settings.

params.yaml holds the values, conf/<stage>.yaml names the parts of a stage, the schemas name the keys with their types
and ranges. `register` puts all three into Hydra's ConfigStore:

    schema/<stage>    the stage's dataclass
    params/<section>  a section of params.yaml
    choices/<stage>   the groups chosen in params.yaml, as far as the stage has them

Settings have no default in code, where it would hide a typo in params.yaml. Weights of losses are the exception: 0.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import yaml
from hydra import compose
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from src import PROJECT
from src.config.groups import GROUP_SCHEMAS, GROUPS
from src.config.stages import BY_HAND, PER_TARGET, STAGES, schema_of
from src.foundation.constraints import violations
from src.foundation.errors import SettingError, UserError


@runtime_checkable
class Checked(Protocol):
    """A schema whose values are also checked against each other."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield the key and the fault of each value that contradicts another one."""


def register(
    stages: Iterable[str] = (*STAGES, *PER_TARGET, *BY_HAND), params_file: Path = PROJECT / "params.yaml"
) -> None:
    """Put the schemas of stages, the sections of params.yaml and its choices into Hydra's ConfigStore.

    Raises:
        UserError: params.yaml cannot be read, or has a section or choice that nothing uses.
    """
    params = _read(params_file)
    store = ConfigStore.instance()
    for stage in stages:
        schema = schema_of(stage)
        store.store(group="schema", name=stage, node=schema, package="_global_")
        groups = {group: name for group, name in params["choices"].items() if _has_group(schema, group)}
        chosen = [{f"override /{group}": name} for group, name in groups.items()]
        store.store(group="choices", name=stage, node={"defaults": chosen}, package="_global_")
        if stage in params:
            store.store(group="params", name=stage, node=params[stage], package="_global_")
    store.store(group="params", name="common", node=params["common"], package="_global_")
    store.store(group="params", name="data", node=params["data"], package="data")
    for group, schemas in GROUP_SCHEMAS.items():
        for name, schema in schemas.items():
            store.store(group=group, name=name, node=schema, package="_here_")


def composed(stage: str, overrides: Sequence[str] = ()) -> tuple[DictConfig, dict[str, str]]:
    """Return the config of a stage, and the chosen file of each group, as `python -m src.<stage>` composes them.

    Hydra is initialized, and the stage registered.

    Args:
        stage: such as `distill`.
        overrides: of params.yaml and conf/, in Hydra's grammar.

    Raises:
        UserError: Hydra does not know a value.
    """
    try:
        config = compose(stage, list(overrides), return_hydra_config=True)
    except HydraException as error:
        raise UserError(" ".join(str(error).split())) from error
    chosen = {str(group): str(name) for group, name in config.hydra.runtime.choices.items()}
    with read_write(config), open_dict(config):
        del config["hydra"]
    return config, chosen


def typed(stage: str, config: DictConfig) -> Any:
    """Return the composed config as the stage's dataclass, every value checked.

    Raises:
        UserError: a key is unknown, or a value is missing or out of range.
    """
    _expect_known(config, stage)
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise UserError(f"{stage}: no value for {', '.join(missing)}: add it to params.yaml or conf/")
    params = OmegaConf.to_object(config)
    for key, fault in violations(params):
        raise SettingError(key, fault)
    if isinstance(params, Checked):
        for key, fault in params.contradictions():
            raise SettingError(key, fault)
    return params


def suggestion(key: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown key: the known one that is closest, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(key, known, n=1)
    return f": did you mean {close[0]}?" if close else f": expected one of {', '.join(known)}"


def _read(params_file: Path) -> dict[str, Any]:
    try:
        params: Any = OmegaConf.to_container(OmegaConf.load(params_file))
    except (OSError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{params_file.name}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(params, dict):
        raise UserError(f"{params_file.name}: expected sections with keys, found {type(params).__name__}")
    _expect_keys(params, ["choices", "data", "common", *STAGES, *PER_TARGET], params_file.name)
    _expect_keys(params["choices"], GROUPS, f"{params_file.name}: choices")
    return params


def _expect_keys(found: Any, expected: Iterable[str], where: str) -> None:
    expected = list(expected)
    if not isinstance(found, dict):
        raise UserError(f"{where}: expected keys with values, found {type(found).__name__}")
    for key in found:
        if key not in expected:
            raise UserError(f"{where}: nothing uses the key {key}{suggestion(str(key), expected)}")
    for key in expected:
        if key not in found:
            raise UserError(f"{where}: the key {key} is missing")


def _has_group(schema: type, group: str) -> bool:
    return any(item.name == group for item in dataclasses.fields(schema))


def _expect_known(config: DictConfig, where: str) -> None:
    """Check that a composed config has only the keys of its dataclasses: Hydra adds any key that is written `+key`."""
    schema = OmegaConf.get_type(config)
    if not dataclasses.is_dataclass(schema):
        return
    known = [item.name for item in dataclasses.fields(schema)]
    for key in map(str, config):
        if key not in known:
            raise UserError(f"{where}: nothing uses the key {key}{suggestion(key, known)}")
        if not OmegaConf.is_missing(config, key) and isinstance(config[key], DictConfig):
            _expect_known(config[key], f"{where}.{key}")
