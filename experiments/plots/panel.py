"""One pair of axes: curves, bubbles, and words where there is room for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from matplotlib.ticker import NullLocator

from experiments.plots.canvas import BODY, SMALL, TICK, Canvas
from experiments.plots.placement import Box, staircase, text_width
from experiments.plots.scales import Format, RecallAxis, log_ticks
from experiments.plots.style import GRID, INK, SLOT, SOFT, Style, look

Corner = Literal["lower right", "upper right"]
Spot = tuple[float, float]  # in the data's coordinates


class Panel:
    """Axes in a box of a canvas, which know what is drawn where."""

    def __init__(self, canvas: Canvas, box: Box, title: str) -> None:
        self._canvas, self._box = canvas, box
        self._rim = Box(
            box.left + 0.08, box.bottom + 0.1, box.right - 0.08, box.top - 0.08
        )
        self._taken: list[Box] = []
        self.ax = ax = canvas.axes(box)
        ax.patch.set_visible(False)
        ax.grid(True, color=GRID, lw=0.7)
        ax.set_axisbelow(True)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.spines["bottom"].set_color(SOFT)
        ax.tick_params(labelsize=TICK, color=SOFT, labelcolor=INK, length=3)
        ax.tick_params(axis="y", length=0)
        name, _, gloss = title.partition(" – ")
        x, y = box.left, box.top + 0.12
        canvas.text(x, y, name, BODY, INK, weight="bold")
        x += text_width(name, BODY, "bold") + 0.08
        canvas.text(x, y, gloss, TICK, SOFT)

    def recall_axis(self, axis: RecallAxis) -> None:
        """Make x an axis of recall."""
        ticks = axis.ticks(self._box.right - self._box.left, TICK)
        self.ax.set_xlim(axis.low, axis.high)
        self.ax.set_xticks([x for x, _ in ticks], [label for _, label in ticks])
        if axis.has_slot:
            self.ax.axvspan(axis.break_at, axis.high, color=SLOT, lw=0, zorder=-3)
            self._break(axis.break_at)

    def log_axis(self, limits: tuple[float, float], unit: Format) -> None:
        """Make y a log axis."""
        ticks = log_ticks(*limits)
        self.ax.set_yscale("log")
        self.ax.set_ylim(*limits)
        self.ax.yaxis.set_minor_locator(NullLocator())
        self.ax.set_yticks(ticks, [unit(tick) for tick in ticks])

    def reference(self, y: float) -> None:
        """Draw a dotted horizontal line."""
        self.ax.axhline(y, color=SOFT, lw=0.9, ls=(0, (1, 2)), zorder=1)

    def region(
        self, across: tuple[float, float], top: float, name: str, colour: str
    ) -> None:
        """Shade what a use asks for: a span of x, up to a greatest y.

        Its name stands where there is room; to be drawn after the curves.
        """
        (left, right), (low, high) = across, self.ax.get_ylim()
        bounds = self.ax.get_xlim()
        left, right = max(left, bounds[0]), min(right, bounds[1])
        top = min(top, high)
        if left >= right or top <= low:
            return
        self.ax.fill_between([left, right], low, top, color=colour, lw=0, zorder=-2)
        self._plot([(left, low), (left, top)], color=SOFT, lw=0.6, ls=(0, (1, 2)))
        self._name_region(Box(*self.place(left, low), *self.place(right, top)), name)

    def _name_region(self, region: Box, name: str) -> None:
        """Write a name inside a box: level, else upright, where it is free."""
        wide, line = text_width(name, SMALL), 1.2 * SMALL / 72
        flat = [
            Box(x, y - line, x + wide, y)
            for y in (region.top - 0.06 - 0.1 * i for i in range(60))
            for x in (region.left + 0.05 + 0.1 * j for j in range(30))
        ]
        upright = [
            Box(x, y - wide, x + line, y)
            for y in (region.top - 0.06 - 0.1 * i for i in range(60))
            for x in (region.left + 0.02 + 0.1 * j for j in range(30))
        ]
        fits = [box for box in (*flat, *upright) if box.within(region)]
        box = self._free(fits)
        if box is not None:
            self._taken.append(box)
            turned = box.top - box.bottom > line + 1e-6
            how: dict[str, Any] = {"rotation": 90} if turned else {}
            y = box.bottom if turned else box.bottom + 0.03
            self._canvas.text(box.left, y, name, SMALL, SOFT, va="bottom", **how)

    def curve(self, style: Style, best: Sequence[Spot], beaten: Sequence[Spot]) -> None:
        """Draw a frontier as a staircase, and the points it dominates faintly."""
        faint = {"ls": "none", "alpha": 0.22, "mec": "none", "ms": style.size - 1}
        faint |= {"mfc": style.colour, "fillstyle": "full"}
        self._plot(beaten, zorder=2, **(look(style) | faint))
        above = 4 if style.ours else 3
        self._plot(best, drawstyle="steps-pre", zorder=above, **look(style))
        self._taken += staircase([self.place(*spot) for spot in best], 0.05)
        for spot in beaten:
            self._taken += staircase([self.place(*spot)], 0.03)

    def whiskers(
        self, style: Style, xs: Sequence[float], spans: Sequence[tuple[float, float]]
    ) -> None:
        """Draw a vertical line from low to high at each x; NaN draws nothing."""
        path: list[Spot] = []  # one for all, broken between them
        for x, span in zip(xs, spans, strict=True):
            ends = [(x, y) for y in span if y > 0]
            path += [*ends, (x, math.nan)]
            self._taken += staircase([self.place(*end) for end in ends], 0.02)
        self._plot(path, color=style.colour, lw=0.8, alpha=0.7, zorder=2)

    def bubble(self, style: Style, lowest: float, at: Spot, width: float) -> None:
        """Draw a thin span from ``lowest`` to a mark that is ``width`` points wide."""
        span = look(style) | {"marker": "none", "lw": 1.2}
        self._plot([(lowest, at[1]), at], zorder=2, **span)
        mark = look(style) | {"ls": "none", "ms": width, "mec": style.text}
        self._plot([at], alpha=0.75, zorder=3, clip_on=False, **mark)
        left, bottom = self.place(*at)
        start, half = self.place(lowest, at[1])[0], width / 144
        self._taken += staircase([(left, bottom)], half)
        self._taken.append(Box(start, bottom - 0.03, left, bottom + 0.03))

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point of the data stands, in inches."""
        return self._canvas.place(self.ax, x, y)

    def annotate(self, at: Spot, text: str, colour: str) -> bool:
        """Write a few words beside a point, if there is room; return whether."""
        x, y = self.place(*at)
        wide, high = text_width(text, SMALL), 1.2 * SMALL / 72
        box = self._free(
            [
                Box(left, bottom, left + wide, bottom + high)
                for gap in (0.08, 0.14, 0.22)
                for left, bottom in (
                    (x - wide - gap, y + gap / 2),
                    (x + gap, y - gap / 2 - high),
                    (x - wide / 2, y + gap),
                    (x - wide / 2, y - gap - high),
                    (x + gap, y + gap / 2),
                    (x - wide - gap, y - gap / 2 - high),
                )
            ]
        )
        if box is None:
            return False
        self._taken.append(box)
        self._canvas.text(box.left, box.bottom + 0.03, text, SMALL, colour)
        near = min(max(x, box.left), box.right), min(max(y, box.bottom), box.top)
        if math.dist(near, (x, y)) > 0.12:
            self._canvas.stroke([(x, y), near], color=colour, lw=0.7)
        return True

    def better(self, corner: Corner) -> None:
        """Draw the arrow that says where better points stand, near that corner."""
        word = text_width("better", SMALL)
        wide, high, up = word + 0.5, 0.34, corner == "upper right"
        right, bottom = (
            self._rim.right,
            self._rim.top - high if up else self._rim.bottom,
        )
        away = -0.1 if up else 0.1
        tries = [
            Box(x - wide, y, x, y + high)
            for y in (bottom + away * i for i in range(12))
            for x in (right - 0.1 * i for i in range(12))
        ]
        box = self._free(tries) or tries[0]
        half = 0.6 * SMALL / 72  # of the word, which is centred on the tail
        self._taken.append(Box(box.left, box.bottom - half, box.right, box.top + half))
        tail, tip = (box.bottom, box.top) if up else (box.top, box.bottom)
        self._canvas.text(box.left, tail, "better", SMALL, SOFT, va="center")
        self._canvas.arrow((box.left + word + 0.06, tail), (box.right, tip), SOFT)

    def _plot(self, spots: Sequence[Spot], **keywords: Any) -> None:
        self.ax.plot([x for x, _ in spots], [y for _, y in spots], **keywords)

    def _free(self, tries: Sequence[Box]) -> Box | None:
        """Return the first box that lies inside and covers nothing drawn so far."""
        return next(
            (
                box
                for box in tries
                if box.within(self._rim) and not any(map(box.meets, self._taken))
            ),
            None,
        )

    def _break(self, x: float) -> None:
        """Cut the x axis at a position, with two slashes."""
        low, high = self.ax.get_xlim()
        half = 0.03 * (high - low) / (self._box.right - self._box.left)
        ends = [(x - half, 0.0), (x + half, 0.0)]
        on_axis: dict[str, Any] = {
            "transform": self.ax.get_xaxis_transform(),
            "clip_on": False,
        }
        self._plot(ends, color="white", lw=2.5, zorder=5, **on_axis)
        slash = [(-0.5, -1), (0.5, 1)]
        self._plot(ends, ls="none", marker=slash, ms=8, mec=SOFT, zorder=6, **on_axis)
