"""What a use comes to, and how it becomes a file."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.plots.scene import in_words, origin
from experiments.plots.sheet import Heading, Sheet

if TYPE_CHECKING:
    from experiments.plots.canvas import Canvas
    from experiments.uses.panels import Painter

DPI = 130
_COLOURS = 256


@dataclass(frozen=True)
class Shown:
    """A figure and the numbers in it.

    Parameters
    ----------
    title : what there is to see, in one sentence
    facts : the sizes, the metric, …
    note : how to read it
    merits : what was measured, by name
    panels : who paints each panel, by its title
    height, left, gap : of the panels, in inches (see `Sheet`)
    """

    title: str
    facts: Sequence[str]
    note: str
    merits: Mapping[str, float]
    panels: Mapping[str, Painter]
    height: float = 3.4
    left: float = 0.75
    gap: float = 0.9

    def told(self) -> str:
        """Describe the figure to a reader who cannot see it."""
        merits = (f"{name}: {value:.4g}." for name, value in self.merits.items())
        return in_words(self.title, self.facts, [*merits, self.note])

    def canvas(self, stamp: Mapping[str, Any]) -> Canvas:
        """Draw the figure; ``stamp`` says when and by which code."""
        facts = [*self.facts, *origin(stamp)]
        sheet = Sheet(
            Heading(self.title, facts, self.note), list(self.panels), [],
            height=self.height, left=self.left, right=0.1, gap=self.gap,
        )  # fmt: skip
        for panel, paint in zip(sheet.panels, self.panels.values(), strict=True):
            paint(panel)
        return sheet.canvas


def save(canvas: Canvas, path: Path, told: str) -> None:
    """Write a PNG of 256 colours, a third of the bytes where there are photographs."""
    from PIL import Image, PngImagePlugin

    drawn, about = io.BytesIO(), PngImagePlugin.PngInfo()
    canvas.figure.savefig(drawn, dpi=DPI)
    about.add_itxt("Description", told)
    picture = Image.open(drawn).convert("RGB").quantize(_COLOURS)
    picture.save(path, optimize=True, pnginfo=about)
