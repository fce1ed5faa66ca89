"""The workflow of the code host: who gets its token, which actions run, and which comment is edited."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from src import PROJECT

WORKFLOW = yaml.safe_load((PROJECT / ".github/workflows/ci.yml").read_text())
STEPS = [(job, step) for job, content in WORKFLOW["jobs"].items() for step in content["steps"]]
MARK = "<!-- comment of src.compare -->"

GH = """#!/usr/bin/env python3
import json, os, subprocess, sys
arguments = sys.argv[1:]
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps(arguments) + "\\n")
if "--jq" in arguments:
    expression = arguments[arguments.index("--jq") + 1]
    subprocess.run(["jq", "-r", expression, os.environ["COMMENTS"]], check=True)
"""


def test_one_step_gets_the_token_and_its_job_runs_no_code_of_the_pull_request() -> None:
    with_token = [
        (job, step) for job, step in STEPS if "github.token" in str(step) or "secrets" in str(step.get("env"))
    ]
    assert [job for job, _ in with_token] == ["comment"]
    assert len(WORKFLOW["jobs"]["comment"]["steps"]) == 1
    assert "github.token" not in str([{**content, "steps": []} for content in WORKFLOW["jobs"].values()])
    assert WORKFLOW["permissions"] == {"contents": "read"}
    writing = {job for job, content in WORKFLOW["jobs"].items() if "write" in str(content.get("permissions"))}
    assert writing == {"comment"}


def test_actions_are_pinned_and_leave_no_token_on_the_disk() -> None:
    used = [step for _, step in STEPS if "uses" in step]
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"]) for step in used)
    checkouts = [step for step in used if step["uses"].startswith("actions/checkout@")]
    assert len(checkouts) == 2
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_nothing_of_the_pull_request_is_part_of_a_script() -> None:
    assert not [step["run"] for _, step in STEPS if "${{" in step.get("run", "")]


def test_the_check_fails_after_the_comment_is_written_and_the_comment_is_posted_all_the_same() -> None:
    steps = WORKFLOW["jobs"]["compare"]["steps"]
    [check] = [number for number, step in enumerate(steps) if "--fail-on stale,gate" in step.get("run", "")]
    assert "-o comment.md" in steps[check]["run"]
    writes = steps[check + 1]
    assert writes["id"] == "compare"
    assert "!cancelled()" in writes["if"]
    posts = WORKFLOW["jobs"]["comment"]["if"]
    assert "!cancelled()" in posts
    assert "needs.compare.outputs.comment != ''" in posts
    assert "head.repo.full_name == github.repository" in posts, "forks are checked, and get no comment"


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq stands in for the one in gh")
@pytest.mark.parametrize("has_own", [True, False])
def test_only_the_own_comment_is_edited(tmp_path: Path, has_own: bool) -> None:
    def comment(number: int, login: str, body: str) -> dict[str, Any]:
        return {"id": number, "user": {"login": login}, "body": body}

    bot = "github-actions[bot]"
    comments = [
        comment(1, bot, "of another workflow"),
        *([comment(2, bot, f"{MARK}\nold")] if has_own else []),
        comment(3, "somebody", f"{MARK}\nforged"),
        comment(4, bot, f"quotes {MARK}"),
    ]
    (tmp_path / "comments.json").write_text(json.dumps(comments))
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    [step] = WORKFLOW["jobs"]["comment"]["steps"]
    text = '`$(touch forged)` "quoted"\nsecond line'
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "COMMENTS": str(tmp_path / "comments.json"),
        "COMMENT": text,
        "NUMBER": "7",
        "GITHUB_REPOSITORY": "owner/repository",
    }
    subprocess.run(["bash", "-eo", "pipefail", "-c", step["run"]], cwd=tmp_path, env=environment, check=True)

    listed, written = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert "repos/owner/repository/issues/7/comments" in listed
    method, path = (
        ("PATCH", "repos/owner/repository/issues/comments/2")
        if has_own
        else ("POST", "repos/owner/repository/issues/7/comments")
    )
    assert written == ["api", "--silent", "--method", method, path, "--raw-field", f"body={MARK}\n{text}"]
    assert not (tmp_path / "forged").exists()
