"""The prepared dataset as ultralytics wants to see it, without ultralytics' writing into it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from ultralytics.nn.tasks import DetectionModel

from src.foundation.errors import UserError
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


def expect_classes(network: DetectionModel, names: Sequence[str], *, who: str, advice: str) -> None:
    """Check that a network knows the classes of the dataset, in the same order.

    Args:
        network: a detector.
        names: of the dataset's classes, by index.
        who: what the network is called.
        advice: what to do if it knows other ones.

    Raises:
        UserError: it does.
    """
    known = [network.names[index] for index in sorted(network.names)]
    if known != list(names):
        raise UserError(f"{who} knows the classes {', '.join(known)}; the dataset has {', '.join(names)}: {advice}")
