"""A walk on a graph, drawn: a picture, and a film of its steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from ann.traces import Step, WalkTrace
from experiments.plots.around import (
    EDGE_OF_TEXT,
    ENTRY,
    LINKS,
    SCORED,
    Film,
    Mark,
    Picture,
    Scene,
    dots,
    groups,
    nearest_text,
    shade_upper,
    tone,
    tones,
)
from experiments.plots.canvas import SMALL
from experiments.plots.style import FAMILY_COLOURS, INK, SOFT, shade
from experiments.tracing import Case, number_text

COLOURS = tones(FAMILY_COLOURS["HNSW"])
SQUARE: dict[str, Any] = {
    "marker": "s", "ms": 6.5, "mfc": ENTRY, "mec": "white", "mew": 0.8, "color": ENTRY,
}  # fmt: skip
DOT: dict[str, Any] = {"marker": "o", "mec": "white", "mew": 0.5}
SHADED: dict[str, Any] = {
    "cmap": COLOURS, "vmin": 0, "vmax": 1, "ec": "white", "lw": 0.5,
}  # fmt: skip
TITLE = "One search of an HNSW graph, step by step"


class Walk:
    """A walk, and where its nodes stand."""

    def __init__(self, case: Case, trace: WalkTrace) -> None:
        self.trace, self.steps = trace, [*trace.entry, *trace.steps]
        expanded = np.array([step.position for step in self.steps])
        scored = trace.scored.positions
        self.scene = Scene.of(case, np.unique(scored), np.unique(expanded))
        self.scored, self.expanded = self.scene.at(scored), self.scene.at(expanded)
        self.parents = self.scene.at(np.maximum(trace.parents, 0))
        first = {int(row): i for i, row in reversed(list(enumerate(scored)))}
        self.came = np.array([first[step.position] for step in self.steps])

    @property
    def upper(self) -> int:
        """Steps on the upper layers."""
        return len(self.trace.entry)

    def stop(self, steps: int) -> int:
        """Return how many nodes were scored after so many steps."""
        last: Step = self.steps[steps - 1]
        return last.first + last.scored

    def links(self, nodes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the lines (m, 2, 2) along which scored nodes were found."""
        nodes = nodes[self.trace.parents[nodes] >= 0]
        return np.stack([self.parents[nodes], self.scored[nodes]], axis=1)

    def faint(self) -> dict[str, Any]:
        """Return how links look: the more there are, the fainter."""
        alpha = min(1.0, max(0.15, 250 / len(self.scored)))
        return {"colors": LINKS, "lw": 0.5, "alpha": alpha, "zorder": 1.5}

    def shares(self) -> NDArray[np.float64]:
        """Return each step's place in the walk, 0 to 1."""
        return np.linspace(0, 1, max(2, len(self.steps)))[: len(self.steps)]


def picture(case: Case, trace: WalkTrace, stem: Path) -> list[Path]:
    """Draw a walk; return the paths of PNG and SVG."""
    walk = Walk(case, trace)
    note = (
        "Lines are the links along which vectors were found. On the right: a step "
        "looks at the links of the nearest vector of the pool that has not had its "
        "turn; the search ends when all have."
    )
    if trace.estimated:
        note += " Distances on the right are by codes."
    drawn = Picture(walk.scene, TITLE, note, _marks(walk))
    _draw_links(drawn.map, walk)
    _draw_steps(drawn.map, walk)
    _draw_entry(drawn.map, walk)
    _draw_distances(drawn.side, walk)
    drawn.name_axes("step", "distance to the query", "What each step looked at")
    return drawn.save(stem)


def _marks(walk: Walk) -> list[Mark]:
    dot = DOT | {"ms": 6, "mfc": tone(COLOURS, 0.5)}
    marks: list[Mark] = [
        ({"marker": "o", "ms": 3, "mfc": SCORED, "mec": "none"}, "scored"),
        (dot, "looked at, the later the darker"),
        ({"ls": "-", "color": SOFT, "lw": 1.4}, "the pool's last"),
    ]
    if walk.upper:
        marks.insert(1, (SQUARE, "on the upper layers"))
    return marks


def _draw_links(ax: Axes, walk: Walk) -> None:
    every = np.arange(len(walk.scored))
    faint = LineCollection(list(walk.links(every)), **walk.faint())
    ax.add_collection(faint)
    dots(ax, walk.scored, s=6, color=SCORED, lw=0, zorder=2)


