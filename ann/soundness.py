"""What is right and what is wrong with a graph; nothing in it is trusted."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ann.kernels import audit as kernels
from ann.kernels import upkeep
from ann.kernels.graph import Graph
from ann.kernels.upkeep import Spread

Heights = NDArray[np.int16]
Counts = NDArray[np.int64]

_LINK_FAULTS = {
    kernels.NOBODY: "links to no vector",
    kernels.SELF: "links of a vector to itself",
    kernels.DEAD: "links to a removed vector",
    kernels.ABSENT: "links to a vector that is not on the layer",
    kernels.REPEATED: "links that a row has twice",
    kernels.BEHIND: "links behind the end of a row",
}
_ROWS = "vectors without rows of their own on upper layers"
_ENTRY = "entry point not on the top layer"


class Fault(NamedTuple):
    """Something that no search or change leaves behind."""

    kind: str
    layer: int
    times: int
    first: int  #: position of the first vector concerned

    def __str__(self) -> str:
        where = f"the first at position {self.first}"
        return f"layer {self.layer}: {self.times} {self.kind}, {where}"


class LayerHealth(NamedTuple):
    """How a layer's vectors are linked; ``unreachable`` from the entry point."""

    layer: int
    nodes: int
    unreachable: int
    first_unreachable: int  #: position, −1 if there is none
    unlinked: int  #: vectors that no link leads to
    least_degree: int
    mean_degree: float
    most_degree: int


class Audit(NamedTuple):
    """What ``audit`` found."""

    alive: int
    removed: int
    faults: tuple[Fault, ...]
    layers: tuple[LayerHealth, ...]  #: the lowest first

    @property
    def unreachable(self) -> int:
        """How many vectors no search can find: those out of reach on layer 0."""
        return self.layers[0].unreachable if self.layers else 0

    @property
    def clean(self) -> bool:
        """Whether nothing is at fault and all is in reach, on every layer."""
        return not self.faults and not any(layer.unreachable for layer in self.layers)


def audit(graph: Graph, levels: NDArray[np.uint8], alive: NDArray[np.bool_]) -> Audit:
    """Check whatever a search relies on, whatever the arrays hold.

    Parameters
    ----------
    graph : Graph               read-only
    levels : (n,) uint8         highest layer of each vector
    alive : (n,) bool           rows of vectors that are not are ignored

    Returns
    -------
    Audit

    Raises
    ------
    ValueError
        The arrays' lengths do not fit each other.

    Notes
    -----
    Under ``ip`` even a fresh graph has vectors out of reach: those that are nobody's
    answer.
    """
    found = faults(graph, levels, alive)
    heights = heights_of(graph, levels, alive)
    layers = [_health(graph, layer, heights) for layer in _layers(heights)]
    n_alive = int(alive.sum())
    return Audit(n_alive, len(alive) - n_alive, tuple(found), tuple(layers))


def faults(
    graph: Graph, levels: NDArray[np.uint8], alive: NDArray[np.bool_]
) -> list[Fault]:
    """Return what ``audit`` does of faults, in a fraction of its time."""
    _check_shapes(graph, levels, alive)
    heights = heights_of(graph, levels, alive)
    found = [*_faults_of_rows(heights, levels), *_faults_of_entry(graph, heights)]
    for layer in _layers(heights):
        counts, firsts, _, _ = _examined(graph, layer, heights)
        found += [
            Fault(kind, layer, int(counts[fault]), int(firsts[fault]))
            for fault, kind in _LINK_FAULTS.items()
            if counts[fault]
        ]
    return found


def _layers(heights: Heights) -> range:
    return range(int(heights.max(initial=-1)) + 1)


def heights_of(
    graph: Graph, levels: NDArray[np.uint8], alive: NDArray[np.bool_]
) -> Heights:
    """Return the highest layer on which each vector can be used, −1 if not alive.

    That is its level, or 0 where its rows in ``upper`` are not all among those in use,
    or belong to a vector before it.
    """
    n = len(levels)
    first = graph.upper_row[:n].astype(np.int64)
    last = first + levels
    in_use = min(len(graph.upper), int(levels.sum(dtype=np.int64)))
    upper = np.flatnonzero(alive & (levels > 0) & (first >= 0) & (last <= in_use))
    upper = upper[np.argsort(first[upper], kind="stable")]
    ends = np.maximum.accumulate(last[upper])
    apart = np.append(True, first[upper][1:] >= ends[:-1])[: len(upper)]
    heights = np.where(alive, 0, -1).astype(np.int16)
    heights[upper[apart]] = levels[upper[apart]]
    return heights


def _check_shapes(
    graph: Graph, levels: NDArray[np.uint8], alive: NDArray[np.bool_]
) -> None:
    n = len(levels)
    lengths = len(alive), len(graph.base), len(graph.upper_row)
    if lengths[0] != n or min(lengths) < n:
        raise ValueError(
            f"alive must have n={n} values, base and upper_row n rows or more, got "
            "{}, {} and {}".format(*lengths)
        )


def _faults_of_rows(heights: Heights, levels: NDArray[np.uint8]) -> list[Fault]:
    lowered = np.flatnonzero((heights >= 0) & (heights < levels))
    return [Fault(_ROWS, 1, len(lowered), int(lowered[0]))] if len(lowered) else []


def _faults_of_entry(graph: Graph, heights: Heights) -> list[Fault]:
    top, entry = int(heights.max(initial=-1)), graph.entry_point
    right = (
        0 <= entry < len(heights) and heights[entry] == top
        if top >= 0
        else (entry == -1)
    )
    return [] if right and graph.top == top else [Fault(_ENTRY, top, 1, entry)]


def _examined(graph: Graph, layer: int, heights: Heights) -> tuple[Counts, ...]:
    """Return faults' counts and firsts, and degrees out of and into a layer's nodes."""
    n, nodes = len(heights), np.flatnonzero(heights >= layer).astype(np.int32)
    degrees, incoming = np.zeros(len(nodes), np.int64), np.zeros(n, np.int64)
    counts, firsts = np.zeros((2, kernels.FAULTS), np.int64)
    seen = np.full(n, -1, np.int32)
    kernels.examine(
        graph, layer, nodes, heights, seen, degrees, incoming, counts, firsts
    )
    return counts, firsts, degrees, incoming[nodes]


def _health(graph: Graph, layer: int, heights: Heights) -> LayerHealth:
    _, _, degrees, incoming = _examined(graph, layer, heights)
    lost = np.flatnonzero(reach(graph, layer, heights)[0].waiting)
    return LayerHealth(
        layer=layer,
        nodes=len(degrees),
        unreachable=len(lost),
        first_unreachable=int(lost[0]) if len(lost) else -1,
        unlinked=int((incoming == 0).sum()),
        least_degree=int(degrees.min()),
        mean_degree=float(degrees.mean()),
        most_degree=int(degrees.max()),
    )


def reach(graph: Graph, layer: int, heights: Heights) -> tuple[Spread, int]:
    """Follow a layer's links from the entry point; return the tree, and its size.

    What stays ``waiting`` is out of reach. One thread reads all links, breadth first.
    """
    waiting = heights >= layer
    reached = Spread(
        queue=np.empty(int(waiting.sum()), np.int32),
        waiting=waiting,
        parent=np.full(len(waiting), -1, np.int32),
    )
    entry = graph.entry_point
    if not (0 <= entry < len(waiting) and waiting[entry]):
        return reached, 0
    reached.queue[0] = entry
    waiting[entry] = False
    return reached, int(upkeep.spread(graph, layer, 0, 1, reached))
