"""Folders that DVC tracks with `cache.type symlink`: every file is a link into DVC's cache."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.labels.small_folders import FORMATS, message_of, read_and_check


def move_to(cache: Path, root: Path, *, layout: str = "files/md5") -> None:
    """Replace every file below `root` by a link into a cache."""
    for path in [path for path in root.rglob("*") if path.is_file()]:
        address = hashlib.md5(path.read_bytes()).hexdigest()
        target = cache / layout / address[:2] / address[2:]
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        path.symlink_to(target)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("linked", [False, True], ids=["folder", "link to the folder"])
def test_a_folder_of_links_into_the_cache_is_read_like_the_files_themselves(
    form: str, linked: bool, tmp_path: Path
) -> None:
    build, read = FORMATS[form]
    build(tmp_path / "mine")
    before, _ = read_and_check(read, tmp_path / "mine")
    move_to(tmp_path / "cache", tmp_path / "mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    after, faults = read_and_check(read, tmp_path / ("link" if linked else "mine"))
    assert [image.path.name for image in after.images] == [image.path.name for image in before.images]
    assert [image.boxes_xyxy.tolist() for image in after.images] == [i.boxes_xyxy.tolist() for i in before.images]
    assert [image.split for image in after.images] == [image.split for image in before.images]
    assert not faults.notes


@pytest.mark.parametrize("form", FORMATS)
def test_links_to_other_places_are_refused(form: str, tmp_path: Path) -> None:
    build, read = FORMATS[form]
    build(tmp_path / "mine")
    move_to(tmp_path / "elsewhere", tmp_path / "mine", layout="files")
    assert "outside of data.root" in message_of(read, tmp_path / "mine")


def test_a_name_that_leads_outside_is_refused_also_if_a_link_into_the_cache_is_there(tmp_path: Path) -> None:
    build, read = FORMATS["yolo"]
    build(tmp_path / "mine")
    move_to(tmp_path / "cache", tmp_path / "mine")
    (tmp_path / "train.txt").symlink_to(next(path for path in (tmp_path / "cache").rglob("*") if path.is_file()))
    text = (tmp_path / "mine/data.yaml").read_text().replace("images/train", "../train.txt")
    (tmp_path / "mine/data.yaml").unlink()
    (tmp_path / "mine/data.yaml").write_text(text)
    assert "'../train.txt' leads outside of data.root" in message_of(read, tmp_path / "mine")
