"""Inverted file: k-means cells, of which a query visits the nearest.

Jégou, Douze & Schmid, "Product quantization for nearest neighbor search", IEEE TPAMI
2011, Sec. IV; the coarse quantizer goes back to Sivic & Zisserman, ICCV 2003.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import exact, filters, parallel, shadows, traces, validation
from ann.changing import Kept, Progress
from ann.codecs import Codec, Float32, RaBitQ
from ann.filters import Filter
from ann.fit import Fit
from ann.index import Index
from ann.kernels import scan
from ann.kernels.answer import search, search_recorded
from ann.kernels.listed import Listed, ListedInLists
from ann.kernels.record import Visited
from ann.kernels.scan import Everything, FlatScratch, Lists, ListScratch
from ann.kernels.shadow import BLOCK
from ann.kernels.tricks import on
from ann.kmeans import kmeans
from ann.memory import aligned, aligned_copy, query_buffers, taken
from ann.metrics import row_norms
from ann.searching import MOST, one
from ann.state import Contents, Desk, Floats, Outcome, State
from ann.storage import StorageError
from ann.stored import Stored
from ann.traces import ListsTrace
from ann.transforms import Transform

_SEARCH_CHUNK = 8
# Below this a centroid is poorly known; the default nlist keeps to it.
_FEWEST_PER_LIST = 39
_DEFAULT_NPROBE = 16
_FEWEST_TOGETHER = 12  # queries; fewer are searched one by one
_QUERY_BYTES = 1 << 22  # of prepared queries that share the reading of lists
# A query's memory that is not in L1 has to come back for each list: with PQ(m=48),
# whose tables take 48 KiB, 80 lists took 305 us a query together, 187 alone.
_MOST_QUERY_BYTES = 1 << 15
_NOTHING = np.empty(0, np.float32)
_LEAST = 1, 1  # effort, where it is not asked for

Results = tuple[Floats, NDArray[np.int32], NDArray[np.int64]]


class Cells(NamedTuple):
    """What ``IVF`` holds."""

    centroids: Floats  #: (nlist, d)
    norms: NDArray[np.float64]  #: (nlist,), of the centroids
    offsets: NDArray[np.int64]  #: (nlist + 1,), where lists begin among …
    row_ids: NDArray[np.int32]  #: (n,), … positions in order of arrival,
    packed: NDArray[Any]  #: the codec's stored form in list order,
    cross: Floats  #: and what residuals have beside it
    coarse: Any = None  #: store of the centroids …
    store: Any = None  #: … and of the vectors, with their shadows

    @property
    def sizes(self) -> NDArray[np.int64]:
        """How many vectors each list has (nlist,)."""
        return np.diff(self.offsets)


class IVF(Index):
    """Vectors in lists by their nearest centroid; a search scans ``nprobe`` lists.

    Parameters
    ----------
    metric, codec, refine, refine_dtype, norm_check, transform
        See :class:`ann.Index`.
    nlist : int, optional
        Lists. By default ``4 sqrt(n)`` of the first ``add``, but at least 39 vectors a
        list.
    seed : int
        Of the training sample and the start of k-means.

    Notes
    -----
    The first ``add`` trains: k-means on at most ``256 * nlist`` vectors (see
    :func:`ann.kmeans.kmeans`), and the codec. Later vectors go to the same lists.

    How each metric partitions and probes:

    - ``l2``: k-means; both by the Euclidean distance.
    - ``cosine``: spherical k-means; both by the angle.
    - ``ip``: k-means, so that a list holds similar vectors, long and short ones apart;
      lists are probed by the inner product of query and centroid.
    - ``l1``: k-means centroids; vectors join, and queries probe, by the Manhattan
      distance.

    With ``PQ`` and ``RaBitQ`` the codes describe ``x − centroid``, except where the
    codec came trained, and with ``PQ`` under ``l1``, where a residual's table would
    differ from list to list.

    Each later ``add`` copies the index once, to keep its lists contiguous.

    Lists of float32 rows, and the centroids, have 8-bit shadows (see
    :mod:`ann.kernels.shadow`) under all metrics but ``l1`` where d >= 64: most rows are
    rejected by them, and results are those of scoring every row. Lists of 4-bit ``PQ``
    and of ``RaBitQ`` are scanned by FastScan (see :mod:`ann.kernels.fastscan`).

    Memory in bytes, for n vectors of width d: ``n * (4 d + 4)`` without a codec, and
    ``n * (16 ceil(d / 16) + 16)`` for shadows; ``n * (code + 4)`` with one, where
    4-bit PQ and RaBitQ fill each list up to a multiple of 32, and 4 n more for
    residuals of PQ under ``l2``; ``nlist * (5 d + 40)`` for centroids with shadows. The
    first search with a filter makes a table of 4 n more.

    Examples
    --------
    >>> index = IVF("l2", nlist=1024).add(X)
    >>> ids, distances = index.search(Q, k=10, nprobe=16)
    """

    _kind = "IVF"

    def __init__(
        self,
        metric: str = "l2",
        *,
        nlist: int | None = None,
        codec: Codec | None = None,
        refine: float | None = None,
        seed: int = 0,
        norm_check: str = "warn",
        transform: Transform | None = None,
        refine_dtype: str | None = None,
    ) -> None:
        super().__init__(metric, codec, refine, norm_check, transform, refine_dtype)
        self._nlist = None if nlist is None else validation.integer(nlist, "nlist", 1)
        self._seed = validation.integer(seed, "seed", 0)
        self._codes_vectors = self._codec.is_trained  # not residuals

    def _residual(self, codec: Codec) -> bool:
        """Whether codes are of residuals; a codec that came trained knows vectors."""
        return codec.codes_residuals(self._metric) and not self._codes_vectors

    @property
    def nlist(self) -> int | None:
        """Number of lists; None while the default waits for the first ``add``."""
        held: Cells | None = self._held
        return self._nlist if held is None else len(held.centroids)

    @property
    def centroids(self) -> Floats:
        """A copy of the lists' centroids (nlist, d); of unit vectors under cosine.

        With a transform they are as narrow as the vectors that it makes.
        """
        held: Cells | None = self._held
        return np.empty((0, 0), np.float32) if held is None else held.centroids.copy()

    @property
    def _build_params(self) -> dict[str, Any]:
        return {"nlist": self.nlist, "seed": self._seed}

    def _arrays(self) -> list[NDArray[Any]]:
        if self._held is None:
            return []
        *arrays, coarse, store = self._held
        beside = shadows.arrays(coarse) + shadows.arrays(store)
        return [*arrays, self._state.structure.slots, *beside]

    def _saved_held(self, held: Cells, n: int) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {
            "centroids": held.centroids,
            "offsets": held.offsets,
            "row_ids": held.row_ids,
            "packed": held.packed,
            "cross": held.cross,
        }
        if self._codec.codes_residuals(self._metric) and self._codes_vectors:
            arrays["of_vectors"] = np.ones(1, np.uint8)  # codes are, not of residuals
        return {**arrays, **shadows.saved(held.store)}

    def _restore(self, stored: Stored) -> None:
        super()._restore(stored)
        if self._held is None:
            self._codes_vectors = self._codec.is_trained

    def _restored(self, stored: Stored, n: int, d: int) -> Cells:
        if stored.has("of_vectors"):
            stored.within("of_vectors", np.uint8, (1,), 1, 1)
            self._codes_vectors = True
        nlist = self._nlist or 0
        centroids = stored.finite("centroids", (nlist, d))
        offsets = stored.within("offsets", np.int64, (nlist + 1,), 0, n)
        sizes = np.diff(offsets)
        if offsets[0] != 0 or offsets[-1] != n or (sizes < 0).any():
            raise StorageError(f"offsets must ascend from 0 to n={n}")
        row_ids = stored.within("row_ids", np.int32, (n,), 0, n - 1)
        if (np.bincount(row_ids, minlength=n) != 1).any():
            raise StorageError("row_ids must have every position once")
        one = self._codec.arrange(self._codec.row(d), np.array([1]))
        blocks = int((-(-sizes // self._codec.block)).sum())
        cells = Cells(
            centroids=centroids,
            norms=row_norms(centroids),
            offsets=offsets,
            row_ids=row_ids,
            packed=stored.array("packed", one.dtype, (blocks, *one.shape[1:])),
            cross=_NOTHING,
        )
        beside = self._residual(self._codec) and self._codec.has_cross(self._metric.key)
        rows = n if beside else 0
        cells = cells._replace(cross=stored.array("cross", np.float32, (rows,)))
        return self._stored(cells, parallel.available(), stored)

    def search(
        self,
        Q: ArrayLike,
        k: int = 10,
        *,
        nprobe: int | None = None,
        patience: int | None = None,
        filter: filters.Wanted | None = None,
        threads: int | None = None,
        distance_computations: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int64], Floats]:
        """Return about the ``k`` nearest neighbours of each query.

        Parameters
        ----------
        Q : (nq, d) or (d,) array
        k : int
        nprobe : int, optional
            Lists to scan, in [1, nlist]: more find more and take longer. By default 16,
            or all if there are fewer.
        patience : int, optional
            Stop before ``nprobe`` lists after so many in a row that changed none of the
            ``k`` best (of the ``refine * k``, with refinement); at least 1. Empty lists
            count, but none does before there are k. None never stops. The lists of each
            query are then scanned apart, also in a batch.
        filter : array, callable or Prepared, optional
            Which vectors may be found: their ids; or a mask (m,) of bool, where id i
            passes if ``i < m`` and ``mask[i]``; or a function that is given all ids
            (ntotal,) int64 and returns a mask of them; or what ``prepare_filter`` made
            of one, which saves the time that this takes.
        threads : int, optional
            All cores for a batch, 1 for a single query by default.
        distance_computations : (nq,) int64 array, optional
            Overwritten with the number of centroids and vectors scored for each query.

        Returns
        -------
        ids, distances : (nq, k) int64, (nq, k) float32
            Closest first, ties in order of id; (k,) each for a single query. Where the
            lists hold fewer than ``k`` vectors: id −1, distance +inf.

        Raises
        ------
        ValueError
            As ``Flat.search``, and ``nprobe`` or ``patience`` out of range.
        """
        asked = k, nprobe, patience
        if filter is None and distance_computations is None and one(threads):
            found = self._again(self._state, Q, asked)
            if found is not None:
                return found
        k, now = validation.integer(k, "k", 1, MOST), self._view()
        effort = now._effort(nprobe, patience)
        return now._search(Q, k, threads, distance_computations, filter, effort, asked)

    def _effort(self, nprobe: int | None, patience: int | None) -> tuple[int, int]:
        """Return what a scan takes; raise ValueError where it is out of range."""
        if nprobe is None:
            nprobe = min(_DEFAULT_NPROBE, self.nlist or _DEFAULT_NPROBE)
        nprobe = validation.integer(nprobe, "nprobe", 1, self.nlist, "nlist=")
        if patience is None:
            return nprobe, nprobe
        return nprobe, validation.integer(patience, "patience", 1)

    def trace(
        self,
        Q: ArrayLike,
        k: int = 10,
        *,
        nprobe: int | None = None,
        patience: int | None = None,
    ) -> list[ListsTrace]:
        """Return what ``search`` does for each query: the lists, and what each changes.

        Parameters
        ----------
        Q, k, nprobe, patience
            As of ``search``. Each query is searched for by itself, on one thread.

        Returns
        -------
        list of ListsTrace
            One per query, with its answer.

        Raises
        ------
        ValueError
            As ``search``.

        Examples
        --------
        >>> [trace] = index.trace(q, nprobe=16)
        >>> [(visit.list, visit.size, visit.changed) for visit in trace.visits]
        """
        k, now = validation.integer(k, "k", 1, MOST), self._view()
        effort = now._effort(nprobe, patience)
        return [now._told(outcome) for outcome in now._trace(Q, k, effort)]

    def _record(self, state: State, desk: Desk, effort: tuple[int, int]) -> Visited:
        visited = _room(effort[0])
        desk.scored[0] = search_recorded(
            state.structure, desk.query[0], effort, desk.scratch, desk.keys[0],
            desk.ids[0], visited,
        )  # fmt: skip
        return visited

    def _told(self, outcome: Outcome) -> ListsTrace:
        visited = outcome.record or _room(0)
        n, nlist, cells = int(visited.used[0]), self.nlist or 0, self._held
        lists = visited.lists[:n]
        members = [_members(cells, c) for c in lists]
        return traces.lists(
            self._counted(outcome, nlist),
            nlist,
            lists.tolist(),
            self._presented(visited.keys[:n]).tolist(),
            [self._names(each) for each in members],
            self._nodes(visited.last_ids[:n], visited.last_keys[:n]),
        )

    def _nearest(
        self, state: State, Q: Floats, k: int, threads: int, scored: NDArray[np.int64],
        effort: Any,
    ) -> tuple[Floats, NDArray[np.int32]]:  # fmt: skip
        if isinstance(state.structure, Listed):
            scored[:] = len(state.structure.rows)
            key, some = self._metric.key, state.structure.rows
            originals = state.contents.originals
            return exact.search_among(key, originals, some, Q, k, threads)
        shared = self._shares(len(Q))
        if isinstance(state.structure, ListedInLists) and shared and state.selected:
            scored[:] = len(state.structure.rows)
            key, rows, some = self._metric.key, state.held.packed, state.structure.rows
            return exact.search_among(
                key, rows, some, Q, k, threads, state.selected.positions
            )
        nq, (nprobe, patience) = len(Q), effort
        keys, ids = np.empty((nq, k), np.float32), np.empty((nq, k), np.int32)
        results = keys, ids, scored
        small = 4 * self._list_query_size(state) <= _MOST_QUERY_BYTES
        together = nq >= _FEWEST_TOGETHER and small and patience >= nprobe
        together &= isinstance(state.structure, Lists)
        if together and on("list-major"):
            self._search_together(state, Q, nprobe, threads, results)
        else:
            self._search_alone(state, Q, effort, threads, results)
        return keys, ids

    def _search_alone(
        self, state: State, Q: Floats, effort: tuple[int, int], threads: int,
        results: Results,
    ) -> None:  # fmt: skip
        """Search query after query, each list in order of its centroid's distance."""

        def work(ranges: parallel.Ranges) -> None:
            desk = self._borrow(state, results[1].shape[1], effort)
            for a, b in ranges:
                part = (of[a:b] for of in results)
                search(state.structure, Q[a:b], effort, desk.scratch, *part)
            state.spare.append(desk)

        chunk = parallel.chunk(len(Q), _SEARCH_CHUNK, threads)
        parallel.run(work, len(Q), chunk, threads)

    def _search_together(
        self, state: State, Q: Floats, nprobe: int, threads: int, results: Results
    ) -> None:
        """Search list after list, each for all queries of a chunk that probe it."""
        (nq, d), lists, cells = Q.shape, state.structure, state.held
        key, nlist = self._metric.key, len(cells.centroids)
        near, probes = exact.search(
            key, cells.centroids, Q, nprobe, threads, cells.norms
        )
        size = self._list_query_size(state)
        chunk = max(_SEARCH_CHUNK, min(_QUERY_BYTES // (4 * size), -(-nq // threads)))

        def work(ranges: parallel.Ranges) -> None:
            buffers, room = query_buffers(min(nq, chunk), size), np.empty(2 * d, "f4")
            starts = np.empty(nlist + 1, np.int64)
            order = np.empty(min(nq, chunk) * nprobe, np.int64)
            for a, b in ranges:
                scan.search_together(
                    lists, Q[a:b], near[a:b], probes[a:b], starts, order, buffers, room,
                    *(of[a:b] for of in results),
                )  # fmt: skip

        parallel.run(work, nq, chunk, threads)

    def _scratch(
        self, state: State, effort: tuple[int, int]
    ) -> ListScratch | FlatScratch:
        nlist, d = len(state.held.centroids), self._width(state)
        if isinstance(state.structure, Listed):
            return FlatScratch(aligned((d,), np.float32), aligned((2 * d,), np.float32))
        of_centroids = shadows.query_size(state.held.coarse, d)
        size = max(of_centroids, self._list_query_size(state), nlist, 2 * d)
        return ListScratch(
            probe_keys=np.empty(effort[0], np.float32),
            probes=np.empty(effort[0], np.int32),
            buffers=aligned((4, -(-size // 16) * 16), np.float32),
        )

    def _fits(
        self, scratch: ListScratch | FlatScratch, effort: tuple[int, int]
    ) -> bool:
        return isinstance(scratch, FlatScratch) or len(scratch.probes) >= effort[0]

    def _list_query_size(self, state: State) -> int:
        d = state.held.centroids.shape[1]
        of_rows = shadows.query_size(state.held.store, d)
        return max(of_rows, state.codec.scan_query_size(d))

    def _filtered(
        self, state: State, selected: Filter, effort: tuple[int, int], nq: int
    ) -> tuple[State, tuple[int, int]]:
        lists, n, nlist = state.structure, state.names.n, len(state.held.centroids)
        (nprobe, patience), some = effort, len(selected)
        structure: Any
        if filters.lists_pay(nprobe, nlist, n, some, self._row_cost(nq)):
            places = self._places(state)
            structure = filters.filtered_lists(lists, selected, nprobe, places)
            more = filters.probes(nprobe, nlist, n, some)
            effort = more, more if patience >= nprobe else patience
            return state.among(selected, structure), effort
        return self._listed(state, selected)[0], effort

    def _listed(self, state: State, selected: Filter) -> tuple[State, tuple[int, int]]:
        if self._refine is not None:
            every = Everything(state.final.originals, state.names.n, None)
            return state.among(selected, filters.listed(every, selected), True), _LEAST
        places = self._places(state)
        structure = filters.listed_in_lists(state.structure, selected, places)
        return state.among(selected, structure), _LEAST

    def _places(self, state: State) -> filters.Positions:
        """Return where in the lists each position is (n,)."""
        if state.places is None:
            row_ids = state.held.row_ids
            places = np.empty_like(row_ids)
            places[row_ids] = np.arange(len(row_ids), dtype=np.int32)
            state.places = places
        return state.places

    def _structure(self, contents: Contents, originals: Any) -> Lists:
        held: Cells = contents.held
        return Lists(
            centroids=held.coarse,
            offsets=held.offsets,
            slots=self._slots(contents.codec, held),
            store=held.store,
            row_ids=held.row_ids,
            residual=self._residual(contents.codec),
            mean=self._mean(contents.codec, held),
            columns=contents.codec.columns,
        )

    def _mean(self, codec: Codec, cells: Cells) -> Floats | None:
        """Return the centroids' mean, which queries for residuals are taken from."""
        if not (self._residual(codec) and self._metric.key == "l2"):
            return None
        mean: Floats = cells.centroids.mean(axis=0)
        return mean

    def _slots(self, codec: Codec, cells: Cells) -> NDArray[np.int64]:
        """Return where each list begins in its store (nlist + 1,)."""
        block, d = codec.block, cells.centroids.shape[1]
        if isinstance(codec, Float32) and shadows.pays(self._metric.key, d):
            block = BLOCK
        return np.concatenate([[0], np.cumsum(-(-cells.sizes // block) * block)])

    def _stored(
        self, cells: Cells, threads: int, stored: Stored | None = None
    ) -> Cells:
        """Return the same with its stores made anew, or as they were stored."""
        codec, key, sizes = self._codec, self._metric.key, cells.sizes
        centre = cells.centroids.mean(axis=0, keepdims=True)
        numbers = np.arange(len(sizes))
        coarse = shadows.store(key, cells.centroids, numbers, centre, threads)
        if self._residual(codec):
            store = codec.residual_store(
                cells.packed, cells.cross, cells.centroids, key
            )
        elif isinstance(codec, Float32):
            slots = self._slots(codec, cells)
            if stored is not None:
                both = centre, cells.centroids
                store = shadows.restored(key, cells.packed, slots, both, stored)
            else:
                own = np.arange(len(cells.packed))
                own += np.repeat(slots[:-1] - cells.offsets[:-1], sizes)
                owners = shadows.owners(key, cells.packed, cells.centroids, sizes)
                centres = centre if owners is None else cells.centroids
                store = shadows.store(key, cells.packed, own, centres, threads, owners)
        else:
            store = codec.scan_store(cells.packed, key)
        return cells._replace(coarse=coarse, store=store)

    # --- building ---------------------------------------------------------------------

    def _insert(
        self, X: Floats, originals: Floats, capacity: int, threads: int,
        progress: Progress,
    ) -> Cells:  # fmt: skip
        cells = self._held
        if cells is None:
            cells = self._partition(X, threads)
            progress(0, len(X))
        labels = self._assign(cells, X, threads)
        if self._residual(self._codec):
            codes, cross = self._residual_codes(cells, labels, X, threads)
        else:
            codes, cross = self._codes(X, threads), _NOTHING
        cells = self._merge(cells, labels, self._codec.pack(codes), cross)
        cells = self._stored(cells, threads)
        progress(len(X), len(X))
        return cells

    def _residual_codes(
        self, cells: Cells, labels: NDArray[np.int32], X: Floats, threads: int
    ) -> tuple[NDArray[np.uint8], Floats]:
        """Return codes of vectors less their centroids, and what goes beside them."""
        codec, mean = self._codec, self._mean(self._codec, cells)
        residuals = X - cells.centroids[labels]
        if not codec.is_trained:
            codec.train_residuals(residuals, threads)
        codes = codec.encode(residuals, threads=threads)
        centroids = cells.centroids if mean is None else cells.centroids - mean
        return codec.related(
            codes, residuals, labels, centroids, self._metric.key, threads
        )

    def _look_at_fit(
        self, whole: Floats, X: Floats, threads: int, first: bool
    ) -> Fit | None:
        if self._residual(self._codec) and isinstance(self._codec, RaBitQ):
            return None  # what it codes is a direction, of which it learns nothing
        return super()._look_at_fit(whole, X, threads, first)

    def _before_coding(self, X: Floats, threads: int) -> Any:
        if not self._residual(self._codec):
            return super()._before_coding(X, threads)
        return self._held.centroids[self._assign(self._held, X, threads)]

    def _vectors(self, positions: NDArray[np.int64]) -> Floats:
        codec, cells = self._codec, self._held
        residual = self._residual(codec)
        if residual and isinstance(codec, RaBitQ):
            raise ValueError(
                "retrain needs refine in an IVF of RaBitQ codes, whose terms are of "
                "queries' estimates, got None"
            )
        places = np.empty_like(cells.row_ids)
        places[cells.row_ids] = np.arange(len(places), dtype=np.int32)
        at = places[positions]
        vectors = self._decoded(codec.disarrange(cells.packed, cells.sizes)[at])
        if residual:
            owners = np.searchsorted(cells.offsets, at, side="right") - 1
            vectors = vectors + cells.centroids[owners]
        return vectors

    def _audited(self) -> Iterator[str]:
        if self._held is None:
            return
        offsets, row_ids = self._held.offsets, self._held.row_ids
        n = self._state.names.n
        if offsets[0] != 0 or offsets[-1] != n or (np.diff(offsets) < 0).any():
            yield f"the lists do not ascend from 0 to {n}"
        inside = row_ids[(row_ids >= 0) & (row_ids < n)]
        strays = int((np.bincount(inside, minlength=n) != 1).sum())
        if strays or len(inside) < len(row_ids):
            yield f"{max(strays, len(row_ids) - len(inside))} vectors not in one list"

    def _partition(self, X: Floats, threads: int) -> Cells:
        """Return the centroids, of lists that are still empty."""
        n = len(X)
        nlist = self._nlist
        if nlist is None:
            nlist = max(1, min(round(4 * math.sqrt(n)), n // _FEWEST_PER_LIST))
        elif nlist > n:
            raise ValueError(
                f"nlist must be <= {n}, the number of vectors to train on, got {nlist}"
            )
        rng = np.random.default_rng(self._seed)
        spherical = self._metric.name == "cosine"
        centroids = aligned_copy(kmeans(X, nlist, rng, threads, spherical=spherical))
        return Cells(
            centroids,
            norms=row_norms(centroids),
            offsets=np.zeros(nlist + 1, np.int64),
            row_ids=np.empty(0, np.int32),
            packed=np.empty((0, 0), np.float32),
            cross=_NOTHING,
        )

    def _assign(self, cells: Cells, X: Floats, threads: int) -> NDArray[np.int32]:
        key = "l2" if self._metric.name == "ip" else self._metric.key
        _, labels = exact.search(key, cells.centroids, X, 1, threads, cells.norms)
        return labels[:, 0]

    def _merge(
        self, cells: Cells, labels: NDArray[np.int32], packed: NDArray[Any],
        cross: Floats,
    ) -> Cells:  # fmt: skip
        """Put new vectors behind those of their list; lists stay contiguous."""
        n, sizes = len(cells.row_ids), cells.sizes
        own = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        order = np.argsort(np.concatenate([own, labels]), kind="stable")
        ids = np.arange(n, n + len(labels), dtype=np.int32)
        if n:
            before = self._codec.disarrange(cells.packed, sizes)
            packed = np.concatenate([before, packed])
        if len(cross):
            cross = np.concatenate([cells.cross, cross])
        sizes = sizes + np.bincount(labels, minlength=len(sizes))
        ids = np.concatenate([cells.row_ids, ids])
        return self._rearranged(cells, order, packed, cross, sizes, ids)

    def _rearranged(
        self, cells: Cells, order: NDArray[np.int64], packed: NDArray[Any],
        cross: Floats, sizes: NDArray[np.int64], ids: NDArray[np.int32],
    ) -> Cells:  # fmt: skip
        """Return lists of ``sizes`` of what stands at ``order`` in three arrays."""
        return cells._replace(
            offsets=np.concatenate([[0], np.cumsum(sizes)]),
            row_ids=ids[order],
            packed=self._codec.arrange(taken(packed, order), sizes),
            cross=cross[order] if len(cross) else cross,
        )

    def _select(self, held: Cells, kept: Kept, threads: int) -> Cells:
        stay = kept[held.row_ids]
        owner = np.repeat(np.arange(len(held.sizes)), held.sizes)[stay]
        cells = self._rearranged(
            held,
            np.flatnonzero(stay),
            self._codec.disarrange(held.packed, held.sizes),
            held.cross,
            np.bincount(owner, minlength=len(held.sizes)),
            (np.cumsum(kept) - 1).astype(np.int32)[held.row_ids],
        )
        return self._stored(cells, threads)


def _members(cells: Cells, which: int) -> NDArray[np.int32]:
    """Return the positions of a list's vectors."""
    return cells.row_ids[cells.offsets[which] : cells.offsets[which + 1]]


def _room(nprobe: int) -> Visited:
    """Return an empty record with room for so many lists."""
    return Visited(
        used=np.zeros(1, np.int64),
        lists=np.empty(nprobe, np.int32),
        keys=np.empty(nprobe, np.float32),
        last_keys=np.empty(nprobe, np.float32),
        last_ids=np.empty(nprobe, np.int32),
    )
