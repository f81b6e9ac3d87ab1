"""USearch: HNSW in C++ (unum-cloud/usearch)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from experiments.adapter import Adapter
from experiments.peers.common import GraphBuild, GraphSearch, normalised, unsquared

if TYPE_CHECKING:
    from experiments.adapter import Floats, Ids, Vectors


_LEVELS = {"haswell": "avx2", "serial": "sse2"} | dict.fromkeys(
    ("skylake", "icelake", "genoa", "sapphire", "turin"), "avx512"
)  # usearch names a level by the processors that it came with


class HNSW(Adapter):
    """A graph of float32 vectors.

    ``M`` is its ``connectivity`` and ``ef`` its ``expansion``. Cosine is its inner
    product of normalised vectors: its own cosine computes both norms every time.
    """

    library = "usearch"
    kind = "HNSW"
    metrics = ("l2", "ip", "cosine")
    Build = GraphBuild
    Search = GraphSearch

    def __init__(self, metric: str, build: GraphBuild, seed: int) -> None:
        self._metric, self._build = metric, build

    def prepare(self, X: Vectors) -> Vectors:
        """Normalise for cosine."""
        return normalised(X) if self._metric == "cosine" else X

    def add(self, X: Vectors, threads: int) -> None:
        """Insert the vectors under their row numbers; usearch has no seed to set."""
        import numpy as np
        from usearch.index import Index

        self._index: Any = Index(
            ndim=X.shape[1],
            metric="l2sq" if self._metric == "l2" else "ip",
            dtype="f32",
            connectivity=self._build.M,
            expansion_add=self._build.ef_construction,
        )
        self._index.add(np.arange(len(X), dtype=np.uint64), X, threads=threads)

    def searcher(
        self, search: GraphSearch, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        """Set the expansion, which usearch keeps in the index."""
        self._index.expansion_search = search.ef_search
        index_search, self._k = self._index.search, k
        return lambda Q: index_search(Q, k, threads=threads)

    def ids(self, answer: Any) -> Ids:
        """Return the keys; those of a single query come without a row of their own."""
        import numpy as np

        keys = np.atleast_2d(np.asarray(answer.keys).astype(np.int64))
        missing = self._k - keys.shape[1]
        return np.pad(keys, ((0, 0), (0, missing)), constant_values=-1)

    def distances(self, answer: Any) -> Floats | None:
        """Return the distances; those of l2 come squared, those of ip as 1 − ⟨q, x⟩."""
        import numpy as np

        found = np.atleast_2d(np.asarray(answer.distances))
        if found.shape[1] < self._k:
            return None
        if self._metric == "l2":
            return unsquared(found)
        return found - (self._metric == "ip")

    def distance_computations(self, Q: Vectors, search: GraphSearch, k: int) -> Ids:
        """Read the count that comes with each answer."""
        import numpy as np

        one = self.searcher(search, k, threads=1)
        counts = [one(Q[i : i + 1]).computed_distances for i in range(len(Q))]
        return np.array(counts, np.int64)

    def vector_level(self) -> str:
        """Return the level of the distance function that the index was given."""
        report = str(self._index.hardware_acceleration)
        return _LEVELS.get(report, report)

    @property
    def nbytes(self) -> int:
        """The length of the serialised index."""
        return int(self._index.serialized_length)
