"""Figures of the lesson on adaptive stopping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.lessons import adaptive
from experiments.lessons.adaptive import ALL, FIXED, FLAT, KNOWING, NARROW, K
from experiments.lessons.looks import (
    BLACK,
    BLUE,
    DOTTED,
    GREEN,
    ORANGE,
    Series,
    Spot,
    plot,
    shares,
    style,
    x_name,
)
from experiments.plots.canvas import BODY
from experiments.plots.scales import RecallAxis, format_count, log_limits
from experiments.plots.scene import in_words, origin
from experiments.plots.sheet import Heading, Sheet
from experiments.plots.style import INK

if TYPE_CHECKING:
    from experiments.lessons.adaptive import Point, Spread

STYLES = {
    FIXED: style(BLACK, "o"),
    adaptive.EPSILON: style(ORANGE, "^"),
    adaptive.TAPERED: style(BLUE, "s"),
    KNOWING: style(GREEN, "d", DOTTED, hollow=True),
}
GROUPS = {
    ALL: "all queries",
    NARROW: "hardest tenth – by dimension",
    FLAT: "hardest tenth – by contrast",
}
_LEAST, _MOST = 0.85, 0.998  # mean recalls that are drawn
_CURVES = (
    "Vectors scored per query against mean recall@{k}; down is better. The graph and "
    "the queries are the same, only the stop differs. Dotted: what it would take if "
    "each query knew the pool that is best for it. The hardest tenths are those of the "
    "highest local intrinsic dimension and of the lowest relative contrast, in which "
    "no index has a part."
)
_TAILS = (
    "The share of the queries that find less than half of their {k} nearest, against "
    "mean recall@{k}; down is better. Steps are single queries: of a tenth, one is "
    "{one:.1%}."
)
_SPREAD = (
    "At mean recall@{k} nearest to {shown}, all queries. Left: the share of the "
    "queries that find at most so many of their {k}; down is better. Right: vectors "
    "scored, by share of the queries."
)


def draw(
    tables: Mapping[str, Sequence[Any]], stamp: Mapping[str, Any], out: Path
) -> list[Path]:
    """Draw the figures of all tables; return the paths of PNG and SVG files."""
    paths: list[Path] = []
    told = origin(stamp)
    for name, lines in _by(tables[adaptive.CURVES], lambda line: line.data).items():
        spread = [line for line in tables[adaptive.SPREAD] if line.data == name]
        paths += [
            *_curves(name, lines, told, out / f"{name}-curves"),
            *_tails(name, lines, told, out / f"{name}-tails"),
            *_singles(name, spread, told, out / f"{name}-queries"),
        ]
    return paths


def _curves(
    name: str, lines: Sequence[Point], told: Sequence[str], stem: Path
) -> list[Path]:
    title = f"What it takes to reach a mean recall: {name}"
    drawn = [line for line in lines if _LEAST <= line.recall <= _MOST]
    facts = _facts(lines[0], told)
    sheet, axis = _sheet(Heading(title, facts, _CURVES.format(k=K)), drawn)
    limits = log_limits(line.computations for line in drawn)
    sheet.log_axes("vectors scored per query", limits, format_count)
    plot(sheet, _series(drawn, axis, lambda line: line.computations))
    return sheet.canvas.save(stem, title, in_words(title, facts, _words(drawn)))


def _tails(
    name: str, lines: Sequence[Point], told: Sequence[str], stem: Path
) -> list[Path]:
    title = f"Queries that fail at the same mean recall: {name}"
    drawn = [
        line for line in lines if _LEAST <= line.recall <= _MOST and line.way != KNOWING
    ]
    least = min(line.nq for line in lines)
    facts = _facts(lines[0], told)
    note = _TAILS.format(k=K, one=1 / least)
    sheet, axis = _sheet(Heading(title, facts, note), drawn)
    for panel in sheet.panels:
        shares(panel.ax, max(line.low for line in drawn) or 0.01)
    for panel in sheet.panels[1:]:
        panel.ax.tick_params(axis="y", labelleft=False)
    y_name = f"queries under recall {adaptive.LOW}"
    sheet.panels[0].ax.set_ylabel(y_name, size=BODY, color=INK, labelpad=4)
    plot(sheet, _series(drawn, axis, lambda line: line.low))
    return sheet.canvas.save(stem, title, in_words(title, facts, _words(drawn)))


def _singles(
    name: str, lines: Sequence[Spread], told: Sequence[str], stem: Path
) -> list[Path]:
    title = f"What single queries find, and what they take: {name}"
    lines = [line for line in lines if line.queries == ALL]
    ways = _by(lines, lambda line: line.way)
    settings = [f"{w}: mean {own[0].recall:.3f}" for w, own in ways.items()]
    facts = [*settings, *told]
    note = _SPREAD.format(k=K, shown=adaptive.SHOWN)
    panels = ["what they find – of ten", "what they take – vectors scored"]
    sheet = Sheet(Heading(title, facts, note), panels, list(ways), left=0.65, gap=0.9)
    found, scored = sheet.panels
    inner = [line for line in lines if line.found < K]
    shares(found.ax, max(line.share for line in inner) or 0.01)
    found.ax.set_xlim(-0.3, K - 0.7)
    found.ax.set_xticks(range(K))
    x_name(found, "of the ten nearest found, at most")
    scored.log_axis(log_limits(line.scored for line in lines), format_count)
    scored.ax.set_xlim(-0.03, 1.03)
    x_name(scored, "share of the queries")
    series = [
        Series(
            way,
            STYLES[way],
            [
                [(float(line.found), line.share) for line in own if line.found < K],
                [(line.found / K, line.scored) for line in own],
            ],
        )
        for way, own in ways.items()
    ]
    plot(sheet, series)
    words = [
        f"{line.way}: {line.share:.2%} find at most {line.found}; "
        f"{line.found / K:.0%} score at most {line.scored:,.0f}."
        for line in lines
    ]
    return sheet.canvas.save(stem, title, in_words(title, facts, words))


def _facts(line: Point, told: Sequence[str]) -> list[str]:
    return [f"n = {line.n:,}", f"{line.nq:,} queries", *told]


def _sheet(heading: Heading, lines: Sequence[Point]) -> tuple[Sheet, RecallAxis]:
    """Return a sheet with a panel for each group of queries, over recall."""
    ways = list(_by(lines, lambda line: line.way))
    sheet = Sheet(heading, list(GROUPS.values()), ways, left=0.85)
    axis = RecallAxis([line.recall for line in lines], 1e-9)
    sheet.recall_axes(axis, K)
    return sheet, axis


def _series(
    lines: Sequence[Point], axis: RecallAxis, y: Callable[[Point], float]
) -> list[Series]:
    return [
        Series(way, STYLES[way], [_points(own, group, axis, y) for group in GROUPS])
        for way, own in _by(lines, lambda line: line.way).items()
    ]


def _points(
    lines: Sequence[Point], group: str, axis: RecallAxis, y: Callable[[Point], float]
) -> list[Spot]:
    own = [line for line in lines if line.queries == group]
    own.sort(key=lambda line: line.computations)
    return [(axis(line.recall), y(line)) for line in own]


def _by(lines: Sequence[Any], key: Callable[[Any], str]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for line in lines:
        groups.setdefault(key(line), []).append(line)
    return groups


def _words(lines: Sequence[Point]) -> list[str]:
    return [
        f"{line.queries}, {line.way} {line.setting:g}: recall {line.recall:.3f}, "
        f"{line.computations:,.0f} scored, {line.low:.2%} under {adaptive.LOW}."
        for line in lines
        if line.way != KNOWING
    ]
