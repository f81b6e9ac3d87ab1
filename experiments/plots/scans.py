"""A search of an inverted file, drawn: a picture, and a film of its lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from ann.traces import ListsTrace, Visit
from experiments.plots.around import (
    EDGE_OF_TEXT,
    Film,
    Mark,
    Picture,
    Scene,
    dots,
    groups,
    inside,
    nearest_text,
    tone,
    tones,
)
from experiments.plots.canvas import SMALL
from experiments.plots.style import FAMILY_COLOURS, INK, SOFT, shade
from experiments.tracing import Case, number_text, ordinal

COLOURS = tones(FAMILY_COLOURS["IVF"])
CENTROID: dict[str, Any] = {
    "marker": "D", "ms": 4.5, "mfc": "white", "mec": SOFT, "mew": 0.9, "ls": "none",
}  # fmt: skip
SCANNED = {"marker": "o", "ms": 4, "mfc": tone(COLOURS, 0.6), "mec": "none"}
MARKS: list[Mark] = [
    (CENTROID, "centroid of a list"),
    (SCANNED, "scanned, the earlier the darker"),
    ({"ls": "-", "color": SOFT, "lw": 1.4}, "the last of the best so far"),
]
TITLE = "One search of an inverted file, list by list"
NUMBERED = 20  # lists that are few enough to be numbered


class Turn(NamedTuple):
    """A list that was scanned, on the map."""

    number: int
    visit: Visit
    places: NDArray[np.float64]
    centroid: NDArray[np.float64]
    colour: str

    def mark(self) -> dict[str, Any]:
        """Return how its centroid looks."""
        return CENTROID | {"mfc": self.colour, "mec": INK, "ms": 6}


class Scan:
    """The lists of a search, and where their vectors and all centroids stand."""

    def __init__(self, case: Case, trace: ListsTrace) -> None:
        self.trace = trace
        seen = np.concatenate([visit.ids for visit in trace.visits])
        self.scene = Scene.of(case, np.unique(seen), np.empty(0, np.int64))
        self.members = [self.scene.at(visit.ids) for visit in trace.visits]
        every = np.arange(len(case.centroids))
        self.at_centroids = case.distances(every, case.centroids)
        self.centroids = self.scene.plane.place(case.centroids, self.at_centroids)

    def turns(self) -> Iterator[Turn]:
        """Yield the lists in order, the first the darkest."""
        shares = np.linspace(1, 0, max(2, len(self.members)))
        for i, (visit, places) in enumerate(
            zip(self.trace.visits, self.members, strict=True)
        ):
            colour = tone(COLOURS, shares[i])
            yield Turn(i + 1, visit, places, self.centroids[visit.list], colour)


def picture(case: Case, trace: ListsTrace, stem: Path) -> list[Path]:
    """Draw a search of lists; return the paths of PNG and SVG."""
    scan = Scan(case, trace)
    note = (
        "Spokes tie the vectors of a list to its centroid. On the right: the vectors "
        "of each list that was scanned, in order, and how far the "
        f"{ordinal(case.setting.kept)} best so far is"
        f"{', by its code' if trace.estimated else ''}."
    )
    drawn = Picture(scan.scene, TITLE, note, MARKS)
    for turn in scan.turns():
        _draw_list(drawn.map, turn)
    _draw_centroids(drawn.map, scan)
    _draw_distances(drawn.side, scan)
    drawn.name_axes("list, in order", "distance to the query", "What each list held")
    return drawn.save(stem)


def _draw_list(ax: Axes, turn: Turn) -> None:
    """Draw a list's vectors, each tied to the centroid."""
    places, centre = turn.places, np.broadcast_to(turn.centroid, turn.places.shape)
    look: dict[str, Any] = {"colors": turn.colour, "lw": 0.35, "alpha": 0.35}
    ends = list(np.stack([centre, places], axis=1))
    ax.add_collection(LineCollection(ends, zorder=1.8, **look))
    dots(ax, places, s=6, color=turn.colour, lw=0, zorder=2)


def _draw_centroids(ax: Axes, scan: Scan) -> None:
    """Draw all centroids, and number those of the lists that were scanned."""
    ax.plot(*inside(scan.centroids).T, zorder=5, **CENTROID)
    few = len(scan.members) <= NUMBERED
    for turn in scan.turns():
        ax.plot(*turn.centroid, zorder=5.5, **turn.mark())
        ax.annotate(
            str(turn.number) if few else "",
            (turn.centroid[0], turn.centroid[1]),
            (6, 3),
            textcoords="offset points",
            bbox=EDGE_OF_TEXT if few else None,
            size=SMALL,
            color=shade(turn.colour, -0.4),
            zorder=8,
        )


def _draw_distances(ax: Axes, scan: Scan) -> None:
    scale, case, visits = scan.scene.plane.scale, scan.scene.case, scan.trace.visits
    rng = np.random.default_rng(0)  # vectors of a list stand side by side
    for turn in scan.turns():
        across = turn.number + rng.uniform(-0.32, 0.32, turn.visit.size)
        at = scale(case.distances(turn.visit.ids))
        ax.scatter(across, at, s=5, color=turn.colour, lw=0, alpha=0.7, zorder=2)
        centroid = float(scale(scan.at_centroids[turn.visit.list]))
        ax.plot(turn.number, centroid, zorder=5, **turn.mark())
    worst = np.array([visit.worst for visit in visits])
    ends = np.arange(len(visits)) + 1.5  # what is known when a list is done
    full = np.isfinite(worst)
    ax.step(ends[full], scale(worst[full]), where="post", color=SOFT, lw=1.4, zorder=4)
    ax.set_xlim(0.4, len(visits) + 0.7)


def film(case: Case, trace: ListsTrace, path: Path) -> Path:
    """Draw a film of a search of lists; return its path."""
    scan = Scan(case, trace)
    reel = Film(scan.scene, COLOURS)
    reel.map.plot(*inside(scan.centroids).T, zorder=5, **CENTROID)
    return reel.save(path, _frames(reel, scan))


def _frames(reel: Film, scan: Scan) -> Iterator[int]:
    """Add the lists as they are scanned."""
    case, turns, rows, seen = scan.scene.case, list(scan.turns()), 0, 0
    nth, ends = ordinal(case.setting.kept), set(groups(len(turns)))
    for turn in turns:
        _draw_list(reel.map, turn)
        reel.map.plot(*turn.centroid, zorder=5.5, **turn.mark())
        rows += turn.visit.size
        seen += int(np.isin(case.truth, turn.visit.ids).sum())
        if turn.number in ends:
            reel.say(
                f"list {turn.number} of {len(turns)} · {rows:,} scanned · {nth} best "
                f"at {number_text(turn.visit.worst)} · "
                f"{nearest_text(seen, len(case.truth))}"
            )
            yield turn.number
