"""Indexes that are searched among some of their vectors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import ours
from experiments.adapter import Adapter
from experiments.peers import faiss_hnsw, faiss_ivfflat, hnswlib
from experiments.peers.faiss import Faiss

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.adapter import Ids, Params, Vectors

    Mask = NDArray[np.bool_]

PREPARED = "prepared"
_TIMES = 30  # that a filter is resolved, to time it


class Filtering(Adapter):
    """An adapter whose searches find only what a filter lets pass."""

    @abstractmethod
    def among(self, mask: Mask, form: str) -> float | None:
        """Search what passes from now on, and no other.

        Parameters
        ----------
        mask : (n,) bool
        form : what ours is given: PREPARED, "mask", "ids" or "function"; the others
            make ready what they can

        Returns
        -------
        float or None
            Microseconds that every search takes to make positions of the filter; None
            where it was made ready before.
        """


class _Ours(Filtering):
    """A search is given a filter made ready, or as its user has it."""

    _index: Any
    _wanted: Any = None

    def among(self, mask: Mask, form: str) -> float | None:
        from ann.filters import resolve

        if form == PREPARED:
            self._wanted = self._index.prepare_filter(mask)
            return None
        self._wanted = wanted = given(mask, form)
        seconds = []
        for _ in range(_TIMES):
            start = perf_counter()
            resolve(wanted, len(mask))
            seconds.append(perf_counter() - start)
        return float(np.median(seconds)) * 1e6

    def searcher(
        self, search: Params, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        index_search, wanted = self._index.search, self._wanted
        params = search.model_dump(exclude_none=True)
        return lambda Q: index_search(Q, k=k, threads=threads, filter=wanted, **params)


class Flat(_Ours, ours.Flat):
    """Exact search."""


class IVF(_Ours, ours.IVF):
    """Inverted lists."""


class HNSW(_Ours, ours.HNSW):
    """Hierarchical navigable small worlds."""


class Exact(Filtering, ours.Flat):
    """The yardstick: exact search of nothing but what passes, set up beforehand."""

    def add(self, X: Vectors, threads: int) -> None:
        """Keep the vectors, and an index of all."""
        super().add(X, threads)
        self._X, self._rows = X, np.arange(len(X))

    def among(self, mask: Mask, form: str) -> None:
        """Build an index of what passes."""
        import ann

        self._rows = np.flatnonzero(mask)
        self._index = ann.Flat(self._index.metric).add(self._X[self._rows])

    def ids(self, answer: tuple[Ids, Any]) -> Ids:
        """Return the rows among all vectors."""
        places: Ids = answer[0]
        return np.where(places < 0, -1, self._rows[places])


class Hnswlib(Filtering, hnswlib.HNSW):
    """hnswlib asks a function of Python about each vector that it meets.

    Where it finds fewer than k it answers nothing, and raises an error: such queries
    count as answered with nothing. It is searched on one thread, as its documentation
    recommends with such a function.
    """

    _allowed: Callable[[int], bool]

    def among(self, mask: Mask, form: str) -> None:
        """Make a list of the mask, which is quicker to ask than an array."""
        self._allowed = mask.tolist().__getitem__

    def searcher(self, search: Any, k: int, threads: int) -> Callable[[Vectors], Any]:
        """Set ``ef``; the call takes query by query where one has too few answers."""
        self._index.set_ef(search.ef_search)
        knn_query, allowed = self._index.knn_query, self._allowed

        def call(Q: Vectors) -> Any:
            try:
                return knn_query(Q, k=k, num_threads=1, filter=allowed)
            except RuntimeError:
                if len(Q) > 1:
                    parts = [call(q[None]) for q in Q]
                    return tuple(map(np.concatenate, zip(*parts, strict=True)))
                return np.full((1, k), -1), np.full((1, k), np.inf, np.float32)

        return call


class _Faiss(Filtering, Faiss):
    """FAISS takes a bitmap, made before the clock starts, as its users can."""

    def among(self, mask: Mask, form: str) -> None:
        bitmap = np.packbits(mask, bitorder="little")
        self._selector = _faiss().IDSelectorBitmap(bitmap)

    def searcher(
        self, search: Params, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        _faiss().omp_set_num_threads(threads)
        params, index_search = self._parameters(search), self._index.search
        return lambda Q: index_search(Q, k, params=params)

    @abstractmethod
    def _parameters(self, search: Any) -> Any:
        """Return FAISS's parameters of a search, with the selector."""


class FaissHNSW(_Faiss, faiss_hnsw.HNSW):
    """FAISS's HNSW: its pool holds what does not pass too."""

    def _parameters(self, search: Any) -> Any:
        return _faiss().SearchParametersHNSW(
            sel=self._selector, efSearch=search.ef_search
        )


class FaissIVFFlat(_Faiss, faiss_ivfflat.IVFFlat):
    """FAISS's lists."""

    def _parameters(self, search: Any) -> Any:
        return _faiss().SearchParametersIVF(sel=self._selector, nprobe=search.nprobe)


def _faiss() -> Any:
    """Return the library, whose own type information lacks what is used here."""
    import faiss

    return faiss


def given(mask: Mask, form: str) -> Any:
    """Return a filter as its user may have it: a mask, ids, a function of all ids."""
    if form == "ids":
        return np.flatnonzero(mask)
    if form == "function":
        return lambda ids: mask[ids]
    return mask


_CLASSES: tuple[type[Filtering], ...] = (
    Flat,
    IVF,
    HNSW,
    Hnswlib,
    FaissHNSW,
    FaissIVFFlat,
)


def find(adapter: type[Adapter]) -> type[Filtering] | None:
    """Return the filtering form of an adapter, or None where there is none."""
    return next((each for each in _CLASSES if issubclass(each, adapter)), None)
