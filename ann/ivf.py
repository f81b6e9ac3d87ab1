"""Inverted file: k-means cells, of which a query visits the nearest.

Jégou, Douze & Schmid, "Product quantization for nearest neighbor search", IEEE TPAMI
2011, Sec. IV; the coarse quantizer goes back to Sivic & Zisserman, ICCV 2003.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import exact, parallel, shadows, traces, validation
from ann.codecs import PQ, Codec, Float32
from ann.index import Desk, Floats, Index, Outcome
from ann.kernels import scan
from ann.kernels.answer import search, search_recorded
from ann.kernels.record import Visited
from ann.kernels.scan import Lists, ListScratch
from ann.kernels.shadow import BLOCK
from ann.kernels.tricks import on
from ann.kmeans import kmeans
from ann.memory import aligned, aligned_copy, query_buffers
from ann.metrics import row_norms
from ann.traces import ListsTrace

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

Results = tuple[Floats, NDArray[np.int32], NDArray[np.int64]]


class IVF(Index):
    """Vectors in lists by their nearest centroid; a search scans ``nprobe`` lists.

    Parameters
    ----------
    metric, codec, refine
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

    With ``PQ`` the codes describe ``x − centroid``, except under ``l1``, where a
    residual's table would differ from list to list, and where the codec came trained.
    Each later ``add`` copies the index once, to keep its lists contiguous.

    Lists of float32 rows, and the centroids, have 8-bit shadows (see
    :mod:`ann.kernels.shadow`) under all metrics but ``l1`` where d >= 64: most rows are
    rejected by them, and results are those of scoring every row. Lists of 4-bit ``PQ``
    are scanned by FastScan (see :mod:`ann.kernels.fastscan`).

    Memory in bytes, for n vectors of width d: ``n * (4 d + 4)`` without a codec, and
    ``n * (16 ceil(d / 16) + 16)`` for shadows; ``n * (code + 4)`` with one, where
    4-bit PQ fills each list up to a multiple of 32, and 4 n more for residuals under
    ``l2``; ``nlist * (5 d + 40)`` for centroids with shadows.

    Examples
    --------
    >>> index = IVF("l2", nlist=1024).add(X)
    >>> ids, distances = index.search(Q, k=10, nprobe=16)
    """

    def __init__(
        self,
        metric: str = "l2",
        *,
        nlist: int | None = None,
        codec: Codec | None = None,
        refine: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(metric, codec, refine)
        self._nlist = None if nlist is None else validation.integer(nlist, "nlist", 1)
        self._seed = validation.integer(seed, "seed", 0)
        self._residual = (
            isinstance(self._codec, PQ)
            and not self._codec.is_trained  # on vectors, not on their residuals
            and self._metric.name != "l1"
        )
        self._mean: Floats | None = None  # of the centroids (residual l2 only)
        self._centroids = np.empty((0, 0), np.float32)
        self._centroid_norms = np.empty(0)
        self._offsets = np.zeros(1, np.int64)  # where lists begin among …
        self._row_ids = np.empty(0, np.int32)  # … positions in order of arrival,
        self._packed = np.empty((0, 0), np.float32)  # the codec's stored form,
        self._cross = _NOTHING  # what ResidualL2 adds
        self._lists: Any = None  # all of it as the kernels see it

    @property
    def nlist(self) -> int | None:
        """Number of lists; None while the default waits for the first ``add``."""
        return len(self._centroids) or self._nlist

    @property
    def centroids(self) -> Floats:
        """A copy of the lists' centroids (nlist, d); of unit vectors under cosine."""
        return self._centroids.copy()

    @property
    def _build_params(self) -> dict[str, Any]:
        return {"nlist": self.nlist, "seed": self._seed}

    def _arrays(self) -> list[NDArray[Any]]:
        coarse: list[NDArray[Any]] = [self._centroids, self._centroid_norms]
        lists: list[NDArray[Any]] = [
            self._offsets,
            self._row_ids,
            self._packed,
            self._cross,
        ]
        if self._lists is not None:
            lists.append(self._lists.slots)
            lists += shadows.arrays(self._lists.centroids)
            lists += shadows.arrays(self._lists.store)
        return [*coarse, *lists]

    def search(
        self,
        Q: ArrayLike,
        k: int = 10,
        *,
        nprobe: int | None = None,
        patience: int | None = None,
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
        k = validation.integer(k, "k", 1)
        effort = self._effort(nprobe, patience)
        return self._search(Q, k, threads, distance_computations, effort)

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
        k = validation.integer(k, "k", 1)
        effort = self._effort(nprobe, patience)
        return [self._told(outcome) for outcome in self._trace(Q, k, effort)]

    def _record(self, desk: Desk, effort: tuple[int, int]) -> Visited:
        visited = _room(effort[0])
        desk.scored[0] = search_recorded(
            self._structure(), desk.query[0], effort, desk.scratch, desk.keys[0],
            desk.ids[0], visited,
        )  # fmt: skip
        return visited

    def _told(self, outcome: Outcome) -> ListsTrace:
        visited = outcome.record or _room(0)
        n, nlist = int(visited.used[0]), len(self._centroids)
        offsets, lists = self._offsets, visited.lists[:n]
        members = [self._row_ids[offsets[c] : offsets[c + 1]] for c in lists]
        return traces.lists(
            self._counted(outcome, nlist),
            nlist,
            lists.tolist(),
            self._presented(visited.keys[:n]).tolist(),
            [self._names(each) for each in members],
            self._nodes(visited.last_ids[:n], visited.last_keys[:n]),
        )

    def _nearest(
        self, Q: Floats, k: int, threads: int, scored: NDArray[np.int64], effort: Any
    ) -> tuple[Floats, NDArray[np.int32]]:
        nq, (nprobe, patience) = len(Q), effort
        keys, ids = np.empty((nq, k), np.float32), np.empty((nq, k), np.int32)
        results = keys, ids, scored
        small = 4 * self._list_query_size(Q.shape[1]) <= _MOST_QUERY_BYTES
        together = nq >= _FEWEST_TOGETHER and small and patience >= nprobe
        if together and on("list-major"):
            self._search_together(Q, nprobe, threads, results)
        else:
            self._search_alone(Q, effort, threads, results)
        return keys, ids

    def _search_alone(
        self, Q: Floats, effort: tuple[int, int], threads: int, results: Results
    ) -> None:
        """Search query after query, each list in order of its centroid's distance."""
        lists = self._structure()

        def work(ranges: parallel.Ranges) -> None:
            desk = self._borrow(results[1].shape[1], effort)
            for a, b in ranges:
                part = (of[a:b] for of in results)
                search(lists, Q[a:b], effort, desk.scratch, *part)
            self._spare.append(desk)

        parallel.run(work, len(Q), _SEARCH_CHUNK, threads)

    def _search_together(
        self, Q: Floats, nprobe: int, threads: int, results: Results
    ) -> None:
        """Search list after list, each for all queries of a chunk that probe it."""
        (nq, d), lists = Q.shape, self._structure()
        key, norms = self._metric.key, self._centroid_norms
        near, probes = exact.search(key, self._centroids, Q, nprobe, threads, norms)
        size = self._list_query_size(d)
        chunk = max(_SEARCH_CHUNK, min(_QUERY_BYTES // (4 * size), -(-nq // threads)))

        def work(ranges: parallel.Ranges) -> None:
            buffers, room = query_buffers(min(nq, chunk), size), np.empty(2 * d, "f4")
            starts = np.empty(len(self._centroids) + 1, np.int64)
            order = np.empty(min(nq, chunk) * nprobe, np.int64)
            for a, b in ranges:
                scan.search_together(
                    lists, Q[a:b], near[a:b], probes[a:b], starts, order, buffers, room,
                    *(of[a:b] for of in results),
                )  # fmt: skip

        parallel.run(work, nq, chunk, threads)

    def _structure(self) -> Lists:
        lists: Lists = self._lists
        return lists

    def _scratch(self, effort: tuple[int, int]) -> ListScratch:
        d = self._d or 0
        of_centroids = shadows.query_size(self._lists.centroids, d)
        size = max(of_centroids, self._list_query_size(d), len(self._centroids), 2 * d)
        return ListScratch(
            probe_keys=np.empty(effort[0], np.float32),
            probes=np.empty(effort[0], np.int32),
            buffers=aligned((4, -(-size // 16) * 16), np.float32),
        )

    def _fits(self, scratch: ListScratch, effort: tuple[int, int]) -> bool:
        return len(scratch.probes) >= effort[0]

    def _list_query_size(self, d: int) -> int:
        of_rows = shadows.query_size(self._lists.store, d)
        return max(of_rows, self._codec.scan_query_size(d))

    def _make_lists(self, threads: int) -> Lists:
        """Return the arrays as the kernels see them."""
        key, centre = self._metric.key, self._centroids.mean(axis=0, keepdims=True)
        sizes, nlist = np.diff(self._offsets), len(self._centroids)
        codec, block = self._codec, self._codec.block
        if isinstance(codec, Float32) and shadows.pays(key, centre.shape[1]):
            block = BLOCK
        slots = np.concatenate([[0], np.cumsum(-(-sizes // block) * block)])
        if isinstance(codec, PQ) and self._mean is not None:
            store = codec.residual_store(self._packed, self._cross)
        elif isinstance(codec, Float32):
            own = np.arange(len(self._packed))
            own += np.repeat(slots[:-1] - self._offsets[:-1], sizes)
            owners = shadows.owners(key, self._packed, self._centroids, sizes)
            centres = centre if owners is None else self._centroids
            store = shadows.store(key, self._packed, own, centres, threads, owners)
        else:
            store = codec.scan_store(self._packed, key)
        numbers = np.arange(nlist)
        return Lists(
            centroids=shadows.store(key, self._centroids, numbers, centre, threads),
            offsets=self._offsets,
            slots=slots,
            store=store,
            row_ids=self._row_ids,
            residual=self._residual,
            mean=self._mean,
            columns=self._codec.columns,
        )

    # --- building ---------------------------------------------------------------------

    def _insert(self, X: Floats, threads: int) -> None:
        if self._ntotal == 0:
            self._partition(X, threads)
        labels = self._assign(X, threads)
        if self._residual:
            own = self._centroids[labels]
            codes = self._codes(X - own, threads)
            cross = self._crosses(codes, own, threads)
        else:
            codes, cross = self._codes(X, threads), _NOTHING
        self._merge(labels, self._codec.pack(codes), cross, threads)

    def _crosses(self, codes: NDArray[np.uint8], own: Floats, threads: int) -> Floats:
        """Return ‖r̂‖² + 2⟨c, r̂⟩ of codes and their centroids (see ``ResidualL2``)."""
        if self._mean is None:
            return _NOTHING
        residual = self._codec.decode(codes, threads=threads)
        both = residual + 2 * (own - self._mean)
        cross: Floats = np.einsum("ij,ij->i", residual, both)
        return cross

    def _partition(self, X: Floats, threads: int) -> None:
        """Find the centroids, of lists that are still empty."""
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
        centroids = kmeans(X, nlist, rng, threads, spherical=spherical)
        self._centroids = aligned_copy(centroids)
        self._centroid_norms = row_norms(self._centroids)
        if self._residual and self._metric.key == "l2":
            self._mean = self._centroids.mean(axis=0)
        self._offsets = np.zeros(nlist + 1, np.int64)

    def _assign(self, X: Floats, threads: int) -> NDArray[np.int32]:
        key = "l2" if self._metric.name == "ip" else self._metric.key
        _, labels = exact.search(
            key, self._centroids, X, 1, threads, self._centroid_norms
        )
        return labels[:, 0]

    def _merge(
        self,
        labels: NDArray[np.int32],
        packed: NDArray[Any],
        cross: Floats,
        threads: int,
    ) -> None:
        """Put new vectors behind those of their list; lists stay contiguous."""
        nlist = len(self._centroids)
        own = np.repeat(np.arange(nlist, dtype=np.int32), np.diff(self._offsets))
        order = np.argsort(np.concatenate([own, labels]), kind="stable")
        ids = np.arange(self._ntotal, self._ntotal + len(labels), dtype=np.int32)
        counts = np.bincount(labels, minlength=nlist)
        if self._ntotal:
            sizes = np.diff(self._offsets)
            before = self._codec.disarrange(self._packed, sizes)
            packed = np.concatenate([before, packed])
        in_lists = aligned(packed.shape, packed.dtype)
        np.take(packed, order, axis=0, out=in_lists)
        self._row_ids = np.concatenate([self._row_ids, ids])[order]
        if len(cross):
            self._cross = np.concatenate([self._cross, cross])[order]
        self._offsets = self._offsets + np.concatenate([[0], np.cumsum(counts)])
        self._packed = self._codec.arrange(in_lists, np.diff(self._offsets))
        self._lists = self._make_lists(threads)


def _room(nprobe: int) -> Visited:
    """Return an empty record with room for so many lists."""
    return Visited(
        used=np.zeros(1, np.int64),
        lists=np.empty(nprobe, np.int32),
        keys=np.empty(nprobe, np.float32),
        last_keys=np.empty(nprobe, np.float32),
        last_ids=np.empty(nprobe, np.int32),
    )
