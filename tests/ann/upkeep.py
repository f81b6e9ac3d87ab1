"""An ``ann.HNSW`` whose graph is changed by hand."""

import copy
from unittest import mock

import numpy as np

import ann
from ann.duplicates import Seen
from ann.names import Names
from ann.soundness import audit
from tests.ann import reference


class Churned:
    """An index, and which of its positions live.

    Positions stay, for nothing is reclaimed, and equal vectors all have links.
    """

    def __init__(self, X, metric="l2", threads=1, **options):
        self.index = ann.HNSW(metric, **{"M": 6, "ef_construction": 40, **options})
        self.alive, self.X, self.threads = np.empty(0, bool), X[:0], threads
        self.add(X)

    def add(self, X):
        never = mock.patch("ann.changing._MOST_DEAD", 1)
        with never, mock.patch.object(Seen, "leaders", lambda seen, rows, new: new):
            self.index.add(X, threads=self.threads)
        self.alive = np.append(self.alive, np.ones(len(X), bool))
        self.X = np.concatenate([self.X, X])
        return self

    def copy(self):
        """Return a copy with arrays of its own, to plant faults in."""
        other = copy.deepcopy(self)
        other.index._own()
        other._put(other.graph)
        return other

    def remove(self, positions):
        self.alive[positions] = False
        self._put(self.graph)
        self.index._unlink(self.threads)
        return self

    def repair(self):
        self._put(self.graph)
        self.index._repair(self.threads)
        return self

    def upkeep(self):
        self._put(self.graph)
        return self.index._under_upkeep(self.threads)[1]

    def audit(self):
        return audit(self.graph, self.levels, self.alive)

    @property
    def graph(self):
        return self.index._held.graph

    @property
    def levels(self):
        return self.index._held.levels[: len(self.alive)]

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
        now = self.index._state.names
        names = Names(now.n, now.arrived, None, self.alive.copy())
        self.index._publish(names=names, held=self.index._held._replace(graph=graph))
