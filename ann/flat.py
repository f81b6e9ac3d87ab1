"""Exact search: every vector is looked at."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import exact, filters, validation
from ann.changing import Kept, Progress
from ann.codecs import Codec, Float32
from ann.filters import Filter
from ann.index import Index
from ann.kernels import answer
from ann.kernels.scan import Everything, FlatScratch
from ann.memory import aligned, grown, taken
from ann.metrics import row_norms
from ann.searching import MOST, one
from ann.state import Contents, Desk, Floats, State
from ann.stored import Stored
from ann.traces import Trace
from ann.transforms import Transform


class Rows(NamedTuple):
    """What ``Flat`` holds."""

    packed: NDArray[Any]  #: the codec's stored form, in blocks if it has them
    norms: NDArray[np.float64]  #: Euclidean, of float32 rows


class Flat(Index):
    """All vectors, in order; the truth that everything else is compared with.

    A batch runs on matrix products, a block at a time, and re-scores directly whatever
    their rounding leaves undecided; so the result is that of the direct distances, at
    bounded memory. With a codec every code is scored.

    Parameters
    ----------
    metric, codec, refine, refine_dtype, norm_check, transform
        See :class:`ann.Index`.

    Examples
    --------
    >>> ids, distances = Flat("l2").add(X).search(Q, k=10)
    """

    _kind = "Flat"

    def __init__(
        self,
        metric: str = "l2",
        *,
        codec: Codec | None = None,
        refine: float | None = None,
        norm_check: str = "warn",
        transform: Transform | None = None,
        refine_dtype: str | None = None,
    ) -> None:
        super().__init__(metric, codec, refine, norm_check, transform, refine_dtype)

    @property
    def _build_params(self) -> dict[str, Any]:
        return {}

    def _arrays(self) -> list[NDArray[Any]]:
        return list(self._held or ())

    def _insert(
        self, X: Floats, originals: Floats, capacity: int, threads: int,
        progress: Progress,
    ) -> Rows:  # fmt: skip
        n, norms = self._state.names.n, np.empty(0)
        packed = self._appended(self._codec.pack(self._codes(X, threads)))
        if isinstance(self._codec, Float32):
            before = norms if self._held is None else self._held.norms
            norms = grown(before, n, row_norms(X))
        progress(len(X), len(X))
        return Rows(packed, norms)

    def _appended(self, packed: NDArray[Any]) -> NDArray[Any]:
        """Return packed vectors behind the others, in blocks if the codec has them."""
        n, codec = self._state.names.n, self._codec
        before = np.empty((0, 0)) if self._held is None else self._held.packed
        last = n % codec.block  # vectors in a block that is not full
        if last:
            tail = before[n // codec.block : n // codec.block + 1]
            packed = np.concatenate([codec.disarrange(tail, np.array([last])), packed])
        arranged = codec.arrange(packed, np.array([len(packed)]))
        # A block that gets fuller is being searched, so it is not written to.
        return grown(before, n // codec.block, arranged, anew=last > 0)

    def _vectors(self, positions: NDArray[np.int64]) -> Floats:
        n, codec = self._state.names.n, self._codec
        blocks = self._held.packed[: -(-n // codec.block)]
        return self._decoded(codec.disarrange(blocks, np.array([n]))[positions])

    def _select(self, held: Rows, kept: Kept, threads: int) -> Rows:
        places, codec, n = np.flatnonzero(kept), self._codec, len(kept)
        blocks = held.packed[: -(-n // codec.block)]
        packed = taken(codec.disarrange(blocks, np.array([n])), places)
        arranged = codec.arrange(packed, np.array([len(places)]))
        norms = held.norms[places] if len(held.norms) else held.norms
        return Rows(arranged, norms)

    def _saved_held(self, held: Rows, n: int) -> dict[str, NDArray[Any]]:
        blocks = -(-n // self._codec.block)
        return {"packed": held.packed[:blocks], "norms": held.norms[:n]}

    def _restored(self, stored: Stored, n: int, d: int) -> Rows:
        one = self._codec.arrange(self._codec.row(d), np.array([1]))
        shape = (-(-n // self._codec.block), *one.shape[1:])
        norms = n if isinstance(self._codec, Float32) else 0
        return Rows(
            stored.array("packed", one.dtype, shape),
            stored.array("norms", np.float64, (norms,)),
        )

    def _audited(self) -> Iterator[str]:
        return iter(())

    def search(
        self,
        Q: ArrayLike,
        k: int = 10,
        *,
        filter: filters.Wanted | None = None,
        threads: int | None = None,
        distance_computations: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int64], Floats]:
        """Return the ``k`` nearest neighbours of each query.

        Parameters
        ----------
        Q : (nq, d) or (d,) array
        k : int
        filter : array, callable or Prepared, optional
            Which vectors may be found: their ids; or a mask (m,) of bool, where id i
            passes if ``i < m`` and ``mask[i]``; or a function that is given all ids
            (ntotal,) int64 and returns a mask of them; or what ``prepare_filter`` made
            of one, which saves the time that this takes.
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
        asked = (k,)
        if filter is None and distance_computations is None and one(threads):
            found = self._again(self._state, Q, asked)
            if found is not None:
                return found
        k = validation.integer(k, "k", 1, MOST)
        return self._view()._search(
            Q, k, threads, distance_computations, filter, None, asked
        )

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
        k, now = validation.integer(k, "k", 1, MOST), self._view()
        return [Trace(**now._counted(outcome)) for outcome in now._trace(Q, k)]

    def _record(self, state: State, desk: Desk, effort: Any) -> None:
        answer.search(
            state.structure, desk.query, effort, desk.scratch, desk.keys, desk.ids,
            desk.scored,
        )  # fmt: skip

    def _nearest(
        self, state: State, Q: Floats, k: int, threads: int, scored: NDArray[np.int64],
        effort: Any,
    ) -> tuple[Floats, NDArray[np.int32]]:  # fmt: skip
        n, key, (packed, norms) = state.names.n, self._metric.key, state.held
        d, plain = Q.shape[1], isinstance(state.codec, Float32)
        size = state.codec.scan_query_size(d)
        if state.selected is not None:
            scored[:] = len(state.selected)
            some = state.selected.positions
            if plain:
                rows = state.structure.everything.store.rows  # or the originals
                return exact.search_among(key, rows, some, Q, k, threads)
            return exact.search_listed(state.structure, Q, k, threads, max(d, size))
        scored[:] = n
        if plain:
            return exact.search(key, packed[:n], Q, k, threads, norms[:n])
        store, projected = state.structure.store, state.codec.project(Q)
        return exact.scan_rows(store, n, projected, k, threads, size)

    def _filtered(
        self, state: State, selected: Filter, effort: Any, nq: int
    ) -> tuple[State, Any]:
        return state.among(selected, filters.listed(state.structure, selected)), effort

    def _listed(self, state: State, selected: Filter) -> tuple[State, Any]:
        if self._refine is None:
            return self._filtered(state, selected, None, 1)
        every = Everything(state.final.originals, state.names.n, None)
        among = state.among(selected, filters.listed(every, selected), True)
        # Machine code goes by the class, and that of a filter's is for codes.
        return replace(among, codes={}, spare=[]), None

    def _structure(self, contents: Contents, originals: Any) -> Everything:
        codec, n = contents.codec, contents.names.n
        blocks = contents.held.packed[: -(-n // codec.block)]
        store = codec.scan_store(blocks, self._metric.key)
        return Everything(store, n, codec.columns)

    def _scratch(self, state: State, effort: Any) -> FlatScratch:
        d = self._width(state)
        size = max(d, state.codec.scan_query_size(d))
        return FlatScratch(aligned((size,), np.float32), aligned((2 * d,), np.float32))
