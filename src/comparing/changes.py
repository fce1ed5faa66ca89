"""A metric on both sides, and what its change can be believed to mean."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Meaning(StrEnum):
    """What a change means. Only BETTER and WORSE are coloured."""

    BETTER = "better"
    WORSE = "worse"
    WITHIN_NOISE = "within noise"
    SAME_FILE = "within noise: the same file on both sides"
    NOISE_NOT_KNOWN = "noise not known"
    SAME = "same"
    NEW = "new"
    GONE = "gone"
    NOT_COMPARED = "not compared"
    CHANGED = "changed"


@dataclass(frozen=True)
class Change:
    """A metric, before and now; None on the side that does not have it.

    Attributes:
        title: its name for people.
        report: the path of its report.
        metric: its dotted path there.
        old: before.
        new: now.
        verdict: what the change means.
        noise: the largest change that is noise; None if it is not known, or nothing is compared.
    """

    title: str
    report: str
    metric: str
    old: float | None
    new: float | None
    verdict: Meaning
    noise: float | None = None

    @property
    def difference(self) -> float | None:
        """The new value minus the old one; None if a side has none."""
        return None if self.old is None or self.new is None else self.new - self.old


def present(old: float | None, new: float | None) -> Meaning | None:
    """Return the verdict that needs no noise: same, new or gone; None if both sides have it, with other values."""
    if old is None:
        return Meaning.NEW
    if new is None:
        return Meaning.GONE
    return Meaning.SAME if old == new else None


def judged(old: float, new: float, noise: float | None, higher_is_better: bool) -> Meaning:
    """Return the verdict on a change.

    Args:
        old: the value before.
        new: the value now.
        noise: the largest change that is noise; None: not known.
        higher_is_better: the direction of the metric.

    >>> judged(0.70, 0.75, noise=0.02, higher_is_better=True).value
    'better'
    >>> judged(0.70, 0.71, noise=0.02, higher_is_better=True).value
    'within noise'
    """
    if noise is None:
        return Meaning.NOISE_NOT_KNOWN
    if abs(new - old) <= noise:
        return Meaning.WITHIN_NOISE
    return Meaning.BETTER if (new > old) == higher_is_better else Meaning.WORSE
