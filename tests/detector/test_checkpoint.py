from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
import yaml
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel, yaml_model_load

from src.detector.checkpoint import find_architecture, load_detector, save_detector
from src.detector.complexity import complexity
from src.foundation.errors import UserError


@pytest.fixture(scope="module")
def network() -> DetectionModel:
    torch.manual_seed(0)
    return DetectionModel("yolov8n.yaml", nc=3, verbose=False).eval()


def test_the_same_weights_give_the_same_bytes_under_any_name(network: DetectionModel, tmp_path: Path) -> None:
    save_detector(network, tmp_path / "a.pt", 64)
    save_detector(network, tmp_path / "another.pt", 64)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "another.pt").read_bytes()


def test_ultralytics_loads_a_saved_detector(network: DetectionModel, tmp_path: Path) -> None:
    save_detector(network, tmp_path / "a.pt", 64)
    loaded = YOLO(tmp_path / "a.pt")
    assert loaded.names == network.names
    assert torch.equal(loaded.model.state_dict()["model.0.conv.weight"].half(), network.model[0].conv.weight.half())


def test_no_path_or_date_is_saved(network: DetectionModel, tmp_path: Path) -> None:
    save_detector(network, tmp_path / "a.pt", 64)
    content = torch.load(tmp_path / "a.pt", weights_only=False)
    assert set(content) == {"epoch", "model", "train_args", "version", "license"}
    assert str(tmp_path).encode() not in (tmp_path / "a.pt").read_bytes()


@pytest.mark.parametrize("content", [b"", b"a text", b"hello world" * 10, b"PK\x03\x04"])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.pt: not a checkpoint that can be loaded safely"):
        load_detector(tmp_path / "a.pt")


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return (exec, (f"open({str(self.target)!r}, 'w').close()",))


def test_an_untrusted_pickle_is_not_run(tmp_path: Path) -> None:
    torch.save({"model": Malicious(tmp_path / "was_run")}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match="trust_weights=true"):
        load_detector(tmp_path / "evil.pt")
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "there is no such file", id="missing file"),
        pytest.param(b"", "not a checkpoint", id="empty"),
        pytest.param(b"\xff\xd8 an image", "not a checkpoint", id="an image"),
        pytest.param(pickle.dumps({"model": 1}), "not a checkpoint|expected an ultralytics", id="a plain pickle"),
        pytest.param(b"\n<!DOCTYPE html><html></html>", "it is a web page: download the file itself", id="a web page"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", "run `git lfs pull`", id="a pointer of Git LFS"),
    ],
)
def test_bad_weights_raise_a_message_of_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "weights.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_detector(path)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the form of ultralytics' own pretrained ones: 80 classes, the whole model pickled in half precision."""
    path = tmp_path_factory.mktemp("released") / "yolov8n.pt"
    YOLO("yolov8n.yaml").save(path)
    return path


@pytest.mark.parametrize("name", ["yolov8n.pt", "yolov5n.pt", "it's mine.pt"])
def test_a_file_of_ultralytics_is_loaded_under_any_name_and_nothing_is_downloaded(
    released: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*arguments: object, **options: object) -> None:
        raise AssertionError("the network is used")

    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.setattr("socket.getaddrinfo", connect)
    monkeypatch.chdir(tmp_path)  # ultralytics renames yolov5n.pt only if the path has no other u
    Path(name).write_bytes(released.read_bytes())
    network = load_detector(Path(name))
    assert len(network.names) == 80
    assert network.model[0].conv.weight.dtype == torch.float32


def test_an_incomplete_download_is_told(released: Path, tmp_path: Path) -> None:
    content = released.read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"cut\.pt: .*: it is damaged or incomplete: download .* SHA-256") as caught:
        load_detector(tmp_path / "cut.pt")
    assert "trust_weights" not in str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "found"),
    [("yolov8n-seg", "SegmentationModel"), ("yolov8n-pose", "PoseModel"), ("yolov8n-cls", "ClassificationModel")],
)
def test_a_model_of_another_task_is_refused(tmp_path: Path, architecture: str, found: str) -> None:
    YOLO(f"{architecture}.yaml").save(tmp_path / "a.pt")
    with pytest.raises(UserError, match=rf"a\.pt: expected an ultralytics detection model, .* found {found}"):
        load_detector(tmp_path / "a.pt")


def test_a_file_of_another_suffix_is_refused(released: Path, tmp_path: Path) -> None:
    (tmp_path / "yolov8n.onnx").write_bytes(released.read_bytes())
    with pytest.raises(UserError, match=r"yolov8n\.onnx: .*: the name does not end in \.pt"):
        load_detector(tmp_path / "yolov8n.onnx")


@pytest.mark.parametrize("name", ["yolov8n.yaml", "yolo11s.yaml", "yolo26n.yaml", "yolov8n-p2.yaml"])
def test_known_architectures_are_found(name: str) -> None:
    assert find_architecture(name) == name


@pytest.mark.parametrize("name", ["yolov8q.yaml", "yolov8n", "resnet.yaml"])
def test_unknown_architectures_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=name):
        find_architecture(name)


@pytest.mark.parametrize(
    ("name", "head"), [("yolov8n-seg.yaml", "Segment"), ("yolov8n-cls.yaml", "Classify"), ("rtdetr-l.yaml", "RTDETR")]
)
def test_architectures_of_other_tasks_are_refused(name: str, head: str) -> None:
    with pytest.raises(UserError, match=f"architecture {name}: expected a detector, .* found {head}"):
        find_architecture(name)


@pytest.mark.parametrize("text", ["nc: 3\n", "nc: 3\nbackbone: []\nhead: []\n", "head: [[1, 2\n", "- 1\n", ""])
def test_a_file_that_is_not_an_architecture_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=r"mine\.yaml: not a model YAML"):
        find_architecture(str(tmp_path / "mine.yaml"))


def test_an_activation_is_never_evaluated_as_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain = yaml_model_load("yolov8n.yaml")
    for path, activation in {
        "good.yaml": "nn.LeakyReLU(0.1)",
        "bad.yaml": "open('evaluated', 'w') and nn.ReLU()",
    }.items():
        Path(path).write_text(yaml.safe_dump({**plain, "activation": activation}))
    assert find_architecture("good.yaml")
    with pytest.raises(UserError, match=r"bad\.yaml: expected an activation such as nn\.ReLU\(\), found \"open"):
        find_architecture("bad.yaml")
    with pytest.raises(TypeError, match="unsupported activation"):
        DetectionModel("bad.yaml", verbose=False)
    assert not Path("evaluated").exists()


def test_complexity_of_yolov8n_agrees_with_ultralytics() -> None:
    # ultralytics' documentation: yolov8n with 80 classes, 3.2 million parameters and 8.7 GFLOPs at 640 px.
    counted = complexity(DetectionModel("yolov8n.yaml", nc=80, verbose=False), 640)
    assert counted.parameters / 1e6 == pytest.approx(3.2, abs=0.05)
    assert counted.gflops == pytest.approx(8.7, abs=0.1)
