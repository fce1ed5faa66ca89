from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from src import prepare_labels
from src.config.data import Data, DigitScenes, VocFolder, YoloFolder
from src.config.prepare_labels import PrepareLabels
from src.foundation.digests import digest
from src.foundation.errors import UserError
from src.foundation.prepared import unlabelled_images_of
from src.workflow.stage_files import StageFiles
from tests.labels.small_folders import voc_folder, yolo_folder

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[1]


class Recorder:
    """Replaces a tracking run and records the calls."""

    def __init__(self) -> None:
        self.artifacts: list[str] = []
        self.datasets: list[tuple[Any, ...]] = []

    def artifact(self, path: Path, folder: str | None = None) -> None:
        self.artifacts.append(f"{folder}/{path.name}")

    def dataset(self, *described: Any) -> None:
        self.datasets.append(described)


def params_of(data: Data, **settings: Any) -> PrepareLabels:
    defaults = {"strict": False, "largest_mended_share": 0.5, "val_fraction": 0.2, "test_fraction": 0.2}
    defaults["label_fraction"] = 1.0
    return PrepareLabels(data=data, seed=0, group_by=None, **{**defaults, **settings})


def run(data: Data, project: Path, **settings: Any) -> tuple[dict[str, Any], Recorder]:
    log = Recorder()
    files = StageFiles("prepare_labels", project, project / "out")
    return prepare_labels.run(params_of(data, **settings), files, log).metrics, log  # type: ignore[arg-type]  # a recorder is enough


def voc(root: str = "raw") -> VocFolder:
    return VocFolder(root=root, annotations=None, images=None, split_lists=None, class_names=None)


def digits() -> DigitScenes:
    return DigitScenes(
        root="nowhere",
        train_images=6,
        val_images=3,
        test_images=2,
        size_px=96,
        fewest_digits=1,
        most_digits=3,
        smallest=0.2,
        largest=0.4,
        rotation_deg=20,
    )


def give_a_box_no_size(root: Path) -> None:
    path = root / "Annotations/a.xml"
    path.write_text(path.read_text().replace("<xmax>50<", "<xmax>10<"))


def test_voc_folder_with_a_mended_box(tmp_path: Path) -> None:
    voc_folder(tmp_path / "raw")
    give_a_box_no_size(tmp_path / "raw")
    counts, log = run(voc(), tmp_path)
    assert counts["images"] == {"train": 2, "val": 2, "test": 2}
    assert counts["boxes"] == {"train": 2, "val": 3, "test": 2}
    assert counts["backgrounds"] == {"train": 0, "val": 0, "test": 1}
    assert counts["mended"] == {"clipped": 0, "no_size": 1, "doubled": 0, "swapped": 0, "polygon": 0}
    json.dumps(counts, allow_nan=False)
    reports = tmp_path / "out/reports/prepare_labels"
    assert list(csv.reader((reports / "mended.csv").open())) == [
        ["file", "what"],
        ["Annotations/a.xml", "box 1 (cat 10 20 10 60 px) has no size: dropped"],
    ]
    assert (reports / "notes.csv").read_text() == "file,what\n"
    names = ["box_sizes.png", "mended.csv", "near_duplicates.png", "notes.csv", "samples.png"]
    assert log.artifacts == [f"prepare_labels/{name}" for name in names]
    md5 = digest(tmp_path / "out/data/prepared")
    assert log.datasets == [("prepared", md5, "raw", counts["images"])]


