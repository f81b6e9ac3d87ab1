"""Fonts of figures, and what they can show.

DejaVu Sans comes with Matplotlib. What it lacks, such as Chinese, is drawn with a font
of the machine where one of ``OTHERS`` is installed; elsewhere it is escaped, so that
labels that differ still differ.
"""

from __future__ import annotations

from functools import cache

from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.ft2font import FT2Font

from experiments.encoding import escaped, visible

OTHERS = (  # with outlines; Matplotlib draws no bitmaps
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback"),
    *("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Segoe UI Symbol"),
    *("Noto Sans", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Emoji", "Symbola"),
)


@cache
def families() -> list[str]:
    """Return the fonts to draw with, in the order in which a character is sought."""
    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in OTHERS if name in installed)]


def legible(text: str) -> str:
    """Return a text in one line, with what no font can show escaped."""
    line = visible(" ".join(text.split()))
    return "".join(
        c if c.isascii() or ord(c) in _characters() else escaped(c) for c in line
    )


@cache
def _characters() -> frozenset[int]:
    """Return what can be shown in normal and in bold weight."""
    weights = [
        frozenset().union(*(_of_font(name, weight) for name in families()))
        for weight in ("normal", "bold")
    ]
    return weights[0] & weights[1]


def _of_font(family: str, weight: str) -> frozenset[int]:
    path = fontManager.findfont(FontProperties(family=[family], weight=weight))
    return frozenset(FT2Font(path).get_charmap())
