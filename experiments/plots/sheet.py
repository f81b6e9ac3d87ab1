"""One figure: heading, panels side by side, the curves' names at their ends, a note."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from experiments.plots.canvas import BODY, LEADING, SMALL, TICK, TITLE, Canvas
from experiments.plots.panel import Panel
from experiments.plots.placement import Box, spread, text_width, wrap, wrap_names
from experiments.plots.scales import Format, RecallAxis
from experiments.plots.style import GRID, INK, SOFT, Style, look

WIDTH, LEAST_HEIGHT = 12.0, 3.9  # inches, as all that follows
EDGE, LEFT, GAP, BELOW, ABOVE = 0.15, 0.92, 0.22, 0.7, 0.34
COLUMN, LEADER, KEY = 2.3, 0.3, 0.4
SNUG = 0.97  # of a line: hinting widens it by up to 3 %


class Heading(NamedTuple):
    """The words around the panels of a figure."""

    title: str
    facts: Sequence[str]
    note: str


class End(NamedTuple):
    """A curve's name and style, and where its line ends, in inches."""

    label: str
    style: Style
    place: tuple[float, float]


class Sheet:
    """A figure of equal panels, with a column on the right for the curves' names.

    Parameters
    ----------
    heading : Heading
    panels : titles of the panels, one each
    labels : names of the curves, for which the column is made wide and high enough
    height : of the panels in inches, at least
    left : room for the names on the y axis, in inches
    right : room to the right of the panels; by default what the labels take
    gap : between panels; wider where each has a y axis of its own
    """

    def __init__(
        self,
        heading: Heading,
        panels: Sequence[str],
        labels: Sequence[str],
        height: float = LEAST_HEIGHT,
        left: float = LEFT,
        right: float | None = None,
        gap: float = GAP,
    ) -> None:
        self._names = wrap_names(labels, COLUMN, BODY)
        if right is None:
            lines = [line for name in self._names.values() for line in name]
            right = LEADER + KEY + 0.08 + max(text_width(line, BODY) for line in lines)
        facts = wrap(" · ".join(heading.facts), WIDTH - 2 * EDGE, TICK, " · ")
        notes = wrap(heading.note, SNUG * (WIDTH - 2 * EDGE), SMALL)
        head = EDGE + (TITLE + len(facts) * TICK) * LEADING + 0.12 + ABOVE
        bottom = BELOW + len(notes) * SMALL * LEADING
        top = bottom + max(height, sum(map(self._name_height, labels)))
        self.area = Box(left, bottom, WIDTH - right - EDGE, top)
        self.canvas = Canvas(WIDTH, top + head)
        self._write(heading.title, facts, notes)
        step = (self.area.right - left + gap) / len(panels)
        self.panels = [
            Panel(
                self.canvas,
                Box(left + i * step, bottom, left + (i + 1) * step - gap, top),
                title,
            )
            for i, title in enumerate(panels)
        ]

    def recall_axes(self, axis: RecallAxis, k: int) -> None:
        """Make the x axis of every panel one of recall, and name it once."""
        for panel in self.panels:
            panel.recall_axis(axis)
        self.x_name(f"recall@{k}")

    def x_name(self, name: str) -> None:
        """Name the x axis of all panels, once."""
        x, y = (self.area.left + self.area.right) / 2, self.area.bottom - 0.38
        self.canvas.text(x, y, name, BODY, INK, ha="center", va="center")

    def log_axes(self, name: str, limits: tuple[float, float], unit: Format) -> None:
        """Give all panels the same log axis y, labelled on the first."""
        for panel in self.panels:
            panel.log_axis(limits, unit)
        for panel in self.panels[1:]:
            panel.ax.tick_params(axis="y", labelleft=False)
        self.panels[0].ax.set_ylabel(name, size=BODY, color=INK, labelpad=6)

    def reference(self, y: float, text: str) -> None:
        """Draw a dotted line on every panel, and say on the first what it means."""
        for panel in self.panels:
            panel.reference(y)
        first = self.panels[0]
        first.annotate((first.ax.get_xlim()[0], y), text, SOFT)

    def name(self, ends: Sequence[End]) -> None:
        """Write the curves' names on the right, pushed apart, tied to their ends."""
        heights = [self._name_height(end.label) for end in ends]
        wishes = [end.place[1] for end in ends]
        centres = spread(wishes, heights, self.area.bottom, self.area.top)
        right = self.area.right
        for end, y in zip(ends, centres, strict=True):
            elbow, stop = (right + 0.04, end.place[1]), (right + LEADER - 0.04, y)
            leader = {"color": end.style.colour, "lw": 0.7, "ls": (0, (1.5, 1.8))}
            self.canvas.stroke([end.place, elbow, stop], zorder=0.5, **leader)
            x = right + LEADER
            key = [(x, y), (x + KEY / 2, y), (x + KEY, y)]
            self.canvas.stroke(key, markevery=[1], **look(end.style))
            name = self._names[end.label]
            self.canvas.block(x + KEY + 0.08, y, name, end.style.text)

    def bubble_key(self, title: str, widths: Sequence[tuple[str, float]]) -> None:
        """Explain the widths of bubbles (in points), above the last panel."""
        x, y = self.area.right, self.area.top + 0.16
        mark = {"ls": "none", "marker": "o", "mfc": GRID, "mec": SOFT, "mew": 0.8}
        for words, width in reversed(widths):
            x -= text_width(words, SMALL)
            self.canvas.text(x, y, words, SMALL, SOFT, va="center_baseline")
            x -= 0.06 + width / 144
            self.canvas.stroke([(x, y)], ms=width, **mark)
            x -= 0.14 + width / 144
        self.canvas.text(x, y, title, SMALL, SOFT, va="center_baseline", ha="right")

    def rule(self, y: float) -> None:
        """Draw a hairline from the y axis to the right edge, at a height in inches."""
        path = [(self.area.left, y), (WIDTH - EDGE, y)]
        self.canvas.stroke(path, color=GRID, lw=0.6, zorder=-1)

    def _name_height(self, label: str) -> float:
        return (len(self._names[label]) * BODY + 1.5) * LEADING

    def _write(self, title: str, facts: Sequence[str], notes: Sequence[str]) -> None:
        y = self.canvas.height - EDGE - TITLE * 0.8 / 72
        self.canvas.text(EDGE, y, title, TITLE, INK, weight="bold")
        for i, fact in enumerate(facts, start=1):
            at = y - 0.02 - i * TICK * LEADING
            self.canvas.text(EDGE, at, fact, TICK, SOFT)
        for i, note in enumerate(reversed(notes)):
            self.canvas.text(EDGE, EDGE + i * SMALL * LEADING, note, SMALL, SOFT)
