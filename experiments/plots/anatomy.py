"""The sheet of an audit: what vectors are like, on one page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator, PercentFormatter

from ann.diagnosis.nearness import TOP
from ann.metrics import UNIT
from experiments.plots.canvas import BODY, LEADING, SMALL, TICK, TITLE, Canvas, settings
from experiments.plots.panel import Panel
from experiments.plots.placement import Box, wrap
from experiments.plots.scales import format_count, log_ticks
from experiments.plots.scene import in_words
from experiments.plots.style import FAMILY_COLOURS, GRID, INK, SLOT, SOFT, shade

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from ann.diagnosis import Diagnosis, Finding

    Values = NDArray[np.float64]

WIDTH, HIGH, ACROSS = 13.0, 2.15, 4  # inches; panels in a line
EDGE, LEFT, GAP, BETWEEN, BELOW = 0.2, 0.75, 0.72, 0.85, 0.5
ROWS, QUERIES = FAMILY_COLOURS["HNSW"], FAMILY_COLOURS["IVF"]
DASH = (0, (4, 1.5))
BINS = 40
ROOM = 1.12  # above the highest bin
BROAD = 30.0  # from here between least and greatest, an axis is logarithmic
MARKS = {"error": "X", "warning": "^", "note": "o", "advice": ">"}
_TINTS = {"error": "#B22222", "warning": "#8A6100", "note": SOFT, "advice": ROWS}
_NONE = "Nothing that the audit looks for is wrong."
_HELP = (
    "Distances, dimension, hubs and metrics are of a seeded sample. Shaded: norms that "
    "count as 1. Dotted: a median, or the distance within which 99 % of the rows have "
    "their nearest other."
)


def draw(found: Diagnosis, name: str, source: str, stem: Path) -> list[Path]:
    """Draw the sheet to ``stem`` with .png and .svg; return both paths."""
    title = f"{name}: {_verdict(found)}"
    facts = list(_facts(found, source))
    told = [f"{each.code}: {each.sentence}." for each in found.findings]
    with settings():
        sheet = _Sheet(title, facts, found)
        for panel, paint in zip(sheet.panels, _PAINTS, strict=True):
            paint(panel.ax, found)
        return sheet.canvas.save(stem, title, in_words(title, facts, told))


def _verdict(found: Diagnosis) -> str:
    return ", ".join(found.codes) if found.codes else "nothing is wrong"


def _facts(found: Diagnosis, source: str) -> Iterator[str]:
    rows, advice = found.rows, found.recommendation
    yield source
    yield f"n = {rows.n:,}"
    yield f"d = {rows.d:,}"
    yield str(rows.dtype)
    if found.queries is not None:
        yield f"{found.queries.n:,} queries"
    yield f"advice: {advice.metric}{', normalised' * advice.normalise}"


class _Sheet:
    """Two lines of four panels under a title, above the findings."""

    def __init__(self, title: str, facts: Sequence[str], found: Diagnosis) -> None:
        lines = [_lines(_told(each)) for each in found.findings]
        lines.append(_lines(_advised(found)))
        notes = wrap(_HELP, WIDTH - 2 * EDGE, SMALL)
        text = sum(len(own) + 0.4 for own in lines)
        foot = EDGE + len(notes) * SMALL * LEADING + 0.12 + text * TICK * LEADING
        titles = wrap(title, WIDTH - 2 * EDGE - 2.2, TITLE)
        facts = wrap(" · ".join(facts), WIDTH - 2 * EDGE, TICK, " · ")
        head = EDGE + (len(titles) * TITLE + len(facts) * TICK) * LEADING + 0.5
        bottom = foot + BELOW
        self.canvas = Canvas(WIDTH, bottom + 2 * HIGH + BETWEEN + head)
        self._head(titles, facts, found.queries is not None)
        marks = [each.severity for each in found.findings]
        self._foot(lines, [*marks, "advice"], notes)
        step = (WIDTH - EDGE - LEFT + GAP) / ACROSS
        self.panels = [
            Panel(
                self.canvas,
                Box(x, y, x + step - GAP, y + HIGH),
                title,
            )
            for (title, x, y) in (
                (each, LEFT + i % ACROSS * step, bottom + (1 - i // ACROSS) * _DOWN)
                for i, each in enumerate(_TITLES)
            )
        ]

    def _head(self, titles: Sequence[str], facts: Sequence[str], queries: bool) -> None:
        y = self.canvas.height - EDGE - TITLE * 0.8 / 72
        for title in titles:
            self.canvas.text(EDGE, y, title, TITLE, INK, weight="bold")
            y -= TITLE * LEADING
        for fact in facts:
            self.canvas.text(EDGE, y, fact, TICK, SOFT)
            y -= TICK * LEADING
        y, x = self.canvas.height - EDGE - 0.1, WIDTH - EDGE - 1.85
        patch = {"color": shade(ROWS, 0.45), "lw": 8, "solid_capstyle": "butt"}
        self.canvas.stroke([(x, y), (x + 0.3, y)], **patch)
        self.canvas.text(x + 0.38, y, "rows", TICK, INK, va="center_baseline")
        if not queries:
            return
        x += 0.95
        self.canvas.stroke([(x, y), (x + 0.3, y)], color=QUERIES, lw=1.8, ls=DASH)
        self.canvas.text(x + 0.38, y, "queries", TICK, INK, va="center_baseline")

    def _foot(
        self, lines: Sequence[Sequence[str]], marks: Sequence[str], notes: Sequence[str]
    ) -> None:
        y = EDGE
        for note in reversed(notes):
            self.canvas.text(EDGE, y, note, SMALL, SOFT)
            y += SMALL * LEADING
        y += 0.12
        for own, mark in reversed(list(zip(lines, marks, strict=True))):
            for line in reversed(own):
                self.canvas.text(EDGE + 0.22, y, line, TICK, INK)
                y += TICK * LEADING
            spot = EDGE + 0.07, y - TICK * LEADING + 0.045
            look = {"marker": MARKS[mark], "color": _TINTS[mark], "ms": 5.5}
            self.canvas.stroke([spot], ls="none", **look)
            y += 0.4 * TICK * LEADING


_DOWN = HIGH + BETWEEN


def _told(finding: Finding) -> str:
    return f"{finding.severity}, {finding.code}: {finding.sentence}."


def _advised(found: Diagnosis) -> str:
    advice = found.recommendation
    nothing = f"{_NONE} " * (not found.findings)
    return f"{nothing}Advice: {advice.metric}. {advice.reasons[0]}"


def _lines(words: str) -> list[str]:
    return wrap(words, WIDTH - 2 * EDGE - 0.6, TICK)  # hinting widens a line by 3 %


# --- panels ---------------------------------------------------------------------------


def _norms(ax: Axes, found: Diagnosis) -> None:
    known = [_known(found.rows.norms)]
    if found.queries is not None:
        known.append(_known(found.queries.norms))
    every = np.concatenate(known)
    if not len(every):
        return _nothing(ax, "no row is finite")
    low, high = float(every.min()), float(every.max())
    if UNIT[0] <= low and high <= UNIT[1]:
        low, high = 2 * UNIT[0] - 1, 2 * UNIT[1] - 1
    edges = _edges(ax, low, high)
    if UNIT[1] > edges[0] and UNIT[0] < edges[-1]:
        ax.axvspan(*UNIT, color=GRID, lw=0, zorder=-3)
    for values, queries in zip(known, (False, True), strict=False):
        _histogram(ax, values, edges, queries)
    shares = [np.histogram(own, edges)[0] / len(own) for own in known if len(own)]
    if any(0.5 < share.max() < 1 for share in shares):  # a second heap is a small one
        _log_shares(ax, min(float(share[share > 0].min()) for share in shares))
    return None


def _columns(ax: Axes, found: Diagnosis) -> None:
    rows = found.rows
    std = np.sort(rows.std[rows.varying])[::-1]
    if not len(std):
        return _nothing(ax, "no column varies")
    ax.stairs(std, np.arange(len(std) + 1), color=ROWS, lw=1.8, baseline=None)
    if std[0] > BROAD * std[-1]:
        _log(ax, "y", std[-1] / 1.5, std[0] * 1.5)
    else:
        ax.set_ylim(0, 1.12 * std[0])
        ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.set_xlim(0, rows.d)
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    if constant := rows.d - len(std):
        ax.axvspan(len(std), rows.d, color=SLOT, lw=0, zorder=-3)
        _corner(ax, f"{constant:,} constant")
    return None


def _dimension(ax: Axes, found: Diagnosis) -> None:
    near = found.nearness
    values = np.empty(0) if near is None else _known(near.dimension)
    if near is None or not len(values):
        return _nothing(ax, "too few different rows")
    high = float(np.quantile(values, 0.99)) * 1.15
    _histogram(ax, values, _edges(ax, 0.0, high), False)
    ax.axvline(near.lid, color=INK, lw=1, ls=(0, (1, 2)))
    _corner(ax, f"median {near.lid:.1f}")
    return None


def _distances(ax: Axes, found: Diagnosis) -> None:
    near = found.nearness
    if near is None or not math.isfinite(near.contrast):
        return _nothing(ax, "too few different rows")
    parts = _known(near.nearest), _known(near.typical)
    edges = _edges(ax, 0.0, 1.05 * max(float(part.max()) for part in parts))
    _histogram(ax, parts[0], edges, False)
    share = np.histogram(parts[1], edges)[0] / len(parts[1])
    ax.stairs(share, edges, color=INK, lw=1.3)
    _shares(ax, 1.15 * max(ax.get_ylim()[1] / ROOM, float(share.max())))
    _corner(ax, f"filled: to the nearest\ncontrast {near.contrast:.2f}", left=True)
    return None


def _hubs(ax: Axes, found: Diagnosis) -> None:
    near = found.nearness
    if near is None:
        return _nothing(ax, "too few rows")
    counts = near.counts.astype(float)
    edges = np.linspace(-0.5, max(counts.max(), 2.0 * TOP) + 0.5, BINS + 1)
    step = max(1, round((edges[-1] - edges[0]) / BINS))
    edges = np.arange(-0.5, edges[-1] + step, step)
    _histogram(ax, counts, edges, False)
    _log_shares(ax, 1 / len(counts))
    ax.set_xlim(edges[0], edges[-1])
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    _corner(ax, f"1 % of the rows: {100 * near.hub_share:.0f} % of places")
    return None


def _metrics(ax: Axes, found: Diagnosis) -> None:
    near = found.nearness
    if near is None:
        return _nothing(ax, "too few rows")
    names = [f"{a} – {b}" for a, b in near.agreement]
    shares = list(near.agreement.values())
    places = range(len(names))[::-1]
    ax.barh(places, shares, color=shade(ROWS, 0.45), height=0.55, lw=0)
    for y, name, share in zip(places, names, shares, strict=True):
        words = f"{name}   {100 * share:.0f} %"
        ax.text(0.01, y + 0.36, words, size=TICK, color=INK, va="bottom")
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.5, len(names) - 0.1)
    ax.set_yticks([])
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    return None


def _farness(ax: Axes, found: Diagnosis) -> None:
    near, gap = found.nearness, found.gap
    if near is None or gap is None or not len(gap.nearest):
        return _nothing(ax, "no queries given" if gap is None else "none to compare")
    ours, theirs = np.sort(_known(near.nearest)), np.sort(gap.nearest)
    if not len(ours):
        return _nothing(ax, "all rows are equal")
    limit = float(np.quantile(ours, 0.99))
    high = 1.05 * max(float(theirs[-1]), limit)
    looks: list[dict[str, Any]] = [{"color": ROWS}, {"color": QUERIES, "ls": DASH}]
    for values, look in zip((ours, theirs), looks, strict=True):
        shares = np.arange(1, len(values) + 1) / len(values)
        ax.plot(
            [0, *values, high], [0, *shares, 1], drawstyle="steps-post", lw=1.8, **look
        )
    ax.axvline(limit, color=INK, lw=1, ls=(0, (1, 2)))
    ax.set_xlim(0, high)
    _shares(ax, 1.0)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    _corner(ax, f"{100 * gap.far:.0f} % beyond", left=True)
    return None


def _drift(ax: Axes, found: Diagnosis) -> None:
    gap = found.gap
    if gap is None or not gap.queries:
        return _nothing(ax, "no queries given" if gap is None else "none to compare")
    drift = gap.drift
    ax.axhline(0, color=SOFT, lw=0.9)
    noise = 4 / math.sqrt(gap.queries)
    ax.axhspan(-noise, noise, color=SLOT, lw=0, zorder=-3)
    size = 3.4 if len(drift) <= 500 else 1.8
    look: dict[str, Any] = {"ls": "none", "marker": "o", "ms": size, "mew": 0}
    ax.plot(np.arange(len(drift)), drift, color=QUERIES, **look)
    most = max(1.2, 1.1 * float(np.abs(drift).max()))
    ax.set_ylim(-most, most)
    ax.set_xlim(-0.02 * len(drift) - 0.5, 1.02 * len(drift) - 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    _corner(ax, f"mean moved {gap.shift:.2f}")
    return None


_TITLES = (
    "norms – share of rows",
    "columns – std, widest first",
    "dimension – local, share of rows",
    "distances – to nearest, mean to all",
    f"hubs – times among {TOP} nearest",
    f"metrics – of {TOP} nearest, shared",
    "queries – distance to nearest",
    "queries – drift of columns, in std",
)
_PAINTS: Sequence[Callable[[Axes, Any], None]] = (
    _norms, _columns, _dimension, _distances, _hubs, _metrics, _farness, _drift,
)  # fmt: skip


# --- parts ----------------------------------------------------------------------------


def _known(values: Values) -> Values:
    return values[np.isfinite(values)]


def _edges(ax: Axes, low: float, high: float) -> Values:
    """Return the limits of bins, and give x an axis that fits them."""
    if low > 0 and high > BROAD * low:
        _log(ax, "x", low / 1.3, high * 1.3)
        return np.geomspace(low / 1.3, high * 1.3, BINS + 1)
    room = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
    low = low and low - room
    ax.set_xlim(low, high + room)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    return np.linspace(low, high + room, BINS + 1)


def _histogram(ax: Axes, values: Values, edges: Values, queries: bool) -> None:
    """Draw shares: rows filled, queries as an outline that is dashed."""
    if not len(values):
        return
    share = np.histogram(values, edges)[0] / len(values)
    if queries:
        ax.stairs(share, edges, color=QUERIES, lw=1.6, ls=DASH)
    else:
        ax.stairs(share, edges, color=shade(ROWS, 0.45), fill=True, lw=0)
        ax.stairs(share, edges, color=ROWS, lw=1.0)
    _shares(ax, max(ax.get_ylim()[1] / ROOM, float(share.max())))


def _shares(ax: Axes, most: float) -> None:
    ax.set_ylim(0, ROOM * most)
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g} %"))


def _log_shares(ax: Axes, least: float) -> None:
    """Make y logarithmic, so that small shares show beside large ones."""
    ax.set_yscale("log")
    ax.set_ylim(least / 2, 1.6)
    ticks = 10.0 ** np.arange(math.ceil(math.log10(least / 2)), 1)
    ticks = ticks[:: -(-len(ticks) // 5)] if len(ticks) > 5 else ticks
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_yticks(ticks, [f"{100 * tick:g} %" for tick in ticks])


def _log(ax: Axes, axis: str, low: float, high: float) -> None:
    """Make an axis logarithmic between two limits, with a few labels."""
    one = ax.xaxis if axis == "x" else ax.yaxis
    (ax.set_xscale if axis == "x" else ax.set_yscale)("log")
    (ax.set_xlim if axis == "x" else ax.set_ylim)(low, high)
    one.set_ticks(log_ticks(low, high, most=5))
    one.set_minor_locator(NullLocator())
    one.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))


def _number(value: float) -> str:
    return format_count(value) if 1 <= value < 1e5 else f"{value:.3g}"


def _corner(ax: Axes, words: str, left: bool = False) -> None:
    """Write a few words in an upper corner."""
    x, ha = (0.02, "left") if left else (0.98, "right")
    look: dict[str, Any] = {"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1.5}
    ax.text(
        x, 0.97, words, size=SMALL, color=INK, ha=ha, va="top",
        transform=ax.transAxes, bbox=look,
    )  # fmt: skip


def _nothing(ax: Axes, why: str) -> None:
    """Leave a panel empty, and say why."""
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.text(
        0.5, 0.5, why, size=BODY, color=SOFT, ha="center", va="center",
        transform=ax.transAxes,
    )  # fmt: skip
