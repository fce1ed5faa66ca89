"""README and docs: what they name exists, and the numbers of README are the report's. Examples in docstrings run."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
MODULES = sorted(path for path in (PROJECT / "src").rglob("*.py") if ">>> " in path.read_text())


def rows_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def test_readme_is_short() -> None:
    assert len((PROJECT / "README.md").read_text().splitlines()) <= 150


def test_the_result_in_readme_is_that_of_the_report() -> None:
    readme = (PROJECT / "README.md").read_text()
    shown = rows_of(readme.split("<!-- result")[1].split("<!-- end of result")[0])
    report = (PROJECT / "reports/report.md").read_text()
    assert shown == rows_of(report.split("## The five models, on test")[1].split("##")[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def test_readme_leads_to_every_page() -> None:
    readme = (PROJECT / "README.md").read_text()
    assert not [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in readme]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_name_modules_that_exist(page: Path) -> None:
    for module in re.findall(r"python -m ((?:src|benchmarks|demo)(?:\.\w+)+)", page.read_text()):
        assert (PROJECT / module.replace(".", "/")).with_suffix(".py").is_file(), module


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_examples_in_docstrings(path: Path) -> None:
    name = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
    assert not doctest.testmod(importlib.import_module(name), raise_on_error=False).failed
