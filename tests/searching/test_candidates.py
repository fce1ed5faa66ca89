from __future__ import annotations

from src.config.search import Search
from src.searching.candidates import Candidate, Network, candidates_of

SETTINGS = Search(
    budget_ms=5,
    max_mib=None,
    max_drop=None,
    hours=None,
    students=["yolov8n", "yolo11n", "yolov8n"],
    activation=[None, "relu"],
    imgsz=[160],
    ratio=[0.0, 0.5],
    target=["onnxruntime", "openvino"],
    eta=3,
    first_epochs=1,
)


def test_every_combination_is_a_candidate_once() -> None:
    found = candidates_of(SETTINGS)
    assert len(found) == len(set(found)) == 2 * 2 * 1 * 2 * 2
    assert found[:2] == [Candidate(Network("yolov8n", None, 160, 0.0), target) for target in SETTINGS.target]


def test_each_stage_gets_the_settings_that_it_has() -> None:
    network = Network("yolov8n", "relu", 160, 0.5)
    distill = ["imgsz=160", "student=yolov8n", "student.activation=relu", "epochs=4"]
    assert network.overrides("distill", epochs=4) == distill
    assert network.overrides("prune", epochs=2) == ["imgsz=160", "ratio=0.5", "epochs=2"]
    assert network.overrides("calibrate") == network.overrides("quantize") == ["imgsz=160"]
    assert "student.activation" not in str(Network("yolov8n", None, 160, 0.5).overrides("distill"))


def test_without_a_budget_there_is_nothing_to_search_for() -> None:
    assert not list(SETTINGS.contradictions())
    without = Search(**{**vars(SETTINGS), "budget_ms": None})
    assert [key for key, _ in without.contradictions()] == ["budget_ms"]
    assert not list(Search(**{**vars(without), "max_mib": 1.0}).contradictions())


def test_an_input_that_is_not_square_is_a_candidate_too() -> None:
    found = candidates_of(Search(**{**vars(SETTINGS), "imgsz": [160, [96, 160]]}))
    assert len(found) == 2 * len(candidates_of(SETTINGS))
    network = Network("yolov8n", None, (96, 160), 0.5)
    assert Candidate(network, "openvino") in found
    assert str(network) == "yolov8n, 96 x 160 px, 50% pruned"
    assert network.overrides("calibrate") == ["imgsz=[96, 160]"]
