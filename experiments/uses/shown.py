"""What a use comes to, and how its figure is put together."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.plots.canvas import BODY, TICK
from experiments.plots.scene import in_words, origin
from experiments.plots.sheet import Heading, Sheet
from experiments.plots.style import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from experiments.plots.canvas import Canvas
    from experiments.plots.panel import Panel

    Painter = Callable[[Panel], None]

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
    gap: float = 0.75

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


# --- what several figures have --------------------------------------------------------


def mosaic(
    images: NDArray[Any], columns: int, paper: float = 1.0, rim: int = 1
) -> NDArray[Any]:
    """Lay images (n, height, width) or (n, height, width, 3) out in rows."""
    n, high, wide, *colours = images.shape
    rows = -(-n // columns)
    shape = rows * (high + rim) - rim, columns * (wide + rim) - rim, *colours
    sheet = np.full(shape, paper, images.dtype)
    for i, image in enumerate(images):
        top, left = (high + rim) * (i // columns), (wide + rim) * (i % columns)
        sheet[top : top + high, left : left + wide] = image
    return sheet


def picture(ax: Axes, image: NDArray[Any], **how: Any) -> None:
    """Show an image, as large as there is room, without axes."""
    ax.grid(False)
    ax.set_axis_off()
    ax.imshow(image, **{"cmap": "Greys", "interpolation": "nearest"} | how)
    ax.set_anchor("NW")


def names(ax: Axes, x: str, y: str = "") -> None:
    """Name the axes."""
    ax.set_xlabel(x, size=BODY, color=INK, labelpad=5)
    ax.set_ylabel(y, size=BODY, color=INK, labelpad=5)


def say(ax: Axes, at: tuple[float, float], text: str, colour: str, **how: Any) -> None:
    """Write beside a point of the data."""
    place = {"xytext": (5, 5), "textcoords": "offset points", "size": TICK}
    ax.annotate(text, at, color=colour, parse_math=False, **place | how)


def listing(panel: Panel, lines: Sequence[tuple[str, str]]) -> None:
    """Write lines of (text, colour) from the top of a panel, without axes."""
    panel.ax.set_axis_off()
    for i, (text, colour) in enumerate(lines):
        say(
            panel.ax, (0, 1), text, colour, xycoords="axes fraction",
            xytext=(0, -TICK * (1 + 1.55 * i)),
        )  # fmt: skip


def percents(counts: NDArray[Any], x: str, y: str, panel: Panel) -> None:
    """Show a matrix of counts, in percent of each row."""
    shares = counts / counts.sum(axis=1, keepdims=True)
    panel.ax.grid(False)
    panel.ax.imshow(shares, cmap="Greys", vmin=0, vmax=1.6)  # words stay readable
    middle = {"xytext": (0, 0), "size": TICK - 2, "ha": "center", "va": "center"}
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.005:
            say(panel.ax, (column, row), f"{100 * share:.0f}", INK, **middle)
    panel.ax.set_xticks(range(shares.shape[1]))
    panel.ax.set_yticks(range(len(shares)))
    panel.ax.set_anchor("NW")
    names(panel.ax, x, y)