def _draw_steps(ax: Axes, walk: Walk) -> None:
    shares, below = walk.shares()[walk.upper :], walk.came[walk.upper :]
    known = walk.trace.parents[below] >= 0
    colours = [tone(COLOURS, share) for share in shares[known]]
    lines = LineCollection(list(walk.links(below)), colors=colours, lw=1.0, zorder=3)
    ax.add_collection(lines)
    places = walk.expanded[walk.upper :]
    dots(ax, places, c=shares, s=30, zorder=4, **SHADED)


def _draw_entry(ax: Axes, walk: Walk) -> None:
    """Draw the way through the upper layers, which ends where layer 0 begins."""
    if not walk.upper:
        return
    ax.plot(*walk.expanded[: walk.upper + 1].T, lw=1.6, zorder=5, **SQUARE)
    (x, y), top = walk.expanded[0], walk.steps[0].layer
    look: dict[str, Any] = {"size": SMALL, "color": shade(ENTRY, -0.3), "zorder": 8}
    above = y < 0.9
    ax.annotate(
        f"entry point, layer {top}",
        (x, y),
        (0, 7 if above else -7),
        textcoords="offset points",
        ha="left" if x < 0 else "right",
        va="bottom" if above else "top",
        bbox=EDGE_OF_TEXT,
        **look,
    )


def _draw_distances(ax: Axes, walk: Walk) -> None:
    """Draw what each step scored and expanded, and the pool's last, as they came."""
    scale, steps = walk.scene.plane.scale, walk.steps
    numbers = np.arange(1, len(steps) + 1)
    scored = np.repeat(numbers, [step.scored for step in steps])
    radii = scale(walk.trace.scored.distances[steps[0].first :])
    ax.scatter(scored, radii, s=4, color=SCORED, lw=0, alpha=0.6, zorder=2)
    worst = np.array([step.worst for step in steps])
    full = np.isfinite(worst) & (numbers > walk.upper)
    ax.step(numbers[full], scale(worst[full]), where="post", color=SOFT, lw=1.4)
    at = scale([step.distance for step in steps])
    above, below = slice(0, walk.upper), slice(walk.upper, None)
    shares = walk.shares()[below]
    size = min(26.0, max(8.0, 1800 / len(steps)))
    ax.scatter(numbers[below], at[below], c=shares, s=size, zorder=4, **SHADED)
    if walk.upper:
        ax.plot(numbers[above], at[above], ls="none", zorder=5, **SQUARE)
        shade_upper(ax, walk.upper)
    ax.set_xlim(0.5 - len(steps) / 80, len(steps) + 0.5 + len(steps) / 80)


def film(case: Case, trace: WalkTrace, path: Path) -> Path:
    """Draw a film of a walk; return its path."""
    walk = Walk(case, trace)
    reel = Film(walk.scene, COLOURS)
    return reel.save(path, _frames(reel, walk))


def _frames(reel: Film, walk: Walk) -> Iterator[int]:
    """Change the map as the walk goes on."""
    ax, case = reel.map, walk.scene.case
    faint = LineCollection([], **walk.faint())
    ways = LineCollection([], lw=0.9, zorder=3)
    ax.add_collection(faint)
    ax.add_collection(ways)
    points = ax.scatter([], [], s=6, color=SCORED, lw=0, zorder=2)
    nodes = ax.scatter([], [], s=28, ec="white", lw=0.5, zorder=4)
    (entry,) = ax.plot([], [], lw=1.4, zorder=5, **SQUARE)
    (here,) = ax.plot([], [], "o", ms=11, mfc="none", mec=INK, mew=1.4, zorder=8)
    colours = [tone(COLOURS, share) for share in walk.shares()]
    for done in groups(len(walk.steps)):
        step, stop = walk.steps[done - 1], walk.stop(done)
        faint.set_segments(list(walk.links(np.arange(stop))))
        points.set_offsets(walk.scored[:stop])
        below = np.arange(min(done, walk.upper), done)
        below = below[walk.trace.parents[walk.came[below]] >= 0]
        ways.set_segments(list(walk.links(walk.came[below])))
        ways.set_color([colours[i] for i in below])
        entry.set_data(*walk.expanded[: min(done, walk.upper)].T)
        nodes.set_offsets(walk.expanded[walk.upper : max(done, walk.upper)])
        nodes.set_facecolor(colours[walk.upper : max(done, walk.upper)])
        here.set_data(*walk.expanded[done - 1 : done].T)
        seen = np.isin(case.truth, walk.trace.scored.positions[:stop]).sum()
        reel.say(
            f"step {done} of {len(walk.steps)}, layer {step.layer} · {stop:,} scored · "
            f"at {number_text(step.distance)} · {nearest_text(seen, len(case.truth))}"
        )
        yield done
