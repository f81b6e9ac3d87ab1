"""How the curves of lessons look, and axes that their figures share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from experiments.plots.canvas import BODY
from experiments.plots.scales import format_count
from experiments.plots.sheet import End, Sheet
from experiments.plots.style import FAMILY_COLOURS, INK, Dash, Fill, Style, look, shade

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from experiments.plots.panel import Panel

BLACK, BLUE, GREEN, ORANGE, PINK = (
    FAMILY_COLOURS[name] for name in ("Flat", "HNSW", "HNSW+codec", "IVF", "IVF+codec")
)
DASHED: Dash = (0, (4, 1.5))
DOTTED: Dash = (0, (1.2, 1.2))
Spot = tuple[float, float]


class Series(NamedTuple):
    """A curve: its name, how it looks, and its points on each panel."""

    name: str
    style: Style
    points: Sequence[Sequence[Spot]]


def style(colour: str, marker: str, dash: Dash = "-", hollow: bool = False) -> Style:
    """Return a style; hollow marks and dashes help where colour does not."""
    fill: Fill = "none" if hollow else "full"
    text = shade(colour, -0.3)
    return Style(colour, text, marker, fill, dash, 1.6, 4.6, True)


def plot(sheet: Sheet, series: Iterable[Series]) -> None:
    """Draw the curves on their panels, and name them at the ends of the last."""
    series, last = list(series), sheet.panels[-1]
    for each in series:
        for panel, points in zip(sheet.panels, each.points, strict=True):
            draw(panel, each.style, points)
    last.ax.autoscale_view()  # places are known when the axes stay as they are
    sheet.name(
        [
            End(each.name, each.style, last.place(*each.points[-1][-1]))
            for each in series
            if each.points[-1]
        ]
    )


def draw(panel: Panel, of: Style, points: Sequence[Spot], **how: Any) -> None:
    """Draw one curve; no points draw nothing."""
    if points:
        xs, ys = zip(*points, strict=True)
        panel.ax.plot(xs, ys, **look(of) | how)


def log_x(ax: Axes, ticks: Sequence[float], room: float = 1.25) -> None:
    """Make x logarithmic, with these ticks and no others."""
    ax.set_xscale("log")
    ax.set_xlim(min(ticks) / room, max(ticks) * room)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(ticks, [format_count(tick) for tick in ticks])


def shares(ax: Axes, most: float = 1.0, room: float = 0.05) -> None:
    """Make y an axis of shares from 0, in percent."""
    ax.set_ylim(-room * most, (1 + room) * most)
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g} %"))


def x_name(panel: Panel, name: str) -> None:
    """Name the x axis of one panel."""
    panel.ax.set_xlabel(name, size=BODY, color=INK, labelpad=5)
