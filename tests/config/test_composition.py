from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src import PROJECT
from src.config.composition import register, typed
from src.config.stages import STAGES, schema_of
from src.foundation.errors import UserError

pytestmark = pytest.mark.slow

OVERRIDES = {
    "prepare_labels": ("val_fraction", "0.25"),
    "train_teacher": ("lr0", "0.01"),
    "distill": ("T", "7.5"),
    "prune": ("ratio", "0.45"),
    "calibrate": ("images", "17"),
    "quantize": ("per_channel", "false"),
    "eval_int8": ("max_drop", "0.123"),
}


def composed(stage: str, *overrides: str) -> Any:
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return typed(stage, compose(stage, list(overrides)))


@pytest.fixture(autouse=True)
def _registered() -> None:
    register()


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_composes_from_params_yaml(stage: str) -> None:
    params = composed(stage)
    assert isinstance(params, schema_of(stage))
    section = yaml.safe_load((PROJECT / "params.yaml").read_text())[stage]
    assert {key: getattr(params, key) for key in section} == section


GROUP_FILES = [
    pytest.param(stage, group, path.stem, id=f"{stage} {group}={path.stem}")
    for stage, group in [
        ("prepare_labels", "data"),
        ("train_teacher", "teacher"),
        ("distill", "student"),
        ("prune", "augmentation"),
        ("prune", "distillation"),
        ("distill", "teaching"),
    ]
    for path in sorted((PROJECT / "conf" / group).glob("*.yaml"))
]


@pytest.mark.parametrize("stage", STAGES)
def test_an_override_changes_that_key_alone(stage: str) -> None:
    key, value = OVERRIDES[stage]
    plain, changed = asdict(composed(stage)), asdict(composed(stage, f"{key}={value}"))
    assert changed == {**plain, key: yaml.safe_load(value)} != plain


@pytest.mark.parametrize("size", [160, [96, 160]])
def test_the_input_is_a_square_or_has_height_and_width(size: int | list[int]) -> None:
    params = composed("distill", f"imgsz={size}")
    assert params.imgsz == params.trainer_arguments()["imgsz"] == size


@pytest.mark.parametrize(("stage", "group", "choice"), GROUP_FILES)
def test_every_choice_of_a_group_composes(stage: str, group: str, choice: str) -> None:
    assert getattr(composed(stage, f"{group}={choice}"), group) is not None


