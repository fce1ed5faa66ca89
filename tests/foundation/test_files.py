from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from src.foundation.atomic import whole_file, whole_folder, write_json, write_text
from src.foundation.digests import MANIFEST, digest


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


def test_a_folder_is_known_by_its_manifest(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("a,b\n")
    assert digest(tmp_path) == hashlib.md5(b"a,b\n").hexdigest()


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
