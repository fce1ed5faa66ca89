"""The comment on a pull request, on branches made for it: what is on top, what is coloured, what is said instead."""

from __future__ import annotations

import json
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from src import PROJECT, compare
from src.comparing.headline import ROWS
from src.comparing.page import MOST_LINES, write_page
from src.foundation.errors import UserError
from tests.compared import MACHINE, Compared, accuracy, latency

MARKS = ("🟢", "🔴")


def page_of(compared: Compared, revision: str = "main", image_base: str | None = None) -> str:
    return write_page(compare.compare(compared.root, revision), image_base)


def unfolded(page: str) -> str:
    """Return what a reader sees without a click."""
    parts = page.split("<details>")
    return parts[0] + "".join(part.partition("</details>")[2] for part in parts[1:])


def row(page: str, title: str) -> list[str]:
    """Return the cells of the row of the table that begins with a title."""
    [line] = [line for line in unfolded(page).splitlines() if line.startswith(f"| {title} |")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def with_interval(**values: float) -> dict[str, Any]:
    report = accuracy(**values)
    report["onnx_int8"]["map50_95_interval"] = {"low": 0.74, "high": 0.76}
    return report


def run_main(compared: Compared, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(compare, "PROJECT", compared.root)
    monkeypatch.setattr(sys, "argv", ["compare", *arguments])
    compare.main()


def test_nothing_changed(compared: Compared) -> None:
    page = page_of(compared)
    assert "✅ **Gate passed.** INT8 loses 0.0100" in page
    assert "No stage is stale" in page
    assert "No metric of the table changed" in page
    assert "Nothing: params, processor, versions, data and the code that ran are the same on both sides." in page
    assert "<details>" not in page


def test_a_param(compared: Compared) -> None:
    compared.write("params.yaml", "train_teacher:\n  epochs: 24\neval_int8:\n  max_drop: 0.03\n")
    compared.record()
    page = page_of(compared)
    assert "| param `train_teacher.epochs` | 12 | 24 |" in unfolded(page)
    assert "Params alone:" in page
    assert "No stage is stale" in page


def test_without_a_deviation_nothing_of_accuracy_is_coloured(compared: Compared) -> None:
    compared.report("eval_int8", accuracy(int8=0.5, fp32=0.9))
    page = page_of(compared)
    assert row(page, "mAP50-95, INT8") == ["0.75", "0.5", "-0.25, noise not known"]
    assert "Noise is not known where no report gives an interval" in unfolded(page)
    assert not [mark for mark in MARKS if mark in page]


def test_a_metric_within_noise_is_grey(compared: Compared) -> None:
    compared.report("eval_int8", with_interval(int8=0.755))
    page = page_of(compared)
    assert row(page, "mAP50-95, INT8") == ["0.75", "0.755", "+0.005, within noise (±0.014)"]
    assert not [mark for mark in MARKS if mark in page]


@pytest.mark.parametrize(
    ("size_mib", "change"),
    [(1.755, "+0.005, within noise (±0.01)"), (2.0, "▲ +0.25 🔴"), (1.5, "▼ -0.25 🟢")],
)
def test_the_size_of_the_file(compared: Compared, size_mib: float, change: str) -> None:
    report = accuracy()
    report["onnx_int8"]["size_mib"] = size_mib
    compared.report("eval_int8", report)
    assert row(page_of(compared), "INT8, MiB")[2] == change


@pytest.mark.parametrize(("int8", "change"), [(0.85, "▲ +0.1 🟢"), (0.65, "▼ -0.1 🔴")])
def test_a_metric_beyond_noise_is_coloured(compared: Compared, int8: float, change: str) -> None:
    compared.report("eval_int8", with_interval(int8=int8))
    page = page_of(compared)
    assert row(page, "mAP50-95, INT8") == ["0.75", f"{int8}", change]
    assert "The noise of mAP50-95 is that of the test images." in unfolded(page)


def test_latency_on_the_same_machine(compared: Compared) -> None:
    compared.write("models/int8.onnx", "another one\n")
    compared.report("latency", latency(int8_ms=1.2))
    compared.record()
    assert row(page_of(compared), "INT8, p50 ms") == ["1", "1.2", "+0.2, within noise (±0.25)"]
    compared.report("latency", latency(int8_ms=1.5))
    page = page_of(compared)
    assert row(page, "INT8, p50 ms") == ["1", "1.5", "▲ +0.5 🔴"]
    assert row(page, "speedup of INT8 over FP32")[2] == "▼ -0.667 🔴"


@pytest.mark.parametrize("other_code", [False, True])
def test_the_latency_of_the_same_file_is_noise_unless_other_code_timed_it(compared: Compared, other_code: bool) -> None:
    compared.report("latency", latency(int8_ms=1.5))
    if other_code:
        compared.write("src/eval_int8.py", "SCORE = 0.5\n")
    compared.record()
    page = page_of(compared)
    same = "+0.5, within noise: the same file on both sides"
    assert row(page, "INT8, p50 ms")[2] == ("▲ +0.5 🔴" if other_code else same)
    assert "The same bytes on both sides: `models/int8.onnx`, `models/pruned.onnx`, `models/teacher.pt`." in page
    assert other_code == any(mark in page for mark in MARKS)


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        (
            {"cpu": "Xeon"},
            "processor AMD EPYC (2 cores; avx2 avx512_vnni) before, Xeon (2 cores; avx2 avx512_vnni) now",
        ),
        ({"flags": ["avx2"]}, "AMD EPYC (2 cores; avx2) now"),
        ({"threads": 4}, "threads 1 before, 4 now"),
        ({"versions": {**MACHINE["versions"], "onnxruntime": "2.0"}}, "onnxruntime 1.31.1 before, 2.0 now"),
        ({"versions": {}}, "onnxruntime 1.31.1 before, not recorded now"),
    ],
    ids=["processor", "flags", "threads", "runtime", "not recorded"],
)
def test_latencies_of_other_conditions_are_not_compared(
    compared: Compared, machine: dict[str, Any], reason: str
) -> None:
    compared.report("latency", latency(int8_ms=3.0, **machine))
    page = page_of(compared)
    [line] = [
        line for line in unfolded(page).splitlines() if line.startswith("Latencies and speedups are not compared")
    ]
    assert reason in line
    assert "p50" not in unfolded(page)
    assert "`onnx_int8.p50_ms` | 1 | 3 | +2, not compared |" in page.replace("1.0", "1").replace("3.0", "3")
    assert not [mark for mark in MARKS if mark in page]


