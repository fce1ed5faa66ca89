from pathlib import Path

from src.evaluation.latency import HAS_OPENVINO
from src.evaluation.machine import describe_machine


def test_cpu_and_telling_flags_are_read(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: Fast 9000\nflags\t\t: fpu avx2 avx512_vnni sse\n\n"
    )
    machine = describe_machine(tmp_path / "cpuinfo")
    assert machine["cpu"] == "Fast 9000"
    assert machine["flags"] == ["avx2", "avx512_vnni"]
    assert machine["cores"] >= 1
    assert set(machine["versions"]) - {"openvino"} == {"torch", "onnxruntime", "ultralytics"}
    assert ("openvino" in machine["versions"]) == HAS_OPENVINO


def test_a_machine_that_does_not_tell_is_described_all_the_same(tmp_path: Path) -> None:
    machine = describe_machine(tmp_path / "absent")
    assert machine["flags"] == []
    assert machine["cpu"]
