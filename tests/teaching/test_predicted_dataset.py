from __future__ import annotations

import numpy as np
import pytest

from src.foundation.errors import UserError
from src.teaching import predicted_dataset
from src.teaching.box_fusion import Found
from src.teaching.predicted_dataset import predicted_boxes

BOX = np.array([[0.0, 0, 10, 10]])


def found(score: float, label: int) -> Found:
    return Found(BOX, np.array([score]), np.array([label]), np.array([0]))


def test_numbers_follow_those_of_the_labels_and_lead_to_the_scores() -> None:
    predicted = predicted_boxes({"a.png": found(0.5, 1), "b.png": found(0.25, 0)}, {"0.png": found(1.0, 1)}, 2, 0.55)
    np.testing.assert_array_equal(predicted.scores, [[1, 0], [0, 1], [0, 0.5], [0.25, 0], [0, 1]])
    numbers = {name: boxes.numbers.tolist() for name, boxes in {**predicted.labelled, **predicted.unlabelled}.items()}
    assert numbers == {"a.png": [2], "b.png": [3], "0.png": [4]}
    np.testing.assert_array_equal(predicted.unlabelled["0.png"].boxes_xyxy, BOX)


def test_more_boxes_than_a_training_can_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of each is written beside the classes: 2 classes, 2 rows of labels, and the boxes."""
    monkeypatch.setattr(predicted_dataset, "MOST_NUMBERS", 5)
    assert len(predicted_boxes({"a.png": found(0.5, 1)}, {}, 2, 0.55).scores) == 3
    with pytest.raises(UserError, match=r"teaching\.min_score must be higher: 2 boxes are more than a training can"):
        predicted_boxes({"a.png": found(0.5, 1), "b.png": found(0.5, 1)}, {}, 2, 0.55)
