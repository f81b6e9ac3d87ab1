"""A graph kept in order: vectors removed, faults mended, room reclaimed.

Singh et al., "FreshDiskANN", 2021, Algorithm 4, gives the removal; that every vector
stays within reach, and that the result does not depend on threads, is ours.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann import parallel
from ann.insertion import Linking
from ann.kernels import upkeep as kernels
from ann.kernels.graph import Graph
from ann.kernels.upkeep import Around, Spread
from ann.memory import aligned

_BRIDGE_CHUNK, _SEARCH_CHUNK, _COPY_CHUNK = 512, 16, 8192
_ROOM = 32  # vectors looked at for each place of a row
_BATCH = 1024  # vectors that search the same frozen graph


class Upkeep(Linking):
    """Changes to a graph other than insertion, all in place.

    Searches may go on meanwhile: each finds links of before, of after, or some of both.
    Rows of vectors that are not alive stay as they are, for a search that stands on
    one. A change that was broken off is completed by asking for it again.

    Parameters
    ----------
    graph, store, levels, M, ef_construction, query_size, threads
        See :class:`ann.insertion.Linking`.
    alive : (n,) bool           false for what was removed, or is to be removed now
    """

    def __init__(
        self,
        graph: Graph,
        store: Any,
        levels: NDArray[np.uint8],
        alive: NDArray[np.bool_],
        M: int,
        ef_construction: int,
        query_size: int,
        threads: int,
    ) -> None:
        super().__init__(
            graph, store, levels, M, ef_construction, query_size, threads
        )
        self._alive = alive

    def remove(self) -> Graph:
        """Unlink all that is not alive, and return the graph.

        Rows that led to it lead past it; rows that lose half of their links search for
        new ones; what is out of reach of the entry point gets a link. All links of all
        layers are read, so one call for many vectors is the cheap way.
        """
        self._place_entry_point()
        layers = range(self.graph.top, -1, -1)
        thin = [self._bridge(layer) for layer in layers]
        for layer, nodes in zip(layers, thin, strict=True):
            self._refill(layer, nodes)
            self._connect(layer)
        return self.graph

    def _place_entry_point(self) -> None:
        """Let the graph begin at a vector of the highest layer."""
        entry = self.graph.entry_point
        heights = np.where(self._alive, self._levels.astype(np.int16), np.int16(-1))
        top = int(heights.max(initial=-1))
        if not (0 <= entry < len(heights) and heights[entry] == top >= 0):
            entry = int(heights.argmax()) if top >= 0 else -1
        self.graph = self.graph._replace(entry_point=entry, top=top)

    def _members(self, layer: int) -> NDArray[np.bool_]:
        members: NDArray[np.bool_] = self._alive & (self._levels >= layer)
        return members

    def _around(self, width: int) -> Around:
        room = max(_ROOM * width, self._ef)
        return Around(
            seen=np.full(len(self._levels), -1, np.int32),
            removed=np.empty(room, np.int32),
            found=np.empty(room, np.int32),
            keys=np.empty(room + width, np.float32),
            ids=np.empty(room + width, np.int32),
        )

    def _bridge(self, layer: int) -> NDArray[np.int32]:
        """Lead links past what is not alive; return whose rows are thin now."""
        graph, nodes = self.graph, np.flatnonzero(self._members(layer)).astype(np.int32)
        thin, width = np.empty(len(nodes), np.bool_), self._links(layer).shape[1]

        def work(ranges: parallel.Ranges) -> None:
            around = self._around(width)
            for a, b in ranges:
                kernels.bridge(
                    graph, self._store, layer, nodes[a:b], self._alive, around,
                    thin[a:b],
                )  # fmt: skip

        parallel.run(work, len(nodes), _BRIDGE_CHUNK, self._threads)
        return nodes[thin]

    def _refill(self, layer: int, nodes: NDArray[np.int32]) -> None:
        """Search for neighbours of vectors with few, and link both ways."""
        links = self._links(layer)
        for start in range(0, len(nodes), _BATCH):
            batch = nodes[start : start + _BATCH]
            rows = self._search_rows(layer, batch)
            links[self._rows(batch, layer)] = rows
            linked = rows >= 0
            sources, targets = np.repeat(batch, linked.sum(axis=1)), rows[linked]
            known = links[self._rows(targets, layer)] == sources[:, None]
            new = ~known.any(axis=1)
            self._link_back(layer, sources[new], targets[new])

    def _search_rows(self, layer: int, batch: NDArray[np.int32]) -> NDArray[np.int32]:
        graph, width = self.graph, self._links(layer).shape[1]
        rows = np.empty((len(batch), width), np.int32)

        def work(ranges: parallel.Ranges) -> None:
            scratch, around = self._borrow(self._ef), self._around(width)
            for a, b in ranges:
                kernels.refill(
                    graph, self._store, layer, batch[a:b], self._ef, self._M, scratch,
                    around, rows[a:b],
                )  # fmt: skip
            self._spare.append(scratch)

        parallel.run(work, len(batch), _SEARCH_CHUNK, self._threads)
        return rows

    def _connect(self, layer: int) -> None:
        """Link to whatever is out of reach of the entry point."""
        waiting = self._members(layer)
        size = int(waiting.sum())
        reached = Spread(
            queue=np.empty(size, np.int32),
            waiting=waiting,
            parent=np.full(len(waiting), -1, np.int32),
        )
        last = begin(self.graph, layer, reached)
        while last < size:
            batch = np.flatnonzero(waiting)[:_BATCH].astype(np.int32)
            hosts = self._search_hosts(layer, batch, waiting)
            last = kernels.attach(
                self.graph, self._store, layer, batch, hosts, last, reached
            )

    def _search_hosts(
        self, layer: int, batch: NDArray[np.int32], waiting: NDArray[np.bool_]
    ) -> NDArray[np.int32]:
        graph, hosts = self.graph, np.empty((len(batch), self._ef), np.int32)

        def work(ranges: parallel.Ranges) -> None:
            scratch = self._borrow(self._ef)
            for a, b in ranges:
                kernels.find_hosts(
                    graph, self._store, layer, batch[a:b], waiting, self._ef, scratch,
                    hosts[a:b],
                )  # fmt: skip
            self._spare.append(scratch)

        parallel.run(work, len(batch), _SEARCH_CHUNK, self._threads)
        return hosts


def begin(graph: Graph, layer: int, reached: Spread) -> int:
    """Walk a layer from the entry point; return how many vectors are in reach."""
    entry = graph.entry_point
    if not (0 <= entry < len(reached.waiting) and reached.waiting[entry]):
        return 0
    reached.queue[0] = entry
    reached.waiting[entry] = False
    return int(kernels.spread(graph, layer, 0, 1, reached))
