"""Other libraries, driven as ours is. Each is an optional extra.

Where a library does not normalise for cosine itself (faiss), its vectors and queries
are normalised before the clock starts: the favour goes to the peer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from experiments.adapter import Adapter, Params

if TYPE_CHECKING:
    from experiments.adapter import Ids, Vectors


class Hnswlib(Adapter):
    """The reference implementation of HNSW, in C++ (nmslib/hnswlib)."""

    library = "hnswlib"
    kind = "HNSW"
    metrics = ("l2", "ip", "cosine")

    class Build(Params):
        """Constructor parameters, under the paper's names."""

        M: int = Field(16, ge=2)
        ef_construction: int = Field(200, ge=1)

    class Search(Params):
        """Search parameters."""

        ef_search: int = Field(64, ge=1)

    def __init__(self, metric: str, build: Build, seed: int) -> None:
        self._space, self._build, self._seed = metric, build, seed

    def add(self, X: Vectors, threads: int) -> None:
        """Make room for exactly these vectors and insert them."""
        import hnswlib

        n, d = X.shape
        self._index = hnswlib.Index(space=self._space, dim=d)
        self._index.init_index(
            max_elements=n,
            M=self._build.M,
            ef_construction=self._build.ef_construction,
            random_seed=self._seed,
        )
        self._index.add_items(X, num_threads=threads)

    def searcher(
        self, search: Search, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        """Set ``ef``, which hnswlib keeps in the index."""
        self._index.set_ef(search.ef_search)
        knn_query = self._index.knn_query
        return lambda Q: knn_query(Q, k=k, num_threads=threads)

    def ids(self, answer: tuple[Any, Any]) -> Ids:
        """Return the labels, which are row numbers here."""
        import numpy as np

        return np.asarray(answer[0], np.int64)

    @property
    def nbytes(self) -> int:
        """The size of the file that the index would be saved to."""
        return int(self._index.index_file_size())


class _Faiss(Adapter):
    """An index of faiss; subclasses make it and name the parameters of its search."""

    library = "faiss"

    def __init__(self, metric: str, build: Any, seed: int) -> None:
        import faiss

        self._metric, self._build, self._seed = metric, build, seed
        self._faiss_metric = {
            "l2": faiss.METRIC_L2,
            "ip": faiss.METRIC_INNER_PRODUCT,
            "cosine": faiss.METRIC_INNER_PRODUCT,
            "l1": faiss.METRIC_L1,
        }[metric]

    def _make(self, d: int) -> Any:
        raise NotImplementedError

    def prepare(self, X: Vectors) -> Vectors:
        """Normalise for cosine, which faiss leaves to its user."""
        if self._metric != "cosine":
            return X
        import numpy as np

        norms = np.linalg.norm(X, axis=1, keepdims=True)
        return np.ascontiguousarray(X / np.where(norms > 0, norms, 1))

    def add(self, X: Vectors, threads: int) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        self._index = self._make(X.shape[1])
        if not self._index.is_trained:
            self._index.train(X)
        self._index.add(X)

    def searcher(
        self, search: Params, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        import faiss

        faiss.omp_set_num_threads(threads)
        space = faiss.ParameterSpace()
        for name, value in search.model_dump(exclude_none=True).items():
            space.set_index_parameter(self._index, _FAISS_NAMES[name], value)
        index_search = self._index.search
        return lambda Q: index_search(Q, k)

    def ids(self, answer: tuple[Any, Ids]) -> Ids:
        return answer[1]

    def distance_computations(self, Q: Vectors, search: Params, k: int) -> Ids:
        """Read faiss's own counters, which leave out the centroids of an IVF."""
        import faiss
        import numpy as np

        one = self.searcher(search, k, threads=1)
        stats: Any = faiss.cvar
        counters = (stats.indexIVF_stats, stats.hnsw_stats)
        counts = np.zeros(len(Q), np.int64)
        for i in range(len(Q)):
            for counter in counters:
                counter.reset()
            one(Q[i : i + 1])
            counts[i] = sum(counter.ndis for counter in counters)
        return counts

    @property
    def nbytes(self) -> int:
        """The length of the serialised index."""
        import faiss

        return len(faiss.serialize_index(self._index))


_FAISS_NAMES = {
    "nprobe": "nprobe",
    "ef_search": "efSearch",
    "k_factor": "k_factor_rf",
}


class FaissFlat(_Faiss):
    """Exact search."""

    kind = "Flat"

    def distance_computations(self, Q: Vectors, search: Params, k: int) -> Ids:
        """Return n for every query."""
        import numpy as np

        return np.full(len(Q), self._index.ntotal, np.int64)

    def _make(self, d: int) -> Any:
        import faiss

        return faiss.IndexFlat(d, self._faiss_metric)


class FaissHNSW(_Faiss):
    """Faiss's HNSW over float32 vectors."""

    kind = "HNSW"
    Build = Hnswlib.Build
    Search = Hnswlib.Search

    def _make(self, d: int) -> Any:
        import faiss

        index = faiss.IndexHNSWFlat(d, self._build.M, self._faiss_metric)
        index.hnsw.efConstruction = self._build.ef_construction
        return index


class FaissIVFFlat(_Faiss):
    """Inverted lists of float32 vectors."""

    kind = "IVFFlat"

    class Build(Params):
        """Constructor parameters."""

        nlist: int = Field(ge=1)

    class Search(Params):
        """Search parameters."""

        nprobe: int = Field(8, ge=1)

    @classmethod
    def family(cls, build: Build) -> str:
        """Return ours for such an index."""
        return "IVF"

    def _make(self, d: int) -> Any:
        import faiss

        self._quantizer = faiss.IndexFlat(d, self._faiss_metric)
        nlist = self._build.nlist
        index = faiss.IndexIVFFlat(self._quantizer, d, nlist, self._faiss_metric)
        index.cp.seed = self._seed
        index.cp.spherical = self._metric == "cosine"
        return index


class FaissFactory(_Faiss):
    """Whatever ``faiss.index_factory`` makes of a string."""

    kind = "Factory"
    metrics = ("l2", "ip", "cosine")

    class Build(Params):
        """The string, such as "IVF1024,PQ48x4fs,RFlat"."""

        factory: str

    class Search(Params):
        """Search parameters, each given only where the index has it."""

        nprobe: int | None = Field(None, ge=1)
        ef_search: int | None = Field(None, ge=1)
        k_factor: int | None = Field(None, ge=1)

    @classmethod
    def spelling(cls, build: Build) -> str:
        """Return the string itself."""
        return build.factory

    @classmethod
    def family(cls, build: Build) -> str:
        """Return the structure that the string names."""
        families = (name for name in ("HNSW", "IVF") if name in build.factory)
        return next(families, "Flat")

    def _make(self, d: int) -> Any:
        import faiss

        return faiss.index_factory(d, self._build.factory, self._faiss_metric)


class PyNNDescent(Adapter):
    """Nearest neighbour descent, in Python compiled by Numba."""

    library = "pynndescent"
    kind = "NNDescent"
    jit = True
    metrics = ("l2", "cosine")  # 0.7.0 fails to compile its Manhattan distance

    class Build(Params):
        """Constructor parameters."""

        n_neighbors: int = Field(30, ge=2)

    class Search(Params):
        """Search parameters."""

        epsilon: float = Field(0.1, ge=0)

    @classmethod
    def family(cls, build: Build) -> str:
        """Return the family of graphs without levels."""
        return "Graph"

    def __init__(self, metric: str, build: Build, seed: int) -> None:
        names = {"l2": "euclidean", "cosine": "cosine"}
        self._metric, self._build, self._seed = names[metric], build, seed

    def add(self, X: Vectors, threads: int) -> None:
        """Build the graph and what its searches need."""
        import pynndescent

        self._index = pynndescent.NNDescent(
            X,
            metric=self._metric,
            n_neighbors=self._build.n_neighbors,
            random_state=self._seed,
            n_jobs=threads,
            parallel_batch_queries=threads > 1,
        )
        self._index.prepare()

    def searcher(
        self, search: Search, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        """Set the threads, which are Numba's."""
        import numba

        numba.set_num_threads(threads)
        query = self._index.query
        return lambda Q: query(Q, k=k, epsilon=search.epsilon)

    def ids(self, answer: tuple[Any, Any]) -> Ids:
        """Return the row numbers."""
        import numpy as np

        return np.asarray(answer[0], np.int64)

    @property
    def nbytes(self) -> int:
        """The length of the pickled index."""
        import pickle

        return len(pickle.dumps(self._index))
