"""The neighbours that scikit-learn's estimators need, found approximately."""

import math
import numbers
from typing import Any, Self

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, csr_matrix
from sklearn import get_config
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ann import validation
from ann.codecs import Codec
from ann.flat import Flat
from ann.hnsw import HNSW
from ann.ivf import IVF

_METRICS = ("euclidean", "l2", "manhattan", "cityblock", "l1", "cosine")
_MODES = ("distance", "connectivity")
_STRUCTURES = ("hnsw", "ivf", "flat")
_LEAST_POOL, _POOL_PER_NEIGHBOUR = 64, 2  # what ``ef_search`` is by default

Structure = Flat | IVF | HNSW
Ids = NDArray[np.int64]
Distances = NDArray[np.float64]


class ANNTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn vectors into the sparse graph of their nearest neighbours.

    Stands where ``sklearn.neighbors.KNeighborsTransformer`` does: in front of an
    estimator that takes ``metric="precomputed"`` or
    ``affinity="precomputed_nearest_neighbors"``.

    Parameters
    ----------
    n_neighbors : int
        Neighbours of a sample, the sample itself not counted.
    mode : {"distance", "connectivity"}
        What ``transform`` stores: distances, or ones. With distances a row has
        ``n_neighbors + 1`` entries: a training sample is its own nearest.
    metric : {"euclidean", "l2", "manhattan", "cityblock", "l1", "cosine"}
    structure : {"hnsw", "ivf", "flat"}
        A graph that is walked, lists of which some are scanned, or all vectors: exact.
    M, ef_construction : int
        Of the graph: links of a point, and size of the pool while building
        (:class:`ann.HNSW`). Other structures ignore them.
    ef_search : int, optional
        Size of the pool while searching the graph, more than ``n_neighbors``: larger
        finds more and takes longer. By default 64, or twice the neighbours that are
        sought, if that is more.
    nlist : int, optional
        Lists (:class:`ann.IVF`). Other structures ignore it and ``nprobe``.
    nprobe : int, optional
        Lists to scan for each query. By default 16, or all if there are fewer.
    codec, refine : Codec and float, optional
        How vectors are stored, ``ann.SQ(bits=8)`` for example, and how many times the
        neighbours sought are scored anew with the original vectors.
    n_jobs : int, optional
        Threads, as joblib counts them: None is 1, -1 all cores.
    random_state : int, RandomState or None
        Of the graph's layers, or of k-means. None draws from numpy's global state.

    Attributes
    ----------
    index_ : ann.Flat, ann.IVF or ann.HNSW
        What is searched. Its ids are rows of the training data.
    n_samples_fit_ : int
        Rows of the training data.
    n_features_in_ : int
    feature_names_in_ : (n_features_in_,) array of str
        Only where the training data had such names.

    Notes
    -----
    Every row has the number of neighbours asked for, as scikit-learn's have. Where a
    structure finds fewer (lists that hold too few vectors, points of the graph that no
    link leads to), the query is answered by exact search instead.

    Rows are sorted by distance, ties by number of the sample, and row i belongs to
    sample i. Distances of 0 are stored. Vectors are compared in float32; what differs
    from scikit-learn's exact neighbours is what the structure and the codec miss. Data
    must be dense, and under ``cosine`` without zero vectors.

    Examples
    --------
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> classifier = make_pipeline(
    ...     ANNTransformer(n_neighbors=10, metric="cosine"),
    ...     KNeighborsClassifier(n_neighbors=10, metric="precomputed"),
    ... )
    >>> classifier.fit(X, y).score(X_test, y_test)
    """

    index_: Structure
    n_samples_fit_: int

    def __init__(
        self,
        *,
        n_neighbors: int = 5,
        mode: str = "distance",
        metric: str = "euclidean",
        structure: str = "hnsw",
        M: int = 16,
        ef_construction: int = 200,
        ef_search: int | None = None,
        nlist: int | None = None,
        nprobe: int | None = None,
        codec: Codec | None = None,
        refine: float | None = None,
        n_jobs: int | None = None,
        random_state: Any = 0,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.mode = mode
        self.metric = metric
        self.structure = structure
        self.M = M
        self.ef_construction = ef_construction
        self.ef_search = ef_search
        self.nlist = nlist
        self.nprobe = nprobe
        self.codec = codec
        self.refine = refine
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Build the index.

        Parameters
        ----------
        X : (n_samples, n_features) array or data frame
            Dense, finite numbers.
        y : object
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter out of range; data that :meth:`ann.Index.add` refuses.
        TypeError
            Sparse data.
        """
        index, threads = self._new_index(), self._threads()
        data: NDArray[Any] = validate_data(self, validation.unmasked(X, "X"))
        nothing = data[:0]  # what no search could take is refused before the work
        self._find(index, nothing, self.n_neighbors + 1, threads)
        self.index_ = index.add(data, threads=threads)
        self.n_samples_fit_ = self._n_features_out = len(data)
        self._fit_X = data
        return self

    def transform(self, X: ArrayLike) -> Any:
        """Return the graph of neighbours among the training samples.

        Parameters
        ----------
        X : (n_queries, n_features) array or data frame

        Returns
        -------
        graph : (n_queries, n_samples_fit_) sparse matrix of float64
            In CSR format, each row's entries sorted by distance: ``n_neighbors + 1`` in
            the mode ``distance``, else ``n_neighbors``.

        Raises
        ------
        ValueError
            Fewer training samples than that; data that ``fit`` would refuse.
        """
        check_is_fitted(self)
        if X is None:  # to ``kneighbors_graph`` that is the training data
            raise ValueError("X must have shape (n_queries, n_features), got None")
        own = _one_of(self.mode, "mode", _MODES) == "distance"
        return self.kneighbors_graph(X, self._wanted(None) + own, self.mode)

    def kneighbors(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
    ) -> tuple[Distances, Ids] | Ids:
        """Return the nearest training samples, closest first.

        Parameters
        ----------
        X : (n_queries, n_features) array or data frame, optional
            By default the training samples, which are then not their own neighbours.
        n_neighbors : int, optional
            By default the constructor's.
        return_distance : bool
            Whether distances come too.

        Returns
        -------
        distances : (n_queries, n_neighbors) float64
        indices : (n_queries, n_neighbors) int64
            Rows of the training data.

        Raises
        ------
        ValueError
            More neighbours than training samples (other ones, without ``X``); data that
            ``fit`` would refuse.
        """
        check_is_fitted(self)
        k, own = self._wanted(n_neighbors), X is None
        Q: NDArray[Any] = self._fit_X
        if not own:
            Q = validate_data(self, validation.unmasked(X, "X"), reset=False)
        if k > self.n_samples_fit_ - own:
            sign = "<" if own else "<="
            raise ValueError(
                f"n_neighbors must be {sign} n_samples_fit={self.n_samples_fit_}, "
                f"got {k} for n_samples={len(Q)}"
            )
        ids, found = self._search(Q, k + own)
        if own:
            ids, found = _without_self(ids, found)
        return (found.astype(np.float64), ids) if return_distance else ids

    def kneighbors_graph(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        mode: str = "connectivity",
    ) -> Any:
        """Return ``kneighbors`` as a sparse graph.

        Parameters
        ----------
        X, n_neighbors
            As of ``kneighbors``.
        mode : {"connectivity", "distance"}
            Whether to store ones or distances.

        Returns
        -------
        graph : (n_queries, n_samples_fit_) sparse matrix of float64
            In CSR format, each row's entries sorted by distance.

        Raises
        ------
        ValueError
            As ``kneighbors``, and another mode.
        """
        check_is_fitted(self)
        _one_of(mode, "mode", _MODES)
        distances, ids = self.kneighbors(X, n_neighbors)
        data = distances if mode == "distance" else np.ones(ids.shape)
        starts = np.arange(0, ids.size + 1, ids.shape[1])
        as_array = get_config().get("sparse_interface") == "sparray"
        return (csr_array if as_array else csr_matrix)(
            (data.ravel(), ids.ravel(), starts), shape=(len(ids), self.n_samples_fit_)
        )

    def _new_index(self) -> Structure:
        """Return an empty index; raise ValueError for parameters out of range."""
        self._wanted(None)
        _one_of(self.mode, "mode", _MODES)
        shared: dict[str, Any] = {
            "metric": _one_of(self.metric, "metric", _METRICS),
            "codec": self.codec,
            "refine": self.refine,
        }
        structure = _one_of(self.structure, "structure", _STRUCTURES)
        if structure == "flat":
            return Flat(**shared)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        if structure == "ivf":
            return IVF(nlist=self.nlist, seed=seed, **shared)
        return HNSW(M=self.M, ef_construction=self.ef_construction, seed=seed, **shared)

    def _wanted(self, n_neighbors: int | None) -> int:
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        return validation.integer(k, "n_neighbors", 1)

    def _threads(self) -> int:
        if not (self.n_jobs is None or isinstance(self.n_jobs, numbers.Integral)):
            raise ValueError(f"n_jobs must be an integer or None, got {self.n_jobs!r}")
        return int(effective_n_jobs(self.n_jobs))

    def _search(self, Q: NDArray[Any], k: int) -> tuple[Ids, NDArray[np.float32]]:
        """Return ``k`` neighbours of each query, whatever the structure finds."""
        threads = self._threads()
        ids, distances = self._find(self.index_, Q, k, threads)
        short = ids[:, -1] < 0
        if short.any():
            everything = Flat(self.index_.metric).add(self._fit_X, threads=threads)
            found = everything.search(Q[short], k, threads=threads)
            ids[short], distances[short] = found
        return ids, distances

    def _find(
        self, index: Structure, Q: NDArray[Any], k: int, threads: int
    ) -> tuple[Ids, NDArray[np.float32]]:
        """Search with the parameters that the index's structure has."""
        if isinstance(index, IVF):
            return index.search(Q, k, nprobe=self.nprobe, threads=threads)
        if isinstance(index, HNSW):
            return index.search(Q, k, ef_search=self._pool(index, k), threads=threads)
        return index.search(Q, k, threads=threads)

    def _pool(self, index: HNSW, k: int) -> int:
        if self.ef_search is not None:
            return self.ef_search
        refine = index.params["refine"] or 1
        return math.ceil(max(_LEAST_POOL, _POOL_PER_NEIGHBOUR * k) * refine)


def _one_of(value: Any, name: str, choices: tuple[str, ...]) -> str:
    if not (isinstance(value, str) and value in choices):
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return value


def _without_self(
    ids: Ids, distances: NDArray[np.float32]
) -> tuple[Ids, NDArray[np.float32]]:
    """Drop i from row i, or the farthest where i is not in it: among many equals."""
    others = ids != np.arange(len(ids))[:, None]
    others[others.all(axis=1), -1] = False
    shape = len(ids), ids.shape[1] - 1
    return ids[others].reshape(shape), distances[others].reshape(shape)
