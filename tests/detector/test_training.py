from __future__ import annotations

import resource
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.metrics import DetMetrics
from ultralytics.utils.torch_utils import EarlyStopping

from src.detector import runtime, trainer
from src.detector.added_boxes import NumberedBoxes
from src.detector.checkpoint import load_detector, save_detector
from src.detector.criterion import LearningCriterion, MakeCriterion, TrainingContext
from src.detector.dataset import view_of
from src.detector.trainer import ResumableTrainer, Trained
from src.detector.training import NewNetwork, train
from src.distillation.distillation_loss import distillation_from
from src.distillation.objective import Objective
from src.distillation.teacher import FrozenTeacher, Teacher
from src.foundation.errors import UserError
from src.foundation.prepared import class_names
from src.teaching.mean_teacher import distillation_from_moving_average
from src.teaching.mutual import mutual_learning
from src.teaching.predicted_boxes import PredictedBoxes, learning_from_boxes
from src.teaching.unlabelled import distillation_with_unlabelled
from tests.conftest import TINY_TRAINING
from tests.detector.two_processes import OnTwoProcesses

pytestmark = pytest.mark.slow


class KilledError(Exception):
    pass


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    runtime.settle("cpu", 1)


def trained(
    data: Path,
    checkpoint: Path,
    settings: Mapping[str, Any],
    killed_after: int | None = None,
    make_criterion: MakeCriterion | None = None,
    architecture: str = "yolov8n.yaml",
    dtype: torch.dtype = torch.float32,
) -> Trained:
    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        if epoch == killed_after:
            raise KilledError

    return train(
        NewNetwork(architecture),
        data,
        settings,
        device="cpu",
        checkpoint=checkpoint,
        on_epoch=on_epoch,
        make_criterion=make_criterion,
        dtype=dtype,
    )


@pytest.mark.parametrize(
    ("batch", "killed_after", "close_mosaic", "dtype"),
    [
        pytest.param(8, 1, 1, torch.float32, id="last batch is smaller"),
        pytest.param(10, 1, 1, torch.float32, id="last batch is full"),
        pytest.param(10, 2, 1, torch.float32, id="mosaic closes next"),
        pytest.param(8, 2, 2, torch.float32, id="mosaic was closed"),
        pytest.param(8, 3, 1, torch.float32, id="after the last epoch"),
        pytest.param(8, 1, 1, torch.bfloat16, id="in bfloat16"),
    ],
)
def test_a_killed_and_resumed_training_ends_with_the_same_bytes(
    prepared: Path, tmp_path: Path, batch: int, killed_after: int, close_mosaic: int, dtype: torch.dtype
) -> None:
    settings = {**TINY_TRAINING, "batch": batch, "close_mosaic": close_mosaic}
    with view_of(prepared) as data:
        whole = trained(data, tmp_path / "whole.ckpt", settings, dtype=dtype)
        with pytest.raises(KilledError):
            trained(data, tmp_path / "killed.ckpt", settings, killed_after, dtype=dtype)
        resumed = trained(data, tmp_path / "killed.ckpt", settings, dtype=dtype)
    assert resumed.history == whole.history
    save_detector(whole.network, tmp_path / "whole.pt", 64)
    save_detector(resumed.network, tmp_path / "resumed.pt", 64)
    assert (tmp_path / "whole.pt").read_bytes() == (tmp_path / "resumed.pt").read_bytes()


class RunsCode:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("code was run"),)


@pytest.mark.parametrize("damage", ["cut off", "runs code", "something else", "empty"])
def test_a_damaged_checkpoint_is_removed_with_a_line_and_the_training_starts_anew(
    prepared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "state.pt"
    settings = {**TINY_TRAINING, "epochs": 1}
    with view_of(prepared) as data:
        if damage == "cut off":
            whole = trained(data, path, settings)
            path.write_bytes(path.read_bytes()[:-1000])
        elif damage == "empty":
            path.touch()
        else:
            torch.save({"over": RunsCode()} if damage == "runs code" else [1], path)
        with pytest.raises(KilledError):
            trained(data, path, settings, killed_after=1)
        own = [record.getMessage() for record in caplog.records if record.name == trainer.__name__]
        assert [message.partition(": cannot be read (")[0] for message in own] == [str(path)]
        assert not (tmp_path / "code was run").exists()
        if damage == "cut off":
            assert trained(data, path, settings).history == whole.history


def test_a_checkpoint_that_does_not_fit_on_the_disk_is_an_error_of_that_file(prepared: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "state.pt"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))  # the error of a full disk, but for its number
    try:
        with view_of(prepared) as data, pytest.raises(OSError, match=r"File too large: .*state\.pt"):
            trained(data, checkpoint, TINY_TRAINING)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == [], "nothing partial is left"


