"""Settings of export_litert."""

from __future__ import annotations

from dataclasses import dataclass

from src.config.common import Common


@dataclass(kw_only=True)
class ExportLitert(Common):
    """Only the common ones: it takes the images that calibrate chose."""
