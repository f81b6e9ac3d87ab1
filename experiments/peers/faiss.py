"""FAISS (facebookresearch/faiss), in C++: what its indexes share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from experiments.adapter import Adapter, Params
from experiments.peers.common import normalised, unsquared

if TYPE_CHECKING:
    from experiments.adapter import Floats, Ids, Vectors


class Faiss(Adapter):
    """An index of faiss; subclasses make it and name the parameters of its search."""

    library = "faiss"
    package = "faiss-cpu"

    def __init__(self, metric: str, build: Any, seed: int) -> None:
        import faiss

        self._metric, self._build, self._seed = metric, build, seed
        self._faiss_metric = {
            "l2": faiss.METRIC_L2,
            "ip": faiss.METRIC_INNER_PRODUCT,
            "cosine": faiss.METRIC_INNER_PRODUCT,
            "l1": faiss.METRIC_L1,
        }[metric]

    @abstractmethod
    def _make(self, d: int) -> Any:
        """Return an empty index of faiss."""

    @classmethod
    def unfit(cls, metric: str, build: Any, n: int, d: int) -> str | None:
        """Return what faiss says when an empty index is made."""
        try:
            import faiss

            index = cls(metric, build, 0)._make(d)
        except (ImportError, RuntimeError) as error:
            return str(error).rpartition(": ")[2]
        lists = faiss.try_extract_index_ivf(index)
        if lists is not None and lists.nlist > n:
            return f"nlist must be at most n={n}, got {lists.nlist}"
        return super().unfit(metric, build, n, d)

    def prepare(self, X: Vectors) -> Vectors:
        """Normalise for cosine, which faiss leaves to its user."""
        return normalised(X) if self._metric == "cosine" else X

    def add(self, X: Vectors, threads: int) -> None:
        """Train where that is needed, and add."""
        import faiss

        faiss.omp_set_num_threads(threads)
        self._index = self._make(X.shape[1])
        if not self._index.is_trained:
            self._index.train(X)
        self._index.add(X)

    def searcher(
        self, search: Params, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        """Set the parameters, which faiss keeps in the index."""
        import faiss

        faiss.omp_set_num_threads(threads)
        space = faiss.ParameterSpace()
        for name, value in search.model_dump(exclude_none=True).items():
            space.set_index_parameter(self._index, _FAISS_NAMES[name], value)
        index_search = self._index.search
        return lambda Q: index_search(Q, k)

    def ids(self, answer: tuple[Any, Ids]) -> Ids:
        """Return the row numbers."""
        return answer[1]

    def distances(self, answer: tuple[Floats, Any]) -> Floats | None:
        """Return ours: faiss squares l2, and gives products instead of distances."""
        match self._metric:
            case "l2":
                return unsquared(answer[0])
            case "ip":
                return -answer[0]
            case "cosine":
                return 1 - answer[0]
            case _:
                return answer[0]

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

    def vector_level(self) -> str:
        """Return the level that faiss chose when it was loaded."""
        import faiss

        return str(faiss.SIMDConfig.get_level_name()).lower()

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
