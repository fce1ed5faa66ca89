from __future__ import annotations

from pathlib import Path

import pytest

from src.foundation.atomic import whole_file, whole_folder, write_json, write_text
from src.foundation.digests import MANIFEST, MANIFEST_COLUMNS, digest


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder/a.json"
    write_text(target, "old")
    with pytest.raises(KeyboardInterrupt), whole_file(target) as partial:
        partial.write_text("ne")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with whole_folder(target) as partial:
        (partial / "old").touch()
    with pytest.raises(ZeroDivisionError), whole_folder(target) as partial:
        (partial / "new").touch()
        raise ZeroDivisionError
    assert [path.name for path in target.iterdir()] == ["old"]
    with whole_folder(target) as partial:
        (partial / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_json_has_no_not_a_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"map": float("nan")})
    assert not (tmp_path / "a.json").exists()


def folder_with_manifest(folder: Path, header: str = ",".join(MANIFEST_COLUMNS)) -> Path:
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(f"{header}\n")
    (folder / "image.png").write_bytes(b"1")
    return folder


def test_the_prepared_dataset_is_known_by_its_manifest(tmp_path: Path) -> None:
    folder = folder_with_manifest(tmp_path / "data/prepared")
    assert digest(folder) == digest(folder / MANIFEST)


@pytest.mark.parametrize(
    ("name", "header"),
    [("data/mine", ",".join(MANIFEST_COLUMNS)), ("data/prepared", "image,label"), ("my_data/prepared", "image")],
    ids=["a copy of the prepared dataset", "another manifest in its place", "a user's own"],
)
def test_a_manifest_of_the_user_is_a_file_like_others(name: str, header: str, tmp_path: Path) -> None:
    """Otherwise a changed image would go unnoticed: a checkpoint of the old images would be resumed."""
    folder = folder_with_manifest(tmp_path / name, header)
    before = digest(folder)
    (folder / "image.png").write_bytes(b"2")
    assert digest(folder) != before


def test_a_folder_without_one_is_known_by_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "below").mkdir()
    first = digest(tmp_path)
    assert digest(tmp_path) == first
    (tmp_path / "a").write_text("2")
    second = digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    third = digest(tmp_path)
    (tmp_path / "below/c").write_text("3")
    assert len({first, second, third, digest(tmp_path)}) == 4
