"""What the panels of these figures show: curves, bars, small images, lines of text.

Each function returns a painter, which is given the panel to paint on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from experiments.lessons.looks import (
    BLACK,
    BLUE,
    DASHED,
    DOTTED,
    ORANGE,
    draw,
    log_x,
    style,
)
from experiments.plots.canvas import BODY, TICK
from experiments.plots.fonts import legible
from experiments.plots.scales import format_count
from experiments.plots.style import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from experiments.plots.panel import Panel

    Painter = Callable[[Panel], None]
    Spot = tuple[float, float]

COLOURS = (BLUE, ORANGE, BLACK)
_LOOKS = (style(BLUE, "o"), style(ORANGE, "^", DASHED), style(BLACK, "s", DOTTED))
_LINE = 0.07  # of the height of a panel


def curves(
    lines: Mapping[str, Sequence[Spot]],
    x: str,
    y: str = "",
    *,
    key: Spot = (0.06, 0.12),
    within: Spot = (0.0, 1.0),
    ticks: Sequence[float] = (),
    joined: bool = True,
    rule: float | None = None,
    level: tuple[float, str] | None = None,
) -> Painter:
    """Draw shares against something.

    Parameters
    ----------
    key : where the names of the curves begin, as shares of the panel; upwards
    within : what the y axis spans, at least
    ticks : of a logarithmic x axis; without, it is linear
    joined : by lines; else marks alone
    rule, level : a dotted line upright at x, and one at y with its name
    """

    def paint(panel: Panel) -> None:
        for row, ((name, spots), look) in enumerate(
            zip(lines.items(), _LOOKS, strict=False)
        ):
            draw(panel, look, spots, **({} if joined else {"ls": "none", "ms": 6}))
            if name:
                at = key[0], key[1] + _LINE * row
                panel.ax.plot(
                    *at, look.marker, color=look.colour, transform=panel.ax.transAxes
                )
                inside(panel.ax, (at[0] + 0.04, at[1]), name, look.text)
        if ticks:
            log_x(panel.ax, ticks)
        margin = 0.04 * (within[1] - within[0])
        panel.ax.set_ylim(within[0] - margin, within[1] + margin)
        panel.ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        panel.ax.yaxis.set_major_formatter(FuncFormatter(_percent))
        if rule is not None:
            panel.ax.axvline(rule, color=INK, lw=1.1, ls=":")
        if level is not None:
            panel.ax.axhline(level[0], color=INK, lw=1.1, ls=":")
            end = panel.ax.get_xlim()[1], level[0]
            say(panel.ax, end, level[1], INK, ha="right", xytext=(0, 4))
        names(panel.ax, x, y)

    return paint


def histogram(
    parts: Mapping[str, NDArray[Any]],
    edges: NDArray[np.float64],
    x: str,
    y: str = "",
    *,
    key: Spot = (0.4, 0.93),
    log: bool = False,
    density: bool = False,
    rule: float | None = None,
) -> Painter:
    """Draw outlines of histograms; what lies beyond the last edge is in the last bar.

    ``key`` is where their names begin, as shares of the panel; downwards.
    """

    def paint(panel: Panel) -> None:
        for row, ((name, values), colour) in enumerate(
            zip(parts.items(), COLOURS[1:], strict=False)
        ):
            kept = np.clip(values, edges[0], (edges[-2] + edges[-1]) / 2)
            panel.ax.hist(
                kept, [*edges], density=density, histtype="step", color=colour, lw=1.6
            )
            inside(panel.ax, (key[0], key[1] - _LINE * row), name, colour)
        if log:
            panel.ax.set_yscale("log")
            panel.ax.yaxis.set_major_formatter(FuncFormatter(_count))
            panel.ax.yaxis.set_minor_formatter(NullFormatter())
        if density:
            panel.ax.set_yticks([])
        if rule is not None:
            panel.ax.axvline(rule, color=INK, lw=1.1, ls=":")
        names(panel.ax, x, y)

    return paint


def bars(
    rows: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    level: float | None = None,
) -> Painter:
    """Draw shares as horizontal bars, those of one row together; 1 is full width."""

    def paint(panel: Panel) -> None:
        high = 0.7 / len(parts)
        for i, (part, colour) in enumerate(zip(parts, COLOURS, strict=False)):
            for row, share in enumerate(parts[part]):
                at = row + high * (i - (len(parts) - 1) / 2)
                panel.ax.barh(at, share, 0.9 * high, color=colour)
                place: dict[str, Any] = {"va": "center", "xytext": (4, 0)}
                say(panel.ax, (share, at), f"{share:.0%}", INK, **place)
        below = 0.55 * len(parts) if any(parts) else 0.0
        panel.ax.set_ylim(len(rows) - 0.5 + below, -0.5)
        for i, part in enumerate(filter(None, parts)):
            at = len(rows) - 0.15 + 0.45 * i
            say(panel.ax, (1.05, at), part, COLOURS[i], ha="right", xytext=(0, 0))
        if level is not None:
            panel.ax.axvline(level, color=INK, ls=":", lw=1.2)
        panel.ax.set_yticks(range(len(rows)), rows)
        panel.ax.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
        panel.ax.set_xlim(0, 1.05)
        panel.ax.grid(False, axis="y")

    return paint


def gallery(
    images: NDArray[Any], columns: int, beside: Sequence[str] = (), line: bool = False
) -> Painter:
    """Lay small images (n, height, width[, 3]) out in rows, 1 is ink where grey.

    Parameters
    ----------
    beside : words to the right of each row
    line : part the first column from the others
    """
    _, high, wide, *colours = images.shape
    rim = 3 if colours else 2
    sheet = mosaic(images, columns, float(bool(colours)), rim)

    def paint(panel: Panel) -> None:
        ax = panel.ax
        picture(ax, sheet)
        if line:
            after = wide + (rim - 1) / 2
            ax.plot([after] * 2, [-0.5, len(sheet) - 0.5], color=ORANGE, lw=2)
        if beside:
            ax.set_xlim(-0.5, 1.25 * sheet.shape[1])
        for row, text in enumerate(beside):
            at = sheet.shape[1], (high + rim) * row + high / 2
            say(ax, at, text, INK, va="center", xytext=(6, 0))

    return paint


def percents(counts: NDArray[Any], x: str, y: str) -> Painter:
    """Show a matrix of counts, in percent of each row."""
    shares = counts / counts.sum(axis=1, keepdims=True)

    def paint(panel: Panel) -> None:
        panel.ax.grid(False)
        panel.ax.imshow(shares, cmap="Greys", vmin=0, vmax=1.6)  # words stay readable
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.005:
                panel.ax.text(
                    column, row, f"{100 * share:.0f}", size=TICK - 2, color=INK,
                    ha="center", va="center",
                )  # fmt: skip
        panel.ax.set_xticks(range(shares.shape[1]))
        panel.ax.set_yticks(range(len(shares)))
        panel.ax.set_anchor("NW")
        names(panel.ax, x, y)

    return paint


def listing(groups: Sequence[Sequence[str]], first: str = INK) -> Painter:
    """Write groups of lines from the top; lines of a group differ in colour."""

    def paint(panel: Panel) -> None:
        panel.ax.set_axis_off()
        at = 0.0
        for group in groups:
            for text, colour in zip(group, (first, *COLOURS), strict=False):
                at -= 1.5 * TICK
                place: dict[str, Any] = {"xycoords": "axes fraction"}
                say(panel.ax, (0, 1), text, colour, xytext=(0, at), **place)
            at -= 0.8 * TICK

    return paint


# --- what painters are made of --------------------------------------------------------


def mosaic(images: NDArray[Any], columns: int, paper: float, rim: int) -> NDArray[Any]:
    """Return images (n, height, width[, 3]) as one, in rows, ``rim`` pixels apart."""
    n, high, wide, *colours = images.shape
    rows = -(-n // columns)
    shape = rows * (high + rim) - rim, columns * (wide + rim) - rim, *colours
    sheet = np.full(shape, paper, images.dtype)
    for i, image in enumerate(images):
        top, left = (high + rim) * (i // columns), (wide + rim) * (i % columns)
        sheet[top : top + high, left : left + wide] = image
    return sheet


def picture(ax: Axes, image: NDArray[Any]) -> None:
    """Show an image, as large as there is room, without axes."""
    ax.grid(False)
    ax.set_axis_off()
    ax.imshow(image, cmap="Greys", interpolation="nearest")
    ax.set_anchor("NW")


def names(ax: Axes, x: str, y: str = "") -> None:
    """Name the axes."""
    ax.set_xlabel(x, size=BODY, color=INK, labelpad=5)
    ax.set_ylabel(y, size=BODY, color=INK, labelpad=5)


def say(ax: Axes, at: Spot, text: str, colour: str, **how: Any) -> None:
    """Write beside a point of the data."""
    place: dict[str, Any] = {"xytext": (5, 5), "textcoords": "offset points"}
    ax.annotate(legible(text), at, color=colour, size=TICK, **place | how)


def inside(ax: Axes, at: Spot, text: str, colour: str) -> None:
    """Write at a place that is given in shares of the panel."""
    where: dict[str, Any] = {"xycoords": "axes fraction", "va": "center"}
    say(ax, at, text, colour, xytext=(0, 0), **where)


def _count(y: float, _: object) -> str:
    return format_count(y)


def _percent(y: float, _: object) -> str:
    return f"{100 * y:g} %"