def test_a_training_that_stopped_early_is_complete(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EarlyStopping, "__call__", lambda self, epoch, fitness: epoch == 2)
    settings = {**TINY_TRAINING, "epochs": 4}
    seen: list[int] = []
    with view_of(prepared) as data:
        whole = trained(data, tmp_path / "state.ckpt", settings)
        assert len(whole.history) == 2
        again = train(
            NewNetwork("yolov8n.yaml"),
            data,
            settings,
            device="cpu",
            checkpoint=tmp_path / "state.ckpt",
            on_epoch=lambda epoch, metrics: seen.append(epoch),
        )
    assert again.history == whole.history
    assert again.best_epoch == whole.best_epoch
    assert seen == [1, 2]


def test_a_resumed_training_knows_its_best_epoch_and_when_to_stop(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitness, epoch = [0.3, 0.5, 0.4, 0.2, 0.1, 0.1], 0
    plain = ResumableTrainer.validate

    def validate(trainer: ResumableTrainer) -> Any:
        nonlocal epoch
        epoch = trainer.epoch
        return plain(trainer)

    monkeypatch.setattr(ResumableTrainer, "validate", validate)
    monkeypatch.setattr(DetMetrics, "fitness", property(lambda metrics: fitness[epoch]))
    settings = {**TINY_TRAINING, "epochs": 6, "patience": 2}
    with view_of(prepared) as data:
        whole = trained(data, tmp_path / "whole.ckpt", settings)
        with pytest.raises(KilledError):
            trained(data, tmp_path / "killed.ckpt", settings, 3)
        resumed = trained(data, tmp_path / "killed.ckpt", settings)
    for one in (whole, resumed):
        assert one.best_epoch == 2
        assert len(one.history) == 4, "two epochs were not better"
    weights = [one.network.state_dict() for one in (whole, resumed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("architecture", ["yolov8s.yaml", "yolo11n.yaml"])
def test_weights_of_another_architecture_are_refused(prepared: Path, tmp_path: Path, architecture: str) -> None:
    other = DetectionModel(architecture, nc=10, verbose=False)
    with (
        view_of(prepared) as data,
        pytest.raises(UserError, match=r"are of another architecture: \d+ of"),
    ):
        train(
            NewNetwork("yolov8n.yaml", weights=other), data, TINY_TRAINING, device="cpu", checkpoint=tmp_path / "c.pt"
        )


def test_only_classification_branches_may_have_another_shape(prepared: Path, tmp_path: Path) -> None:
    other = DetectionModel("yolo11n.yaml", nc=10, verbose=False)
    block = other.get_submodule("model.6.m.0.cv3.conv")  # not in the head, though its name contains cv3
    block.weight = nn.Parameter(block.weight[:, 1:])
    with view_of(prepared) as data, pytest.raises(UserError, match=r": 1 of \d+ tensors .* model\.6\.m\.0\.cv3"):
        train(
            NewNetwork("yolo11n.yaml", weights=other), data, TINY_TRAINING, device="cpu", checkpoint=tmp_path / "c.pt"
        )


def test_weights_for_other_classes_can_be_initial_weights(prepared: Path, tmp_path: Path) -> None:
    settings = {**TINY_TRAINING, "epochs": 1, "lr0": 1e-12}
    other = DetectionModel("yolov8n.yaml", nc=80, verbose=False)
    with view_of(prepared) as data:
        network = train(
            NewNetwork("yolov8n.yaml", weights=other), data, settings, device="cpu", checkpoint=tmp_path / "c.pt"
        ).network
    torch.testing.assert_close(network.model[0].conv.weight, other.model[0].conv.weight)
    with view_of(prepared) as data:  # the training is over: the result is read from its checkpoint
        again = train(
            NewNetwork("yolov8n.yaml", weights=other), data, settings, device="cpu", checkpoint=tmp_path / "c.pt"
        ).network
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("architecture", ["yolov8n.yaml", "yolo26n.yaml"])
def test_training_without_a_criterion_equals_ultralytics_to_the_bit(
    prepared: Path, tmp_path: Path, architecture: str
) -> None:
    with view_of(prepared) as data:
        plain = DetectionTrainer(
            overrides={
                **TINY_TRAINING,
                "model": architecture,
                "data": str(data),
                "device": "cpu",
                "nbs": TINY_TRAINING["batch"],
                "cos_lr": True,
                "amp": False,
                "plots": False,
                "pretrained": False,
                "project": str(tmp_path),
                "name": "plain",
            }
        )
        plain.train()
        ours = train(
            NewNetwork(architecture),
            data,
            TINY_TRAINING,
            device="cpu",
            checkpoint=tmp_path / "ours.ckpt",
        )
    last = torch.load(tmp_path / "ours.ckpt", weights_only=True)["moving_average"]
    for name, weights in plain.ema.ema.state_dict().items():
        assert torch.equal(weights, last[name]), name
    best = load_detector(tmp_path / "plain/weights/best.pt", trust=True).state_dict()
    for name, weights in ours.network.half().state_dict().items():
        assert torch.equal(weights.float(), best[name].float()), name


def test_distillation_changes_the_student_and_not_the_teacher(prepared: Path, tmp_path: Path) -> None:
    settings = {**TINY_TRAINING, "epochs": 1}
    with view_of(prepared) as data:
        teacher = trained(data, tmp_path / "teacher.ckpt", settings).network
        frozen = FrozenTeacher(teacher)
        before = {name: weights.clone() for name, weights in frozen.network.state_dict().items()}
        criterion = distillation_from(
            frozen, Objective(2.0, 0.5, {"response": 1.0, "localization": 1.0, "feature": 6.0, "channel_wise": 1.0})
        )
        plain, distilled = (
            train(
                NewNetwork("yolov8n.yaml"),
                data,
                settings,
                device="cpu",
                checkpoint=tmp_path / f"{index}.ckpt",
                make_criterion=make_criterion,
            )
            for index, make_criterion in enumerate([None, criterion])
        )
    parts = {"train/response", "train/localization", "train/feature", "train/channel_wise"}
    assert parts <= set(distilled.history[0])
    assert any(
        not torch.equal(weights, distilled.network.state_dict()[name])
        for name, weights in plain.network.state_dict().items()
    )
    assert all(torch.equal(weights, before[name]) for name, weights in frozen.network.state_dict().items())


def with_features(teacher: Teacher, folder: Path) -> MakeCriterion:
    return distillation_from(
        teacher, Objective(1.0, 0.5, {"response": 1.0, "localization": 1.0, "feature": 6.0, "channel_wise": 1.0})
    )


def with_masked_features(teacher: Teacher, folder: Path) -> MakeCriterion:
    return distillation_from(teacher, Objective(1.0, 0.5, {"masked": 2e-5}))


def with_a_peer(teacher: Teacher, folder: Path) -> MakeCriterion:
    return mutual_learning("yolov8n.yaml", Objective(1.0, 0.5, {"response": 1.0, "localization": 1.0}))


def with_a_moving_average(teacher: Teacher, folder: Path) -> MakeCriterion:
    return distillation_from_moving_average(Objective(1.0, 0.5, {"response": 1.0, "localization": 1.0}))


def with_unlabelled_images(teacher: Teacher, folder: Path) -> MakeCriterion:
    return distillation_with_unlabelled(teacher, folder, Objective(1.0, 0.5, {"response": 1.0, "localization": 1.0}))


def with_predicted_boxes(teacher: Teacher, folder: Path) -> MakeCriterion:
    train, unlabelled = (
        {path.name: NumberedBoxes(np.array([[4.0, 4, 40, 30]]), np.array([10])) for path in images.iterdir()}
        for images in (folder.parent / "train", folder)
    )
    scores = np.concatenate([np.eye(10), np.full((1, 10), 0.1)]).astype(np.float32)
    objective = Objective(1.0, 0.5, {"response": 1.0, "localization": 1.0})
    return learning_from_boxes(PredictedBoxes(scores, train, unlabelled), folder, objective)


@pytest.mark.parametrize(
    "make",
    [
        with_features,
        with_masked_features,
        with_a_peer,
        with_a_moving_average,
        with_unlabelled_images,
        with_predicted_boxes,
    ],
)
def test_modules_trained_along_are_resumed(
    prepared: Path, tmp_path: Path, make: Callable[[Teacher, Path], MakeCriterion]
) -> None:
    torch.manual_seed(1)
    network = DetectionModel("yolov8n.yaml", nc=10, verbose=False)
    network.names = dict(enumerate(class_names(prepared)))
    with view_of(prepared) as data:
        criterion = make(FrozenTeacher(network), data.parent / "images/val")
        whole = trained(data, tmp_path / "whole.ckpt", TINY_TRAINING, make_criterion=criterion)
        with pytest.raises(KilledError):
            trained(data, tmp_path / "killed.ckpt", TINY_TRAINING, 1, criterion)
        resumed = trained(data, tmp_path / "killed.ckpt", TINY_TRAINING, make_criterion=criterion)
    assert resumed.history == whole.history
    for name, weights in whole.network.state_dict().items():
        assert torch.equal(weights, resumed.network.state_dict()[name]), name


def test_a_student_of_predictions_that_equal_the_labels_is_the_student_of_the_labels(
    prepared: Path, tmp_path: Path
) -> None:
    """Through all augmentations: images without predictions have their labels as soft targets."""
    predicted = PredictedBoxes(np.eye(10, dtype=np.float32), {}, {})
    objective = Objective(1.0, 0.5, {"response": 1.0, "localization": 1.0})
    with view_of(prepared) as data:
        plain = trained(data, tmp_path / "plain.ckpt", TINY_TRAINING)
        make = learning_from_boxes(predicted, None, objective)
        taught = trained(data, tmp_path / "taught.ckpt", TINY_TRAINING, make_criterion=make)
    for epoch, expected in zip(taught.history, plain.history, strict=True):
        assert {name: epoch[name] for name in expected} == pytest.approx(expected, rel=1e-3)
        soft, hard = epoch["train/localization"], epoch["train/box_loss"] + epoch["train/dfl_loss"]
        assert soft == pytest.approx(hard, rel=1e-5)
        assert epoch["train/response"] == pytest.approx(epoch["train/cls_loss"], rel=1e-5)


@pytest.mark.parametrize("optimizer", ["SGD", "RMSProp", "auto"])
def test_projectors_are_trained_by_every_optimizer(prepared: Path, tmp_path: Path, optimizer: str) -> None:
    torch.manual_seed(1)
    network = DetectionModel("yolov8s.yaml", nc=10, verbose=False)
    network.names = dict(enumerate(class_names(prepared)))
    make = distillation_from(FrozenTeacher(network), Objective(1.0, 0.5, {"feature": 6.0, "channel_wise": 1.0}))
    seen: list[tuple[LearningCriterion, dict[str, Tensor]]] = []

    def recorded(training: TrainingContext) -> LearningCriterion:
        criterion = make(training)
        seen.append((criterion, deepcopy(criterion.learned.state_dict())))
        return criterion

    settings = {**TINY_TRAINING, "epochs": 1, "optimizer": optimizer}
    with view_of(prepared) as data:
        trained(data, tmp_path / "state.ckpt", settings, make_criterion=recorded)
    ((criterion, before),) = seen
    assert len(before) == 3 * 2 * 2 + 3 * 2, (
        "per level: two convolutions of feature and one of channel_wise, with biases"
    )
    for name, weights in criterion.learned.state_dict().items():
        if not (name.startswith("channel_wise") and name.endswith("bias")):  # a softmax over locations ignores these
            assert not torch.equal(weights, before[name]), name


def test_distillation_between_end_to_end_heads_is_resumed(prepared: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = DetectionModel("yolo26n.yaml", nc=10, verbose=False)
    network.names = dict(enumerate(class_names(prepared)))
    weights = {"response": 1.0, "overlap": 1.0, "channel_wise": 1.0}
    criterion = distillation_from(FrozenTeacher(network), Objective(1.0, 0.5, weights))
    settings = {**TINY_TRAINING, "epochs": 2}
    with view_of(prepared) as data:
        whole = trained(data, tmp_path / "w.ckpt", settings, make_criterion=criterion, architecture="yolo26n.yaml")
        with pytest.raises(KilledError):
            trained(data, tmp_path / "k.ckpt", settings, 1, criterion, "yolo26n.yaml")
        resumed = trained(data, tmp_path / "k.ckpt", settings, make_criterion=criterion, architecture="yolo26n.yaml")
    assert resumed.history == whole.history
    assert {f"train/{name}" for name in weights} <= set(whole.history[0])
    save_detector(whole.network, tmp_path / "whole.pt", 64)
    save_detector(resumed.network, tmp_path / "resumed.pt", 64)
    assert (tmp_path / "whole.pt").read_bytes() == (tmp_path / "resumed.pt").read_bytes()


def test_training_writes_nothing_into_the_dataset(prepared: Path, tmp_path: Path) -> None:
    before = sorted(prepared.rglob("*"))
    with view_of(prepared) as data:
        trained(data, tmp_path / "state.ckpt", {**TINY_TRAINING, "epochs": 1})
    assert sorted(prepared.rglob("*")) == before


@pytest.mark.parametrize(("activation", "expected"), [("relu", torch.nn.ReLU), ("hardswish", torch.nn.Hardswish)])
def test_a_network_is_trained_with_the_given_activation(
    prepared: Path, tmp_path: Path, activation: str, expected: type
) -> None:
    settings = {**TINY_TRAINING, "epochs": 1}
    with view_of(prepared) as data:
        new = NewNetwork("yolov8n.yaml", activation=activation)
        network = train(new, data, settings, device="cpu", checkpoint=tmp_path / "c.pt").network
    save_detector(network, tmp_path / "d.pt", 64)
    kinds = {type(module) for module in load_detector(tmp_path / "d.pt").modules()}
    assert expected in kinds
    assert torch.nn.SiLU not in kinds
    assert isinstance(Conv.default_act, torch.nn.SiLU), "networks built later keep their activation"


def test_two_processes_share_batches_and_trained_modules(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "ResumableTrainer", OnTwoProcesses)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    epochs: list[int] = []
    with view_of(prepared) as data:
        torch.manual_seed(1)
        network = DetectionModel("yolov8n.yaml", nc=10, verbose=False)
        network.names = dict(enumerate(class_names(prepared)))
        result = train(
            NewNetwork("yolov8n.yaml"),
            data,
            {**TINY_TRAINING, "epochs": 2},
            device="cpu",
            checkpoint=tmp_path / "state.pt",
            make_criterion=distillation_from(
                FrozenTeacher(network), Objective(1.0, 0.5, {"response": 1.0, "feature": 6.0})
            ),
            on_epoch=lambda epoch, metrics: epochs.append(epoch),
        )
    assert epochs == [1, 2]
    assert len(result.history) == 2
    assert all(name in result.history[0] for name in ("train/response", "train/feature", "map50_95"))
    assert list(result.network.names.values()) == list(class_names(prepared))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["best"]["epoch"] + 1 == result.best_epoch
    assert all(
        torch.equal(value, result.network.state_dict()[name]) for name, value in state["best"]["weights"].items()
    )
    (images, one), (others, other) = (torch.load(tmp_path / f"process-{rank}.pt") for rank in (0, 1))
    assert images == others == 10, "each has half of the training images"
    moving = ("running_mean", "running_var")  # statistics of a process's own images
    assert all(torch.equal(value, other[name]) for name, value in one.items() if not name.endswith(moving))
    assert any("feature" in name for name in one), "projectors are included"


def test_a_failed_process_raises_a_message_of_one_line(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(training: TrainingContext) -> LearningCriterion:
        raise ValueError

    monkeypatch.setattr(trainer, "ResumableTrainer", OnTwoProcesses)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    with view_of(prepared) as data, pytest.raises(UserError, match="a process of the training on cpu failed"):
        train(
            NewNetwork("yolov8n.yaml"),
            data,
            TINY_TRAINING,
            device="cpu",
            checkpoint=tmp_path / "state.pt",
            make_criterion=fails,
        )


def test_a_batch_that_devices_cannot_share_is_refused(prepared: Path, tmp_path: Path) -> None:
    with view_of(prepared) as data, pytest.raises(UserError, match="batch must be a multiple of the 3 devices, got 8"):
        train(NewNetwork("yolov8n.yaml"), data, TINY_TRAINING, device="0,1,2", checkpoint=tmp_path / "state.pt")
