from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from src import files


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder/a.json"
    files.write_text(target, "old")
    with pytest.raises(KeyboardInterrupt), files.whole_file(target) as partial:
        partial.write_text("ne")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with files.whole_folder(target) as partial:
        (partial / "old").touch()
    with pytest.raises(ZeroDivisionError), files.whole_folder(target) as partial:
        (partial / "new").touch()
        raise ZeroDivisionError
    assert [path.name for path in target.iterdir()] == ["old"]
    with files.whole_folder(target) as partial:
        (partial / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_json_has_no_not_a_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"map": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_a_folder_is_known_by_its_manifest(tmp_path: Path) -> None:
    (tmp_path / files.MANIFEST).write_text("a,b\n")
    assert files.digest(tmp_path) == hashlib.md5(b"a,b\n").hexdigest()


def test_a_folder_without_one_is_known_by_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "below").mkdir()
    first = files.digest(tmp_path)
    assert files.digest(tmp_path) == first
    (tmp_path / "a").write_text("2")
    second = files.digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    third = files.digest(tmp_path)
    (tmp_path / "below/c").write_text("3")
    assert len({first, second, third, files.digest(tmp_path)}) == 4
