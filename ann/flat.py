"""Exact search: every vector is looked at."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import exact, validation
from ann.codecs import Codec, Float32
from ann.index import Desk, Floats, Index
from ann.kernels import answer
from ann.kernels.scan import Everything, FlatScratch
from ann.memory import aligned, grown
from ann.metrics import row_norms
from ann.traces import Trace


class Flat(Index):
    """All vectors, in order; the truth that everything else is compared with.

    A batch runs on matrix products, a block at a time, and re-scores directly whatever
    their rounding leaves undecided; so the result is that of the direct distances, at
    bounded memory. With a codec every code is scored.

    Parameters
    ----------
    metric, codec, refine
        See :class:`ann.Index`.

    Examples
    --------
    >>> ids, distances = Flat("l2").add(X).search(Q, k=10)
    """

    def __init__(
        self,
        metric: str = "l2",
        *,
        codec: Codec | None = None,
        refine: float | None = None,
    ) -> None:
        super().__init__(metric, codec, refine)
        self._packed = np.empty((0, 0), np.float32)  # the codec's stored form
        self._norms = np.empty(0)  # Euclidean, of float32 rows

    @property
    def _build_params(self) -> dict[str, Any]:
        return {}

    def _arrays(self) -> list[NDArray[Any]]:
        return [self._packed, self._norms]

    def _insert(self, X: Floats, threads: int) -> None:
        self._append(self._codec.pack(self._codes(X, threads)))
        if isinstance(self._codec, Float32):
            self._norms = grown(self._norms, self._ntotal, row_norms(X))

    def _append(self, packed: NDArray[Any]) -> None:
        """Store packed vectors behind the others, in blocks if the codec has them."""
        n, codec = self._ntotal, self._codec
        last = n % codec.block  # vectors in a block that is not full
        if last:
            tail = self._packed[n // codec.block : n // codec.block + 1]
            packed = np.concatenate([codec.disarrange(tail, np.array([last])), packed])
        arranged = codec.arrange(packed, np.array([len(packed)]))
        self._packed = grown(self._packed, n // codec.block, arranged)

    def search(
        self,
        Q: ArrayLike,
        k: int = 10,
        *,
        threads: int | None = None,
        distance_computations: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int64], Floats]:
        """Return the ``k`` nearest neighbours of each query.

        Parameters
        ----------
        Q : (nq, d) or (d,) array
        k : int
        threads : int, optional
            All cores for a batch, 1 for a single query by default.
        distance_computations : (nq,) int64 array, optional
            Overwritten with the number of vectors scored for each query.

        Returns
        -------
        ids, distances : (nq, k) int64, (nq, k) float32
            Closest first, ties in order of id; (k,) each for a single query. Where
            there are fewer than ``k`` vectors: id −1, distance +inf.

        Raises
        ------
        ValueError
            Wrong shape or width, not finite, a zero vector under ``cosine``, ``k < 1``.
        """
        k = validation.integer(k, "k", 1)
        return self._search(Q, k, threads, distance_computations)

    def trace(self, Q: ArrayLike, k: int = 10) -> list[Trace]:
        """Return what ``search`` does for each query: how many vectors it scores.

        Parameters
        ----------
        Q, k
            As of ``search``. Each query is searched for by itself, on one thread.

        Returns
        -------
        list of Trace
            One per query, with its answer.

        Raises
        ------
        ValueError
            As ``search``.
        """
        k = validation.integer(k, "k", 1)
        return [Trace(**self._counted(outcome)) for outcome in self._trace(Q, k)]

    def _record(self, desk: Desk, effort: Any) -> None:
        query, keys, ids, scored, scratch = desk
        answer.search(self._structure(), query, effort, scratch, keys, ids, scored)

    def _nearest(
        self, Q: Floats, k: int, threads: int, scored: NDArray[np.int64], effort: int
    ) -> tuple[Floats, NDArray[np.int32]]:
        n, key = self._ntotal, self._metric.key
        scored[:] = n
        if isinstance(self._codec, Float32):
            return exact.search(key, self._packed[:n], Q, k, threads, self._norms[:n])
        size = self._codec.scan_query_size(Q.shape[1])
        store, projected = self._structure().store, self._codec.project(Q)
        return exact.scan_rows(store, n, projected, k, threads, size)

    def _structure(self) -> Everything:
        n, codec = self._ntotal, self._codec
        store = codec.scan_store(self._packed[: -(-n // codec.block)], self._metric.key)
        return Everything(store, n, codec.columns)

    def _scratch(self, effort: Any) -> FlatScratch:
        d = self._d or 0
        size = max(d, self._codec.scan_query_size(d))
        return FlatScratch(aligned((size,), np.float32), aligned((2 * d,), np.float32))
