"""What pictures of a search share: a map around the query, a panel, a film."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from experiments.plots.canvas import BODY, LEADING, SMALL, TICK, TITLE, Canvas
from experiments.plots.placement import Box, wrap
from experiments.plots.plane import INNER, Plane, Scale
from experiments.plots.sheet import EDGE, WIDTH
from experiments.plots.style import FAMILY_COLOURS, GRID, INK, SLOT, SOFT, shade
from experiments.tracing import Case, facts, ordinal

Floats = NDArray[np.float64]

MAP, FILM_MAP = 6.3, 4.9  # inches
RIM = 1.05  # of a map, in its own coordinates
KEY_ROW = 0.27  # inches
BACKGROUND = 1000  # vectors that show where the others are
FAINT = "#c9c9c9"  # others
SCORED, LINKS = "#8fa3b3", "#b4c3ce"
NEAREST, MISSED = FAMILY_COLOURS["HNSW+codec"], FAMILY_COLOURS["IVF+codec"]
ENTRY = FAMILY_COLOURS["IVF"]
FPS, HOLD_MS, MOST_FRAMES = 6, 2500, 60
FILM_DPI, TONES, PALER = 90, 8, (0.0, 0.25, 0.5, 0.75)
EDGE_OF_TEXT = {
    "boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75,
}  # fmt: skip

# What a key explains: how its mark looks, and the words.
Mark = tuple[dict[str, Any], str]


class Scene(NamedTuple):
    """A case, and where its vectors stand."""

    case: Case
    plane: Plane
    background: Floats  #: places of a sample of the others

    @classmethod
    def of(cls, case: Case, seen: NDArray[np.int64], way: NDArray[np.int64]) -> Scene:
        """Lay out the plane by the rows that a search scored and those of its way."""
        n, seen = len(case.data.train), np.union1d(seen, case.truth)
        rng = np.random.default_rng(0)
        others = rng.choice(n, min(n, BACKGROUND), replace=False)
        scored = case.distances(seen)
        far = [np.quantile(scored, 0.98), case.distances(way).max(initial=-np.inf)]
        far.append(np.median(case.distances(others)))
        near = case.distances(case.truth).min()
        scale = Scale.of(float(near), float(np.median(scored)), float(max(far)))
        plane = Plane(case.q, case.prepared(case.data.train[seen]), scale)
        others = np.setdiff1d(others, seen)
        return cls(case, plane, place(case, plane, others))

    def at(self, rows: NDArray[np.int64]) -> Floats:
        """Return the places of rows."""
        return place(self.case, self.plane, rows)


def place(case: Case, plane: Plane, rows: NDArray[np.int64]) -> Floats:
    """Return the places (m, 2) of rows."""
    vectors = case.prepared(case.data.train[rows])
    return plane.place(vectors, case.distances(rows))


def tones(colour: str) -> LinearSegmentedColormap:
    """Return a colour from light to dark."""
    ends = [shade(colour, 0.62), shade(colour, 0.0), shade(colour, -0.5)]
    return LinearSegmentedColormap.from_list("", ends)


def tone(colours: LinearSegmentedColormap, share: float) -> str:
    """Return one of its tones, 0 for the lightest."""
    return to_hex(colours(share))


def _dress_map(ax: Axes, scene: Scene) -> None:
    """Draw what a map begins with: circles of distance, the others, the query."""
    ax.set_xlim(-RIM, RIM)
    ax.set_ylim(-RIM, RIM)
    ax.set_axis_off()
    scale = scene.plane.scale
    for distance in scale.ticks():
        radius = float(scale(distance))
        ax.add_patch(Circle((0, 0), radius, fc="none", ec=GRID, lw=0.8, zorder=0.5))
        look: dict[str, Any] = {"size": SMALL, "color": SOFT, "bbox": EDGE_OF_TEXT}
        label = f"{distance:g}"
        ax.text(0, radius, label, ha="center", va="center", zorder=6, **look)
    dots(ax, inside(scene.background), s=3, color=FAINT, lw=0, zorder=1)
    ax.plot(0, 0, **QUERY)


def inside(places: Floats) -> Floats:
    """Return the places that a map has room for."""
    near: Floats = places[np.linalg.norm(places, axis=1) < RIM]
    return near


def dots(ax: Axes, places: Floats, **look: Any) -> None:
    """Draw dots at places (m, 2)."""
    ax.scatter(places[:, 0], places[:, 1], **look)


def _ring_nearest(ax: Axes, scene: Scene, size: float = 10) -> None:
    """Ring the exact neighbours, those that were missed with a square."""
    truth, found = scene.case.truth, scene.case.found
    for row, (x, y) in zip(truth, scene.at(truth), strict=True):
        ax.plot(x, y, zorder=7, **(HIT if row in found else MISS) | {"ms": size})


QUERY: dict[str, Any] = {
    "marker": "P", "ms": 9, "mfc": INK, "mec": "white", "mew": 0.8, "zorder": 9,
    "ls": "none",
}  # fmt: skip
HIT: dict[str, Any] = {
    "marker": "o", "ms": 10, "mfc": "none", "mec": NEAREST, "mew": 1.5, "ls": "none",
}  # fmt: skip
MISS: dict[str, Any] = {
    "marker": "s", "ms": 10, "mfc": "none", "mec": MISSED, "mew": 1.5, "ls": "none",
}  # fmt: skip
OTHER: dict[str, Any] = {"marker": "o", "ms": 2.5, "mfc": FAINT, "mec": "none"}


def _shared_marks(case: Case) -> list[Mark]:
    """Return the key of what every map shows."""
    k, missed = len(case.truth), not np.isin(case.truth, case.found).all()
    marks: list[Mark] = [
        (QUERY, "the query"),
        (HIT, f"one of the {k} nearest, found"),
        (OTHER, "other vectors, a sample"),
    ]
    if missed:
        marks.insert(2, (MISS, f"one of the {k} nearest, missed"))
    return marks


def _dress_side(ax: Axes, scene: Scene) -> None:
    """Give a panel the map's scale of distance, and the last neighbour's line."""
    scale, case = scene.plane.scale, scene.case
    ticks = scale.ticks(7)
    ax.set_yticks([float(scale(tick)) for tick in ticks], [f"{t:g}" for t in ticks])
    ax.set_ylim(INNER - 0.06, RIM)
    ax.grid(True, axis="y", color=GRID, lw=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(SOFT)
    ax.tick_params(labelsize=TICK, color=SOFT, labelcolor=INK, length=3)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    last = float(scale(case.distances(case.truth).max()))
    ax.axhline(last, color=NEAREST, lw=1.1, ls=(0, (1, 1.5)), zorder=1.5)
    words, where = f"{ordinal(len(case.truth))}\nnearest", ax.get_yaxis_transform()
    look: dict[str, Any] = {
        "size": SMALL,
        "color": shade(NEAREST, -0.3),
        "va": "center",
    }
    ax.text(1.012, last, words, transform=where, **look)


def shade_upper(ax: Axes, last: int) -> None:
    """Shade the steps on upper layers, 1 to ``last``."""
    ax.axvspan(0.5, last + 0.5, color=SLOT, lw=0, zorder=-3)


def _projection_note(scene: Scene) -> str:
    """Say what a map shows."""
    unit = "" if scene.case.data.metric != "ip" else " (minus the inner product)"
    return (
        "The map: the query is in the middle; the farther a vector stands from it, the "
        f"larger its true distance{unit}, as the circles say, on a scale that bends so "
        "that half of the scored vectors stand near the middle; its direction is that "
        "of x − q, on the two axes along which the directions of the scored vectors "
        f"differ most ({scene.plane.share:.0%} of their variance); what is far "
        "outside is left out."
    )


class Picture:
    """A figure: heading, map on the left, panel and key on the right, note below.

    Parameters
    ----------
    scene : what stands where
    title : in large letters
    note : how to read what every map does not show
    marks : what the key explains besides
    """

    def __init__(
        self, scene: Scene, title: str, note: str, marks: Sequence[Mark]
    ) -> None:
        told, note = facts(scene.case), f"{_projection_note(scene)} {note}"
        self._scene, self._marks = scene, [*_shared_marks(scene.case), *marks]
        self._title, self._words = title, f"{title}. {', '.join(told)}. {note}"
        above = wrap(" · ".join(told), WIDTH - 2 * EDGE, TICK, " · ")
        notes = wrap(note, WIDTH - 2 * EDGE, SMALL)
        bottom = EDGE + len(notes) * SMALL * LEADING + 0.1
        top = bottom + MAP
        head = EDGE + (TITLE + len(above) * TICK) * LEADING + 0.18
        self.canvas = canvas = Canvas(WIDTH, top + head)
        y = canvas.height - EDGE - TITLE * 0.8 / 72
        canvas.text(EDGE, y, title, TITLE, INK, weight="bold")
        for i, line in enumerate(above, start=1):
            canvas.text(EDGE, y - 0.02 - i * TICK * LEADING, line, TICK, SOFT)
        for i, line in enumerate(reversed(notes)):
            canvas.text(EDGE, EDGE + i * SMALL * LEADING, line, SMALL, SOFT)
        self.map = canvas.axes(Box(EDGE, bottom, EDGE + MAP, top))
        rows = -(-len(self._marks) // 2)
        self._left, self._key = EDGE + MAP + 0.95, bottom + rows * KEY_ROW
        box = Box(self._left, self._key + 0.75, WIDTH - EDGE - 0.62, top - 0.25)
        self.side = canvas.axes(box)
        _dress_map(self.map, scene)

    def name_axes(self, x: str, y: str, title: str) -> None:
        """Name the panel and its axes."""
        self.side.set_xlabel(x, size=BODY, color=INK)
        self.side.set_ylabel(y, size=BODY, color=INK, labelpad=6)
        self.side.set_title(title, size=BODY, color=INK, loc="left", weight="bold")

    def save(self, stem: Path) -> list[Path]:
        """Add what all pictures end with; return the paths of PNG and SVG."""
        _ring_nearest(self.map, self._scene)
        self._explain()
        _dress_side(self.side, self._scene)
        return self.canvas.save(stem, self._title, self._words)

    def _explain(self) -> None:
        """Draw the key, in two columns."""
        half = -(-len(self._marks) // 2)
        for i, (look, words) in enumerate(self._marks):
            x = self._left - 0.4 + (i // half) * 2.5
            y = self._key - (i % half) * KEY_ROW - 0.1
            ends = [(x, y), (x + 0.28, y)] if look.get("ls", "none") != "none" else []
            path = ends or [(x + 0.14, y)]
            self.canvas.stroke(path, **{"ls": "none"} | look)
            self.canvas.text(x + 0.4, y, words, TICK, INK, va="center_baseline")


class Film:
    """A map that changes, under two lines of text."""

    def __init__(self, scene: Scene, colours: LinearSegmentedColormap) -> None:
        self._palette = _palette(colours)
        self.canvas = canvas = Canvas(FILM_MAP + 0.2, FILM_MAP + 0.65)
        self.map = canvas.axes(Box(0.1, 0.08, 0.1 + FILM_MAP, 0.08 + FILM_MAP))
        title = scene.case.setting.short
        canvas.text(0.12, canvas.height - 0.2, title, BODY, INK, weight="bold")
        width, height = canvas.width, canvas.height
        self._line = canvas.figure.text(
            0.12 / width, (height - 0.4) / height, "", size=TICK, color=SOFT
        )
        canvas.figure.set_dpi(FILM_DPI)
        self._agg: Any = FigureCanvasAgg(canvas.figure)
        _dress_map(self.map, scene)
        _ring_nearest(self.map, scene, 8)

    def say(self, words: str) -> None:
        """Change the second line."""
        self._line.set_text(words)

    def save(self, path: Path, frames: Iterable[object]) -> Path:
        """Write a GIF: a picture each time ``frames`` has changed the map.

        All pictures share a palette and are not dithered: with one for each, as
        Matplotlib's writer makes them, films were 6 to 18 times as large.
        """
        first, *others = [self._photograph() for _ in frames]
        turns = [1000 // FPS] * len(others) + [HOLD_MS]
        first.save(path, save_all=True, append_images=others, duration=turns, loop=0)
        return path

    def _photograph(self) -> Image.Image:
        self._agg.draw()
        picture = Image.fromarray(np.asarray(self._agg.buffer_rgba())[..., :3].copy())
        return picture.quantize(palette=self._palette, dither=Image.Dither.NONE)


def _palette(colours: LinearSegmentedColormap) -> Image.Image:
    """Return what a film is painted with: each colour, and paler towards white."""
    plain = [INK, SOFT, FAINT, GRID, SCORED, LINKS, NEAREST, MISSED, ENTRY]
    plain += [tone(colours, share) for share in np.linspace(0, 1, TONES)]
    paints = [shade(paint, pale) for paint in plain for pale in PALER]
    numbers = [
        round(255 * part) for paint in ["white", *paints] for part in to_rgb(paint)
    ]
    made = Image.new("P", (1, 1))
    made.putpalette(numbers)
    return made


def groups(count: int) -> list[int]:
    """Return after how many of ``count`` steps to show a picture."""
    frames = min(count, MOST_FRAMES)
    return [round((i + 1) * count / frames) for i in range(frames)]


def nearest_text(seen: int, k: int) -> str:
    """Say how many of the nearest a search has come across."""
    return f"{seen} of the {k} nearest seen"
