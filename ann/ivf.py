"""Inverted file: k-means cells, of which a query visits the nearest.

Jégou, Douze & Schmid, "Product quantization for nearest neighbor search", IEEE TPAMI
2011, Sec. IV; the coarse quantizer goes back to Sivic & Zisserman, ICCV 2003.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import exact, parallel, validation
from ann.codecs import PQ, Codec
from ann.index import Floats, Index
from ann.kernels import scan
from ann.kernels.stores import ResidualL2
from ann.kmeans import kmeans
from ann.memory import aligned, aligned_copy, query_buffer
from ann.metrics import row_norms

_SEARCH_CHUNK = 8
_FEWEST_PER_LIST = (
    39  # below this a centroid is poorly known; the default nlist keeps it
)
_DEFAULT_NPROBE = 16


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
    residual's table would differ from list to list.

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
        self._residual = isinstance(self._codec, PQ) and self._metric.name != "l1"
        self._centroids = np.empty((0, 0), np.float32)
        self._centroid_norms = np.empty(0)
        self._offsets = np.zeros(1, np.int64)  # list l is offsets[l]:offsets[l+1] of …
        self._row_ids = np.empty(0, np.int32)  # … positions in order of arrival,
        self._packed = np.empty((0, 0), np.float32)  # the codec's stored form,
        self._norms = np.empty(0, np.float32)  # ‖x̂‖² (residual codes under l2 only)
        self._store: Any = None  # what the kernels see of the last two

    @property
    def nlist(self) -> int | None:
        """Number of lists; None while the default waits for the first ``add``."""
        return len(self._centroids) or self._nlist

    @property
    def _build_params(self) -> dict[str, Any]:
        return {"nlist": self.nlist, "seed": self._seed}

    def _arrays(self) -> list[NDArray[Any]]:
        coarse: list[NDArray[Any]] = [self._centroids, self._centroid_norms]
        return [*coarse, self._offsets, self._row_ids, self._packed, self._norms]

    def search(
        self,
        Q: ArrayLike,
        k: int = 10,
        *,
        nprobe: int | None = None,
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
            As ``Flat.search``, and ``nprobe`` out of range.
        """
        if nprobe is None:
            nprobe = min(_DEFAULT_NPROBE, self.nlist or _DEFAULT_NPROBE)
        nprobe = validation.integer(nprobe, "nprobe", 1, self.nlist, "nlist=")
        return self._search(Q, k, threads, distance_computations, nprobe=nprobe)

    def _nearest(
        self, Q: Floats, k: int, threads: int, scored: NDArray[np.int64], **search: Any
    ) -> tuple[Floats, NDArray[np.int32]]:
        keys, ids = np.empty((len(Q), k), np.float32), np.empty((len(Q), k), np.int32)
        key, nlist = self._metric.key, len(self._centroids)
        coarse, probes = exact.search(
            key, self._centroids, Q, search["nprobe"], threads, self._centroid_norms
        )
        biases = self._biases(coarse, probes)
        projected, store = self._codec.project(Q), self._store
        offsets, row_ids = self._offsets, self._row_ids
        query_size = self._codec.query_size(Q.shape[1])

        def work(ranges: parallel.Ranges) -> None:
            buffer = query_buffer(query_size)
            for a, b in ranges:
                scan.scan_lists(
                    store, row_ids, offsets, projected[a:b], probes[a:b],
                    None if biases is None else biases[a:b],
                    buffer, keys[a:b], ids[a:b], scored[a:b],
                )  # fmt: skip

        parallel.run(work, len(Q), _SEARCH_CHUNK, threads)
        scored += nlist
        return keys, ids

    def _make_store(self) -> Any:
        if not self._residual:
            return self._codec.store(self._packed, self._metric.key)
        table = self._codec.store(self._packed, "dot")
        return ResidualL2(table, self._norms) if self._metric.key == "l2" else table

    def _biases(self, coarse: Floats, probes: NDArray[np.int32]) -> Floats | None:
        """Return what a list's centroid adds to the keys of its residual codes."""
        if not self._residual:
            return None
        if self._metric.key == "dot":
            return coarse  # −⟨q, c⟩
        squares: Floats = (self._centroid_norms**2).astype(np.float32)
        return coarse - squares[probes]  # ‖q − c‖² − ‖c‖² = ‖q‖² − 2⟨q, c⟩

    # --- building ---------------------------------------------------------------------

    def _insert(self, X: Floats, threads: int) -> None:
        if self._ntotal == 0:
            self._train(X, threads)
        labels = self._assign(X, threads)
        codes = self._codec.encode(X - self._centroids[labels] if self._residual else X)
        norms = np.empty(0, np.float32)
        if self._residual and self._metric.key == "l2":
            decoded = self._codec.decode(codes) + self._centroids[labels]
            norms = (row_norms(decoded) ** 2).astype(np.float32)
        self._merge(labels, self._codec.pack(codes), norms)

    def _train(self, X: Floats, threads: int) -> None:
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
        self._offsets = np.zeros(nlist + 1, np.int64)
        if not self._codec.is_trained:
            if self._residual:
                X = X - self._centroids[self._assign(X, threads)]
            self._codec.train(X)

    def _assign(self, X: Floats, threads: int) -> NDArray[np.int32]:
        key = "l2" if self._metric.name == "ip" else self._metric.key
        _, labels = exact.search(
            key, self._centroids, X, 1, threads, self._centroid_norms
        )
        return labels[:, 0]

    def _merge(
        self, labels: NDArray[np.int32], packed: NDArray[Any], norms: Floats
    ) -> None:
        """Put new vectors behind those of their list; lists stay contiguous."""
        nlist = len(self._centroids)
        before = np.repeat(np.arange(nlist, dtype=np.int32), np.diff(self._offsets))
        order = np.argsort(np.concatenate([before, labels]), kind="stable")
        ids = np.arange(self._ntotal, self._ntotal + len(labels), dtype=np.int32)
        counts = np.bincount(labels, minlength=nlist)
        if self._ntotal:
            packed = np.concatenate([self._packed, packed])
        self._packed = aligned(packed.shape, packed.dtype)
        np.take(packed, order, axis=0, out=self._packed)
        self._row_ids = np.concatenate([self._row_ids, ids])[order]
        if len(norms):
            self._norms = np.concatenate([self._norms, norms])[order]
        self._offsets = self._offsets + np.concatenate([[0], np.cumsum(counts)])
        self._store = self._make_store()
