from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from src import PROJECT
from src.foundation import atomic
from src.foundation.atomic import remove_abandoned, whole_file, whole_folder, write_json, write_text
from src.foundation.digests import MANIFEST, MANIFEST_COLUMNS, digest
from src.foundation.processes import HOST


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


KILLED = """
import os, signal, sys
from pathlib import Path
from src.foundation.atomic import whole_file, whole_folder
root = Path(sys.argv[1])
with whole_file(root / "a.json") as file, whole_folder(root / "b") as folder:
    file.touch()
    (folder / "c").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_it_writes(folder: Path) -> list[Path]:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(folder)], cwd=PROJECT, check=False)
    assert ended.returncode == -signal.SIGKILL
    return sorted(folder.iterdir())


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    assert len(killed_while_it_writes(tmp_path)) == 2
    (tmp_path / ".hidden.partial").touch()
    with whole_file(tmp_path / "d.json") as mine:
        mine.touch()
        remove_abandoned(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".hidden.partial", mine.name])


def test_what_a_process_of_the_same_number_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / f".a.{HOST}-{os.getpid()}.partial.pt"
    path.touch()
    os.utime(path, (psutil.Process().create_time() - 60,) * 2)
    remove_abandoned(tmp_path)
    assert not path.exists()


@pytest.mark.parametrize(("age_s", "is_left"), [(60, True), (2 * atomic.FORGOTTEN_AFTER_S, False)])
def test_what_another_machine_writes_is_left_for_a_day(tmp_path: Path, age_s: int, is_left: bool) -> None:
    path = tmp_path / ".a.elsewhere-4194999.partial.pt"
    path.touch()
    os.utime(path, (time.time() - age_s,) * 2)
    remove_abandoned(tmp_path)
    assert path.exists() == is_left


def test_git_and_dvc_do_not_take_what_is_not_whole(tmp_path: Path) -> None:
    from dvc.ignore import DvcIgnoreFilter
    from dvc_objects.fs import LocalFileSystem

    for name in (".gitignore", ".dvcignore"):
        (tmp_path / name).write_text((PROJECT / name).read_text())
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    partial = [path.name for path in killed_while_it_writes(tmp_path) if ".partial" in path.name]
    assert len(partial) == 2
    status = subprocess.run(
        ["git", "status", "--short", "-uall"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert status.stdout.split() == ["??", ".dvcignore", "??", ".gitignore"]
    ignored = DvcIgnoreFilter(LocalFileSystem(), str(tmp_path))
    for name in partial:
        assert ignored.is_ignored_file(str(tmp_path / name)) or ignored.is_ignored_dir(str(tmp_path / name)), name


def test_compiled_code_makes_no_stage_run_again(tmp_path: Path) -> None:
    from dvc.ignore import DvcIgnoreFilter
    from dvc_objects.fs import LocalFileSystem

    (tmp_path / ".dvcignore").write_text((PROJECT / ".dvcignore").read_text())
    compiled = tmp_path / "src/labels/__pycache__"
    compiled.mkdir(parents=True)
    assert DvcIgnoreFilter(LocalFileSystem(), str(tmp_path)).is_ignored_dir(str(compiled))


def test_the_content_is_on_the_disk_before_its_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    names = {}

    def opened(path: Path, flags: int, *rest: int, real: object = os.open) -> int:
        descriptor = int(real(path, flags, *rest))  # type: ignore[operator]  # os.open
        names[descriptor] = Path(path).name.split(".")[1] if Path(path).name.startswith(".") else Path(path).name
        return descriptor

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append(f"sync {names[descriptor]}"))
    monkeypatch.setattr(
        os, "replace", lambda old, new, real=os.replace: (real(old, new), events.append(f"name {Path(new).name}"))
    )
    with whole_file(tmp_path / "a.json") as file:
        file.touch()
    assert events == ["sync a", "name a.json", f"sync {tmp_path.name}"]
    events.clear()
    with whole_folder(tmp_path / "b") as folder:
        (folder / "below").mkdir()
        (folder / "below/c").touch()
    assert events == ["sync c", "sync below", "sync b", "name b", f"sync {tmp_path.name}"]


def test_an_interrupt_between_the_renamings_keeps_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "folder"
    with whole_folder(target) as partial:
        (partial / "old").touch()

    def interrupted(old: Path, new: Path, real: object = os.replace) -> None:
        if Path(new) == target and Path(old).suffix == ".partial":
            raise KeyboardInterrupt
        real(old, new)  # type: ignore[operator]  # os.replace

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), whole_folder(target) as partial:
        (partial / "new").touch()
    assert [path.name for path in target.iterdir()] == ["old"]
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
