"""Where words can stand: their width, their line breaks, and room for them."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from experiments.plots.fonts import families, legible


@lru_cache(4096)
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Return the width of one line of text, in inches."""
    font = FontProperties(family=families(), size=size, weight=weight)
    line = legible(text)
    width, _, _ = text_to_path.get_text_width_height_descent(line, font, False)
    return float(width) / 72


def wrap(text: str, width: float, size: float, separator: str = " ") -> list[str]:
    """Break text at separators, and words that are too long, to a width in inches."""
    lines = [""]
    for word in legible(text).split(separator):
        joined = f"{lines[-1]}{separator}{word}" if lines[-1] else word
        if text_width(joined, size) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        while text_width(word, size) > width and len(word) > 1:
            cut = _cut(word, width, size)
            lines[-1:] = [word[:cut], ""]
            word = word[cut:]
        lines[-1] = word
    return lines


def _cut(word: str, width: float, size: float) -> int:
    """Return how many letters of a word fit on a line, at least one."""
    return max(1, _fitting(len(word), width, lambda n: text_width(word[:n], size)))


def shorten(text: str, width: float, size: float, weight: str = "normal") -> str:
    """Return a text of at most so many inches: its two ends, where it is wider."""
    text = legible(text)
    if text_width(text, size, weight) <= width:
        return text

    def ends(kept: int) -> str:
        return f"{text[: kept - kept // 3]}…{text[len(text) - kept // 3 :]}"

    return ends(_fitting(len(text), width, lambda n: text_width(ends(n), size, weight)))


def _fitting(most: int, width: float, width_of: Callable[[int], float]) -> int:
    """Return the greatest number below ``most`` of so many letters that fit, or 0."""
    return max(0, bisect_right(range(most), width, key=width_of) - 1)


def wrap_names(
    names: Iterable[str], width: float, size: float, most: int = 4
) -> dict[str, list[str]]:
    """Break each name into lines of a width in inches, about ``most`` of them.

    Longer names lose their middle, unless two of them would become one.
    """
    short = {name: shorten(name, 0.9 * most * width, size) for name in names}
    alike = Counter(short.values())
    return {
        name: wrap(text if alike[text] == 1 else name, width, size)
        for name, text in short.items()
    }


def spread(
    centres: Sequence[float], heights: Sequence[float], low: float, high: float
) -> list[float]:
    """Push intervals apart, as little as possible, and keep them in [low, high].

    The centres that minimise the squared displacement under the order of the wishes
    and no overlap: with the heights taken out it is isotonic regression, solved by
    pooling adjacent violators. Ties keep the order of the arguments. Where the
    heights exceed the room, they are stacked from ``low`` and stick out.
    """
    order = sorted(range(len(centres)), key=lambda i: centres[i])
    offsets: list[float] = []  # of each centre above the first interval's low edge
    total = 0.0
    for i in order:
        offsets.append(total + heights[i] / 2)
        total += heights[i]
    pools: list[tuple[float, int]] = []  # mean wish, members
    for i, offset in zip(order, offsets, strict=True):
        mean, size = centres[i] - offset, 1
        while pools and pools[-1][0] > mean:
            other, members = pools.pop()
            mean = (mean * size + other * members) / (size + members)
            size += members
        pools.append((mean, size))
    wishes = [mean for mean, size in pools for _ in range(size)]
    placed = [0.0] * len(centres)
    for i, offset, wish in zip(order, offsets, wishes, strict=True):
        placed[i] = max(low, min(wish, high - total)) + offset
    return placed


class Box(NamedTuple):
    """A rectangle, in inches."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: Box) -> bool:
        """Return whether the two rectangles overlap."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )

    def within(self, other: Box) -> bool:
        """Return whether this rectangle lies inside the other."""
        return (
            other.left <= self.left
            and self.right <= other.right
            and other.bottom <= self.bottom
            and self.top <= other.top
        )


def staircase(points: Sequence[tuple[float, float]], pad: float) -> list[Box]:
    """Return the boxes that a staircase (steps-pre) through points covers."""
    boxes = [Box(x - pad, y - pad, x + pad, y + pad) for x, y in points]
    for (x0, y0), (x1, y1) in pairwise(points):
        low, high = min(y0, y1), max(y0, y1)
        boxes.append(Box(x0 - pad / 2, low, x0 + pad / 2, high))
        boxes.append(Box(x0, y1 - pad / 2, x1, y1 + pad / 2))
    return boxes
