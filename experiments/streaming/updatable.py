"""Indexes that vectors can be added to again and again, and perhaps be removed from.

Every vector goes by a number: the first is 0, the next 1, and so on in order of
arrival; no number is ever used again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import ours
from experiments.adapter import Adapter
from experiments.peers import faiss_ivfflat, hnswlib

if TYPE_CHECKING:
    from experiments.adapter import Ids, Vectors


class Updatable(Adapter):
    """An adapter whose ``add`` adds to what there is.

    ``removes`` says whether ``remove`` works; without it, what is deleted stays in the
    index, and has to be filtered out of its answers. ``capacity`` is how many vectors
    will be added in all, for a library that must know.
    """

    capacity = 0
    _count = 0

    @property
    def removes(self) -> bool:
        """Whether vectors can be removed."""
        return True

    def remove(self, numbers: Ids) -> None:
        """Remove vectors by number."""
        raise NotImplementedError

    def _numbers(self, X: Vectors) -> Ids:
        """Return the numbers of the next vectors."""
        numbers = np.arange(self._count, self._count + len(X), dtype=np.int64)
        self._count += len(X)
        return numbers


class _Ours(Updatable):
    _index: Any

    @property
    def removes(self) -> bool:
        return hasattr(self._index, "remove")

    def add(self, X: Vectors, threads: int) -> None:
        self._index.add(X, ids=self._numbers(X), threads=threads)

    def remove(self, numbers: Ids) -> None:
        self._index.remove(numbers)


class Flat(_Ours, ours.Flat):
    """Exact search."""


class IVF(_Ours, ours.IVF):
    """Inverted lists; the first vectors train them."""


class HNSW(_Ours, ours.HNSW):
    """Hierarchical navigable small worlds."""


class Hnswlib(Updatable, hnswlib.HNSW):
    """hnswlib marks what is deleted, and its walk passes through it."""

    def add(self, X: Vectors, threads: int) -> None:
        """Make room for all that will come at first, then insert."""
        import hnswlib

        if self._count == 0:
            self._index = hnswlib.Index(space=self._space, dim=X.shape[1])
            self._index.init_index(
                max_elements=max(self.capacity, len(X)),
                M=self._build.M,
                ef_construction=self._build.ef_construction,
                random_seed=self._seed,
            )
        needed = self._count + len(X)
        if needed > self._index.get_max_elements():
            self._index.resize_index(needed)
        self._index.add_items(X, self._numbers(X), num_threads=threads)

    def remove(self, numbers: Ids) -> None:
        """Mark vectors as deleted."""
        for number in numbers.tolist():
            self._index.mark_deleted(number)


class FaissIVFFlat(Updatable, faiss_ivfflat.IVFFlat):
    """FAISS's lists; the first vectors train them."""

    def add(self, X: Vectors, threads: int) -> None:
        """Train at first, then add."""
        import faiss

        faiss.omp_set_num_threads(threads)
        if self._count == 0:
            self._index = self._make(X.shape[1])
            self._index.train(X)
        self._index.add_with_ids(X, self._numbers(X))

    def remove(self, numbers: Ids) -> None:
        """Take vectors out of their lists."""
        self._index.remove_ids(numbers)


_CLASSES: tuple[type[Updatable], ...] = (Flat, IVF, HNSW, Hnswlib, FaissIVFFlat)


def find(adapter: type[Adapter]) -> type[Updatable] | None:
    """Return the updatable form of an adapter, or None where there is none."""
    return next((each for each in _CLASSES if issubclass(each, adapter)), None)
