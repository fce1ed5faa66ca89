"""The local store of a project that was moved or copied.

MLflow keeps absolute paths of artifacts. A copy of a project would write its artifacts into the original, and a moved
project into a folder that is no longer its own.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of the store that hold the URI of an artifact or of a folder of artifacts."""

_logger = logging.getLogger(__name__)


def follow_the_project(database: Path, artifacts: Path, tag: str) -> None:
    """Replace the folder of artifacts in a store by the project's own, if it is another one. A line names both.

    Args:
        database: the SQLite file, with the tables of MLflow.
        artifacts: the project's folder of artifacts.
        tag: of the experiments that this project made. Others stay.

    Raises:
        sqlite3.Error: another process holds the file, or it is damaged.
    """
    own = artifacts.as_uri()
    with closing(sqlite3.connect(database)) as connection, connection:
        found = connection.execute(
            "SELECT DISTINCT artifact_location FROM experiments JOIN experiment_tags USING (experiment_id) "
            "WHERE key = ? AND artifact_location LIKE ? AND artifact_location != ?",
            (tag, f"file://%/{artifacts.name}", own),
        ).fetchall()
        for (other,) in found:
            for table, column in PLACES:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (own, len(other) + 1, other, len(other) + 1, f"{other}/"),
                )
            _logger.warning("the project was moved or copied: its MLflow artifacts are in %s, no longer %s", own, other)
