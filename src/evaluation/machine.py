"""The machine on which latencies were measured. Latencies of different machines cannot be compared."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import cpuinfo

from src.foundation.processors import usable_processors

TELLING_FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm")
"""CPU flags on which speed depends: vectors, multiply-add of four bytes at once, arithmetic in bfloat16."""


def describe_machine() -> dict[str, Any]:
    """Return the CPU, its flags in `TELLING_FLAGS`, the cores for this process, and the versions of the runtimes."""
    facts = cpuinfo.get_cpu_info()
    flags = facts.get("flags", [])
    return {
        "cpu": facts.get("brand_raw") or platform.processor() or platform.machine(),
        "flags": [flag for flag in TELLING_FLAGS if flag in flags],
        "cores": usable_processors(),
        "versions": _versions("torch", "onnxruntime", "openvino", "ultralytics"),
    }


def _versions(*packages: str) -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
