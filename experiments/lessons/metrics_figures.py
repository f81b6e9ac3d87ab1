"""Figures of the lesson on metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import Circle, Polygon

from experiments.lessons import agreement, incident, popularity
from experiments.lessons.looks import (
    BLACK,
    BLUE,
    DASHED,
    DOTTED,
    GREEN,
    ORANGE,
    Series,
    log_x,
    plot,
    shares,
    style,
    x_name,
)
from experiments.lessons.looks import (
    draw as draw_curve,
)
from experiments.plots.canvas import BODY, TICK
from experiments.plots.scales import format_count
from experiments.plots.scene import in_words, origin
from experiments.plots.sheet import Heading, Sheet
from experiments.plots.style import GRID, INK, SOFT, shade

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from experiments.lessons.agreement import Agreement, Case
    from experiments.lessons.incident import Night
    from experiments.lessons.popularity import Answered, Norms, Way
    from experiments.plots.panel import Panel

STYLES = {
    "ip": style(BLUE, "o"),
    "cosine": style(ORANGE, "^", DASHED),
    "l2": style(BLACK, "s", DOTTED, hollow=True),
    "lifted": style(GREEN, "D", DASHED, hollow=True),
    "reached": style(BLUE, "s", DOTTED, hollow=True),
}
_WINDOW = (-1.0, 9.0)  # of the plane
_FAR = 50.0  # beyond the window
_ROOM = 1.13  # above 100 %, for a name
_TEXTBOOK = (
    "B points exactly where the query does, and is 20 times as long. Shaded: all "
    "that is nearer to the query than A. The ray to B leaves the circle and the "
    "diamond, and stays in the wedge and the half-plane for ever."
)
_AGREEMENT = (
    "Left: share of the ten nearest that two metrics have in common, on average over "
    "queries; 100 % is the same ten. Right: Kendall's tau-b between the two orders of "
    "all vectors that either has among its ten; 1 is the same order, and two answers "
    "with nothing in common come to about −0.5."
)
_POPULARITY = (
    "Left: of each tenth of the items, by norm, the share that is among the ten best "
    "of any query; of the graph, the share that walks reach which look for everything. "
    "Middle: against the ten greatest inner products; dotted, what exact search by "
    "cosine finds of them."
)
_INCIDENT = (
    "Some rows of a set at norm 1 get norms between 40 and 80. Recall@10 of exact "
    "search, by the answers of the day before. Scaling all queries instead changes "
    "{queries}."
)

Tables = Mapping[str, Sequence[Any]]
Stamp = Mapping[str, Any]


def draw(tables: Tables, stamp: Stamp, out: Path) -> list[Path]:
    """Draw the figures of all tables; return the paths of PNG and SVG files."""
    return [
        *_textbook(tables[agreement.TEXTBOOK], out / "textbook"),
        *_agreement(tables[agreement.AGREEMENT], stamp, out / "agreement"),
        *_popularity(tables, stamp, out / "popularity"),
        *_incident(tables[incident.INCIDENT], stamp, out / "incident"),
    ]


# --- two vectors on paper -------------------------------------------------------------


def _textbook(cases: Sequence[Case], stem: Path) -> list[Path]:
    title = (
        "Which is nearer to q, A beside it or B far along it? It depends on the metric"
    )
    places = zip("qAB", (agreement.QUERY, agreement.A, agreement.B), strict=True)
    facts = [f"{name} = ({x:g}, {y:g})" for name, (x, y) in places]
    titles = [f"{case.metric} – {_verdict(case)}" for case in cases]
    heading = Heading(title, facts, _TEXTBOOK)
    sheet = Sheet(heading, titles, [], height=2.65, left=0.4, right=0.05, gap=0.25)
    for panel, case in zip(sheet.panels, cases, strict=True):
        _plane(panel, case)
    told = [f"Under {case.metric} {_verdict(case)}." for case in cases]
    return sheet.canvas.save(stem, title, in_words(title, facts, told))


def _verdict(case: Case) -> str:
    a, b = (f"{value:.3g}".replace("-", "−") for value in (case.a, case.b))
    if case.nearer == "A":
        return f"A wins: {a} < {b}"
    return f"B wins: {b} < {a}"


def _plane(panel: Panel, case: Case) -> None:
    """Draw the query, A, the way to B, and all that is nearer than A."""
    ax, q, a = panel.ax, agreement.QUERY, agreement.A
    ax.set_xlim(*_WINDOW)
    ax.set_ylim(*_WINDOW)
    ax.set_aspect("equal")
    ax.set_xticks([0, 4, 8])
    ax.set_yticks([0, 4, 8])
    won = case.nearer == "A"
    colour = STYLES["l2" if won else "cosine"].colour
    ax.add_patch(_region(case.metric, shade(colour, 0.86 if won else 0.75)))
    end = q[0] * _WINDOW[1] / q[1], _WINDOW[1]  # where the ray leaves the window
    arrow: dict[str, Any] = {"arrowstyle": "-|>", "color": INK, "lw": 1.3}
    ax.annotate("", end, (0, 0), arrowprops=arrow)
    mark: dict[str, Any] = {"ls": "none", "marker": "o", "ms": 6.5, "mec": "white"}
    above = case.metric == "ip"  # where A's name would stand on the rim
    for name, place, paint in (("q", q, INK), ("A", a, BLUE)):
        off = (6, 2) if name == "A" and above else (6, -9)
        ax.plot(*place, color=paint, **mark)
        ax.annotate(
            name, place, off, textcoords="offset points", size=BODY, color=paint,
            weight="bold",
        )  # fmt: skip
    ax.annotate(
        "to B", end, (7, -13), textcoords="offset points", size=BODY, color=INK,
        weight="bold",
    )  # fmt: skip


def _region(metric: str, colour: str) -> Circle | Polygon:
    """Return what is nearer to the query than A, as far as the window shows it."""
    q, a = np.array(agreement.QUERY), np.array(agreement.A)
    rim = shade(colour, -0.35)
    look: dict[str, Any] = {"fc": colour, "ec": rim, "lw": 1, "zorder": 0}
    if metric == "l2":
        return Circle(tuple(q), float(np.linalg.norm(a - q)), **look)
    if metric == "l1":
        radius = float(np.abs(a - q).sum())
        around = q + radius * np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
        return Polygon(around, **look)
    along = q / np.linalg.norm(q)
    across = np.array([-along[1], along[0]])
    if metric == "ip":  # all that reaches as far along q as A does
        foot = along * (a @ along)
        corners: list[Any] = [foot - _FAR * across, foot + _FAR * across]
        corners += [corner + _FAR * along for corner in corners[::-1]]
    else:  # all whose angle to q is no greater than that of A
        aside = across * (a @ across) / (a @ along)
        corners = [np.zeros(2), _FAR * (along + aside), _FAR * (along - aside)]
    return Polygon(np.stack(corners), **look)


# --- agreement ------------------------------------------------------------------------


def _agreement(lines: Sequence[Agreement], stamp: Stamp, stem: Path) -> list[Path]:
    title = "How much of their ten nearest do two metrics share?"
    names = list(dict.fromkeys(line.data for line in lines))
    pairs = list(dict.fromkeys((line.first, line.second) for line in lines))
    rows = max(line.n for line in lines)
    facts = [f"n ≤ {rows:,}", f"{lines[0].k} nearest", *origin(stamp)]
    panels = ["overlap – share of the ten", "order – Kendall's tau-b"]
    heading, height = Heading(title, facts, _AGREEMENT), 0.46 * len(names)
    sheet = Sheet(heading, panels, [], height=height, left=2.0, right=0.05, gap=0.3)
    held = {(line.data, line.first, line.second): line for line in lines}
    grid = [[held[name, *pair] for pair in pairs] for name in names]
    overlap = [[line.overlap for line in row] for row in grid]
    kendall = [[line.kendall for line in row] for row in grid]
    _cells(
        sheet.panels[0].ax, pairs, overlap, [[_percent(x) for x in r] for r in overlap]
    )
    words = [[f"{round(x, 2) + 0:.2f}".replace("-", "−") for x in r] for r in kendall]
    _cells(sheet.panels[1].ax, pairs, kendall, words)
    labels = [f"{row[0].data} – {row[0].d} columns" for row in grid]
    for y, label in enumerate(labels):
        _row_name(sheet, y, len(names), label)
    told = [
        f"{line.data}, {line.first} and {line.second}: {_percent(line.overlap)}, "
        f"tau {line.kendall:.2f}."
        for line in lines
    ]
    return sheet.canvas.save(stem, title, in_words(title, facts, told))


def _percent(share: float) -> str:
    """Write a share so that only what is whole looks whole."""
    digits = 1 if 0.99 < share < 1 or 0 < share < 0.01 else 0
    return f"{100 * share:.{digits}f} %"


def _row_name(sheet: Sheet, row: int, rows: int, label: str) -> None:
    area = sheet.area
    y = area.top - (row + 0.5) * (area.top - area.bottom) / rows
    name, _, gloss = label.partition(" – ")
    right = area.left - 0.12
    sheet.canvas.text(right, y + 0.02, name, BODY, INK, ha="right", va="bottom")
    sheet.canvas.text(right, y - 0.02, gloss, TICK, SOFT, ha="right", va="top")


def _cells(
    ax: Axes,
    pairs: Sequence[tuple[str, str]],
    values: Sequence[Sequence[float]],
    words: Sequence[Sequence[str]],
) -> None:
    """Draw a table of shaded cells: blue above 0, orange below."""
    ax.grid(False)
    ax.spines["bottom"].set_visible(False)
    for y, (row, said) in enumerate(zip(values, words, strict=True)):
        for x, (value, text) in enumerate(zip(row, said, strict=True)):
            base = BLUE if value >= 0 else ORANGE
            paint = shade(base, 1 - 0.85 * min(1.0, abs(value)))
            ax.barh(y, 0.96, left=x + 0.02, height=0.94, color=paint, lw=0)
            ink = "white" if abs(value) > 0.9 else INK
            look: dict[str, Any] = {"ha": "center", "va": "center", "size": TICK}
            ax.text(x + 0.5, y, text, color=ink, **look)
    ax.set_xlim(0, len(pairs))
    ax.set_ylim(len(values) - 0.5, -0.5)
    ax.set_yticks([])
    ax.tick_params(axis="x", length=0)
    names = [f"{first}\n{second}" for first, second in pairs]
    ax.set_xticks([x + 0.5 for x in range(len(pairs))], names)


# --- popularity -----------------------------------------------------------------------


def _popularity(tables: Tables, stamp: Stamp, stem: Path) -> list[Path]:
    ways: Sequence[Way] = tables[popularity.WAYS]
    norms: Sequence[Norms] = tables[popularity.NORMS]
    answered: Sequence[Answered] = tables[popularity.ANSWERED]
    title = "Inner products where length is popularity: who can be an answer at all?"
    one = ways[0]
    facts = [one.data, f"n = {one.n:,}", f"d = {one.d}", f"k = {one.k}", *origin(stamp)]
    panels = [
        "ever an answer – share of items",
        "recall@10 – of the greatest products",
        "ever an answer – items",
    ]
    heading = Heading(title, facts, _POPULARITY)
    sheet = Sheet(heading, panels, [], height=3.3, left=0.7, right=0.1, gap=0.8)
    _by_norm(sheet.panels[0], norms)
    _by_effort(sheet.panels[1], ways)
    _by_queries(sheet.panels[2], answered)
    told = [*_norm_words(norms), *_way_words(ways)]
    return sheet.canvas.save(stem, title, in_words(title, facts, told))


def _by_norm(panel: Panel, norms: Sequence[Norms]) -> None:
    held = [(float(x.tenth), x.cosine, x.ip, x.reached) for x in norms]
    curves = ("cosine", 1), ("ip", 2), ("reached", 3)
    for name, column in curves:
        draw_curve(panel, STYLES[name], [(x[0], x[column]) for x in held])
    shares(panel.ax)
    panel.ax.set_ylim(-0.05, _ROOM)
    panel.ax.set_xticks(range(1, 11))
    x_name(panel, "tenth of the items, by norm")
    half = next(x for x in held if x[2] > 0.2)
    low = min(held, key=lambda x: x[3])
    _label(panel, (half[0], half[2]), "exact, ip", "ip", (-9, 0), "right")
    _label(panel, (1.0, 1.0), "exact, cosine", "cosine", (0, 7), "left")
    _label(panel, (low[0], low[3]), "graph, ip: reached", "reached", (2, -15), "left")


def _by_effort(panel: Panel, ways: Sequence[Way]) -> None:
    efforts = sorted({line.ef_search for line in ways if line.ef_search})
    log_x(panel.ax, efforts)
    shares(panel.ax)
    panel.ax.set_ylim(-0.05, _ROOM)
    for way, name, words in (
        (popularity.GRAPH, "ip", "graph, ip"),
        (popularity.LIFTED_GRAPH, "lifted", "graph, lifted to l2"),
    ):
        points = [(float(x.ef_search), x.recall) for x in ways if x.way == way]
        draw_curve(panel, STYLES[name], points)
        away: tuple[int, int] = (0, 8) if name == "ip" else (-6, 7)
        _label(panel, points[3], words, name, away, "right")
    [wrong] = [line.recall for line in ways if line.way == popularity.BY_COSINE]
    panel.ax.axhline(wrong, color=STYLES["cosine"].colour, lw=1.6, ls=DOTTED)
    _label(panel, (efforts[-1], wrong), "exact, cosine", "cosine", (0, -13), "right")
    x_name(panel, "ef_search")


def _by_queries(panel: Panel, answered: Sequence[Answered]) -> None:
    log_x(panel.ax, [float(line.queries) for line in answered])
    for name in ("cosine", "ip"):
        points = [(float(x.queries), float(getattr(x, name))) for x in answered]
        draw_curve(panel, STYLES[name], points)
        _label(panel, points[-2], f"exact, {name}", name, (-7, 7), "right")
    panel.ax.set_ylim(0, 1.08 * max(line.cosine for line in answered))
    panel.ax.yaxis.set_major_formatter(lambda y, _: format_count(y))
    x_name(panel, "queries asked")


def _label(
    panel: Panel,
    at: tuple[float, float],
    words: str,
    name: str,
    away: tuple[int, int],
    side: str,
) -> None:
    """Name a curve beside one of its points, so many points away."""
    panel.ax.annotate(
        words, at, away, textcoords="offset points", size=TICK, ha=side,
        color=STYLES[name].text, weight="bold",
    )  # fmt: skip


def _norm_words(norms: Sequence[Norms]) -> Iterator[str]:
    for line in norms:
        yield (
            f"Tenth {line.tenth}: {_percent(line.ip)} by ip, {_percent(line.cosine)} "
            f"by cosine, {_percent(line.reached)} reached, {line.lost} lost."
        )


def _way_words(ways: Sequence[Way]) -> Iterator[str]:
    for line in ways:
        effort = f" at ef_search {line.ef_search}" * bool(line.ef_search)
        yield f"{line.way}{effort}: recall {line.recall:.3f}, score {line.score:.3f}."


# --- the incident ---------------------------------------------------------------------


def _incident(lines: Sequence[Night], stamp: Stamp, stem: Path) -> list[Path]:
    title = "A handful of rows is enough: recall after a few were not normalised"
    names = list(dict.fromkeys(line.data for line in lines))
    metrics = list(dict.fromkeys(line.metric for line in lines))
    own = {name: [line for line in lines if line.data == name] for name in names}
    panels = [f"{name} – {own[name][0].n:,} × {own[name][0].d}" for name in names]
    asked = [line for line in lines if line.what == incident.QUERIES]
    kept = min(line.recall for line in asked)
    note = _INCIDENT.format(queries="no answer" if kept > 0.9995 else "few answers")
    facts = [f"{lines[0].nq:,} queries", f"k = {lines[0].k}", *origin(stamp)]
    sheet = Sheet(Heading(title, facts, note), panels, metrics, height=3.2, left=0.85)
    series = [
        Series(
            metric,
            STYLES[metric],
            [
                [(_slot(x.scaled), x.recall) for x in own[name] if _of(x, metric)]
                for name in names
            ],
        )
        for metric in metrics
    ]
    for panel, name in zip(sheet.panels, names, strict=True):
        _rows_axis(
            panel.ax, max(x.scaled for x in own[name] if x.what == incident.ROWS)
        )
        shares(panel.ax)
    for panel in sheet.panels[1:]:
        panel.ax.tick_params(axis="y", labelleft=False)
    sheet.panels[0].ax.set_ylabel("recall@10", size=BODY, color=INK, labelpad=4)
    sheet.x_name("rows that are not normalised")
    plot(sheet, series)
    told = [
        f"{line.data}, {line.metric}, {line.scaled:,} {line.what}: {line.recall:.2f}."
        for line in lines
    ]
    return sheet.canvas.save(stem, title, in_words(title, facts, told))


def _of(line: Night, metric: str) -> bool:
    return line.metric == metric and line.what == incident.ROWS


def _slot(scaled: int) -> float:
    """Return the place of a count on an axis of logarithms; 0 stands before 1."""
    return math.log10(scaled) if scaled else -0.8


def _rows_axis(ax: Axes, most: int) -> None:
    decades = range(math.floor(math.log10(most)) + 1)
    ticks = [_slot(0), *map(float, decades)]
    ax.set_xticks(ticks, ["0", *(format_count(10.0**decade) for decade in decades)])
    ax.set_xlim(_slot(0) - 0.25, math.log10(most) + 0.2)
    ax.axvspan(_slot(0) - 0.25, -0.4, color=GRID, alpha=0.5, lw=0, zorder=-3)
