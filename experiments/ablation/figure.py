"""Figure of an ablation: a bar for every variant, from its index with everything on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from experiments.ablation.table import Line
from experiments.ablation.variants import BETWEEN, WHOLE
from experiments.percentiles import words
from experiments.plots.canvas import BODY, LEADING, SMALL, TICK, TITLE, Canvas, settings
from experiments.plots.placement import Box, shorten, text_width, wrap
from experiments.plots.rows import Run
from experiments.plots.scales import measured_us
from experiments.plots.scene import Scene, in_words, stems
from experiments.plots.style import FAMILY_COLOURS, GRID, INK, OTHER_COLOUR, SOFT, shade

WIDTH, EDGE, BAR, HEAD, GAP = 9.5, 0.15, 0.24, 0.34, 0.22  # inches
COLUMNS = (0.75, 0.8, 0.85)  # inches: times, p50, recall
_TITLE = "What each trick pays: latency of a query without it"
_NOTE = (
    "Bars, from 1: {p50} of one query at a time on one thread, over that of the index "
    "with everything on. Lines: the least and the greatest of single rounds, measured "
    "in turns. Pale: rounds disagree about which of the two is quicker."
)


def draw(run: Run, lines: Sequence[Line], out: Path) -> list[Path]:
    """Draw a figure for each data set of a study; return the paths written."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    with settings():
        groups = list(dict.fromkeys(point.group for point in run.points))
        for group, stem in zip(groups, stems(groups), strict=True):
            colours = {
                point.label.removesuffix(BETWEEN + WHOLE): _colour(point.family)
                for point in run.points
                if point.group == group
            }
            data = group.dataset, group.metric, group.n
            mine = [line for line in lines if line.data == data]
            chart = _Chart(mine, colours, Scene.of([run], group))
            paths += chart.save(out / f"{stem}-ablation")
    return paths


class _Chart:
    """Bars of one data set, a block for each index, and their figures beside them."""

    def __init__(
        self, lines: Sequence[Line], colours: dict[str, str], scene: Scene
    ) -> None:
        self._colours, self._facts = colours, scene.facts([1])
        self._told: list[str] = []
        self._p50 = p50 = words(lines[0].p50)
        blocks = [list(of) for _, of in groupby(lines, lambda line: line.index)]
        shown = wrap(" · ".join(self._facts), WIDTH - 2 * EDGE, TICK, " · ")
        note = _NOTE.format(p50=p50) + scene.remarks("p50")
        notes = wrap(note, WIDTH - 2 * EDGE, SMALL)
        head = EDGE + (TITLE + len(shown) * TICK) * LEADING + 0.3
        self._foot = EDGE + len(notes) * SMALL * LEADING + 0.5
        bars = sum((len(of) - 1) * BAR + HEAD + GAP for of in blocks)
        self._canvas = Canvas(WIDTH, head + bars + self._foot)
        self._write(shown, notes)
        names = max(text_width(_variant(line), BODY) for line in lines)
        times, us, recall = COLUMNS
        columns = (times, max(us, text_width(p50, TICK, "bold") + 0.2), recall)
        self._left, right = EDGE + 0.15 + names, WIDTH - EDGE - sum(columns)
        self._edges = [right + sum(columns[: i + 1]) for i in range(len(columns))]
        self._cells(self._foot + bars + 0.04, ("times", p50, "recall@10"), "bold")
        self._ax = self._axes(Box(self._left, self._foot, right, self._foot + bars))
        self._scale([line.times for line in lines], bars)
        top = bars
        for of in blocks:
            top = self._block(of, top)

    def save(self, stem: Path) -> list[Path]:
        """Write the files."""
        told = in_words(_TITLE, self._facts, self._told)
        return self._canvas.save(stem, _TITLE, told)

    def _write(self, facts: Sequence[str], notes: Sequence[str]) -> None:
        y = self._canvas.height - EDGE - TITLE * 0.8 / 72
        self._canvas.text(EDGE, y, _TITLE, TITLE, INK, weight="bold")
        for i, fact in enumerate(facts, start=1):
            at = y - 0.02 - i * TICK * LEADING
            self._canvas.text(EDGE, at, fact, TICK, SOFT)
        for i, note in enumerate(reversed(notes)):
            self._canvas.text(EDGE, EDGE + i * SMALL * LEADING, note, SMALL, SOFT)

    def _axes(self, box: Box) -> Axes:
        ax = self._canvas.axes(box)
        ax.set_yticks([])
        ax.patch.set_visible(False)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.spines["bottom"].set_color(SOFT)
        ax.tick_params(labelsize=TICK, color=SOFT, labelcolor=INK, length=3)
        ax.grid(True, axis="x", color=GRID, lw=0.7)
        ax.set_axisbelow(True)
        ax.axvline(1, color=INK, lw=0.9, zorder=3)
        middle = (box.left + box.right) / 2
        name = f"times the {self._p50} with everything on"
        self._canvas.text(middle, box.bottom - 0.4, name, BODY, INK, ha="center")
        return ax

    def _scale(self, spans: Sequence[Sequence[float]], bars: float) -> None:
        """Show every span; the height is in inches."""
        known = [1.0, *(x for span in spans for x in span if not math.isnan(x))]
        room = 0.05 * (max(known) - min(known)) or 0.1
        self._ax.set_xlim(min(known) - room, max(known) + room)
        self._ax.set_ylim(0, bars)

    def _block(self, lines: Sequence[Line], top: float) -> float:
        """Draw an index and its variants below ``top``; return where they end."""
        whole, *others = lines
        at = self._foot + top - HEAD + 0.1
        room = WIDTH - sum(COLUMNS) - 2 * EDGE
        name = shorten(whole.index, room, BODY, "bold")
        self._canvas.text(EDGE, at, name, BODY, INK, weight="bold")
        self._figures(at, whole, "")
        top -= HEAD
        for line in others:
            self._bar(line, top - BAR / 2)
            top -= BAR
        return top - GAP

    def _bar(self, line: Line, y: float) -> None:
        colour = self._colours.get(line.index, OTHER_COLOUR)
        paint = shade(colour, 0.6) if line.within_noise else colour
        look: dict[str, Any] = {"height": BAR * 0.66, "color": paint, "lw": 0}
        self._ax.barh(y, line.times.value - 1, left=1, **look)
        span = [line.times.low, line.times.high]
        self._ax.plot(span, [y, y], color=shade(colour, -0.4), lw=1, zorder=4)
        at = self._foot + y - 0.05
        self._canvas.text(self._left - 0.1, at, _variant(line), BODY, INK, ha="right")
        times = f"× {line.times.value:.2f}"
        self._figures(at, line, times)
        self._told.append(f"{line.index}, {line.variant}: {times}.")

    def _figures(self, y: float, line: Line, times: str) -> None:
        cells = times, measured_us(line.us), f"{line.recall_at_10:.4f}"
        self._cells(y, cells, "normal")

    def _cells(self, y: float, cells: Sequence[str], weight: str) -> None:
        for edge, cell in zip(self._edges, cells, strict=True):
            self._canvas.text(edge, y, cell, TICK, INK, ha="right", weight=weight)


def _variant(line: Line) -> str:
    return shorten(line.variant, WIDTH / 3, BODY)


def _colour(family: str) -> str:
    return FAMILY_COLOURS.get(family, OTHER_COLOUR)