def test_another_version_of_torch_leaves_onnxruntime_comparable(compared: Compared) -> None:
    versions = {**MACHINE["versions"], "torch": "3.0"}
    compared.report("latency", {**latency(), "teacher": {"p50_ms": 20.0, "energy_mj": 9}})
    compared.commit("the energy of an image")
    compared.call("git", "branch", "-f", "before")
    compared.report("latency", {**latency(versions=versions), "teacher": {"p50_ms": 10.0, "energy_mj": 5}})
    page = page_of(compared, "before")
    assert "Latencies and speedups are not compared" not in page
    assert "`teacher.energy_mj` | 9 | 5 | -4, not compared |" in page
    assert "`teacher.p50_ms` | 20 | 10 | -10, not compared |" in page


def test_no_param_changed_never_stands_alone(compared: Compared) -> None:
    compared.report("latency", latency(cpu="Xeon", versions={**MACHINE["versions"], "torch": "3.0"}))
    compared.write("constraints.txt", "numpy==2.1\n")
    compared.write("data/raw/labels.txt", "letters\n")
    compared.write("src/detector/boxes.py", "WIDTH = 3\n")
    compared.write("conf/train_teacher.yaml", "lr0: 0.02\n")
    compared.record()
    page = unfolded(page_of(compared))
    assert "No param changed, but this differs:" in page
    assert "| processor | `AMD EPYC (2 cores; avx2 avx512_vnni)` | `Xeon (2 cores; avx2 avx512_vnni)` |" in page
    assert "| version of `torch` | `2.13.0` | `3.0` |" in page
    assert "| data `data/raw` |" in page
    assert "The code that ran differs in `train-teacher`." in page
    assert "Files of conf/ differ in `train-teacher`." in page
    assert "Pinned versions (constraints.txt) differ: `numpy` 2.0 → 2.1." in page


def test_stale_stages_are_named_with_the_reason(compared: Compared) -> None:
    compared.without_data()
    compared.write("src/detector/boxes.py", "WIDTH = 3\n")
    compared.write("src/eval_int8.py", "SCORE = 0.25 # [0, 1]\n")
    page = unfolded(page_of(compared))
    assert "⚠️ **Stale: 2 of 2 stages.**" in page
    assert "- train-teacher: `src/detector` modified" in page
    assert "- eval-int8: `src/eval_int8.py` (comments or formatting alone: its meaning is the same, but DVC" in page
    compared.commit("stale")
    assert "- train-teacher (stale at `HEAD`, too): " in page_of(compared, "HEAD")


