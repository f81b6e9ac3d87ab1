"""Figure of an ablation: a bar for every variant, as long as its time beside all on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib as mpl

from experiments.ablation.table import Line
from experiments.ablation.variants import BETWEEN, WHOLE
from experiments.plots.canvas import BODY, LEADING, SMALL, TICK, TITLE, Canvas
from experiments.plots.placement import Box, text_width, wrap
from experiments.plots.rows import Run
from experiments.plots.scales import measured_us
from experiments.plots.scene import Scene, in_words
from experiments.plots.style import FAMILY_COLOURS, GRID, INK, OTHER_COLOUR, SOFT, shade

WIDTH, EDGE, BAR, HEAD, GAP = 9.5, 0.15, 0.24, 0.34, 0.22  # inches
COLUMNS = (0.75, 0.8, 0.85)  # inches: times, p50, recall
_TITLE = "What each trick pays: latency of a query without it"
_NOTE = (
    "Bars, from 1: p50 of one query at a time on one thread, over that of the index "
    "with everything on; the ratio of medians over rounds measured in turns. Lines: "
    "the least and the greatest of single rounds. Pale: rounds disagree about which of "
    "the two is quicker."
)


def draw(run: Run, lines: Sequence[Line], out: Path) -> list[Path]:
    """Draw a figure for each data set of a study; return the paths written."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams["font.family"] = ["DejaVu Sans"]
        for group in dict.fromkeys(point.group for point in run.points):
            mine = [line for line in lines if line.dataset == group.dataset]
            facts = Scene.of([run], group).facts([1])
            colours = {
                point.label.removesuffix(BETWEEN + WHOLE): _colour(point.family)
                for point in run.points
                if point.group == group
            }
            stem = out / f"{group.dataset}-ablation"
            paths += _draw(mine, colours, facts, stem)
    return paths


def _draw(
    lines: Sequence[Line], colours: dict[str, str], facts: list[str], stem: Path
) -> list[Path]:
    blocks = [(name, list(of)) for name, of in groupby(lines, lambda line: line.index)]
    blocks = [(name, of) for name, of in blocks if len(of) > 1]
    if not blocks:
        return []
    shown = wrap(" · ".join(facts), WIDTH - 2 * EDGE, TICK, " · ")
    notes = wrap(_NOTE, WIDTH - 2 * EDGE, SMALL)
    bars = sum((len(of) - 1) * BAR + HEAD + GAP for _, of in blocks)
    head = EDGE + (TITLE + len(shown) * TICK) * LEADING + 0.3
    foot = EDGE + len(notes) * SMALL * LEADING + 0.45
    canvas = Canvas(WIDTH, head + bars + foot)
    y = canvas.height - EDGE - TITLE * 0.8 / 72
    canvas.text(EDGE, y, _TITLE, TITLE, INK, weight="bold")
    for i, fact in enumerate(shown, start=1):
        canvas.text(EDGE, y - 0.02 - i * TICK * LEADING, fact, TICK, SOFT)
    for i, note in enumerate(reversed(notes)):
        canvas.text(EDGE, EDGE + i * SMALL * LEADING, note, SMALL, SOFT)
    names = [line.variant for line in lines]
    left = EDGE + 0.15 + max(text_width(name, BODY) for name in names)
    right = WIDTH - EDGE - sum(COLUMNS)
    spans = [
        x for of in blocks for line in of[1][1:] for x in (line.p50.low, line.p50.high)
    ]
    known = [1.0, *(x for x in spans if not math.isnan(x))]
    room = 0.05 * (max(known) - min(known)) or 0.1
    ax = canvas.axes(Box(left, foot, right, foot + bars))
    ax.set_xlim(min(known) - room, max(known) + room)
    ax.set_ylim(0, bars)  # in inches
    ax.set_yticks([])
    ax.patch.set_visible(False)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(SOFT)
    ax.tick_params(labelsize=TICK, color=SOFT, labelcolor=INK, length=3)
    ax.grid(True, axis="x", color=GRID, lw=0.7)
    ax.set_axisbelow(True)
    ax.axvline(1, color=INK, lw=0.9, zorder=3)
    centre = (left + right) / 2
    where = canvas.height - head
    label = "times the p50 with everything on"
    canvas.text(centre, foot - 0.4, label, BODY, INK, ha="center")
    edges = [right + sum(COLUMNS[: i + 1]) for i in range(len(COLUMNS))]
    for edge, title in zip(edges, ("times", "p50", "recall@10"), strict=True):
        canvas.text(edge, where + 0.04, title, TICK, INK, ha="right", weight="bold")
    told = []
    top = bars
    for name, of in blocks:
        whole, *others = of
        at = foot + top - HEAD + 0.1
        canvas.text(EDGE, at, name, BODY, INK, weight="bold")
        cells = ("", measured_us(whole.p50_us), f"{whole.recall_at_10:.4f}")
        _cells(canvas, edges, at, cells, SOFT)
        top -= HEAD
        for line in others:
            middle = top - BAR / 2
            colour = colours.get(name, OTHER_COLOUR)
            paint = shade(colour, 0.6) if line.is_noise else colour
            look: dict[str, Any] = {"height": BAR * 0.66, "color": paint, "lw": 0}
            ax.barh(middle, line.p50.median - 1, left=1, **look)
            span = [line.p50.low, line.p50.high]
            ax.plot(span, [middle, middle], color=shade(colour, -0.4), lw=1, zorder=4)
            at = foot + middle - 0.05
            canvas.text(left - 0.1, at, line.variant, BODY, INK, ha="right")
            times = f"× {line.p50.median:.2f}"
            cells = (times, measured_us(line.p50_us), f"{line.recall_at_10:.4f}")
            _cells(canvas, edges, at, cells, INK)
            told.append(f"{name}, {line.variant}: {times}.")
            top -= BAR
        top -= GAP
    words = in_words(_TITLE, facts, told)
    return canvas.save(stem, _TITLE, words)


def _colour(family: str) -> str:
    return FAMILY_COLOURS.get(family, OTHER_COLOUR)


def _cells(
    canvas: Canvas,
    edges: Sequence[float],
    y: float,
    cells: Sequence[str],
    colour: str,
) -> None:
    for edge, cell in zip(edges, cells, strict=True):
        canvas.text(edge, y, cell, TICK, colour, ha="right")
