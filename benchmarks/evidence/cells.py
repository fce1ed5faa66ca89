"""What stands in the cells of the page's tables, and below them."""

from __future__ import annotations

import statistics

from benchmarks.evidence.rows import Result
from src.evaluation.bootstrap import Difference


def verdict(gained: Difference | None) -> str:
    """Return the word for a difference.

    >>> verdict(Difference(0.02, 0.01, 0.03)), verdict(Difference(0.02, -0.01, 0.05)), verdict(None)
    ('gains', 'within noise', 'one seed: no interval')
    """
    if gained is None:
        return "one seed: no interval"
    if gained.is_noise:
        return "within noise"
    return "gains" if gained.low > 0 else "loses"


def shown(gained: Difference | None) -> str:
    """Return a difference in points.

    >>> shown(Difference(0.0123, -0.01, 0.05))
    '+1.2 [-1.0, +5.0]'
    """
    if gained is None:
        return ""
    return f"{100 * gained.gained:+.1f} [{100 * gained.low:+.1f}, {100 * gained.high:+.1f}]"


def share(values: list[float], whole: float) -> str:
    """Return the share of their mean in a whole, percent.

    >>> share([40, 50], 50), share([0.0], 0.0)
    ('90.0%', 'nothing to compare with')
    """
    return f"{statistics.mean(values) / whole:.1%}" if whole else "nothing to compare with"


def stale_word(reasons: tuple[str, ...]) -> str:
    """Return the mark of a stale row, with what differs; nothing where nothing does.

    >>> stale_word(("code", "data")), stale_word(())
    ('**stale**: code, data', '')
    """
    return f"**stale**: {', '.join(reasons)}" if reasons else ""


def made_by(results: list[Result], split: str = "") -> str:
    """Return a line with the test images, the machines and the commits of results."""
    machines = sorted({_machine(one) for one in results})
    commits = sorted({str(one.content["made"]["commit"])[:10] for one in results})
    changed = any(one.content["made"]["changed_since_commit"] for one in results)
    images = (results[0].content[split] if split else results[0].content)["test"]["images"]
    told = f"{images} test images; {'; '.join(machines)}; commits {', '.join(commits)}"
    return f"{told}{', with changes since' if changed else ''}."


def _machine(one: Result) -> str:
    made = one.content["made"]
    return (
        f"{made['device'] if made['device'] != 'cpu' else made['cpu']}, {made['threads']} threads, {made['precision']}"
    )


def spread(percent: list[float]) -> str:
    """Return mean and standard deviation over seeds.

    >>> spread([50.0, 52.0]), spread([50.0])
    ('51.0 ± 1.4', '50.0')
    """
    mean = f"{statistics.mean(percent):.1f}"
    return f"{mean} ± {statistics.stdev(percent):.1f}" if len(percent) > 1 else mean


def span(numbers: list[int]) -> str:
    """Return the least and the greatest of numbers.

    >>> span([40, 60]), span([40, 40])
    ('40 to 60', '40')
    """
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
