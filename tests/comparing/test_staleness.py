"""Which stages are stale, told in a checkout without models and data."""

from __future__ import annotations

import pytest
import yaml

from src.comparing.recorded import opened
from src.comparing.staleness import Cause, Staleness, staleness_of, with_comments_told
from tests.compared import Compared


def staleness(compared: Compared) -> Staleness:
    with opened(compared.root) as repo:
        return with_comments_told(staleness_of(repo), compared.root, repo)


def causes(compared: Compared) -> dict[str, list[Cause]]:
    return {one.stage: list(one.causes) for one in staleness(compared).stages}


def test_nothing_is_stale_without_the_data(compared: Compared) -> None:
    compared.without_data()
    assert not (compared.root / "models").exists()
    assert not (compared.root / "data/prepared").exists()
    assert staleness(compared) == Staleness((), ())


@pytest.mark.parametrize(
    ("path", "text", "stage", "cause"),
    [
        ("src/train_teacher.py", "EPOCHS = 13\n", "train-teacher", Cause("src/train_teacher.py", "modified")),
        ("src/detector/boxes.py", "WIDTH = 3\n", "train-teacher", Cause("src/detector", "modified")),
        ("src/detector/new.py", "WIDTH = 2\n", "train-teacher", Cause("src/detector", "modified")),
        ("conf/train_teacher.yaml", "lr0: 0.02\n", "train-teacher", Cause("conf/train_teacher.yaml", "modified")),
        ("data/raw/labels.txt", "letters\n", "train-teacher", Cause("data/raw", "modified")),
        ("reports/latency.json", "{}\n", "eval-int8", Cause("reports/latency.json", "modified")),
        ("src/eval_int8.py", "SCORE = (\n", "eval-int8", Cause("src/eval_int8.py", "modified")),
    ],
    ids=["code", "code in a folder", "a new file", "config", "data in git", "a report by hand", "code with a fault"],
)
def test_a_file_that_dvc_lock_does_not_record(
    compared: Compared, path: str, text: str, stage: str, cause: Cause
) -> None:
    compared.without_data()
    compared.write(path, text)
    assert causes(compared) == {stage: [cause]}


def test_params_are_named_by_their_keys(compared: Compared) -> None:
    compared.without_data()
    compared.write("params.yaml", "train_teacher:\n  epochs: 13\n  batch: 8\neval_int8: {}\n")
    assert causes(compared) == {
        "train-teacher": [
            Cause("params.yaml: train_teacher.batch", "new"),
            Cause("params.yaml: train_teacher.epochs", "modified"),
        ],
        "eval-int8": [Cause("params.yaml", "modified"), Cause("params.yaml: eval_int8.max_drop", "gone")],
    }


@pytest.mark.parametrize(
    ("path", "text", "stage"),
    [
        ("src/train_teacher.py", '"""Trains."""\n\nEPOCHS = (12)  # of the teacher\n', "train-teacher"),
        ("src/detector/boxes.py", "# px\nWIDTH = 2\n", "train-teacher"),
        ("conf/train_teacher.yaml", "# of AdamW\nlr0: 0.01\n", "train-teacher"),
    ],
)
def test_comments_alone_are_stale_for_dvc_and_said_to_be_comments(
    compared: Compared, path: str, text: str, stage: str
) -> None:
    compared.without_data()
    compared.write(path, text)
    compared.commit("comments")
    compared.write("README.md", "a later commit\n")
    compared.commit("docs")
    [[cause]] = causes(compared).values()
    assert (cause.state, cause.comments_alone) == ("modified", True)


def test_comments_can_be_recorded_without_a_run(compared: Compared) -> None:
    compared.write("src/eval_int8.py", "SCORE = 0.25 # [0, 1]\n")
    compared.record("eval-int8")
    assert not causes(compared)


def test_comments_beside_a_change_are_a_change(compared: Compared) -> None:
    compared.write("src/detector/boxes.py", "# px\nWIDTH = 2\n")
    compared.write("src/detector/new.py", "WIDTH = 2\n")
    [[cause]] = causes(compared).values()
    assert not cause.comments_alone


def test_comments_are_not_told_where_the_code_that_ran_is_not_known(compared: Compared) -> None:
    compared.write("src/eval_int8.py", "SCORE = 0.5\n")
    compared.record()
    compared.write("src/eval_int8.py", "SCORE = 0.25\n")
    compared.commit("dvc.lock records code that no commit has")
    compared.write("src/eval_int8.py", "SCORE = 0.25 # [0, 1]\n")
    assert causes(compared) == {"eval-int8": [Cause("src/eval_int8.py", "modified")]}


def test_data_that_dvc_holds_is_compared_by_its_digest(compared: Compared) -> None:
    compared.write("data/prepared/labels.txt", "letters\n")
    compared.add_data()
    compared.without_data()
    assert causes(compared) == {"train-teacher": [Cause("data/prepared", "modified")]}


def test_a_stage_of_a_merge_that_took_another_model(compared: Compared) -> None:
    lock = yaml.safe_load((compared.root / "dvc.lock").read_text())
    [model] = [dep for dep in lock["stages"]["eval-int8"]["deps"] if dep["path"] == "models/teacher.pt"]
    model["md5"] = "0" * 32
    compared.write("dvc.lock", yaml.safe_dump(lock))
    compared.without_data()
    assert causes(compared) == {"eval-int8": [Cause("models/teacher.pt", "modified")]}


def test_code_that_is_gone(compared: Compared) -> None:
    (compared.root / "src/train_teacher.py").unlink()
    assert causes(compared) == {"train-teacher": [Cause("src/train_teacher.py", "gone")]}


def test_data_that_nothing_records_is_not_checked(compared: Compared) -> None:
    (compared.root / "data/raw/labels.txt").unlink()
    (compared.root / "data/raw").rmdir()
    assert staleness(compared) == Staleness((), ("data/raw",))


def test_a_command_that_changed_and_a_stage_that_never_ran(compared: Compared) -> None:
    changed = compared.root.joinpath("dvc.yaml").read_text().replace('"true"', "python -m src.train_teacher", 1)
    compared.write("dvc.yaml", f"{changed}  deploy:\n    cmd: 'true'\n    deps: [models/int8.onnx]\n")
    assert causes(compared) == {"train-teacher": [Cause("command", "modified")], "deploy": []}


def test_compiled_code_is_no_change(compared: Compared) -> None:
    compared.write("src/detector/__pycache__/boxes.cpython-311.pyc", "compiled")
    assert not causes(compared)
