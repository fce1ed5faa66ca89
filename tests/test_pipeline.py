"""dvc.yaml against the code: DVC does not follow imports, so a stage that uses a module must name it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from src.config.stages import BY_HAND, STAGES
from src.foundation.project import PROJECT

PROJECT = PROJECT
STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
MODULES = {name: stage["cmd"].removeprefix("python -m src.") for name, stage in STAGES.items()}


def modules_used_by(path: Path, seen: set[Path] | None = None) -> set[Path]:
    """Return the files of this project that importing `path` reads, itself included."""
    seen = set() if seen is None else seen
    if path in seen:
        return seen
    seen.add(path)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                base = PROJECT.joinpath(*parts[:length])
                for candidate in (base.with_suffix(".py"), base / "__init__.py"):
                    if parts[0] == "src" and candidate.is_file():
                        modules_used_by(candidate, seen)
    return seen


def files_named(dependencies: list[str]) -> set[Path]:
    """Return the modules that dependencies name, folders expanded."""
    paths = [PROJECT / name for name in dependencies if name.startswith("src")]
    return {file for path in paths for file in (path.glob("*.py") if path.is_dir() else [path])}


def groups_of(stage: str) -> set[str]:
    defaults = yaml.safe_load((PROJECT / f"conf/{stage}.yaml").read_text())["defaults"]
    return {group for entry in defaults if isinstance(entry, dict) for group in entry}


def test_the_stages_are_those_of_the_config() -> None:
    assert list(MODULES.values()) == list(STAGES)


@pytest.mark.parametrize("name", STAGES)
def test_dependencies_are_the_modules_that_are_imported(name: str) -> None:
    used = modules_used_by(PROJECT / f"src/{MODULES[name]}.py")
    named = files_named(STAGES[name]["deps"])
    assert {str(path.relative_to(PROJECT)) for path in used - named} == set(), "used and not named"
    assert {str(path.relative_to(PROJECT)) for path in named - used} == set(), "named and not used"


@pytest.mark.parametrize("name", STAGES)
def test_dependencies_are_the_configs_that_are_composed(name: str) -> None:
    stage = MODULES[name]
    expected = {f"conf/{stage}.yaml", "conf/run.yaml", *(f"conf/{g}/${{choices.{g}}}.yaml" for g in groups_of(stage))}
    assert {dependency for dependency in STAGES[name]["deps"] if dependency.startswith("conf/")} == expected


@pytest.mark.parametrize("name", STAGES)
def test_params_are_the_sections_that_are_composed(name: str) -> None:
    stage = MODULES[name]
    defaults = yaml.safe_load((PROJECT / f"conf/{stage}.yaml").read_text())["defaults"]
    sections = {entry.removeprefix("params/") for entry in defaults if str(entry).startswith("params/")}
    assert set(STAGES[name]["params"]) == sections | {f"choices.{group}" for group in groups_of(stage)}


def test_subjects_know_nothing_of_stages_configuration_and_tracking() -> None:
    stages = (*STAGES, *BY_HAND)
    forbidden = {PROJECT / f"src/{name}.py" for name in (*stages, "stage", "config", "tracking", "sweep", "training")}
    for subject in ("labels", "detector", "distillation", "pruning", "quantization", "evaluation"):
        for path in (PROJECT / "src" / subject).glob("*.py"):
            assert not modules_used_by(path) & forbidden, path.name


def test_only_tracking_imports_mlflow() -> None:
    importing = {
        p.name for p in (PROJECT / "src").rglob("*.py") if "import mlflow" in p.read_text().replace("from", "import")
    }
    assert importing == {"tracking.py"}
