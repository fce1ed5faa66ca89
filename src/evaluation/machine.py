"""The machine on which latencies were measured. Latencies of different machines cannot be compared."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import cpuinfo

TELLING_FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
"""CPU flags on which the speed of integer kernels depends: vectors, and multiply-add of four bytes at once."""


def describe_machine() -> dict[str, Any]:
    """Return the CPU, its flags in `TELLING_FLAGS`, the cores for this process, and the versions of the runtimes."""
    facts = cpuinfo.get_cpu_info()
    flags = facts.get("flags", [])
    return {
        "cpu": facts.get("brand_raw") or platform.processor() or platform.machine(),
        "flags": [flag for flag in TELLING_FLAGS if flag in flags],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "versions": _versions("torch", "onnxruntime", "openvino", "ultralytics"),
    }


def _versions(*packages: str) -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
