"""Draws a metric over a param, for all experiments of DVC, such as the accuracy over the share of labels.

    dvc exp run --queue -S 'prepare_labels.label_fraction=0.1,0.25,0.5,1.0' && dvc exp run --run-all
    python -m src.curve prepare_labels.label_fraction
    python -m src.curve prune.ratio --metric speedup.int8_vs_teacher --by choices.student

Each experiment of the current commit, and the commit itself, is a dot; the line joins the means. Writes curve.png and
curve.csv to outputs/curve.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from src import PROJECT
from src.foundation.atomic import write_text
from src.foundation.errors import UserError
from src.reporting.curves import Point, draw_curves

METRIC = "onnx_int8.map50_95"
"""The accuracy of the INT8 network on test."""

WORKSPACE = "workspace"
FOLDER = "outputs/curve"


def points_of(rows: Sequence[Mapping[str, Any]], param: str, metric: str, by: str | None) -> list[Point]:
    """Return a point for each experiment that has both numbers.

    Args:
        rows: of `dvc.api.exp_show`: params and metrics by name.
        param: dotted, such as `prune.ratio`.
        metric: dotted, as in a report; if several reports have it, behind the report's path and a colon.
        by: a param whose values get a line each; None: one line.

    Raises:
        UserError: a name is in no row, or no experiment has numbers for both.
    """
    # The working tree repeats its commit, or has changes that no experiment has.
    recorded = [row for row in rows if row["rev"] != WORKSPACE]
    for name in (param, metric, by):
        if name and not any(name in row for row in recorded):
            raise UserError(f"{name}: no experiment has it: the names are the columns of `dvc exp show --csv`")
    points = [
        Point(float(row[param]), float(row[metric]), "" if by is None else str(row.get(by)))
        for row in recorded
        if _is_number(row.get(param)) and _is_number(row.get(metric))
    ]
    if not points:
        raise UserError(f"no experiment has a number for both {param} and {metric}: run some with `dvc exp run`")
    return sorted(points)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def table(points: Sequence[Point], param: str, metric: str, by: str | None) -> str:
    """Return the points as CSV."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*([by] if by else []), param, metric])
    writer.writerows([*([point.line] if by else []), point.x, point.y] for point in points)
    return text.getvalue()


def _experiments() -> list[dict[str, Any]]:
    import dvc.api  # here: it takes longer to import than --help to answer
    from dvc.exceptions import DvcException

    try:
        rows: list[dict[str, Any]] = dvc.api.exp_show(str(PROJECT))
    except DvcException as error:
        raise UserError(f"DVC cannot list the experiments: {error}") from error
    return rows


def main() -> None:
    """Read the command line, draw and write."""
    parser = argparse.ArgumentParser(
        prog="python -m src.curve", description="Draw a metric over a param, for all experiments of DVC."
    )
    parser.add_argument("param", help="such as prepare_labels.label_fraction")
    parser.add_argument("--metric", default=METRIC, help=f"({METRIC}: on test)")
    parser.add_argument("--by", metavar="PARAM", help="a line for each value of this param, such as choices.teaching")
    arguments = parser.parse_args()
    try:
        points = points_of(_experiments(), arguments.param, arguments.metric, arguments.by)
    except UserError as error:
        sys.exit(f"error: {error}")
    folder = PROJECT / FOLDER
    write_text(folder / "curve.csv", table(points, arguments.param, arguments.metric, arguments.by))
    draw_curves(points, arguments.param, arguments.metric, arguments.by, folder / "curve.png")
    print(f"{len(points)} experiments: {Path(FOLDER) / 'curve.png'} and curve.csv")


if __name__ == "__main__":
    main()