def test_one_of_a_kind_is_not_counted_in_the_plural(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    voc_folder(tmp_path / "raw")
    give_a_box_no_size(tmp_path / "raw")
    with caplog.at_level("INFO"):
        run(voc(), tmp_path)
    [line] = [record.getMessage() for record in caplog.records if "mended.csv" in record.getMessage()]
    assert line.startswith("6 images with 7 boxes of 2 classes, 1 image without boxes; 1 box mended (")
    assert line.partition("mended.csv), ")[2].startswith("0 notes (")


def test_images_whose_labels_are_set_aside_stay_without_labels(tmp_path: Path) -> None:
    counts, _ = run(digits(), tmp_path, label_fraction=0.5)
    prepared = tmp_path / "out/data/prepared"
    unlabelled = unlabelled_images_of(prepared)
    assert (counts["images"]["train"], counts["unlabelled"], len(unlabelled)) == (3, 3, 3)
    assert counts["backgrounds"] == {"train": 0, "val": 0, "test": 0}
    assert sorted(path.name for path in (prepared / "labels").iterdir()) == ["test", "train", "val"]
    listed = [row for row in csv.DictReader((prepared / "manifest.csv").open()) if row["split"] == "unlabelled"]
    assert [row["image"] for row in listed] == [path.relative_to(prepared).as_posix() for path in unlabelled]
    assert all(row["label_md5"] == "" and row["image_md5"] for row in listed)


def test_digits_are_reproducible_and_leave_no_other_files(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        counts, _ = run(digits(), tmp_path / name)
        assert counts["images"] == {"train": 6, "val": 3, "test": 2}
        out = tmp_path / name / "out"
        contents.append({path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert contents[0] == contents[1]
    top = sorted(path.name for path in (tmp_path / "one/out/data/prepared").iterdir())
    assert top == ["data.yaml", "images", "labels", "manifest.csv"]


@pytest.mark.parametrize(
    ("change", "key", "fault"),
    [
        ({"fewest_digits": 9}, "data.fewest_digits", "must be at most most_digits, got 9 and 3"),
        ({"smallest": 0.5}, "data.smallest", "must be at most largest, got 0.5 and 0.4"),
    ],
    ids=["digits", "sizes"],
)
def test_contradictory_scene_settings_are_rejected(change: dict[str, Any], key: str, fault: str) -> None:
    assert list(params_of(replace(digits(), **change)).contradictions()) == [(key, fault)]


@pytest.mark.parametrize("labels", ["missing", "elsewhere", "outside the picture"])
def test_folder_without_any_usable_label_is_a_fault(tmp_path: Path, labels: str) -> None:
    yolo_folder(tmp_path / "raw")
    for path in sorted((tmp_path / "raw/labels").rglob("*.txt")):
        path.write_text("0 -0.5 -0.5 0.2 0.2\n") if labels == "outside the picture" else path.unlink()
    if labels == "missing":
        shutil.rmtree(tmp_path / "raw/labels")
    data = YoloFolder(root="raw", data_yaml=None)
    with pytest.raises(UserError) as caught:
        run(data, tmp_path)
    count = 4 if labels == "outside the picture" else 3  # all boxes would be mended away
    assert f"{count} faults; nothing was written" in str(caught.value)
    assert "no box in train: none of its 2 images has a label with an object in it" in str(caught.value)


@pytest.mark.parametrize("reason", ["fault", "mend under strict"])
def test_fault_leaves_earlier_outputs_unchanged(reason: str, tmp_path: Path) -> None:
    voc_folder(tmp_path / "raw")
    earlier = tmp_path / "out/data/prepared/manifest.csv"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("of an earlier run")
    if reason == "fault":
        (tmp_path / "raw/JPEGImages/a.jpg").write_bytes(b"")
    else:
        give_a_box_no_size(tmp_path / "raw")
    with pytest.raises(UserError, match="1 fault in 1 file; nothing was written"):
        run(voc(), tmp_path, strict=reason != "fault")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [earlier]


def test_command_lists_all_faults_without_a_traceback(tmp_path: Path) -> None:
    voc_folder(tmp_path / "raw")
    (tmp_path / "raw/JPEGImages/a.jpg").write_bytes(b"")
    (tmp_path / "raw/Annotations/b.xml").write_text("<annotation>")
    command = [sys.executable, "-m", "src.prepare_labels", "data=voc", f"data.root={tmp_path / 'raw'}"]
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    environment.pop("DVC_STAGE", None)
    ended = subprocess.run(
        [*command, f"hydra.run.dir={tmp_path / 'hydra'}"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "error: " + str(tmp_path / "raw") + ": 2 faults in 2 files; nothing was written" in ended.stderr
    assert "\n  Annotations/b.xml: broken XML" in ended.stderr
    assert "\n  JPEGImages/a.jpg: not a readable image" in ended.stderr
    assert not (tmp_path / "hydra/data/prepared").exists()


ODD_CLASSES = ["=cmd()", "a|b", "<img>", "\x1b[31m", "two\nlines", "$x^$", ".", "..", "a/b", "%", "x" * 260]


def test_class_and_file_names_of_any_kind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "raw"
    yolo_folder(root)
    description = yaml.safe_load((root / "data.yaml").read_text())
    description["names"] = ODD_CLASSES
    (root / "data.yaml").write_text(yaml.safe_dump(description))
    image = sorted((root / "images/train").iterdir())[0]
    label = root / "labels/train" / f"{image.stem}.txt"
    name = "=\x1b[31m\n"
    image.rename(image.with_stem(name))
    label.rename(label.with_stem(name))
    label.with_stem(name).write_text("".join(f"{index} 0.9 0.5 0.4 0.5\n" for index in range(len(ODD_CLASSES))))

    data = YoloFolder(root="raw", data_yaml=None)
    counts, _ = run(data, tmp_path, largest_mended_share=1)
    assert list(counts["classes"]) == ODD_CLASSES
    with (tmp_path / "out/reports/prepare_labels/mended.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(ODD_CLASSES)
    assert all(text.isprintable() and text[0] not in "=+-@" for row in rows for text in row.values())
    with pytest.raises(UserError) as refused:
        run(data, tmp_path, strict=True, largest_mended_share=1)
    lines = str(refused.value).splitlines()
    assert len(lines) == 1 + len(ODD_CLASSES)
    assert all(line.isprintable() for line in lines)
    assert all(record.getMessage().isprintable() for record in caplog.records)
