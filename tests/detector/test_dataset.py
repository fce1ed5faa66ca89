from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from src.detector.dataset import view_of
from src.foundation.prepared import SPLITS


@pytest.mark.parametrize("split", SPLITS)
def test_a_view_has_the_images_and_labels_of_each_split(prepared: Path, split: str) -> None:
    with view_of(prepared) as data_yaml:
        description = yaml.safe_load(data_yaml.read_text(encoding="utf-8"))
        images = Path(description["path"]) / description[split]
        labels = Path(str(images).replace("/images/", "/labels/"))  # where ultralytics looks for them
        for shown, source in ((images, prepared / "images" / split), (labels, prepared / "labels" / split)):
            assert {path.resolve() for path in shown.iterdir()} == {path.resolve() for path in source.iterdir()}
