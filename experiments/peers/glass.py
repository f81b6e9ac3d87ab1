"""Glass: HNSW over quantized vectors, in C++ (zilliztech/pyglass)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from experiments.adapter import Adapter
from experiments.peers.common import GraphBuild, GraphSearch, normalised

if TYPE_CHECKING:
    from experiments.adapter import Ids, Vectors

_BITS = {"FP32": 32, "FP16": 16, "SQ8U": 8, "SQ4U": 4}


class HNSW(Adapter):
    """A graph searched by codes, the best of which are scored again.

    Its authors build with ``SQ8U``, search with ``SQ4U`` and refine with ``FP16``. The
    package is a build of their sources for any processor with AVX2. Cosine is l2 of
    normalised vectors: glass's products of codes leave the codes' offset out, which
    costs half of the recall where the mean of the vectors is not zero.
    """

    library = "glass"
    kind = "HNSW"
    package = "pyglass-portable"
    metrics = ("l2", "cosine")
    Search = GraphSearch

    class Build(GraphBuild):
        """Constructor parameters; ``refine`` None scores nothing again."""

        build_codec: Literal["FP32", "FP16", "SQ8U"] = "SQ8U"
        codec: Literal["FP32", "FP16", "SQ8U", "SQ4U"] = "SQ4U"
        refine: Literal["FP32", "FP16"] | None = "FP16"

    @classmethod
    def spelling(cls, build: Build) -> str:
        """Return the structure and its codec."""
        return f"{cls.kind}-{build.codec}"

    def __init__(self, metric: str, build: Build, seed: int) -> None:
        self._metric, self._build = metric, build

    def prepare(self, X: Vectors) -> Vectors:
        """Normalise for cosine."""
        return normalised(X) if self._metric == "cosine" else X

    def add(self, X: Vectors, threads: int) -> None:
        """Build the graph, encode, and let glass time how far ahead to prefetch."""
        import glass

        build = self._build
        glass.set_num_threads(threads)
        R, L = 2 * build.M, build.ef_construction
        graph = glass.Index("HNSW", "L2", build.build_codec, R=R, L=L).build(X)
        refine = build.refine or ""
        self._index = glass.Searcher(graph, X, "L2", build.codec, refine)
        self._index.optimize(1)
        self._shape = X.shape

    def searcher(
        self, search: GraphSearch, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        """Set ``ef``, which glass keeps in the index."""
        self._index.set_ef(search.ef_search)
        batch_search = self._index.batch_search
        return lambda Q: batch_search(Q, k, threads)

    def ids(self, answer: tuple[Any, Any]) -> Ids:
        """Return the row numbers."""
        import numpy as np

        return np.asarray(answer[0]).astype(np.int64)

    def distance_computations(self, Q: Vectors, search: GraphSearch, k: int) -> Ids:
        """Read the count of the last search."""
        import numpy as np

        one = self.searcher(search, k, threads=1)
        counts = np.zeros(len(Q), np.int64)
        for i in range(len(Q)):
            one(Q[i : i + 1])
            counts[i] = self._index.get_last_search_dist_cmps()
        return counts

    @property
    def nbytes(self) -> int:
        """The bytes of codes and of links in the base layer; glass tells no size."""
        (n, d), build = self._shape, self._build
        codecs = (build.codec, build.refine)
        bits = sum(_BITS[codec] for codec in codecs if codec is not None)
        return int(n * (d * bits // 8 + 2 * build.M * 4))
