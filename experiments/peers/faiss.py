"""FAISS: exact search, HNSW, inverted lists, and whatever its factory makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from experiments.adapter import Adapter, Params
from experiments.peers.common import GraphBuild, GraphSearch, normalised

if TYPE_CHECKING:
    from experiments.adapter import Ids, Vectors


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
        return normalised(X) if self._metric == "cosine" else X

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


class Flat(_Faiss):
    """Exact search."""

    kind = "Flat"

    def distance_computations(self, Q: Vectors, search: Params, k: int) -> Ids:
        """Return n for every query."""
        import numpy as np

        return np.full(len(Q), self._index.ntotal, np.int64)

    def _make(self, d: int) -> Any:
        import faiss

        return faiss.IndexFlat(d, self._faiss_metric)


class HNSW(_Faiss):
    """Faiss's HNSW over float32 vectors."""

    kind = "HNSW"
    Build = GraphBuild
    Search = GraphSearch

    def _make(self, d: int) -> Any:
        import faiss

        index = faiss.IndexHNSWFlat(d, self._build.M, self._faiss_metric)
        index.hnsw.efConstruction = self._build.ef_construction
        return index


class IVFFlat(_Faiss):
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


class Factory(_Faiss):
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
