"""Which code made this? The modules that a stage imports, directly or not, without those that only record, draw
or refuse.

This is the one answer for the dependencies in dvc.yaml, the name of a checkpoint, the key of the teacher's cache, the
tag `git.dirty` in MLflow, and the benchmarks.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from src import PROJECT

RECORDING = (PROJECT / "src/workflow", PROJECT / "src/reporting", PROJECT / "src/trainings/later_stages.py")
"""Code that records, draws, words or refuses. Nothing that is computed depends on it."""


def modules_of(name: str) -> list[Path]:
    """Return the files of this project that make what a module computes: itself and all that it imports, sorted.

    Imports within functions count; imports for type checking alone do not, nor do files that hold a docstring alone. A
    package whose `__init__` calls `import_module` finds its modules by name, so all of them count.

    Args:
        name: of a module, such as `src.distill` or `benchmarks.steps`.
    """
    found: set[Path] = set()
    waiting = list(_files(name))
    while waiting:
        path = waiting.pop()
        if path in found or any(path.is_relative_to(other) for other in RECORDING):
            continue
        found.add(path)
        module = _module(path)
        waiting += [file for imported in module.imports for file in _files(imported)]
        if path.name == "__init__.py" and module.finds_modules_by_name:
            waiting += path.parent.glob("*.py")
    return sorted(path for path in found if not _module(path).is_empty)


@cache
def code_digest(*names: str) -> str:
    """Return a digest of the code of modules. Comments, docstrings and formatting do not change it."""
    whole = hashlib.sha256()
    for path in sorted({path for name in names for path in modules_of(name)}):
        whole.update(f"{path.relative_to(PROJECT).as_posix()}\n{_module(path).code}\n".encode())
    return whole.hexdigest()


def without_comments(code: str) -> str:
    """Return Python code without comments, docstrings and formatting of its own.

    Raises:
        SyntaxError: it is no Python code.
    """
    return ast.unparse(_without_docstrings(ast.parse(code)))


def dependencies_of(name: str) -> list[str]:
    """Return the modules of a stage as dvc.yaml names them: a folder where the stage uses all of its modules.

    Folders that record or draw are no part of it.
    """
    used = set(modules_of(name))
    found: list[Path] = []
    waiting = [PROJECT / "src"]
    while waiting:
        folder = waiting.pop()
        if folder != PROJECT / "src" and {path for path in folder.rglob("*.py") if not _module(path).is_empty} <= used:
            found.append(folder)
            continue
        found += [path for path in folder.glob("*.py") if path in used]
        waiting += [path for path in folder.iterdir() if path.is_dir() and used & set(path.rglob("*.py"))]
    return sorted(path.relative_to(PROJECT).as_posix() for path in found)


def _files(name: str) -> Iterator[Path]:
    """Yield the files that importing a module of this project reads: packages' `__init__` and the module itself."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        base = PROJECT.joinpath(*parts[:length])
        yield from (file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file())


@dataclass(frozen=True)
class _Module:
    """What is asked of a file of code; `code` is without comments, docstrings and formatting of its own."""

    imports: tuple[str, ...]
    finds_modules_by_name: bool
    code: str

    @property
    def is_empty(self) -> bool:
        """Whether the file holds a docstring alone."""
        return not self.code


@cache  # stages share most of what they import
def _module(path: Path) -> _Module:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    return _Module(tuple(_imports(tree)), _finds_modules_by_name(tree), without_comments(text))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                continue
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str(module)):
                yield from (f"{module}.{alias.name}" for alias in node.names)
            case _:
                yield from _imports(node)


def _finds_modules_by_name(tree: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") for node in ast.walk(tree)
    )


def _without_docstrings(tree: ast.Module) -> ast.Module:
    """Remove every text that stands alone: docstrings of modules, classes, functions and attributes."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                kept = [line for line in block if not _is_text(line)]
                empty = [] if isinstance(node, ast.Module) or not block else [ast.Pass()]
                setattr(node, name, kept or empty)
    return tree


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


if __name__ == "__main__":
    print("\n".join(dependencies_of(f"src.{sys.argv[1]}")))
