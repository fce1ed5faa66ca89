"""The look of all plots, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.figure import Figure

from src.foundation.atomic import whole_file
from src.foundation.errors import printable

CONTROL = "0.55"
"""The grey of what is shown only for comparison."""

STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "font.size": 9,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "savefig.dpi": 100,
}


LONGEST_LABEL = 40


def label(name: str) -> str:
    r"""Return a name as a label: in one line, shortened, without the formulas that matplotlib finds between dollars.

    >>> label("$x$")
    '\\$x\\$'
    """
    shown = printable(name)
    if len(shown) > LONGEST_LABEL:
        shown = f"{shown[: LONGEST_LABEL - 3]}..."
    return shown.replace("$", r"\$")


@contextmanager
def plot(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure in the common style, then write it to `path` as PNG, whole or not at all.

    The user's matplotlibrc has no effect, and the file does not name matplotlib's version: the same drawing has the
    same bytes.

    Args:
        path: a PNG file.
        width, height: in inches.
    """
    with style.context(["default", "tableau-colorblind10", STYLE]):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with whole_file(path) as partial:
            figure.savefig(partial, metadata={"Software": None})
