from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.foundation.errors import UserError
from src.teaching.detections_file import Detections, Wanted, read_detections
from tests.labels.small_folders import write_image

SIZE_WH = (60, 40)


class Files:
    """A folder of results files, and a dataset of two training images and one of val."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "predictions"
        self.folder.mkdir()
        self.images = [root / "images/train/a.png", root / "images/train/b.png"]
        self.held_out = [root / "images/val/c.png"]
        for path in (*self.images, *self.held_out):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, SIZE_WH)

    def write(self, name: str, content: Any) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    def read(self, classes: dict[str, str] | None = None, min_score: float = 0.1) -> Detections:
        wanted = Wanted(self.images, self.held_out, ["RBC", "WBC"], classes or {}, min_score)
        return read_detections(self.folder, wanted)

    def faults(self, classes: dict[str, str] | None = None) -> list[str]:
        with pytest.raises(UserError) as caught:
            self.read(classes)
        return str(caught.value).splitlines()[1:]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def entry(image: Any = "a.png", category: Any = "RBC", score: Any = 0.5, bbox: Any = (10, 5, 20, 10)) -> dict[str, Any]:
    return {"image_id": image, "category_id": 0, "category": category, "bbox": bbox, "score": score}


@pytest.mark.parametrize(
    "image",
    ["a", "a.png", "train/a.png", "images/train/a.png", "C:\\data\\a.png", "/elsewhere/a.png", 7, "7", 7.0],
)
def test_images_are_found_by_stem_name_path_and_number(files: Files, image: Any) -> None:
    files.write("ids.json", {"images": [{"id": 7, "file_name": "a.png"}], "categories": []})
    files.write("detector.json", [entry(image)])
    found = files.read().found
    assert list(found) == [files.images[0]]
    one = found[files.images[0]]
    np.testing.assert_allclose(one.boxes_xyxy, [[10, 5, 30, 15]])
    assert (one.scores.tolist(), one.classes.tolist(), one.detectors.tolist()) == ([0.5], [0], [0])


@pytest.mark.parametrize(
    ("category_id", "category", "classes"),
    [
        pytest.param(3, None, {}, id="name of the COCO file"),
        pytest.param(9, "wbc", {}, id="the entry's own name, in another case"),
        pytest.param(4, None, {"4": "WBC"}, id="mapped id"),
        pytest.param(9, "leucocyte", {"leucocyte": "WBC"}, id="mapped name"),
    ],
)
def test_classes_are_found_by_name(files: Files, category_id: int, category: str | None, classes: Any) -> None:
    files.write("ids.json", {"images": [], "categories": [{"id": 3, "name": "WBC"}, {"id": 4, "name": "leucocyte"}]})
    files.write("detector.json", [{**entry(), "category_id": category_id, "category": category}])
    assert files.read(classes).found[files.images[0]].classes.tolist() == [1]


def test_ids_have_the_meaning_of_the_coco_file_in_their_own_folder(files: Files) -> None:
    for name, image in (("one", "a.png"), ("two", "b.png")):
        images = [{"id": 1, "file_name": image}]
        files.write(f"{name}/ids.json", {"images": images, "categories": [{"id": 1, "name": "RBC"}]})
        files.write(f"{name}/detector.json", [{**entry(1), "category_id": 1, "category": None}])
    found = files.read().found
    assert [found[image].detectors.tolist() for image in files.images] == [[0], [1]]


def test_what_is_no_fault_is_left_out_and_counted(files: Files) -> None:
    left_out = [
        entry(score=0.09),
        entry(category="Platelets"),
        entry(category="Platelets"),
        entry("elsewhere.png"),
        entry("c.png"),
        entry(bbox=[60, 5, 20, 10]),
    ]
    files.write("detector.json", [*left_out, *[entry(bbox=[-1, 5, 20, 10])] * 4, entry(score=0.1), entry(score=1)])
    detections = files.read()
    assert detections.counts() == {
        "files": 1,
        "clipped": 4,
        "below_min_score": 1,
        "of_other_classes": 2,
        "of_other_images": 1,
        "of_val_or_test": 1,
        "without_size": 1,
    }
    assert detections.unknown_classes == {"Platelets": 2}
    found = detections.found[files.images[0]]
    assert len(found.scores) == 6
    np.testing.assert_allclose(found.boxes_xyxy[0], [0, 5, 19, 15])


def test_faults_are_listed_together_one_line_for_each_kind_in_a_file(files: Files) -> None:
    files.write("broken.json", "[{]")
    files.write("other.json", {"predictions": []})
    files.write("x/ids.json", {"images": [{"id": 1}], "categories": [{"id": 1, "name": "RBC"}, {"id": 1, "name": "b"}]})
    files.write("x/more.json", {"images": []})
    wrong = [
        *[entry(score=score) for score in (95, None, "nan")],
        *[entry(bbox=box) for box in ([1, 2, 3], "1 2 3 4", None)],
        entry(5),
        {**entry(), "category": None},
        [1],
    ]
    files.write("wrong.json", wrong)
    lines = files.faults({"rbc": "erythrocyte"})
    assert len(lines) == 11
    for line in (
        "teaching.files: teaching.classes: 'erythrocyte' is no class of the dataset: write one of RBC, WBC",
        "broken.json: broken JSON (",
        "other.json: expected a list of detections, or a COCO file with `images`, found 'dict'",
        "x/ids.json: images[0]: expected an id and a file_name, found {'id': 1}: repair the entry",
        "x/ids.json: categories[1]: a second name of the id '1': repair the entry",
        "x/more.json: a second COCO file (with `images`) in this folder",
        "wrong.json: 3 detections: score: expected a number in [0, 1]; the first: [0] has 95: export",
        "wrong.json: 3 detections: bbox: expected [x, y, width, height], px; the first: [3] has [1, 2, 3]: export",
        "wrong.json: 1 detection: image_id: nothing tells the image of this number; the first: [6] has '5': put the",
        "wrong.json: 1 detection: category_id: nothing tells its class; the first: [7] has 0: put the COCO file with",
        "wrong.json: 1 detection: expected an object with image_id, category_id, bbox and score; the first: [8] has",
    ):
        assert any(found.strip().startswith(line) for found in lines), line


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        pytest.param([[0.1, 0.2, 0.3, 0.4]] * 3, "they seem to be fractions of the image's sides", id="normalised"),
        pytest.param(
            [[30, 20, 50, 30], [40, 10, 59, 39]], "if the numbers are left, upper, right and lower edge", id="corners"
        ),
        pytest.param([[10, 10, 0, 5], [10, 10, 5, 5]], "50% of the boxes have no size within", id="no size"),
    ],
)
def test_boxes_of_another_convention_are_refused_also_beside_a_good_file(
    files: Files, boxes: list[list[float]], message: str
) -> None:
    files.write("good.json", [entry()] * 60)
    files.write("wrong.json", [entry(bbox=box) for box in boxes])
    [line] = files.faults()
    assert message in line
    assert "wrong.json" in line
    assert "expected left and upper edge, width and height, px" in line


def test_a_few_boxes_within_a_pixel_are_no_fractions(files: Files) -> None:
    files.write("detector.json", [*[entry()] * 60, entry(bbox=[0, 0, 0.5, 0.4])])
    assert len(files.read().found[files.images[0]].scores) == 61


def test_an_image_that_a_name_does_not_tell_is_a_fault_and_more_of_its_path_mends_it(
    files: Files, tmp_path: Path
) -> None:
    """Two images of the user have the same name; the dataset has links to both."""
    for folder, link in (("one", "x.png"), ("two", "x-2.png")):
        original = tmp_path / "mine" / folder / "x.png"
        original.parent.mkdir(parents=True)
        write_image(original, SIZE_WH)
        files.images.append(tmp_path / "images/train" / link)
        files.images[-1].symlink_to(original)
    files.write("detector.json", [entry("x.png"), entry("two/x.png"), entry("x-2")])
    [line] = files.faults()
    assert "1 detection: image_id: fits 2 images of the dataset; the first: [0] has 'x.png': write more of its" in line
    files.write("detector.json", [entry("two/x.png"), entry("x-2")])
    assert list(files.read().found) == [files.images[-1]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param([], "the files are empty", id="empty"),
        pytest.param([entry(score=0.01)], "1 below min score): run the detector on the training images", id="unsure"),
        pytest.param([entry(category="person")], "map their classes ('person') to those of the dataset", id="classes"),
        pytest.param([entry("c.png")], "1 of val or test): run the detector on the training", id="held out"),
    ],
)
def test_files_without_a_detection_of_a_training_image_are_refused(files: Files, content: Any, message: str) -> None:
    files.write("detector.json", content)
    [line] = files.faults()
    assert "no detection is of a training image and a class of the dataset" in line
    assert message in line


def test_a_folder_without_files_is_refused(files: Files) -> None:
    with pytest.raises(UserError) as caught:
        files.read()
    first, second = str(caught.value).splitlines()
    assert first == f"{files.folder}: 1 fault; nothing was written"  # and not "in 1 file"
    assert second == "  teaching.files: contains no results file (.json): put files of detections there"
    files.folder.rmdir()
    assert "teaching.files: is not a folder" in files.faults()[0]
