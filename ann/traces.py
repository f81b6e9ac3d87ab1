"""What a traced search did, in users' ids and in the units of ``search``."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Nodes:
    """Vectors in some order, with their distances as the search scored them.

    Attributes
    ----------
    ids : (m,) int64
        Users' ids.
    positions : (m,) int64
        Their places in order of arrival: rows of what was added.
    distances : (m,) float32
        Of the codes, where the index has a codec; of the narrower vectors, where it has
        a transform.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    distances: Floats

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Trace:
    """One query's answer, and how many vectors were scored for it.

    Attributes
    ----------
    ids, distances : (k,) int64, (k,) float32
        What ``search`` returns, bit for bit.
    estimated : int
        Vectors scored by their codes, or by what a transform has made of them.
    exact : int
        Vectors scored as float32: centroids, vectors that an index without either
        holds (an 8-bit shadow that rejects one counts), and those that ``refine``
        scores anew.
    """

    ids: NDArray[np.int64]
    distances: Floats
    estimated: int
    exact: int

    @property
    def distance_computations(self) -> int:
        """The count that ``search`` gives under this name."""
        return self.estimated + self.exact


@dataclass(frozen=True)
class Step:
    """A node whose neighbours were looked at.

    Attributes
    ----------
    layer : int
    id, position : int
        As of :class:`Nodes`.
    distance : float
    first, scored : int
        Its neighbours that were scored are ``scored[first : first + scored]`` of the
        walk; on layer 0 those seen before are left out.
    worst : float
        Distance beyond which the pool takes nothing in after the step: that of its
        last, +inf while it has room, or less with ``epsilon``. On the layers above the
        pool is one node, the nearest so far.
    """

    layer: int
    id: int
    position: int
    distance: float
    first: int
    scored: int
    worst: float


@dataclass(frozen=True, eq=False)
class WalkTrace(Trace):
    """A search of a graph.

    Attributes
    ----------
    entry : tuple of Step
        The way through the upper layers, from the entry point down. A layer ends with
        the node that has no nearer neighbour, where the next begins.
    steps : tuple of Step
        On layer 0, in order.
    scored : Nodes
        In order, the entry point first. The upper layers may score a node again.
    parents : (m,) int64
        For each of ``scored`` the id of the node whose link led there, −1 for the entry
        point.
    pool : Nodes
        At the end, closest first.
    """

    entry: tuple[Step, ...]
    steps: tuple[Step, ...]
    scored: Nodes
    parents: NDArray[np.int64]
    pool: Nodes

    @property
    def hops(self) -> int:
        """How many nodes' neighbours were looked at, on all layers."""
        return len(self.entry) + len(self.steps)


@dataclass(frozen=True, eq=False)
class Visit:
    """A list that was scanned.

    Attributes
    ----------
    list : int
    distance : float
        Of its centroid.
    ids : (size,) int64
        Of its vectors.
    worst : float
        Distance of the last of the candidates after it (the ``k`` best, with refinement
        the ``refine * k`` best by their codes), +inf while there are fewer.
    changed : bool
        Whether another vector became the last of the candidates, or the first that was.
    """

    list: int
    distance: float
    ids: NDArray[np.int64]
    worst: float
    changed: bool

    @property
    def size(self) -> int:
        """Vectors in the list."""
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class ListsTrace(Trace):
    """A search of an inverted file.

    Attributes
    ----------
    centroids : int
        Centroids scored; ``exact`` counts them.
    visits : tuple of Visit
        In order.
    """

    centroids: int
    visits: tuple[Visit, ...]


def walk(
    shared: dict[str, Any],
    layers: list[int],
    firsts: list[int],
    expanded: Nodes,
    scored: Nodes,
    pool: Nodes,
) -> WalkTrace:
    """Return a walk's trace.

    ``layers`` and ``firsts`` are those of its steps, ``expanded`` their nodes, with the
    steps' ``worst`` for distances; ``shared`` are the fields of a :class:`Trace`.
    """
    places, distances = scored.positions.tolist(), scored.distances.tolist()
    distance = dict(zip(places, distances, strict=True))
    counts = np.diff([*firsts, len(scored)])
    steps = [
        Step(layer, name, position, distance[position], first, count, worst)
        for layer, name, position, first, count, worst in zip(
            layers,
            expanded.ids.tolist(),
            expanded.positions.tolist(),
            firsts,
            counts.tolist(),
            expanded.distances.tolist(),
            strict=True,
        )
    ]
    parents = np.full(len(scored), -1, np.int64)
    known = firsts[0] if firsts else len(scored)  # where the walk begins
    parents[known:] = np.repeat(expanded.ids, counts)
    return WalkTrace(
        **shared,
        entry=tuple(step for step in steps if step.layer > 0),
        steps=tuple(step for step in steps if step.layer == 0),
        scored=scored,
        parents=parents,
        pool=pool,
    )


def lists(
    shared: dict[str, Any],
    centroids: int,
    numbers: list[int],
    distances: list[float],
    members: list[NDArray[np.int64]],
    last: Nodes,
) -> ListsTrace:
    """Return the trace of a search of lists.

    Of each list in order: its number, its centroid's distance, its members' ids, and
    the ``last`` of the candidates after it (id −1 while there are fewer).
    """
    # A vector keeps its distance, so that another last is told by its place alone.
    before = [-1, *last.positions.tolist()]
    visits = [
        Visit(number, distance, ids, worst, position != previous)
        for number, distance, ids, worst, position, previous in zip(
            numbers,
            distances,
            members,
            last.distances.tolist(),
            last.positions.tolist(),
            before[:-1],
            strict=True,
        )
    ]
    return ListsTrace(**shared, centroids=centroids, visits=tuple(visits))
