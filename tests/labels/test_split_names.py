"""Which names mean a split: one table for lists, files, folders and keys."""

from __future__ import annotations

import pytest

from src.labels.split_names import is_trainval, resembles_split, split_in, split_named

TRAIN = ("train", "Train", "TRAIN", "training", "train2017", "train_images", "obj_train_data", "TrainSet", "img-train")
VAL = ("val", "valid", "Valid", "VALIDATION", "validation", "dev", "Dev", "val2017", "obj_valid_data", "valid_labels")
TEST = ("test", "Test", "testing", "TESTING", "test2017", "TestImages", "test_set")
NAMED = {"train": TRAIN, "val": VAL, "test": TEST}


@pytest.mark.parametrize(("split", "name"), [(split, name) for split, names in NAMED.items() for name in names])
def test_every_form_of_a_name(split: str, name: str) -> None:
    assert split_named(name) == split
    assert split_in(name) == split


@pytest.mark.parametrize("name", ["images", "train_station", "value", "trainval", "train_val", "latest", "holdout", ""])
def test_other_names_mean_no_split(name: str) -> None:
    assert split_named(name) is None


def test_a_file_name_may_have_other_words() -> None:
    assert split_in("instances_Validation") == "val"
    assert split_in("cells.v2-train") == "train"
    assert split_in("train_test") is None


@pytest.mark.parametrize(("name", "meant"), [("trainval", True), ("TrainVal2012", True), ("val_train", False)])
def test_trainval(name: str, meant: bool) -> None:
    assert is_trainval(name) == meant


@pytest.mark.parametrize(("name", "looks"), [("holdout", True), ("minival", True), ("fold_1", True), ("extra", False)])
def test_what_looks_like_a_split(name: str, looks: bool) -> None:
    assert resembles_split(name) == looks
