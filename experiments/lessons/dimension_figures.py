"""Figures of the lesson on dimension."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.lessons import dimension
from experiments.lessons.dimension import MANIFOLD, MANIFOLDS
from experiments.lessons.looks import (
    BLACK,
    BLUE,
    DASHED,
    DOTTED,
    GREEN,
    ORANGE,
    PINK,
    Series,
    log_x,
    plot,
    shares,
    style,
    x_name,
)
from experiments.plots.canvas import TICK
from experiments.plots.scales import format_count, log_limits
from experiments.plots.scene import in_words, origin
from experiments.plots.sheet import Heading, Sheet
from experiments.plots.style import SOFT, shade

if TYPE_CHECKING:
    from experiments.lessons.dimension import Contrast, Distances
    from experiments.plots.panel import Panel

    Measure = Callable[[Contrast], float]

STYLES = {
    dimension.NOISE: style(BLACK, "o"),
    dimension.WINDOWS: style(BLUE, "s"),
    dimension.CUT: style(ORANGE, "^", DASHED),
    dimension.PROJECTED: style(PINK, "v", DASHED),
    **{
        MANIFOLD.format(i): style(GREEN, marker, DOTTED, hollow=True)
        for i, marker in zip(MANIFOLDS, "dDp", strict=True)
    },
}
_TICKS = (2, 8, 32, 128, 512, 2048)
_GAP = 0.8
_WIDTH = (
    "{n:,} rows of each set, Euclidean distances. Contrast: the mean distance over the "
    "mean distance to the nearest (He et al. 2012); spread: the median over rows of "
    "(greatest − least) / least (Beyer et al. 1999); hubness: the skewness of how "
    "often a row is among the ten nearest of others (Radovanović et al. 2010), which "
    "hangs on the few greatest hubs. Dotted: contrast 1, where all is equally far."
)
_EXPLAINED = (
    "Left and middle: against the median local intrinsic dimension, by 100 neighbours "
    "(Amsaleg et al. 2015), in place of the width. Middle: the share of the rows that "
    "are among the ten nearest of no other. Right: that dimension against the width; "
    "dotted, where both are equal. High dimensions are underestimated: it would take "
    "many more rows to see them."
)
_SPIKE = (
    "Distances of 500 rows to all others, in units of each row's mean. Dashed lines: "
    "the mean distance to the nearest. Noise gathers around 1; windows of photographs "
    "of the same width do not."
)


def draw(
    tables: Mapping[str, Sequence[Any]], stamp: Mapping[str, Any], out: Path
) -> list[Path]:
    """Draw the figures of all tables; return the paths of PNG and SVG files."""
    lines, told = tables[dimension.CONTRAST], origin(stamp)
    return [
        *_spike(tables[dimension.DISTANCES], told, out / "distances"),
        *_width(lines, told, out / "width"),
        *_explained(lines, told, out / "explained"),
    ]


def _width(lines: Sequence[Contrast], origin: Sequence[str], stem: Path) -> list[Path]:
    title = "Wider vectors lose contrast, unless they only look wide"
    facts = [f"n = {lines[0].n:,}", *origin]
    panels = ["contrast – mean / least", "spread – (most − least) / least", "hubness"]
    heading = Heading(title, facts, _WIDTH.format(n=lines[0].n))
    sheet = Sheet(heading, panels, list(_by_set(lines)), height=3.5, left=0.6, gap=_GAP)
    measures: list[Measure] = [
        lambda line: line.contrast,
        lambda line: line.spread,
        lambda line: line.hubness,
    ]
    for panel in sheet.panels:
        log_x(panel.ax, _TICKS)
    _log_y(sheet.panels[0], [line.contrast for line in lines])
    _log_y(sheet.panels[1], [line.spread for line in lines])
    sheet.panels[0].reference(1.0)
    sheet.x_name("width d, columns")
    series = [
        Series(name, STYLES[name], [_points(own, _columns, y) for y in measures])
        for name, own in _by_set(lines).items()
    ]
    plot(sheet, series)
    return sheet.canvas.save(stem, title, in_words(title, facts, _words(lines)))


def _explained(
    lines: Sequence[Contrast], origin: Sequence[str], stem: Path
) -> list[Path]:
    title = (
        "Contrast follows the intrinsic dimension, not the width; hubs, only in part"
    )
    facts = [f"n = {lines[0].n:,}", *origin]
    panels = [
        "contrast – mean / least",
        "never an answer – of rows",
        "intrinsic dimension",
    ]
    heading = Heading(title, facts, _EXPLAINED)
    sheet = Sheet(heading, panels, list(_by_set(lines)), height=3.5, left=0.6, gap=_GAP)
    contrast, hubs, width = sheet.panels
    lids = [line.lid for line in lines]
    ticks = [tick for tick in (1, 2, 4, 8, 16, 32, 64, 128) if tick <= 1.6 * max(lids)]
    for panel in (contrast, hubs):
        log_x(panel.ax, ticks)
        panel.ax.set_xlim(min(lids) / 1.15, max(lids) * 1.15)
        x_name(panel, "intrinsic dimension")
    log_x(width.ax, _TICKS)
    x_name(width, "width d, columns")
    _log_y(contrast, [line.contrast for line in lines])
    _log_y(width, lids)
    shares(hubs.ax, max(line.never for line in lines))
    contrast.reference(1.0)
    width.ax.plot([1, max(lids)], [1, max(lids)], color=SOFT, lw=0.9, ls=(0, (1, 2)))
    series = [
        Series(
            name,
            STYLES[name],
            [
                _points(own, _lid, lambda line: line.contrast),
                _points(own, _lid, lambda line: line.never),
                _points(own, _columns, _lid),
            ],
        )
        for name, own in _by_set(lines).items()
    ]
    plot(sheet, series)
    return sheet.canvas.save(stem, title, in_words(title, facts, _words(lines)))


def _spike(bins: Sequence[Distances], origin: Sequence[str], stem: Path) -> list[Path]:
    title = "All distances become one distance, if the vectors are noise"
    facts = [f"n = {bins[0].n:,}", *origin]
    widths = sorted({each.width for each in bins})
    panels = [f"d = {width:,} – share of distances" for width in widths]
    heading = Heading(title, facts, _SPIKE)
    sheet = Sheet(heading, panels, [], height=2.6, left=0.6, right=0.05, gap=0.55)
    for panel, width in zip(sheet.panels, widths, strict=True):
        for name in (dimension.NOISE, dimension.WINDOWS):
            own = [x for x in bins if x.width == width and x.data == name]
            _histogram(panel, own)
        top = max(each.share for each in bins if each.width == width)
        shares(panel.ax, 1.12 * top, room=0)
        panel.ax.set_xlim(0, bins[-1].high)
        panel.ax.set_xticks([0, 0.5, 1, 1.5, 2])
    sheet.x_name("distance, in units of the mean")
    _key(sheet.panels[-1])
    nearest = {(each.data, each.width): each.nearest for each in bins}
    told = [f"{data}, d = {d}: nearest at {x:.2f}." for (data, d), x in nearest.items()]
    return sheet.canvas.save(stem, title, in_words(title, facts, told))


def _histogram(panel: Panel, bins: Sequence[Distances]) -> None:
    """Draw noise filled, windows as an outline, and where the nearest is."""
    colour = STYLES[bins[0].data].colour
    edges = [*(each.low for each in bins), bins[-1].high]
    values = [each.share for each in bins]
    if bins[0].data == dimension.NOISE:
        panel.ax.stairs(values, edges, color=shade(colour, 0.7), fill=True, lw=0)
    panel.ax.stairs(values, edges, color=colour, lw=1.5, baseline=None)
    look: dict[str, Any] = {"color": colour, "lw": 1.4, "ls": DASHED}
    panel.ax.axvline(bins[0].nearest, ymax=0.55, **look)


def _key(panel: Panel) -> None:
    """Say on a panel whose outline is whose."""
    names = {"noise": dimension.NOISE, "photographs": dimension.WINDOWS}
    for y, (name, data) in zip((0.93, 0.83), names.items(), strict=True):
        colour = STYLES[data].colour
        panel.ax.text(
            0.98, y, name, size=TICK, color=colour, ha="right", va="top", weight="bold",
            transform=panel.ax.transAxes,
        )  # fmt: skip


def _by_set(lines: Sequence[Contrast]) -> dict[str, list[Contrast]]:
    sets: dict[str, list[Contrast]] = {}
    for line in lines:
        sets.setdefault(line.data, []).append(line)
    return sets


def _points(
    lines: Sequence[Contrast], x: Measure, y: Measure
) -> list[tuple[float, float]]:
    return [(x(line), y(line)) for line in lines]


def _columns(line: Contrast) -> float:
    return float(line.width)


def _lid(line: Contrast) -> float:
    return line.lid


def _log_y(panel: Panel, values: Sequence[float]) -> None:
    panel.log_axis(log_limits(values), format_count)


def _words(lines: Sequence[Contrast]) -> list[str]:
    return [
        f"{line.data}, d = {line.width}: contrast {line.contrast:.3g}, spread "
        f"{line.spread:.3g}, dimension {line.lid:.3g}, hubness {line.hubness:.2g}."
        for line in lines
    ]
