"""A figure to be drawn on in inches, and the files it becomes.

Inches, because words have a size and must neither overlap nor be clipped: whoever
places something knows what it covers, and the same rows give the same picture on
every machine.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from experiments.encoding import printable
from experiments.plots.fonts import families, legible
from experiments.plots.placement import Box

TITLE, BODY, TICK, SMALL = 13.0, 10.0, 9.0, 8.0  # sizes of text, in points
DPI = 160  # of a PNG
LEADING = 1.3 / 72  # inches from line to line for each point of size


@contextmanager
def settings() -> Iterator[None]:
    """Draw by settings of our own; a reader's must not change the figures."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams["font.family"] = families()
        mpl.rcParams["text.parse_math"] = False  # a label may have dollar signs
        yield


class Canvas:
    """A white figure; every place on it is given in inches from its lower left."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), facecolor="white")
        FigureCanvasAgg(self.figure)

    def axes(self, box: Box) -> Axes:
        """Add axes that fill a box."""
        left, bottom = box.left / self.width, box.bottom / self.height
        width, height = box.right - box.left, box.top - box.bottom
        return self.figure.add_axes(
            (left, bottom, width / self.width, height / self.height)
        )

    def place(self, ax: Axes, x: float, y: float) -> tuple[float, float]:
        """Return where a point of the data of some axes stands."""
        pixels = ax.transData.transform((x, y))
        left, bottom = self.figure.dpi_scale_trans.inverted().transform(pixels)
        return float(left), float(bottom)

    def text(
        self, x: float, y: float, text: str, size: float, colour: str, **look: Any
    ) -> None:
        """Write one line of text, by default to the right of and above its place."""
        self.figure.text(
            x / self.width,
            y / self.height,
            legible(text),
            size=size,
            color=colour,
            **look,
        )

    def block(
        self, x: float, y: float, lines: Sequence[str], colour: str, ha: str = "left"
    ) -> None:
        """Write lines of text whose middle is at height ``y``."""
        top = y + (len(lines) - 1) / 2 * BODY * LEADING
        for i, line in enumerate(lines):
            at = top - i * BODY * LEADING
            self.text(x, at, line, BODY, colour, va="center_baseline", ha=ha)

    def stroke(self, path: Sequence[tuple[float, float]], **look: Any) -> None:
        """Draw a line, or marks, through places."""
        xs, ys = zip(*path, strict=True)
        inches = self.figure.dpi_scale_trans
        self.figure.add_artist(Line2D(xs, ys, transform=inches, **look))

    def arrow(
        self, tail: tuple[float, float], tip: tuple[float, float], colour: str
    ) -> None:
        """Draw an arrow."""
        self.figure.add_artist(
            FancyArrowPatch(
                tail,
                tip,
                transform=self.figure.dpi_scale_trans,
                arrowstyle="-|>",
                mutation_scale=9,
                shrinkA=0,
                shrinkB=0,
                color=colour,
                lw=1.1,
            )
        )

    def save(self, stem: Path, title: str, description: str) -> list[Path]:
        """Write PNG and SVG, both with the description as their alternative text."""
        title, description = (printable(text, None) for text in (title, description))
        png, svg = (stem.with_name(f"{stem.name}.{end}") for end in ("png", "svg"))
        about = {"Title": title, "Description": description}
        with mpl.rc_context({"svg.hashsalt": "ann", "svg.fonttype": "path"}):
            self._save_opaque(png, about)
            plain = {"Date": None, "Creator": None}  # the same rows, the same bytes
            self.figure.savefig(svg, metadata=about | plain)
        # Screen readers look for <desc>, not for the RDF block that Matplotlib writes.
        text = svg.read_text(encoding="utf-8")
        text = text.replace("<svg ", '<svg role="img" ', 1)
        named = f"</title>\n <desc>{html.escape(description)}</desc>"
        svg.write_text(text.replace("</title>", named, 1), encoding="utf-8")
        return [png, svg]

    def _save_opaque(self, png: Path, about: Mapping[str, str]) -> None:
        """Write a PNG without the transparency that no figure has, a tenth of it."""
        drawn, notes = BytesIO(), PngInfo()
        self.figure.savefig(drawn, dpi=DPI, format="png")
        for key, text in about.items():
            notes.add_itxt(key, text)
        with Image.open(drawn) as image:
            image.convert("RGB").save(png, "PNG", pnginfo=notes, dpi=(DPI, DPI))
