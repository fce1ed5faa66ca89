import pytest

from src.deployment.forwards import HAS_OPENVINO
from src.evaluation.machine import describe_machine


def test_the_cpu_and_its_vector_flags_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"brand_raw": "Fast 9000", "flags": ["avx2", "avx512_vnni", "fpu", "sse"]}
    monkeypatch.setattr("cpuinfo.get_cpu_info", lambda: facts)
    machine = describe_machine()
    assert machine["cpu"] == "Fast 9000"
    assert machine["flags"] == ["avx2", "avx512_vnni"]
    assert machine["cores"] >= 1
    assert set(machine["versions"]) - {"openvino"} == {"torch", "onnxruntime", "ultralytics"}
    assert ("openvino" in machine["versions"]) == HAS_OPENVINO


def test_a_cpu_without_information_is_described_without_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpuinfo.get_cpu_info", dict)
    machine = describe_machine()
    assert machine["flags"] == []
    assert machine["cpu"]
