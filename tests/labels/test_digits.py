from __future__ import annotations

from itertools import combinations

from sklearn.datasets import load_digits

from src.labels import digits


def test_no_digit_is_in_two_splits() -> None:
    by_split = digits._digits_by_split(0)
    ink = {split: {glyph.tobytes() for glyph in glyphs} for split, (glyphs, _) in by_split.items()}
    assert sum(len(glyphs) for glyphs in ink.values()) == len(load_digits().images), "no two digits are the same"
    assert not any(ink[one] & ink[other] for one, other in combinations(ink, 2))
