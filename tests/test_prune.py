from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from torch import nn

from src import PROJECT, prune
from src.config.composition import register, typed
from src.detector.checkpoint import load_detector
from src.foundation.errors import UserError
from src.workflow.stage_files import StageFiles
from tests.stages import TINY, Diary, small_project, trained_with

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path, prepared: Path) -> Path:
    return small_project(tmp_path, prepared)


def pruned(project: Path, *overrides: str, output: str = "out") -> tuple[Any, Diary, list[int]]:
    """Return the metrics, the recorded calls, and the number of remaining channels of each convolution."""
    register()
    given = [*(f"{key}={value}" for key, value in TINY.items()), *overrides]
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        params = typed("prune", compose("prune", given))
    log = Diary()
    metrics = prune.run(params, StageFiles("prune", project, project / output), log).metrics
    left = load_detector(project / output / "models/pruned.pt")
    return metrics, log, [module.out_channels for module in left.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("importance", ["magnitude", "bn_scale", "taylor"])
def test_every_importance_gives_a_smaller_network(project: Path, importance: str) -> None:
    metrics, log, _ = pruned(project, f"importance={importance}")
    assert metrics["parameters"] < metrics["before"]["parameters"]
    assert log.below == []


def test_rounds_share_the_epochs_and_end_at_the_same_width(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    criteria = trained_with(monkeypatch)
    _, _, at_once = pruned(project, "epochs=3", "alpha=0", output="once")
    assert criteria == [None], "alpha 0: the labels alone teach"
    metrics, log, left = pruned(project, "epochs=3", "rounds=2", output="rounds")
    assert [criterion is None for criterion in criteria[1:]] == [False, False], "the teacher teaches in every round"
    assert left == at_once
    assert log.below == ["round-1"]
    assert metrics["epochs"] == 1, "the first round took two of the three"


def test_more_rounds_than_epochs_are_refused(project: Path) -> None:
    with pytest.raises(UserError, match=r"epochs must be at least prune.rounds \(3\), got 1"):
        pruned(project, "rounds=3")


def test_the_most_sensitive_layers_are_spared(project: Path) -> None:
    _, _, plain = pruned(project, output="plain")
    _, log, left = pruned(project, "spared_layers=2")
    assert sum(left) > sum(plain)
    table = pd.read_csv(project / "out/reports/prune/sensitivity/layers.csv")
    assert list(table.columns) == ["layer", "kind", "map50_95", "drop"]
    assert len(table) == 17
    assert (project / "out/reports/prune/sensitivity/layers.png").is_file()
    assert "sensitivity" in log.kept
    assert len(pd.read_csv(project / "plain/reports/prune/sensitivity/layers.csv")) == 0


@pytest.mark.parametrize("method", ["unstructured_global", "unstructured_per_layer"])
def test_pruned_weights_stay_zero_in_fine_tuning(project: Path, method: str) -> None:
    metrics, _, left = pruned(project, f"method={method}", "ratio=0.4", "epochs=2", "rounds=2")
    student = load_detector(project / "models/student.pt")
    assert left == [module.out_channels for module in student.modules() if isinstance(module, nn.Conv2d)]
    # Half precision rounds a few more to zero; DFL's 16 fixed weights, of which one is zero, are not pruned.
    assert metrics["share_of_zeros"] == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("setting", ["spared_layers=2", "sensitivity=true"])
def test_pruning_of_weights_cannot_spare_layers(project: Path, setting: str) -> None:
    with pytest.raises(UserError, match=r"method must be structured where prune\..* is set, got unstructured_global"):
        pruned(project, "method=unstructured_global", setting)
