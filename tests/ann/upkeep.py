"""An ``ann.HNSW`` whose graph is changed by hand."""

import numpy as np

import ann
from ann.kernels.stores import ROWS
from ann.soundness import audit
from ann.upkeep import Upkeep
from tests.ann import reference


class Churned:
    """An index, and which of its positions live."""

    def __init__(self, X, metric="l2", threads=1, **options):
        self.index = ann.HNSW(metric, **{"M": 6, "ef_construction": 40, **options})
        self.alive, self.X, self.threads = np.empty(0, bool), X[:0], threads
        self.add(X)

    def add(self, X):
        self.index.add(X, threads=self.threads)
        self.alive = np.append(self.alive, np.ones(len(X), bool))
        self.X = np.concatenate([self.X, X])
        return self

    def remove(self, positions):
        self.alive[positions] = False
        self._put(self.upkeep().remove())
        return self

    def repair(self):
        graph, self.index._levels = self.upkeep().repair()
        self._put(graph)
        return self

    def upkeep(self):
        index = self.index
        return Upkeep(
            index._graph,
            self._store(),
            self.levels,
            self.alive,
            index._M,
            index._ef_construction,
            index._query_size(index.d),
            self.threads,
        )

    def audit(self):
        return audit(self.graph, self.levels, self.alive)

    @property
    def graph(self):
        return self.index._graph

    @property
    def levels(self):
        return self.index._levels[: len(self.alive)]

    @property
    def rows(self):
        """Links of all layers; what lies behind them in the arrays is unused."""
        used = int(self.levels.sum())
        return self.graph.base[: len(self.alive)], self.graph.upper[:used]

    def search(self, Q, k=10, **options):
        ids, _ = self.index.search(Q, k=k, threads=1, **options)
        return ids

    def in_reach(self):
        """Return what a search finds on layer 0 from the entry point, given room."""
        graph = self.graph
        self._put(graph._replace(top=0))
        ids = self.search(self.X[:1], k=len(self.X), ef_search=len(self.X))
        self._put(graph)
        return np.sort(ids[ids >= 0])

    def true(self, Q, k=10):
        living = np.flatnonzero(self.alive)
        return reference.exact(self.index.metric, Q, self.X[living], k, living)[0]

    def _put(self, graph):
        index = self.index
        index._graph, index._walk = graph, index._walk._replace(graph=graph)
        index._direct = None

    def _store(self):
        index, key = self.index, self.index._metric.key
        if not isinstance(index._codec, ann.SQ):
            return ROWS[key](index._packed)
        store = index._codec.store(index._packed, key)
        return store._replace(squares=index._squares) if key == "dot" else store
