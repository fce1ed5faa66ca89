"""The prepared dataset in ultralytics' format, where ultralytics can write without changing the dataset itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from ultralytics.nn.tasks import DetectionModel

from src.foundation.errors import OutdatedError
from src.foundation.prepared import SPLITS


@contextmanager
def view_of(prepared: Path) -> Iterator[Path]:
    """Yield the data.yaml of a temporary view of the prepared dataset: new folders with links to its files.

    ultralytics writes a `labels.cache` beside the labels. In `prepared` this file would change another stage's output.
    A later run would also trust it, although changed labels are detected only by their total size.
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


def expect_classes(network: DetectionModel, names: Sequence[str], path: Path) -> None:
    """Check that a network has the classes of the dataset, in the same order.

    Args:
        network: a detector.
        names: the names of the dataset's classes, by index.
        path: the file that the network was read from.

    Raises:
        OutdatedError: it has other classes.
    """
    known = [network.names[index] for index in sorted(network.names)]
    if known != list(names):
        raise OutdatedError(path, f"has the classes {', '.join(known)}; the dataset has {', '.join(names)}")
