"""Where words can stand: their width, their line breaks, and room for them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path


@lru_cache(4096)
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Return the width of one line of text, in inches."""
    font = FontProperties(family="DejaVu Sans", size=size, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, False)
    return float(width) / 72


def wrap(text: str, width: float, size: float, separator: str = " ") -> list[str]:
    """Break text at separators, and words that are too long, to a width in inches."""
    lines = [""]
    for word in text.split(separator):
        joined = f"{lines[-1]}{separator}{word}" if lines[-1] else word
        if text_width(joined, size) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        while text_width(word, size) > width and len(word) > 1:
            cut = next(
                c
                for c in range(len(word) - 1, 0, -1)
                if c == 1 or text_width(word[:c], size) <= width
            )
            lines[-1:] = [word[:cut], ""]
            word = word[cut:]
        lines[-1] = word
    return lines


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