def test_comments_alone_are_said_to_change_no_result(compared: Compared) -> None:
    compared.write("src/train_teacher.py", "EPOCHS = 12 # of the teacher\n")
    assert "so `dvc repro` runs them, with the same results:" in page_of(compared)
    compared.write("src/eval_int8.py", "SCORE = 0.5\n")
    assert "so `dvc repro` may give other results:" in page_of(compared)


def test_new_and_removed_metrics(compared: Compared) -> None:
    compared.report("eval_int8", {key: value for key, value in accuracy().items() if key != "student"})
    compared.report("prune", {"val": {"map50_95": 0.6}})
    page = page_of(compared)
    assert row(page, "mAP50-95, student") == ["0.76", "none", "gone"]
    assert "| `prune.json` | `val.map50_95` | none | 0.6 | new |" in page
    assert "| `eval_int8.json` | `student.map50_95` | 0.76 | none | gone |" in page


def test_a_report_that_is_gone(compared: Compared) -> None:
    (compared.root / "reports/eval_int8.json").unlink()
    (compared.root / "reports/latency.json").unlink()
    page = page_of(compared)
    assert "❔ **Gate: unknown.** reports/eval_int8.json has no int8_drop.vs_fp32: run `dvc repro`." in page
    assert row(page, "INT8, MiB") == ["1.75", "none", "gone"]
    assert "not compared: reports/latency.json cannot be read or is not there (now)." in page


