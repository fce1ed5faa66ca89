"""A target: a device or runtime that a detector is delivered to. Each is a file in src/targets."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from src import PROJECT
from src.delivery.opened import Opened
from src.quantization.calibrated_network import CalibratedNetwork
from src.quantization.setting import Setting

VNNI = frozenset({"avx_vnni", "avx512_vnni"})
"""Flags of x86 processors that add four products of bytes in 32 bits."""


@dataclass(frozen=True)
class Source:
    """What files are made from.

    Attributes:
        weights: the pruned student, .pt.
        network: the same as ONNX, with the ranges of its activations.
        setting: how it is quantized, but for what a target demands.
        sensitivity_images: number of images on which layers are found that stay in float, if the setting has such.
    """

    weights: Path
    network: CalibratedNetwork
    setting: Setting
    sensitivity_images: int


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own, for packages that clash with the project's.

    Attributes:
        folder: in the project.
        command: what makes it.
    """

    folder: str
    command: str

    @property
    def python(self) -> str:
        """Its interpreter, from the project."""
        return f"{self.folder}/bin/python"


@dataclass(frozen=True)
class Target:
    """A target.

    Attributes:
        file: the name of the file for it.
        runtime: what runs the file here.
        suits: what the file is for.
        reading: how its outputs are read.
        write: converts into a file. It raises a UserError if it cannot.
        open: reads the file back, to be run with a number of threads. It raises a UserError if it cannot.
        foreign: returns why the file's time on a processor with these flags is not the time on its device; None if it
            is.
        extra: the extra of pyproject.toml that it needs; None: none.
        packages: the modules of that extra.
        beside: the names of further files without which `file` is nothing.
        environment: the environment of its own that it needs; None: none.
    """

    file: str
    runtime: str
    suits: str
    reading: str
    write: Callable[[Source, Path], None]
    open: Callable[[Path, int], Opened]
    foreign: Callable[[Sequence[str]], str | None]
    extra: str | None = None
    packages: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    environment: Environment | None = None

    def lacking(self) -> str | None:
        """Return what it needs and is not installed, with the command that installs it; None: nothing."""
        if self.environment and not (PROJECT / self.environment.python).exists():
            return f"{self.environment.folder}: {self.environment.command}"
        missing = [module for module in self.packages if importlib.util.find_spec(module) is None]
        install = f"pip install -c constraints.txt -e '.[{self.extra}]'"
        return f"{', '.join(missing)}: {install}" if missing else None


def foreign_to_vnni(flags: Sequence[str]) -> str | None:
    """Return why a time measured on a processor with these flags is not that of one without VNNI."""
    return "this processor has VNNI and runs other kernels" if VNNI & set(flags) else None
