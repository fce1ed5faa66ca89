"""Files of commits, read with git."""

from __future__ import annotations

import subprocess
from pathlib import Path

from src.foundation.errors import UserError


def commit_of(project: Path, revision: str) -> str:
    """Return the id of the commit that a revision names.

    Raises:
        UserError: it names none, or `project` is no git repository.
    """
    done = _git(project, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise UserError(
            f"cannot compare with {revision}: {reason[0] if reason else 'git knows no such commit'}: name a branch, "
            "tag or commit of this repository"
        )
    return done.stdout.decode("ascii").strip()


def last_commit_of(project: Path, path: str) -> str | None:
    """Return the id of the last commit that changed a file; None if there is none."""
    return _git(project, "log", "-1", "--format=%H", "--", path).stdout.decode("ascii").strip() or None


def content(project: Path, commit: str, path: str) -> bytes | None:
    """Return the content of a file in a commit; None if it has no such file."""
    done = _git(project, "show", f"{commit}:./{path}")
    return done.stdout if done.returncode == 0 else None


def files_in(project: Path, commit: str, folder: str) -> list[str]:
    """Return the files directly in a folder of a commit."""
    return _names(_git(project, "ls-tree", "-z", "--name-only", commit, f"{folder}/").stdout)


def changed_files(project: Path, commit: str, path: str) -> list[str]:
    """Return the files at or below `path` that differ between a commit and the working tree, new ones among them."""
    differing = _git(project, "diff", "-z", "--name-only", "--no-renames", "--relative", commit, "--", path)
    untracked = _git(project, "ls-files", "-z", "--others", "--exclude-standard", "--", path)
    return sorted({*_names(differing.stdout), *_names(untracked.stdout)})


def _names(listed: bytes) -> list[str]:
    """Return names that git ends with a zero byte. Bytes that are no UTF-8 stay as surrogates, as in Python's paths."""
    return [name for name in listed.decode("utf-8", "surrogateescape").split("\0") if name]


def _git(project: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    # DVC may hold the lock of git's index.
    command = ["git", "--no-optional-locks", *arguments]
    try:
        return subprocess.run(command, cwd=project, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise UserError("git is not installed: install it, and compare in a git repository") from error