@pytest.mark.parametrize(
    ("stage", "override", "message"),
    [
        pytest.param("distill", "T=0", "T must be above 0, got 0", id="not above"),
        pytest.param("distill", "alpha=1.5", "alpha must be at least 0 and at most 1", id="not in [0, 1]"),
        pytest.param("distill", "lr0=nan", "lr0 must be above 0, got nan", id="not a number"),
        pytest.param("distill", "imgsz=300", "at least 32 and a multiple of 32, got 300", id="between strides"),
        pytest.param("distill", "imgsz=[96,100]", "a multiple of 32, got [96, 100]", id="a width between strides"),
        pytest.param("distill", "imgsz=[96,160,3]", "[height, width], each at least 32", id="three numbers"),
        pytest.param("distill", "imgsz=[[96,160],96]", "imgsz must be one side or", id="a list in a list"),
        pytest.param("distill", "imgsz=[96]", "imgsz must be one side or", id="a list of one"),
        pytest.param("distill", "imgsz=0", "a multiple of 32, got 0", id="no side"),
        pytest.param("distill", "imgsz=large", "a multiple of 32, got large", id="a text"),
        pytest.param("distill", "imgsz=true", "a multiple of 32, got True", id="a truth value"),
        pytest.param("distill", "imgsz=160.0", "a multiple of 32, got 160.0", id="a fraction"),
        pytest.param("distill", "imgsz=null", "a multiple of 32, got None", id="no size"),
        pytest.param("distill", "imgsz={h:96}", "a multiple of 32, got {'h': 96}", id="a mapping"),
        pytest.param("prune", "ratio=1", "ratio must be at least 0 and below 1", id="everything pruned"),
        pytest.param("quantize", "format=tflite", "format must be one of qdq, qoperator", id="not a choice"),
        pytest.param("distill", "augmentation.mosaic=2", "augmentation.mosaic must be", id="in a group"),
    ],
)
def test_a_value_out_of_range_is_told(stage: str, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        composed(stage, override)


@pytest.mark.parametrize(
    ("stage", "overrides", "message"),
    [
        (
            "prepare_labels",
            ["val_fraction=0.5", "test_fraction=0.5"],
            "val_fraction and test_fraction together must be",
        ),
        ("prepare_labels", ["data.fewest_digits=9"], "data.fewest_digits must be at most most_digits, got 9 and 8"),
        ("prune", ["rounds=9"], "epochs must be at least prune.rounds"),
        ("quantize", ["symmetric_weights=false"], "symmetric_weights must be true where per_channel is true"),
    ],
)
def test_values_that_contradict_each_other_are_told(stage: str, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        composed(stage, *overrides)


@pytest.mark.parametrize(
    "override",
    [
        pytest.param("tempreture=2", id="unknown key"),
        pytest.param("epochs=many", id="wrong type"),
        pytest.param("student=resnet", id="unknown choice"),
        pytest.param("student.depth=2", id="unknown key of a group"),
    ],
)
def test_typos_on_the_command_line_are_refused(override: str) -> None:
    with pytest.raises((HydraException, OmegaConfBaseException)):
        composed("distill", override)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("distill:", "distil:", "nothing uses the key distil: did you mean distill", id="section"),
        pytest.param("  student: yolov8n", "  studnet: yolov8n", "did you mean student", id="choice"),
        pytest.param("calibrate:", "calibrate: [1]\nother:", "nothing uses the key other", id="more than one fault"),
        pytest.param("choices:", "choices: 1\nx:", "nothing uses the key x", id="not a section"),
        pytest.param("common:", "common: {", "cannot be read", id="not YAML"),
    ],
)
def test_faults_of_params_yaml_are_told(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (PROJECT / "params.yaml").read_text()
    assert old in text
    (tmp_path / "params.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=message) as caught:
        register(params_file=tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stage", "override", "message"),
    [
        pytest.param("distill", "T=-1", "error: distill.T must be above 0, got -1.0: edit params.yaml", id="range"),
        pytest.param(
            "distill", "imgsz=33", "error: common.imgsz must be one side or [height, width], each at", id="common"
        ),
        pytest.param(
            "distill", "student.activation=gelu", "got gelu: edit conf/student/yolov8n.yaml", id="range in a group"
        ),
        pytest.param(
            "quantize", "chanel=1", "error: nothing uses the key chanel: did you mean per_channel?", id="unknown key"
        ),
        pytest.param(
            "quantize", "calibratr=mse", "error: nothing uses the key calibratr: did you mean calibrator?", id="typo"
        ),
        pytest.param("distill", "student=resnet", "error: In 'distill': Could not find 'student/resnet'", id="choice"),
        pytest.param("distill", "distill.T=3", "key distill: by hand keys have no section", id="a key of DVC"),
        pytest.param(
            "deploy",
            "target=[intger]",
            "got intger: edit params.yaml, or write target=... behind the command",
            id="no such target",
        ),
        pytest.param(
            "deploy", "target=[]", "error: deploy.target must name a target: a list of integer,", id="no target"
        ),
        pytest.param("distill", "+foo=1", "error: distill: nothing uses the key foo: expected one of", id="added key"),
        pytest.param(
            "distill", "+student.actvation=relu", "nothing uses the key actvation: did you mean activation?", id="group"
        ),
        pytest.param(
            "distill",
            "epochs=many",
            "epochs: Value 'many' of type 'str' could not be converted to Integer",
            id="type",
        ),
    ],
)
def test_the_shell_shows_one_line_and_no_traceback(stage: str, override: str, message: str) -> None:
    done = run_by_hand(PROJECT, stage, override)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert message in line


def run_by_hand(root: Path, stage: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"src.{stage}", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


# Every way to run a stage must compose the same config, which each stage prints in the following instead of working.
# Starting a stage takes seconds of imports, so three run: that all compose from params.yaml is shown above.
STARTED = ("prepare_labels", "distill", "eval_int8")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    for name in ("src", "conf", "params.yaml"):
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    stages = {
        stage.replace("_", "-"): {
            "cmd": f"mkdir -p composed && python -m src.{stage} --cfg job --resolve > composed/{stage}.yaml",
            "params": ["choices", "common", "data", stage],
            "outs": [{f"composed/{stage}.yaml": {"cache": False}}],
        }
        for stage in STARTED
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (root / ".gitignore").write_text("__pycache__/\n/outputs/\n")
    call(root, "git", "init", "-q")
    call(root, "git", "config", "user.email", "tests@localhost")
    call(root, "git", "config", "user.name", "tests")
    call(root, "dvc", "init", "-q")
    call(root, "git", "add", "-A")
    call(root, "git", "commit", "-qm", "start")
    return root


@pytest.fixture(scope="module")
def by_hand(project: Path) -> dict[bool, dict[str, object]]:
    """The composed configs of these stages, without (False) and with (True) an override each."""

    def printed(stage: str, overridden: bool) -> object:
        overrides = ["=".join(OVERRIDES[stage])] if overridden else []
        done = run_by_hand(project, stage, "--cfg", "job", "--resolve", *overrides)
        assert done.returncode == 0, done.stderr
        return OmegaConf.to_container(OmegaConf.create(done.stdout))

    with ThreadPoolExecutor(2) as pool:
        return {
            overridden: dict(zip(STARTED, pool.map(lambda s, o=overridden: printed(s, o), STARTED), strict=True))
            for overridden in (False, True)
        }


def test_by_hand_an_override_changes_that_key_alone(by_hand: dict[bool, dict[str, dict[str, object]]]) -> None:
    for stage in STARTED:
        key, value = OVERRIDES[stage]
        expected = {**by_hand[False][stage], key: yaml.safe_load(value)}
        assert by_hand[True][stage] == expected != by_hand[False][stage]


def test_dvc_composes_what_hands_do(project: Path, by_hand: dict[bool, dict[str, object]]) -> None:
    settings = [part for stage in STARTED for part in ("-S", f"{stage}.{'='.join(OVERRIDES[stage])}")]
    call(project, "dvc", "repro", "-q")
    assert composed_in(project) == by_hand[False]
    call(project, "git", "add", "-A")
    call(project, "git", "commit", "-qm", "reproduced")

    call(project, "dvc", "exp", "run", "-q", "-n", "direct", *settings)
    assert composed_in(project) == by_hand[True]
    call(project, "git", "checkout", "-q", ".")

    call(project, "dvc", "exp", "run", "-q", "--queue", "-n", "queued", *settings)
    call(project, "dvc", "exp", "run", "-q", "--run-all")
    (reference,) = call(project, "git", "for-each-ref", "--format=%(refname)", "refs/exps/*/*/queued").split()
    queued = {
        stage: OmegaConf.to_container(
            OmegaConf.create(call(project, "git", "show", f"{reference}:composed/{stage}.yaml"))
        )
        for stage in STARTED
    }
    assert queued == by_hand[True]


def call(root: Path, *command: str) -> str:
    program = [sys.executable, "-m", "dvc", *command[1:]] if command[0] == "dvc" else list(command)
    done = subprocess.run(program, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def composed_in(root: Path) -> dict[str, object]:
    return {stage: OmegaConf.to_container(OmegaConf.load(root / f"composed/{stage}.yaml")) for stage in STARTED}
