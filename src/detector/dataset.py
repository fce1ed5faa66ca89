"""The prepared dataset as ultralytics wants to see it, without ultralytics' writing into it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from src.labels.dataset import SPLITS


@contextmanager
def view_of(prepared: Path) -> Iterator[Path]:
    """Yield the data.yaml of a temporary view of the prepared dataset: folders of our own, links to its files.

    ultralytics writes a `labels.cache` beside the labels. In `prepared` it would change an output that DVC tracks, and
    it would be trusted again later although it notices changed labels only by their total size.
    """
    description = yaml.safe_load((prepared / "data.yaml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="dataset-") as folder:
        view = Path(folder).resolve()
        for split in SPLITS:
            images = view / "images" / split
            images.mkdir(parents=True)
            for image in (prepared / "images" / split).iterdir():
                (images / image.name).symlink_to(image.absolute())
        (view / "labels").mkdir()
        for split in SPLITS:
            (view / "labels" / split).symlink_to((prepared / "labels" / split).absolute())
        splits = {split: f"images/{split}" for split in SPLITS}
        data_yaml = view / "data.yaml"
        data_yaml.write_text(yaml.safe_dump({"path": str(view), **splits, "names": description["names"]}))
        yield data_yaml


def class_names(prepared: Path) -> list[str]:
    """Return the names of the prepared dataset's classes, by index."""
    names = yaml.safe_load((prepared / "data.yaml").read_text(encoding="utf-8"))["names"]
    return [names[index] for index in sorted(names)] if isinstance(names, dict) else list(names)
