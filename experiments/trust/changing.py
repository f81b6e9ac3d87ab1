"""Indexes whose vectors go by ids that can be taken out and put back."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import ours
from experiments.adapter import Adapter
from experiments.peers import faiss_ivfflat, hnswlib

if TYPE_CHECKING:
    from experiments.adapter import Ids, Vectors


class Changing(Adapter):
    """An adapter whose ``put`` adds to what there is; ids are rows of the data."""

    _index: Any

    def add(self, X: Vectors, threads: int) -> None:
        """Build the index of all vectors, by their rows."""
        self.put(X, np.arange(len(X)), threads)

    @abstractmethod
    def put(self, X: Vectors, ids: Ids, threads: int) -> None:
        """Add vectors under ids that are free; the first ones make the index."""

    @abstractmethod
    def take(self, ids: Ids, threads: int) -> None:
        """Remove vectors."""


class _Ours(Changing):
    def put(self, X: Vectors, ids: Ids, threads: int) -> None:
        self._index.add(X, ids, threads=threads)

    def take(self, ids: Ids, threads: int) -> None:
        self._index.remove(ids, threads=threads)


class Flat(_Ours, ours.Flat):
    """Exact search."""


class IVF(_Ours, ours.IVF):
    """Inverted lists; the first vectors train them."""


class HNSW(_Ours, ours.HNSW):
    """Hierarchical navigable small worlds."""


class Hnswlib(Changing, hnswlib.HNSW):
    """hnswlib marks what goes; what comes takes its place in the graph.

    Its labels are never used twice: it loses sight of one that comes back while its
    old place is not taken yet.
    """

    _rows: Ids  # of each label
    _labels: Ids  # of each row

    def put(self, X: Vectors, ids: Ids, threads: int) -> None:
        """Add vectors in the places of those marked, if there are any."""
        import hnswlib

        if first := not hasattr(self, "_index"):
            self._index = hnswlib.Index(space=self._space, dim=X.shape[1])
            self._index.init_index(
                max_elements=len(X),
                M=self._build.M,
                ef_construction=self._build.ef_construction,
                random_seed=self._seed,
                allow_replace_deleted=True,
            )
            self._rows = np.empty(0, np.int64)
            self._labels = np.full(len(X), -1, np.int64)
        labels = np.arange(len(self._rows), len(self._rows) + len(X))
        self._rows = np.concatenate([self._rows, ids])
        self._labels[ids] = labels
        self._index.add_items(X, labels, num_threads=threads, replace_deleted=not first)

    def take(self, ids: Ids, threads: int) -> None:
        """Mark vectors as deleted."""
        for label in self._labels[ids].tolist():
            self._index.mark_deleted(label)

    def ids(self, answer: tuple[Any, Any]) -> Ids:
        """Return the rows of the labels."""
        rows: Ids = self._rows[super().ids(answer)]
        return rows


class FaissIVFFlat(Changing, faiss_ivfflat.IVFFlat):
    """FAISS's lists; the first vectors train them."""

    def put(self, X: Vectors, ids: Ids, threads: int) -> None:
        """Train at first, then add."""
        import faiss

        faiss.omp_set_num_threads(threads)
        if not hasattr(self, "_index"):
            self._index = self._make(X.shape[1])
            self._index.train(X)
        self._index.add_with_ids(X, ids)

    def take(self, ids: Ids, threads: int) -> None:
        """Take vectors out of their lists."""
        self._index.remove_ids(ids)


_CLASSES: tuple[type[Changing], ...] = (Flat, IVF, HNSW, Hnswlib, FaissIVFFlat)


def find(adapter: type[Adapter]) -> type[Changing] | None:
    """Return the changing form of an adapter, or None where there is none."""
    return next((each for each in _CLASSES if issubclass(each, adapter)), None)
