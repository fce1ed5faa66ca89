from __future__ import annotations

import pytest
import torch
from ultralytics.nn.tasks import DetectionModel

from src.foundation.errors import UserError
from src.teaching.weight_selection import evenly_spaced, select_weights
from tests.distillation.networks import batch_of_two, network


def test_elements_are_evenly_spaced_from_the_first() -> None:
    tensor = torch.arange(24).reshape(6, 4)
    assert evenly_spaced(tensor, torch.Size((3, 4))).tolist() == tensor[::2].tolist()
    assert evenly_spaced(tensor, torch.Size((4, 1))).flatten().tolist() == [0, 4, 12, 16]
    assert evenly_spaced(tensor, tensor.shape).equal(tensor)
    assert evenly_spaced(torch.tensor(7), torch.Size(())).item() == 7


def test_the_student_is_its_teacher_without_the_unselected_channels() -> None:
    """A teacher that does not read the unselected channels predicts the same as the student."""
    teacher = network(0, "yolov8s.yaml").eval()
    student = select_weights(teacher, "yolov8n.yaml").eval()
    widths = {name: tensor.shape for name, tensor in student.state_dict().items()}
    for name, parameter in teacher.named_parameters():
        if parameter.dim() == 4 and parameter.shape[1] != widths[name][1]:
            unread = torch.ones(parameter.shape[1], dtype=torch.bool)
            unread[:: parameter.shape[1] // widths[name][1]] = False
            parameter.data[:, unread] = 0
    images = batch_of_two()["img"]
    with torch.inference_mode():
        torch.testing.assert_close(student(images)[0], teacher(images)[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", ["yolov8{}.yaml", "yolo11{}.yaml", "yolo26{}.yaml"])
def test_a_student_of_each_family_starts_with_weights_of_its_teacher(family: str) -> None:
    teacher = DetectionModel(family.format("s"), nc=2, verbose=False)
    student = select_weights(teacher, family.format("n"))
    first, source = (model.model[0].conv.weight for model in (student, teacher))
    assert first.shape[0] == source.shape[0] // 2
    assert torch.equal(first, source[::2])


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        pytest.param("yolo11s.yaml", "yolov8n.yaml", id="another family"),
        pytest.param("yolov8m.yaml", "yolov8n.yaml", id="another depth"),
        pytest.param("yolov8n.yaml", "yolov8s.yaml", id="a narrower teacher"),
    ],
)
def test_a_teacher_of_other_layers_is_refused(teacher: str, student: str) -> None:
    with pytest.raises(UserError, match=rf"cannot be the teacher's for {student}: \d+ tensors are in only one"):
        select_weights(DetectionModel(teacher, nc=2, verbose=False), student)
