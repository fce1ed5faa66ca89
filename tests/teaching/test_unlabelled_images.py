from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from src.foundation.errors import UserError
from src.teaching.unlabelled_images import unlabelled_images, view_of_unlabelled
from tests.labels.small_folders import write_image


@pytest.fixture
def prepared_folder(tmp_path: Path) -> Path:
    root = tmp_path / "prepared"
    for split in ("train", "val", "test"):
        (root / "images" / split).mkdir(parents=True)
    write_image(root / "images/test/held_out.png", (40, 30))
    write_image(root / "images/val/held_out.jpg", (40, 30))
    return root


def test_images_are_found_below_and_other_files_passed_over(tmp_path: Path, prepared_folder: Path) -> None:
    folder = tmp_path / "unlabelled"
    (folder / "below").mkdir(parents=True)
    (folder / "README.md").write_text("read me")
    write_image(folder / "below/a.png", (50, 40))
    write_image(folder / "a.jpg", (60, 40))
    found = unlabelled_images(folder, prepared_folder)
    assert [path.relative_to(folder).as_posix() for path in found] == ["a.jpg", "below/a.png"]
    with view_of_unlabelled(found) as view:
        assert sorted(path.name for path in view.iterdir()) == ["000000.jpg", "000001.png"]
        assert all(path.read_bytes() for path in view.iterdir())


def test_faults_are_listed_together(tmp_path: Path, prepared_folder: Path) -> None:
    folder = tmp_path / "unlabelled"
    folder.mkdir()
    (folder / "broken.png").write_text("no image")
    (folder / "elsewhere.jpg").symlink_to(prepared_folder / "images/val/held_out.jpg")
    (folder / "copy.png").write_bytes((prepared_folder / "images/test/held_out.png").read_bytes())
    # As a phone writes it, and as another program has saved it.
    trailer = (prepared_folder / "images/val/held_out.jpg").read_bytes() + b"SEFT trailer"
    (folder / "trailer.jpg").write_bytes(trailer)
    Image.open(folder / "copy.png").save(folder / "copy.bmp")
    with pytest.raises(UserError) as caught:
        unlabelled_images(folder, prepared_folder)
    assert "copy.bmp: an image of test" in str(caught.value)
    assert "trailer.jpg: an image of val" in str(caught.value)
    assert "elsewhere.jpg: a link that leads outside of teaching.folder" in str(caught.value)
    assert "broken.png: not a readable image" in str(caught.value)
    assert "copy.png: an image of test, which must not be used for training: remove it" in str(caught.value)


def test_images_whose_labels_were_set_aside_need_no_folder(tmp_path: Path, prepared_folder: Path) -> None:
    aside = prepared_folder / "images/unlabelled"
    aside.mkdir()
    write_image(aside / "a.png", (40, 40))
    assert unlabelled_images(tmp_path / "nowhere", prepared_folder) == [aside / "a.png"]
    folder = tmp_path / "more"
    folder.mkdir()
    write_image(folder / "b.png", (40, 40))
    assert unlabelled_images(folder, prepared_folder) == [aside / "a.png", folder / "b.png"]


def test_a_folder_without_images_is_told(tmp_path: Path, prepared_folder: Path) -> None:
    with pytest.raises(UserError, match="must contain images, found none in"):
        unlabelled_images(tmp_path / "nowhere", prepared_folder)
