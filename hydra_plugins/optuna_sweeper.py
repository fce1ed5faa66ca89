"""`hydra/sweeper=optuna`: Hydra's interface to `src.workflow.search`.

The sweeper is the project's own, on optuna's ask and tell: hydra-optuna-sweeper needs optuna below 3, Hydra 1.4 is a
release candidate, and hydra-optuna-mlflow-sweeper would record runs beside those of `src.workflow.sweep`.

Hydra accepts plugins from the namespace package `hydra_plugins` only. This folder is a part of it because
`python -m` puts the current folder on the path, so nothing is installed. Hydra imports the file at every start,
therefore optuna is imported when a search starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class OptunaSweeper(Sweeper):
    """Draws trials with optuna and runs them with any launcher. Its settings are in conf/hydra/sweeper/optuna.yaml."""

    launcher: Launcher
    config: DictConfig
    hydra_context: HydraContext

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep the config and make the launcher."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Sequence[Any]:
        """Search the space that the arguments describe."""
        from src.workflow.search import search

        return search(self.settings, arguments, self.config, self.hydra_context.config_loader, self.launcher)
