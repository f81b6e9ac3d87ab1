"""Points into a graph, in parallel, and the same graph at any number of threads.

Malkov & Yashunin 2018, Algorithm 1, in batches (Manohar et al., "ParlayANN", PPoPP
2024): a batch's points all search the graph as it was before; their reverse edges are
then grouped by target and applied in order of id.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann import parallel
from ann.kernels import graph as kernels
from ann.kernels.graph import Graph, Scratch
from ann.memory import aligned

# A batch is at most 1/400 of all points, and 1/32 of those that this add has inserted.
# 1/50 and 1/8 left recall@10 at ef 20 at 0.941 instead of 0.944 (115,647 x 384; of
# hnswlib 0.944), and were no quicker to build.
_SHARE, _GROWTH = 400, 32
_INSERT_CHUNK, _LINK_CHUNK = 16, 64


def new_scratch(n: int, pool: int, width: int, query_size: int, d: int = 0) -> Scratch:
    """Return working memory for one thread that searches a graph of ``n`` points.

    ``width`` is that of the longest row of links, ``query_size`` in float32.
    """
    return Scratch(
        visited=np.zeros(n, np.uint8),
        epoch=np.zeros(1, np.uint8),
        keys=np.empty(pool, np.float32),
        ids=np.empty(pool, np.int32),
        found=np.empty(width, np.int32),
        found_keys=np.empty(width + 16, np.float32),
        buffer=aligned((query_size,), np.float32),
        room=aligned((2 * d,), np.float32),
    )


class Linking:
    """What all who write links share: the graph, working memory, reverse edges.

    Parameters
    ----------
    graph : Graph               changed in place
    store : NamedTuple          of all points, that can compare two of them
    levels : (n,) uint8         highest layer of each point
    M, ef_construction : int
    query_size : int            float32 that a prepared query takes
    threads : int
    """

    def __init__(
        self,
        graph: Graph,
        store: Any,
        levels: NDArray[np.uint8],
        M: int,
        ef_construction: int,
        query_size: int,
        threads: int,
    ) -> None:
        self.graph = graph
        self._store, self._levels = store, levels
        self._M, self._threads = M, threads
        self._ef = min(ef_construction, len(levels))  # no pool can hold more
        self._query_size = query_size
        self._spare: list[Scratch] = []  # list.pop is atomic
        self.changed: list[NDArray[np.int32]] = []  # rows of layer 0 with new links

    def _rows(self, points: NDArray[Any], layer: int) -> NDArray[Any]:
        """Return where points have their links on a layer: in ``base`` or ``upper``."""
        if layer == 0:
            return points
        rows: NDArray[Any] = self.graph.upper_row[points] + (layer - 1)
        return rows

    def _links(self, layer: int) -> NDArray[np.int32]:
        links: NDArray[np.int32] = self.graph.upper if layer else self.graph.base
        return links

    def _link_back(
        self, layer: int, sources: NDArray[np.int32], targets: NDArray[np.int32]
    ) -> None:
        """Apply reverse edges by target; ``sources``, in order, are new to theirs."""
        graph = self.graph
        order = np.argsort(targets, kind="stable")  # sources stay in order of id
        sources = sources[order]
        targets, starts = np.unique(targets[order], return_index=True)
        if layer == 0:
            self.changed.append(targets)
        starts = np.append(starts, len(sources))
        width = self._links(layer).shape[1]
        capacity = int(np.diff(starts).max(initial=0)) + width

        def work(ranges: parallel.Ranges) -> None:
            scratch = self._borrow(capacity)
            for a, b in ranges:
                kernels.link_back(
                    graph, self._store, layer, targets[a:b], starts[a : b + 1], sources,
                    capacity, scratch,
                )  # fmt: skip
            self._spare.append(scratch)

        parallel.run(work, len(targets), _LINK_CHUNK, self._threads)

    def _borrow(self, pool: int) -> Scratch:
        """Return working memory for one thread; the caller puts it back when done."""
        while self._spare:
            try:
                scratch = self._spare.pop()
            except IndexError:  # another thread was quicker
                break
            if len(scratch.keys) >= pool:
                return scratch
        n, width = self.graph.base.shape
        return new_scratch(n, pool, width, self._query_size)


class Insertion(Linking):
    """One ``add`` to a graph, which has room for the new points; see ``Linking``.

    Attributes
    ----------
    graph : Graph
        Of all that is in.
    inserted : int
        How many points that is.
    """

    inserted = 0

    def insert(
        self, order: NDArray[np.int32], progress: Callable[[int, int], object]
    ) -> None:
        """Insert points, those of the highest layers first.

        Whatever breaks it off, ``graph`` is one that can be searched, in which all but
        the first ``inserted`` points have no links or some of a batch's.
        """
        n = len(self._levels)
        if self.graph.entry_point < 0:
            self._enter(order[0])
            self.inserted = 1
        while self.inserted < len(order):
            done = self.inserted
            size = max(1, min(done // _GROWTH, n // _SHARE))
            if self._levels[order[done]] > self.graph.top:
                size = 1  # a new top layer begins with one point, which all others find
            batch = np.sort(order[done : done + size])
            self._insert_batch(batch)
            self.inserted += len(batch)
            progress(self.inserted, len(order))

    def _enter(self, point: np.int32) -> None:
        top = int(self._levels[point])
        self.graph = self.graph._replace(entry_point=int(point), top=top)

    def _insert_batch(self, batch: NDArray[np.int32]) -> None:
        graph = self.graph

        def search(ranges: parallel.Ranges) -> None:
            scratch = self._borrow(self._ef)
            for a, b in ranges:
                kernels.insert_points(
                    graph, self._store, batch[a:b], self._levels, self._ef, self._M,
                    scratch,
                )  # fmt: skip
            self._spare.append(scratch)

        parallel.run(search, len(batch), _INSERT_CHUNK, self._threads)
        for layer in range(min(int(self._levels[batch].max()), graph.top) + 1):
            self._link_batch_back(batch, layer)
        highest = batch[np.argmax(self._levels[batch])]
        if self._levels[highest] > graph.top:
            self._enter(highest)

    def _link_batch_back(self, batch: NDArray[np.int32], layer: int) -> None:
        points = batch[self._levels[batch] >= layer]
        links = self._links(layer)[self._rows(points, layer)]
        linked = links >= 0
        self._link_back(layer, np.repeat(points, linked.sum(axis=1)), links[linked])
