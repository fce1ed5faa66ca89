"""prepare-labels: check labelled images and write them in the layout for training.

Reads data.root (`data: digits` reads nothing: it composes its images). Writes data/prepared (images, labels, data.yaml,
manifest.csv), reports/prepare_labels/{samples.png, box_sizes.png, near_duplicates.png, mended.csv, notes.csv}, and
counts to reports/prepare_labels.json. If a fault cannot be mended, the stage ends with a list of all faults and writes
nothing.
"""

from __future__ import annotations

from src.workflow.command import command

if __name__ == "__main__":
    command("prepare_labels")

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from src.config.data import CocoFolder, DigitScenes, VocFolder, YoloFolder
from src.config.prepare_labels import PrepareLabels
from src.foundation.atomic import whole_folder
from src.foundation.digests import digest
from src.foundation.pipeline import PREPARED
from src.labels.coco import read_coco
from src.labels.conventions import check_mended_share
from src.labels.dataset import Dataset
from src.labels.digits import compose_scenes
from src.labels.faults import Faults, Mend, Note, counted
from src.labels.layout import write_yolo
from src.labels.leaks import check_leaks
from src.labels.setting_aside import set_labels_aside
from src.labels.splitting import complete_splits
from src.labels.summary import note_classes_without_boxes, summarize
from src.labels.voc import read_voc
from src.labels.yolo import read_yolo
from src.reporting.dataset_pictures import draw_box_sizes, draw_near_duplicates, draw_samples
from src.reporting.escaping import cell
from src.workflow.stage import StageResult
from src.workflow.stage_files import StageFiles
from src.workflow.tracking import Run

_logger = logging.getLogger(__name__)


def run(params: PrepareLabels, files: StageFiles, log: Run) -> StageResult:
    """Write the prepared dataset and its reports, and return the counts."""
    faults = Faults(files.project / params.data.root, largest_mended_share=params.largest_mended_share)
    prepared, report = files.write(PREPARED), files.write("reports/prepare_labels")
    with whole_folder(prepared) as folder, whole_folder(report) as pictures:
        dataset = _dataset(params, folder, faults)
        fractions = {"val_fraction": params.val_fraction, "test_fraction": params.test_fraction}
        dataset = complete_splits(dataset, faults, **fractions, seed=params.seed, group_by=params.group_by)
        note_classes_without_boxes(dataset, faults)
        leaks = check_leaks(dataset, faults, strict=params.strict)
        check_mended_share(faults)
        faults.end_if_fatal(strict=params.strict)
        draw_samples(dataset, pictures / "samples.png")
        draw_box_sizes(dataset, pictures / "box_sizes.png")
        draw_near_duplicates([(leak.image, leak.other) for leak in leaks], pictures / "near_duplicates.png")
        _write_list(faults.mends, pictures / "mended.csv")
        _write_list(faults.notes, pictures / "notes.csv")
        dataset = set_labels_aside(dataset, params.label_fraction, params.seed)
        write_yolo(dataset, folder)
    counts = summarize(dataset)
    _logger.info(
        "%s with %s of %s, %s without boxes; %s mended (%s), %s (%s)",
        counted(len(dataset.images), "image"),
        counted(sum(len(image.classes) for image in dataset.images), "box"),
        counted(len(dataset.class_names), "class"),
        counted(sum(counts["backgrounds"].values()), "image"),
        counted(len(faults.mends), "box"),
        report / "mended.csv",
        counted(len(faults.notes), "note"),
        report / "notes.csv",
    )
    if counts["unlabelled"]:
        _logger.info("the labels of %s were set aside", counted(counts["unlabelled"], "training image"))
    for line in faults.screen_lines():
        _logger.warning("%s", line)
    if leaks:
        _logger.warning("The near duplicates across splits are drawn in %s", report / "near_duplicates.png")
    for path in sorted(report.iterdir()):
        log.artifact(path, folder="prepare_labels")
    log.dataset("prepared", digest(prepared), params.data.root, counts["images"])
    return StageResult({**counts, "mended": faults.mend_counts(), "notes": faults.note_counts()})


def _dataset(params: PrepareLabels, folder: Path, faults: Faults) -> Dataset:
    """Read the user's folder, or compose the embedded dataset's scenes into `folder`."""
    match params.data:
        case DigitScenes():
            return _compose(params.data, params.seed, folder)
        case VocFolder() as data:
            folders = {"annotations": data.annotations, "images": data.images, "split_lists": data.split_lists}
            return read_voc(faults.root, faults, **folders, class_names=data.class_names)
        case CocoFolder() as data:
            return read_coco(faults.root, faults, annotations=data.annotations, images=data.images)
        case YoloFolder() as data:
            return read_yolo(faults.root, faults, data_yaml=data.data_yaml)
    raise AssertionError(f"no reader for {type(params.data)}")


def _compose(data: DigitScenes, seed: int, folder: Path) -> Dataset:
    images = {"train": data.train_images, "val": data.val_images, "test": data.test_images}
    with tqdm(desc="composing scenes", total=sum(images.values()), unit="image", mininterval=1) as progress:

        def on_scene() -> None:
            progress.update()

        return compose_scenes(
            folder,
            images_per_split=images,
            size_px=data.size_px,
            digits_per_scene=(data.fewest_digits, data.most_digits),
            digit_size=(data.smallest, data.largest),
            rotation_deg=data.rotation_deg,
            seed=seed,
            on_scene=on_scene,
        )


def _write_list(found: Sequence[Mend | Note], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["file", "what"])
        writer.writerows((cell(entry.file), cell(entry.what)) for entry in sorted(found, key=lambda entry: entry.file))
