"""A comparison as a page of Markdown: what decides is on top, everything else is folded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from src.comparing.changes import Change, Meaning
from src.comparing.comparison import Comparison
from src.comparing.gate import Gate
from src.comparing.origins import Origins, Pairs
from src.comparing.staleness import Cause, StaleStage
from src.evaluation.verdict import LargeDrop, Verdict
from src.reporting.escaping import code, plain
from src.reporting.verdict_words import failure

MOST_GATES, MOST_CAUSES, MOST_PARAMS, MOST_PINS = 3, 3, 10, 5
"""Shown without unfolding, per stage and page."""

MOST_LINES = 150
"""Of a folded list. GitHub refuses comments above 65,536 characters; `--json` has all lines."""

MD5_SHOWN = 8
"""Characters of a digest."""

MARKS = {Meaning.BETTER: "🟢", Meaning.WORSE: "🔴"}


def write_page(comparison: Comparison, image_base: str | None = None) -> str:
    """Return the page.

    Args:
        comparison: what to show.
        image_base: base URL of the pictures, for comments on a code host; None: links relative to the project.
    """
    parts = [
        f"## INT8 detector: this change against {code(comparison.revision)}",
        gate_line(comparison.gate),
        _stale(comparison),
        *(plain(note) + "; it is not compared." for note in comparison.notes),
        _table(comparison),
        _latencies(comparison),
        "### What differs besides results",
        _origins(comparison.origins, comparison.stages),
        _details("More params", _params(_rest(comparison.origins.params, MOST_PARAMS))),
        _details(f"Every metric that changed: {len(comparison.metrics)}", _metrics(comparison.metrics)),
        _details("Code and configs that differ, by stage", _files(comparison.origins)),
        _details(f"Pictures that changed: {len(comparison.pictures)}", _pictures(comparison.pictures, image_base)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def gate_line(gate: Gate) -> str:
    """Return the gates in one line of Markdown."""
    if gate.passed is None:
        return f"❔ **Gate: unknown.** {gate.missing}: run `dvc repro`."
    assert gate.drop is not None
    verdict = "✅ **Gate passed.**" if gate.passed else "❌ **Gate failed.**"
    moved = "loses" if gate.drop > 0 else "gains"
    others = [one for one in gate.verdict.findings if not isinstance(one, LargeDrop)]
    parts = [
        f"{verdict} INT8 {moved} {abs(gate.drop):.4f} of mAP50-95 against ONNX FP32 on test; "
        f"`eval_int8.max_drop` allows a loss of {gate.max_drop}.",
        *(f"{plain(line)}." for line in (failure(Verdict(others[:MOST_GATES])) or "").splitlines()),
    ]
    if len(others) > MOST_GATES:
        parts.append(f"{len(others) - MOST_GATES} more gates fail.")
    if gate.objections:
        proves = "**The run proves nothing**" if gate.proves_nothing else "Objections"
        parts.append(f"{proves}, see reports/report.md: {plain(listed(gate.objections))}.")
    return " ".join(parts)


def _stale(comparison: Comparison) -> str:
    stale, unchecked = comparison.staleness.stages, comparison.staleness.unchecked
    not_here = f"Not checked, because it is not here: {_listed(unchecked)}." if unchecked else ""
    if not stale:
        return f"No stage is stale: dvc.lock records the code, params and data of this side. {not_here}".rstrip()
    lines = [f"- {_stale_stage(one, comparison)}" for one in stale]
    alone = all(cause.comments_alone for one in stale for cause in one.causes) and all(one.causes for one in stale)
    title = (
        f"⚠️ **Stale: {len(stale)} of {comparison.stages} stages.** dvc.lock records other code, params or data than "
        f"this side has, so `dvc repro` {'runs them, with the same results' if alone else 'may give other results'}:"
    )
    return "\n\n".join(part for part in (title, "\n".join(lines), not_here) if part)


def _stale_stage(stale: StaleStage, comparison: Comparison) -> str:
    shown = [_cause(cause) for cause in stale.causes[:MOST_CAUSES]]
    if len(stale.causes) > MOST_CAUSES:
        shown.append(f"{len(stale.causes) - MOST_CAUSES} more")
    before = f" (stale at {code(comparison.revision)}, too)" if stale.stage in comparison.stale_before else ""
    return f"{plain(stale.stage)}{before}: {', '.join(shown) or 'dvc.lock has no run of it'}"


def _cause(cause: Cause) -> str:
    if cause.comments_alone:
        return f"{code(cause.what)} (comments or formatting alone: its meaning is the same, but DVC compares bytes)"
    return f"{code(cause.what)} {cause.state}"


def listed(findings: Sequence[str]) -> str:
    """Return the names of findings in words, equal ones once with their number.

    >>> listed(["StillRising", "StillRising", "StudentAboveTeacher"])
    'still rising (2), student above teacher'
    """
    counts = Counter(re.sub("(?<!^)(?=[A-Z])", " ", name).lower() for name in findings)
    return ", ".join(name if count == 1 else f"{name} ({count})" for name, count in counts.items())


def _table(comparison: Comparison) -> str:
    changed = [change for change in comparison.table if change.verdict != Meaning.SAME]
    if not comparison.table:
        return "Neither side has metrics."
    if not changed:
        return "No metric of the table changed: mAP50-95 of all models, the drop of INT8, its size."
    rows = [[plain(one.title), _shown(one.old), _shown(one.new), _change(one)] for one in comparison.table]
    text = _rows(["", "before", "now", "change"], rows)
    if any(change.verdict == Meaning.NOISE_NOT_KNOWN for change in changed):
        text += (
            "\n\nNoise is not known where no report gives an interval. Such a change is not coloured: sweep "
            "`seed=0,1,2` before you believe it."
        )
    if any(change.verdict in (Meaning.BETTER, Meaning.WORSE) and "map50_95" in change.metric for change in changed):
        text += (
            "\n\nThe noise of mAP50-95 is that of the test images. Another seed of the training may move it, too: "
            "sweep `seed=0,1,2` before you believe a gain."
        )
    return text


def _latencies(comparison: Comparison) -> str:
    reasons = "; ".join(plain(reason) for reason in comparison.other_conditions)
    return f"Latencies and speedups are not compared: {reasons}." if reasons else ""


def _change(change: Change) -> str:
    if change.difference is None or change.verdict == Meaning.SAME:
        return change.verdict.value
    moved = f"{change.difference:+.3g}"
    match change.verdict:
        case Meaning.BETTER | Meaning.WORSE:
            return f"{'▲' if change.difference > 0 else '▼'} {moved} {MARKS[change.verdict]}"
        case Meaning.WITHIN_NOISE:
            return f"{moved}, within noise (±{change.noise:.2g})"
        case Meaning.CHANGED:
            return moved
    return f"{moved}, {change.verdict.value}"


def _origins(found: Origins, stages: int) -> str:
    """Return what differs, in a table of values and lines for the rest. `stages`: how many there are."""
    rows = [
        *_pair_rows("param ", _first(found.params, MOST_PARAMS)),
        *([["processor", *(_shown(value) for value in pair)] for pair in found.processor.values()]),
        *_pair_rows("version of ", found.versions),
        *_pair_rows("data ", {path: (_short(old), _short(new)) for path, (old, new) in found.data.items()}),
    ]
    lines = [
        _stages("The code that ran differs", found.code, stages),
        _stages("Files of conf/ differ", found.configs, stages),
        _pins(found.pins),
        _same_models(found),
    ]
    shown = _rows(["", "before", "now"], rows) if rows else ""
    return "\n\n".join(part for part in (_start(found), shown, *lines) if part)


def _start(found: Origins) -> str:
    """Return what opens the section: that no param changed never stands alone."""
    of_lock = ", data and the code that ran" if found.recorded else ""
    rest = f"processor, versions{of_lock} are the same"
    if found.any_besides_params:
        return "" if found.params else "No param changed, but this differs:"
    return f"Params alone: {rest}." if found.params else f"Nothing: params, {rest} on both sides."


def _stages(what: str, found: Mapping[str, Any], of: int) -> str:
    if not found:
        return ""
    return f"{what} in {f'all {of} stages' if len(found) == of else _listed(found)}."


def _pair_rows(what: str, pairs: Pairs) -> list[list[str]]:
    return [[f"{what}{code(key)}", _shown(old), _shown(new)] for key, (old, new) in pairs.items()]


def _params(pairs: Pairs) -> str:
    return _rows(["", "before", "now"], _pair_rows("param ", pairs)) if pairs else ""


def _pins(pins: Pairs) -> str:
    if not pins:
        return ""
    shown = [
        f"{code(name)} {plain(old or 'none')} → {plain(new or 'none')}"
        for name, (old, new) in _first(pins, MOST_PINS).items()
    ]
    more = f" and {len(pins) - MOST_PINS} more" if len(pins) > MOST_PINS else ""
    return f"Pinned versions (constraints.txt) differ: {', '.join(shown)}{more}."


def _same_models(found: Origins) -> str:
    models = sorted(path for path in found.same_files if path.startswith("models/"))
    return f"The same bytes on both sides: {_listed(models)}." if models else ""


def _metrics(changes: Sequence[Change]) -> str:
    rows = [
        [code(one.report.removeprefix("reports/")), code(one.metric), _shown(one.old), _shown(one.new), _change(one)]
        for one in changes[:MOST_LINES]
    ]
    return _capped(_rows(["report", "metric", "before", "now", "change"], rows), len(changes)) if rows else ""


def _files(found: Origins) -> str:
    return "\n".join(
        f"- {plain(stage)}: {_listed([*found.code.get(stage, []), *found.configs.get(stage, [])])}"
        for stage in {**found.code, **found.configs}
    )


def _pictures(names: Sequence[str], image_base: str | None) -> str:
    links = {name: quote(name, errors="surrogateescape") for name in names[:MOST_LINES]}
    lines = [
        f"![{plain(name)}]({image_base.rstrip('/')}/{link})" if image_base else f"- [{plain(name)}]({link})"
        for name, link in links.items()
    ]
    return _capped("\n".join(lines), len(names)) if lines else ""


def _capped(text: str, lines: int) -> str:
    return f"{text}\n\n{lines - MOST_LINES} more: `--json` has all." if lines > MOST_LINES else text


def _details(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>" if body else ""


def _rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(code(name) for name in names)


def _first(pairs: Pairs, number: int) -> Pairs:
    return dict(list(pairs.items())[:number])


def _rest(pairs: Pairs, number: int) -> Pairs:
    return dict(list(pairs.items())[number:])


def _short(md5: str | None) -> str | None:
    return None if md5 is None else md5[:MD5_SHOWN]


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return code(str(value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
