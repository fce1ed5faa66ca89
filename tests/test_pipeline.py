"""dvc.yaml against the code, and the code against its architecture."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

from src import PROJECT
from src.config.stages import PER_TARGET, STAGES
from src.workflow.code import _imports, dependencies_of, modules_of

DVC_YAML = yaml.safe_load((PROJECT / "dvc.yaml").read_text())
PIPELINE = {name: stage.get("do", stage) for name, stage in DVC_YAML["stages"].items()}
MODULES = {name: stage["cmd"].removeprefix("python -m src.").split()[0] for name, stage in PIPELINE.items()}
COMPOSED_BESIDES = {"deploy": ("quantize", "eval_int8")}
"""Stages whose settings a stage reads besides its own."""

FLOORS = (
    {"foundation"},
    {"labels", "detector"},
    {"deployment", "distillation"},
    {"quantization", "teaching", "pruning", "evaluation"},
    {"delivery"},
    {"targets"},
    {"config"},
    {"reporting"},
    {"workflow"},
    {"trainings"},
    {"searching"},
    {"comparing"},
)
"""Each folder imports itself and the floors below its own. Stages and commands are on top."""

SUBJECTS = (
    "labels",
    "detector",
    "distillation",
    "teaching",
    "pruning",
    "quantization",
    "deployment",
    "evaluation",
    "delivery",
    "targets",
)


def test_the_stages_are_those_of_the_config() -> None:
    assert tuple(MODULES.values()) == (*STAGES, *PER_TARGET)
    assert {name for name, stage in DVC_YAML["stages"].items() if "foreach" in stage} == {*PER_TARGET}


def groups_of(stage: str) -> set[str]:
    defaults = yaml.safe_load((PROJECT / f"conf/{stage}.yaml").read_text())["defaults"]
    return {group for entry in defaults if isinstance(entry, dict) for group in entry}


@pytest.mark.parametrize("name", PIPELINE)
def test_dependencies_are_the_code_that_makes_the_results(name: str) -> None:
    named = [path for path in PIPELINE[name]["deps"] if path.startswith("src")]
    assert named == dependencies_of(f"src.{MODULES[name]}")


@pytest.mark.parametrize("name", PIPELINE)
def test_dependencies_are_the_configs_that_are_composed(name: str) -> None:
    stage = MODULES[name]
    groups = {f"conf/{group}/${{choices.{group}}}.yaml" for group in groups_of(stage)}
    expected = groups | {f"conf/{one}.yaml" for one in (stage, *COMPOSED_BESIDES.get(stage, ()))}
    assert {path for path in PIPELINE[name]["deps"] if path.startswith("conf/")} == expected


@pytest.mark.parametrize("name", PIPELINE)
def test_params_are_the_sections_that_are_composed(name: str) -> None:
    stage, sections = MODULES[name], set()
    for one in (stage, *COMPOSED_BESIDES.get(stage, ())):
        defaults = yaml.safe_load((PROJECT / f"conf/{one}.yaml").read_text())["defaults"]
        sections |= {entry.removeprefix("params/") for entry in defaults if str(entry).startswith("params/")}
    if stage in PER_TARGET:  # the list of targets is no parameter of one of them
        sections = sections - {stage} | {f"{stage}.max_drop"}
    assert set(PIPELINE[name]["params"]) == sections | {f"choices.{group}" for group in groups_of(stage)}


@pytest.mark.parametrize("way", ["unlabelled", "predictions"])
def test_the_folders_that_a_way_of_teaching_reads_are_dependencies(way: str) -> None:
    settings = yaml.safe_load((PROJECT / f"conf/teaching/{way}.yaml").read_text())
    folders = {settings[key] for key in ("folder", "files") if key in settings}
    assert folders <= set(PIPELINE["distill-student"]["deps"])


@pytest.mark.parametrize("name", DVC_YAML["artifacts"])
def test_an_artifact_is_a_model_that_a_stage_writes(name: str) -> None:
    artifact = DVC_YAML["artifacts"][name]
    assert artifact["path"] in [out for stage in PIPELINE.values() for out in stage["outs"]]
    assert artifact["type"] == "model"
    assert artifact["desc"]
    assert artifact["labels"]


@pytest.mark.parametrize("stage", STAGES)
def test_recording_drawing_and_other_stages_schemas_retrain_nothing(stage: str) -> None:
    made_by = {path.relative_to(PROJECT / "src").as_posix() for path in modules_of(f"src.{stage}")}
    other_schemas = {f"config/{other}.py" for other in STAGES if other != stage}
    assert not made_by & other_schemas
    assert not [path for path in made_by if path.startswith(("workflow/", "reporting/", "config/composition"))]
    assert not [path for path in made_by if path in {f"{other}.py" for other in STAGES if other != stage}]


def test_what_quantizes_or_draws_does_not_train_the_teacher() -> None:
    made_by = dependencies_of("src.train_teacher")
    for elsewhere in ("quantization", "distillation", "teaching", "pruning", "deployment", "evaluation", "labels"):
        assert not [path for path in made_by if path.startswith(f"src/{elsewhere}")], elsewhere


def imported_folders(path: Path) -> set[str]:
    """Return the folders of src that a file imports from, also within functions and for types alone."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    found = {name.split(".")[1] for name in names if name.startswith("src.")}
    return {folder for folder in found if (PROJECT / "src" / folder).is_dir()}


def test_imports_go_down() -> None:
    folders = {path.name for path in (PROJECT / "src").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert set().union(*FLOORS) == folders
    below: set[str] = set()
    for floor in FLOORS:
        for folder in floor:
            for path in (PROJECT / "src" / folder).rglob("*.py"):
                assert imported_folders(path) - {folder} <= below, path.relative_to(PROJECT)
        below |= floor


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports within functions count, imports of packages alone do not."""
    files = {
        ".".join(path.relative_to(PROJECT).with_suffix("").parts): path for path in (PROJECT / "src").rglob("*.py")
    }
    graph = {}
    for name, path in files.items():
        imported = set(_imports(ast.parse(path.read_text())))  # modules, or names in modules
        graph[name] = (imported | {one.rpartition(".")[0] for one in imported}) & files.keys() - {name}
    TopologicalSorter(graph).prepare()


def test_no_folder_imports_a_stage_or_command() -> None:
    top = {path.stem for path in (PROJECT / "src").glob("*.py")} - {"__init__"}
    for path in (PROJECT / "src").glob("*/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                assert not imported & {f"src.{name}" for name in top}, path.name


@pytest.mark.parametrize("subject", SUBJECTS)
def test_subjects_know_nothing_of_dvc_hydra_and_mlflow(subject: str) -> None:
    for path in (PROJECT / "src" / subject).rglob("*.py"):
        tree = ast.parse(path.read_text())
        texts = [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        for word in ("params.yaml", "dvc repro", "dvc.yaml", "MLflow", "Hydra"):
            assert not [text for text in texts if word in text], f"{path.name}: {word}"


def test_only_workflow_imports_mlflow() -> None:
    importing = {
        path.relative_to(PROJECT / "src").parts[0]
        for path in (PROJECT / "src").rglob("*.py")
        if "import mlflow" in path.read_text() or "from mlflow" in path.read_text()
    }
    assert importing == {"workflow"}
