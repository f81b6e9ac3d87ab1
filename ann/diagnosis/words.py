"""Figures as they are written in sentences."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from ann.diagnosis.finding import SHOWN

LISTED = 5  # rows or columns in a sentence


def number(value: float) -> str:
    """Write a measure with three digits, or all before the point: 0.125, 3,514."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def percent(share: float) -> str:
    """Write a share so that neither 0 nor 100 is written of what is neither."""
    for digits in range(6):
        text = f"{100 * share:.{digits}f}"
        if share in (0, 1) or float(text) not in (0, 100):
            break
    return f"{text} %"


def part(count: int, n: int, noun: str = "") -> str:
    """Write how many of how many: 12 of 2,000 rows (0.6 %)."""
    return f"{count:,} of {n:,}{' ' * bool(noun)}{noun} ({percent(count / n)})"


def listed(words: Sequence[Any], count: int) -> str:
    """Write the first few of ``count``."""
    return ", ".join(map(str, words[:LISTED])) + (", …" if count > LISTED else "")


def first(places: NDArray[Any]) -> tuple[int, ...]:
    """Return the first few as a finding keeps them."""
    return tuple(int(place) for place in places[:SHOWN])
