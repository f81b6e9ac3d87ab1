"""How a curve looks: colours, markers, dashes.

Colour tells the family of an index, marker and dashes tell its implementation; marks
are hollow where vectors are compressed. Fill and tone tell apart the curves that share
all of these, so that nothing rests on colour alone. The colours are those of Okabe and
Ito that keep a contrast of 3:1 on white, and a violet for quantized graphs; families
beyond the registry are grey.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from matplotlib.colors import to_hex, to_rgb

Dash = str | tuple[float, tuple[float, ...]]
Fill = Literal["full", "none", "left", "right", "bottom", "top"]

INK, SOFT, GRID, SLOT = "#222222", "#5f5f5f", "#e4e4e4", "#f3f3f3"
FAMILY_COLOURS = {
    "Flat": "#000000",
    "Flat+codec": "#000000",
    "IVF": "#D55E00",
    "IVF+codec": "#CC79A7",
    "HNSW": "#0072B2",
    "HNSW+codec": "#009E73",
    "Graph+codec": "#7A52B3",
}
OTHER_COLOUR = "#767676"

OURS = "ann"
USES = ("#e9f0f7", "#f5efe2", "#e8f3ec", "#f6e9ee", "#efeaf5")  # in turns
PEERS: dict[str, tuple[str, Dash]] = {
    "hnswlib": ("s", (0, (3, 1.4))),
    "faiss": ("^", (0, (5, 1.6))),
    "pynndescent": ("D", (0, (1.2, 1.2))),
    "usearch": ("v", (0, (4, 1.2, 1.2, 1.2))),
    "svs": ("P", (0, (6, 2))),
    "rabitqlib": ("X", (0, (2, 1, 5, 1))),
    "glass": ("d", (0, (3, 1, 1, 1, 1, 1))),
}
OTHERS: Sequence[tuple[str, Dash]] = (
    ("<", (0, (5, 1.4, 1.2, 1.4))),
    (">", (0, (3, 1.2, 1.2, 1.2))),
    ("p", (0, (2, 2))),
)
FILLS: Sequence[Fill] = ("full", "left", "bottom")
CODEC_FILLS: Sequence[Fill] = ("none", "right", "top")
TONES = (0.0, -0.4, 0.3, -0.2, 0.5)  # towards black (negative) or white


class Style(NamedTuple):
    """How one curve is drawn."""

    colour: str
    text: str  # the same colour, dark enough to read
    marker: str
    fill: Fill
    dash: Dash
    width: float
    size: float
    ours: bool


def styles(members: Sequence[tuple[str, str]]) -> list[Style]:
    """Give each (family, library) a style; repeats differ in fill and tone."""
    unknown = sorted({library for _, library in members} - {OURS, *PEERS})
    peers = PEERS | {
        library: OTHERS[i % len(OTHERS)] for i, library in enumerate(unknown)
    }
    seen: Counter[tuple[str, str]] = Counter()
    drawn = []
    for family, library in members:
        repeat = seen[family, library]
        seen[family, library] += 1
        base = FAMILY_COLOURS.get(family, OTHER_COLOUR)
        tone = TONES[repeat % len(TONES)]
        fills = CODEC_FILLS if family.endswith("+codec") else FILLS
        ours = library == OURS
        marker, dash = ("o", "-") if ours else peers[library]
        drawn.append(
            Style(
                colour=shade(base, tone),
                text=shade(base, min(-0.3, tone)),
                marker=marker,
                fill=fills[repeat % len(fills)],
                dash=dash,
                width=1.9 if ours else 1.1,
                size=4.8 if ours else 4.2,
                ours=ours,
            )
        )
    return drawn


def look(style: Style) -> dict[str, Any]:
    """Return a style as the keywords of a Matplotlib line."""
    return {
        "color": style.colour,
        "lw": style.width,
        "ls": style.dash,
        "marker": style.marker,
        "ms": style.size,
        "fillstyle": "full" if style.fill == "none" else style.fill,
        "mfc": "white" if style.fill == "none" else style.colour,
        "markerfacecoloralt": "white",
        "mec": style.colour,
        "mew": 1.0 if style.fill == "full" else 1.3,
        "solid_capstyle": "butt",
    }


def shade(colour: str, share: float) -> str:
    """Mix a colour with white (share > 0) or with black (share < 0)."""
    goal = 1.0 if share > 0 else 0.0
    red, green, blue = (c + (goal - c) * abs(share) for c in to_rgb(colour))
    return to_hex((red, green, blue))
