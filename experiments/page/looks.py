"""The looks of :mod:`experiments.plots.style`, in the words of Plotly.

Plotly has no half-filled marks; a dot takes the place of the second half. On a dark
ground the same hues are lighter: what is darkest on paper is lightest on a screen.
"""

from __future__ import annotations

import colorsys
from typing import Any

from matplotlib.colors import to_hex, to_rgb

from experiments.plots.style import Dash, Fill, Style

SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "d": "diamond-tall",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "<": "triangle-left",
    ">": "triangle-right",
    "p": "pentagon",
}
VARIANTS: dict[Fill, str] = {
    "full": "",
    "left": "-dot",
    "bottom": "-dot",
    "none": "-open",
    "right": "-open-dot",
    "top": "-open-dot",
}
PIXELS = 1.6  # of a point of print, on a screen
DARK_LIGHTNESS = (0.92, 0.8, 0.6)  # of black, how much less of white, at least


def look(style: Style) -> dict[str, Any]:
    """Return a style as the page's JavaScript reads it."""
    width = style.width * PIXELS
    return {
        "light": style.colour,
        "dark": on_dark(style.colour),
        "symbol": SYMBOLS[style.marker] + VARIANTS[style.fill],
        "dash": _dash(style.dash, width),
        "width": round(width, 2),
        "size": round(style.size * PIXELS, 2),
        "ours": style.ours,
    }


def on_dark(colour: str) -> str:
    """Return a colour of the same hue that can be told on a dark ground."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*to_rgb(colour))
    most, slope, least = DARK_LIGHTNESS
    lightness = max(least, most - slope * lightness)
    return to_hex(colorsys.hls_to_rgb(hue, lightness, saturation))


def _dash(dash: Dash, width: float) -> str:
    """Return dashes, which are in widths of the line, in pixels."""
    if isinstance(dash, str):
        return "solid"
    return ",".join(f"{part * width:.1f}px" for part in dash[1])
