from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from src.compare import write_comment
from src.foundation.errors import UserError

pytestmark = pytest.mark.slow

DVC_YAML = """\
stages:
  eval-int8:
    cmd: "true"
    params: [distill]
    metrics:
      - reports/eval_int8.json: {cache: false}
      - reports/latency.json: {cache: false}
"""


def call(root: Path, *command: str) -> None:
    subprocess.run(command, cwd=root, check=True, capture_output=True)


def write(root: Path, temperature: float, accuracy: float, drop: float, p50_ms: float) -> None:
    (root / "params.yaml").write_text(f"distill:\n  T: {temperature}\neval_int8:\n  max_drop: 0.02\n")
    models = {"onnx_int8": {"map50_95": accuracy, "size_mib": 3.0, "per_class": {"parameters": {"map50": accuracy}}}}
    (root / "reports/eval_int8.json").write_text(json.dumps({**models, "int8_drop": {"vs_fp32": drop}}))
    (root / "reports/latency.json").write_text(json.dumps({"onnx_int8": {"p50_ms": p50_ms}}))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "reports").mkdir()
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    write(tmp_path, temperature=2, accuracy=0.5, drop=0.01, p50_ms=4.0)
    call(tmp_path, "git", "init", "-q", "-b", "main")
    call(tmp_path, "git", "config", "user.email", "tests@localhost")
    call(tmp_path, "git", "config", "user.name", "tests")
    call(tmp_path, sys.executable, "-m", "dvc", "init", "-q")
    call(tmp_path, "git", "add", "-A")
    call(tmp_path, "git", "commit", "-qm", "start")
    return tmp_path


def test_nothing_changed(project: Path) -> None:
    comment = write_comment(project, "main")
    assert "✅ **Gate passed.** INT8 loses 0.0100" in comment
    for kind in ("param", "metric", "picture"):
        assert f"No {kind} changed." in comment


def test_changes_are_shown_with_their_direction(project: Path) -> None:
    write(project, temperature=3, accuracy=0.55, drop=0.03, p50_ms=5.0)
    (project / "reports/curve.png").write_bytes(b"\x89PNG")
    call(project, "git", "add", "-A")
    comment = write_comment(project, "main", image_base="https://example.org/raw/")
    assert "❌ **Gate failed.** INT8 loses 0.0300 of mAP50-95" in comment
    assert "| `distill.T` | 2 | 3 |" in comment.replace("2.0", "2").replace("3.0", "3")
    assert "| eval_int8 | `onnx_int8.map50_95` | 0.5 | 0.55 | ▲ +0.05 🟢 |" in comment
    assert "| eval_int8 | `int8_drop.vs_fp32` | 0.01 | 0.03 | ▲ +0.02 🔴 |" in comment
    assert "| latency | `onnx_int8.p50_ms` | 4 | 5 | ▲ +1 🔴 |" in comment.replace("4.0", "4").replace("5.0", "5")
    assert "size_mib" not in comment, "unchanged metrics are left out"
    above, below = comment.split("<details><summary>More metrics: per class, agreement, data")
    assert "per_class" in below
    assert "per_class" not in above
    assert "`onnx_int8.per_class.parameters.map50` | 0.5 | 0.55 | ▲ +0.05 🟢" in below, "a class name may be any word"
    assert "![reports/curve.png](https://example.org/raw/reports/curve.png)" in comment


def test_a_gain_is_not_called_a_loss(project: Path) -> None:
    write(project, temperature=2, accuracy=0.5, drop=-0.01, p50_ms=4.0)
    assert "INT8 gains 0.0100 of mAP50-95" in write_comment(project, "main")


def test_an_unreadable_report_is_an_error(project: Path) -> None:
    (project / "reports/latency.json").write_text('{"onnx_int8": {"p50')
    with pytest.raises(UserError, match=r"latency\.json: expected a report in JSON"):
        write_comment(project, "main")


def test_a_revision_that_does_not_exist_is_an_error(project: Path) -> None:
    with pytest.raises(UserError, match="cannot compare with nowhere"):
        write_comment(project, "nowhere")


def test_new_and_deleted_reports_are_marked(project: Path) -> None:
    call(project, "git", "rm", "-q", "--cached", "reports/latency.json")
    call(project, "git", "commit", "-qm", "before the first run")
    (project / "reports/eval_int8.json").unlink()
    comment = write_comment(project, "main")
    assert "**Gate: unknown.**" in comment
    assert "`onnx_int8.p50_ms` | none | 4" in comment
    assert "| new |" in comment
    assert "| gone |" in comment


def test_no_name_of_a_class_file_or_branch_forges_markdown(project: Path) -> None:
    branch, name = "main`<img>|b", "<img>`|\x1b[31m\n| x | 1 |"
    call(project, "git", "branch", branch)
    report = json.loads((project / "reports/eval_int8.json").read_text())
    report["onnx_int8"]["per_class"][name] = {"map50": 0.125}
    (project / "reports/eval_int8.json").write_text(json.dumps(report))
    (project / "params.yaml").write_text("distill:\n  T: '<b>`|'\neval_int8:\n  max_drop: 0.02\n")
    (project / "reports/a](b) <i>é\n.png").write_bytes(b"\x89PNG")
    call(project, "git", "add", "-A")
    comment = write_comment(project, branch, image_base="https://example.org/raw")

    assert all(one.isprintable() or one == "\n" for one in comment)
    for forged in ("<img>", "<b>", "<i>", "](b)", "main`"):
        assert forged not in comment, forged
    [row] = [line for line in comment.splitlines() if "0.125" in line]
    assert row.count("|") == 6
    assert "](https://example.org/raw/reports/a%5D%28b%29%20%3Ci%3E%C3%A9%0A.png)" in comment
