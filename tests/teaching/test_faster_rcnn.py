"""A detector of another kind as teacher: torchvision's Faster R-CNN, trained here on coloured rectangles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign, box_iou

from src.detector import torchvision_operators
from src.detector.checkpoint import load_detector
from src.foundation.prepared import images_of
from src.labels.decoding import read_rgb
from tests.rectangles import COLOURS, IMGSZ, rectangles
from tests.test_distill import distilled

pytestmark = pytest.mark.slow

EPOCHS, BATCH = 30, 8


@pytest.fixture
def operators(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let torchvision run without its compiled operators: this project's suppression, torchvision's own RoI align."""
    roi_align = import_module("torchvision.ops.roi_align")  # its package has a function of this name
    if roi_align._has_ops():
        yield
        return
    torchvision_operators.admit_own_operators()
    monkeypatch.setattr(roi_align, "_has_ops", lambda: False)
    with torch.compiler.set_stance("force_eager"):  # it would be compiled, which takes a compiler and a minute
        yield


def pixels(image: Path) -> Tensor:
    return torch.from_numpy(read_rgb(image)).permute(2, 0, 1) / 255


def labels(image: Path) -> dict[str, Tensor]:
    """Return the boxes of a training image, px, and their classes; 0 is torchvision's background."""
    rows = np.loadtxt(image.parents[2] / f"labels/train/{image.stem}.txt", ndmin=2)
    centres, sides = torch.from_numpy(rows[:, 1:3] * IMGSZ).float(), torch.from_numpy(rows[:, 3:] * IMGSZ).float()
    boxes = torch.cat([centres - sides / 2, centres + sides / 2], dim=1)
    return {"boxes": boxes, "labels": torch.from_numpy(rows[:, 0]).long() + 1}


def faster_rcnn(images: list[Path]) -> FasterRCNN:
    """Return a small Faster R-CNN that was trained on these images."""
    torch.manual_seed(0)
    channels = [3, 16, 32, 64]
    layers: list[nn.Module] = []
    for narrow, wide in pairwise(channels):
        layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.BatchNorm2d(wide), nn.ReLU()]
    backbone: Any = nn.Sequential(*layers)
    backbone.out_channels = channels[-1]
    anchors = AnchorGenerator(sizes=((20,),), aspect_ratios=((0.7, 1.0, 1.4),))
    network = FasterRCNN(
        backbone,
        num_classes=len(COLOURS) + 1,
        min_size=IMGSZ,
        max_size=IMGSZ,
        rpn_anchor_generator=anchors,
        box_roi_pool=MultiScaleRoIAlign(["0"], output_size=4, sampling_ratio=1),
        rpn_post_nms_top_n_train=60,
        rpn_post_nms_top_n_test=30,
        box_batch_size_per_image=32,
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    network.train()
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images)).split(BATCH):
            batch = [images[int(index)] for index in chosen]
            losses = network([pixels(image) for image in batch], [labels(image) for image in batch])
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
    return network.eval()


def coco_results(network: FasterRCNN, images: list[Path], folder: Path) -> None:
    """Write what a network finds, as pycocotools expects it, and the COCO file of the ids."""
    folder.mkdir(parents=True)
    results = []
    with torch.no_grad():
        for number, image in enumerate(images):
            [found] = network([pixels(image)])
            sides = found["boxes"][:, 2:] - found["boxes"][:, :2]
            written = torch.cat([found["boxes"][:, :2], sides], dim=1).tolist()
            rows = zip(found["labels"].tolist(), written, found["scores"].tolist(), strict=True)
            results += [
                {"image_id": number, "category_id": label, "bbox": box, "score": score} for label, box, score in rows
            ]
    (folder / "results.json").write_text(json.dumps(results))
    ids = {
        "images": [{"id": number, "file_name": image.name} for number, image in enumerate(images)],
        "categories": [{"id": index, "name": name} for index, name in enumerate(COLOURS, start=1)],
    }
    (folder / "instances.json").write_text(json.dumps(ids))


@pytest.mark.usefixtures("operators")
def test_a_faster_rcnn_teaches_a_student(tmp_path: Path) -> None:
    prepared = rectangles(tmp_path / "data/prepared").parent
    images = images_of(prepared, "train")
    network = faster_rcnn(images)
    coco_results(network, images, tmp_path / "data/predictions")
    with torch.no_grad():
        hits = [
            bool(
                (
                    (box_iou(truth["boxes"], found["boxes"]) > 0.5)
                    & (truth["labels"][:, None] == found["labels"])
                    & (found["scores"] > 0.5)
                )
                .any(dim=1)
                .all()
            )
            for image in images
            for truth, [found] in [(labels(image), network([pixels(image)]))]
        ]
    assert np.mean(hits) > 0.8, "the teacher has learned its task"
    metrics, log, files = distilled(tmp_path, "teaching=predictions", "alpha=1", "epochs=2")
    recorded = log.measured[0]["predictions"]
    assert recorded["labelled_images"] > 0.9 * len(images)
    assert recorded["of_other_classes"] == recorded["of_other_images"] == recorded["without_size"] == 0
    assert metrics["epochs"] == 2
    assert set(files.inputs) == {"data/prepared", "data/predictions"}
    assert list(load_detector(tmp_path / "out/models/student.pt").names.values()) == list(COLOURS)