def test_all_that_cannot_be_read_is_said_at_once(
    compared: Compared, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compared.write("reports/latency.json", '{"onnx_int8": {"p50')
    compared.write("reports/train_teacher.json", '{"val": NaN}')
    compared.write("reports/eval_int8.json", "[]")
    compared.write("params.yaml", "train_teacher: [")
    with pytest.raises(SystemExit) as stopped:
        run_main(compared, monkeypatch, "main", "--fail-on", "gate")
    lines = str(stopped.value).splitlines()
    for start in (
        "error: reports/eval_int8.json: expected a report in JSON with named values, found list",
        "error: reports/latency.json: expected a report in JSON, found none (Unterminated string",
        "error: reports/train_teacher.json: expected a report in JSON, found none (NaN is no number of JSON)",
        "error: params.yaml: expected settings in YAML, found none (",
    ):
        assert [line for line in lines if line.startswith(start)], start
    assert len([line for line in lines if "reports/" in line]) == 3
    assert capsys.readouterr().out == ""


def test_a_comment_that_cannot_be_written_is_said(compared: Compared, monkeypatch: pytest.MonkeyPatch) -> None:
    (compared.root / "comment.md").mkdir()
    with pytest.raises(SystemExit, match=r"^error: .*comment\.md: cannot be written \(Is a directory\)"):
        run_main(compared, monkeypatch, "main", "-o", str(compared.root / "comment.md"))


def test_a_report_that_cannot_be_read_before_is_said_and_not_compared(compared: Compared) -> None:
    good = (compared.root / "reports/latency.json").read_text()
    compared.write("reports/latency.json", "<<<<<<< HEAD\n")
    compared.commit("marks of a merge")
    compared.write("reports/latency.json", good)
    page = page_of(compared)
    assert "main: reports/latency.json: expected a report in JSON, found none" in unescape(unfolded(page))
    assert "not compared: reports/latency.json cannot be read or is not there (main)" in page


def test_a_lock_file_with_marks_of_a_merge(compared: Compared) -> None:
    lock = (compared.root / "dvc.lock").read_text()
    compared.write("dvc.lock", f"<<<<<<< HEAD\n{lock}")
    with pytest.raises(UserError, match=r"DVC cannot read the pipeline: .*dvc\.lock") as stopped:
        page_of(compared)
    assert len(str(stopped.value).splitlines()) == 1
    compared.commit("marks of a merge")
    compared.write("dvc.lock", lock)
    compared.report("latency", latency(int8_ms=1.5))
    page = page_of(compared)
    assert "main: DVC cannot read the pipeline" in unescape(page)
    assert "Nothing: params, processor, versions are the same on both sides." in page, "of data and code none is known"
    assert row(page, "INT8, p50 ms")[2] == "▲ +0.5 🔴", "nothing is known of the file either"


def test_a_revision_that_does_not_exist_is_an_error(compared: Compared) -> None:
    for revision in ("nowhere", "--all", "HEAD:params.yaml"):
        with pytest.raises(UserError, match=f"cannot compare with {revision}: .* name a branch, tag or commit"):
            page_of(compared, revision)


@pytest.mark.parametrize(
    ("drop", "limit", "line"),
    [
        (0.05, "0.03", "❌ **Gate failed.** INT8 loses 0.0500 of mAP50-95"),
        (-0.01, "0.03", "✅ **Gate passed.** INT8 gains 0.0100 of mAP50-95"),
        (0.01, "lots", "❔ **Gate: unknown.** params.yaml has no eval_int8.max_drop"),
    ],
)
def test_the_gate(compared: Compared, drop: float, limit: str, line: str) -> None:
    compared.report("eval_int8", accuracy(int8=0.76 - drop))
    compared.write("params.yaml", f"train_teacher:\n  epochs: 12\neval_int8:\n  max_drop: {limit}\n")
    assert page_of(compared).splitlines()[2].startswith(line)


def test_gates_on_the_accuracy_of_int8(compared: Compared) -> None:
    gates = "train_teacher:\n  epochs: 12\neval_int8: {max_drop: 0.03, min_map50_95: 0.8, min_class_map50_95: 0.9}\n"
    compared.write("params.yaml", gates)
    assert "unknown.** reports/prepare_labels.json has no classes" in page_of(compared)
    compared.report("prepare_labels", {"classes": {"parameters": {}, "<b>": {}}})
    line = unescape(page_of(compared)).splitlines()[2]
    assert line.startswith("❌ **Gate failed.** INT8 loses 0.0100")
    for part in ("to reach 0.8 ", "the class parameters, but it reached 0.75", "the class <b>, but test has no box"):
        assert part in line, part
    compared.report("prepare_labels", {"classes": {f"class {number}": {} for number in range(80)}})
    line = page_of(compared).splitlines()[2]
    assert line.endswith("78 more gates fail.")


def test_objections_of_the_report_stand_beside_the_gate(compared: Compared) -> None:
    found = [{"finding": "WeakTeacher", "weight": "the run proves nothing"}, {"finding": "StillRising", "weight": "w"}]
    compared.report("eval_int8", accuracy(verdict={"objections": 2, "findings": found}))
    line = page_of(compared).splitlines()[2]
    assert line.endswith("**The run proves nothing**, see reports/report.md: weak teacher, still rising.")


@pytest.mark.parametrize(
    ("fail_on", "failed"),
    [
        ("stale", ["failed: stale: eval-int8: run `dvc repro` and commit dvc.lock and reports/"]),
        ("gate", ["failed: gate: eval_int8.max_drop: expected INT8 to lose at most 0.03"]),
        ("stale,gate", ["failed: stale: eval-int8", "failed: gate: eval_int8.max_drop"]),
    ],
)
def test_a_check_fails_with_a_line_and_writes_the_comment(
    compared: Compared, monkeypatch: pytest.MonkeyPatch, fail_on: str, failed: list[str]
) -> None:
    compared.report("eval_int8", accuracy(int8=0.5))
    comment = compared.root / "comment.md"
    with pytest.raises(SystemExit) as stopped:
        run_main(compared, monkeypatch, "main", "-o", str(comment), "--fail-on", fail_on)
    lines = str(stopped.value).splitlines()
    assert all(line.startswith(start) for line, start in zip(lines, failed, strict=True))
    assert "❌ **Gate failed.**" in comment.read_text()


def test_a_check_passes(
    compared: Compared, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_main(compared, monkeypatch, "main", "--fail-on", "stale,gate")
    assert "Gate passed" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run_main(compared, monkeypatch, "main", "--fail-on", "stail")
    assert "expected stale, gate or stale,gate, got stail" in capsys.readouterr().err


def test_a_gate_that_is_not_known_fails_the_check(compared: Compared, monkeypatch: pytest.MonkeyPatch) -> None:
    (compared.root / "reports/eval_int8.json").unlink()
    with pytest.raises(SystemExit, match=r"failed: gate: reports/eval_int8\.json has no int8_drop\.vs_fp32"):
        run_main(compared, monkeypatch, "main", "--fail-on", "gate")


def test_json_has_what_the_page_has(
    compared: Compared, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compared.report("eval_int8", with_interval(int8=0.85))
    compared.write("src/eval_int8.py", "SCORE = 0.25 # [0, 1]\n")
    run_main(compared, monkeypatch, "main", "--json")
    found = json.loads(capsys.readouterr().out)
    assert (found["gate"]["passed"], found["gate"]["drop"], found["gate"]["max_drop"]) == (True, -0.09, 0.03)
    assert found["stale"][0]["stage"] == "eval-int8"
    assert {"what": "src/eval_int8.py", "state": "modified", "comments_alone": True} in found["stale"][0]["causes"]
    [int8] = [one for one in found["table"] if one["metric"] == "onnx_int8.map50_95"]
    assert (int8["old"], int8["new"], int8["verdict"]) == (0.75, 0.85, "better")
    assert found["differs"]["params"] == {}
    assert found["latencies_not_compared"] == []


def test_the_page_joins_the_run_of_eval_int8(
    compared: Compared, monkeypatch: pytest.MonkeyPatch, empty_store: Path, tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = MlflowClient(uri)
    experiment = client.create_experiment("shrink", (tmp_path / "mlruns").as_uri())
    ran, other = (client.create_run(experiment, tags={"stage": stage}).info.run_id for stage in ("eval_int8", "prune"))
    run_main(compared, monkeypatch, "main", "--mlflow", ran)
    folder = client.download_artifacts(ran, "report", str(tmp_path))
    assert Path(folder, "comparison.md").read_text() == page_of(compared)
    with pytest.raises(SystemExit, match=f"error: run {other}: expected a run of eval_int8, found one of prune"):
        run_main(compared, monkeypatch, "main", "--mlflow", other)
    with pytest.raises(SystemExit, match="error: run nothing: not in"):
        run_main(compared, monkeypatch, "main", "--mlflow", "nothing")


def test_few_rows_are_on_top_and_the_rest_is_folded_and_short_enough(compared: Compared) -> None:
    classes = {f"class {number}": {"map50": number / 1000} for number in range(600)}
    compared.report("train_teacher", {"val": {"map50_95": 0.8, "per_class": classes}})
    compared.report("eval_int8", accuracy(int8=0.5, fp32=0.9))
    compared.report("latency", latency(int8_ms=2.0))
    comparison = compare.compare(compared.root, "main")
    page = write_page(comparison)
    assert len(comparison.table) == len(ROWS) == 8
    assert len([line for line in unfolded(page).splitlines() if line.startswith("|")]) == 2 + 8
    assert f"{len(comparison.metrics) - MOST_LINES} more: `--json` has all." in page
    assert page.count("\n| `") == MOST_LINES
    assert len(page) < 65_536, "GitHub's limit"


def test_pictures(compared: Compared) -> None:
    compared.write("reports/new curve.png", "picture")
    page = page_of(compared, image_base="https://example.org/raw/")
    assert "![reports/new curve.png](https://example.org/raw/reports/new%20curve.png)" in page
    assert "- [reports/new curve.png](reports/new%20curve.png)" in page_of(compared)


def test_no_name_of_a_class_file_or_branch_forges_markdown(compared: Compared) -> None:
    branch, name = "main`<img>|b", "<img>`|\x1b[31m\n| x | 1 |"
    compared.call("git", "branch", branch)
    report = accuracy()
    report["onnx_int8"]["per_class"][name] = {"map50": 0.125}
    compared.report("eval_int8", report)
    compared.report("latency", latency(cpu="<b>`| 1 |\n| x |"))
    compared.write("constraints.txt", "<u>==<u>\n")
    compared.write("params.yaml", "train_teacher:\n  epochs: '<b>`|'\n  '<s>|': 1\neval_int8:\n  max_drop: 0.02\n")
    (compared.root / "reports/a](b) <i>é\n.png").write_bytes(b"\x89PNG")
    compared.commit("forged")
    page = page_of(compared, branch, image_base="https://example.org/raw")

    assert all(one.isprintable() or one == "\n" for one in page)
    for forged in ("<img>", "<b>", "<i>", "<u>", "<s>", "](b)", "main`"):
        assert forged not in page, forged
    [line] = [line for line in page.splitlines() if "0.125" in line and "class" in line]
    assert line.count("|") == 6
    assert "](https://example.org/raw/reports/a%5D%28b%29%20%3Ci%3E%C3%A9%0A.png)" in page


def test_dvc_alone_has_to_be_installed() -> None:
    absent = ("cv2", "mlflow", "numpy", "onnx", "onnxruntime", "pandas", "torch", "ultralytics")
    code = f"import sys; sys.modules.update(dict.fromkeys({absent})); import src.compare, dvc.repo"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)
