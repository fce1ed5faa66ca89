"""Where the project lies."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
"""The root of the checkout whose code runs: also the temporary copy that DVC makes of it for a queued experiment."""
