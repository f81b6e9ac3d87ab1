"""hnswlib: the reference implementation of HNSW, in C++ (nmslib/hnswlib)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from experiments.adapter import Adapter
from experiments.peers.common import GraphBuild, GraphSearch, unsquared

if TYPE_CHECKING:
    from experiments.adapter import Floats, Ids, Vectors


class HNSW(Adapter):
    """A graph of float32 vectors."""

    library = "hnswlib"
    kind = "HNSW"
    metrics = ("l2", "ip", "cosine")

    Build = GraphBuild
    Search = GraphSearch

    def __init__(self, metric: str, build: GraphBuild, seed: int) -> None:
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
        self, search: GraphSearch, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        """Set ``ef``, which hnswlib keeps in the index."""
        self._index.set_ef(search.ef_search)
        knn_query = self._index.knn_query
        return lambda Q: knn_query(Q, k=k, num_threads=threads)

    def ids(self, answer: tuple[Any, Any]) -> Ids:
        """Return the labels, which are row numbers here."""
        import numpy as np

        return np.asarray(answer[0], np.int64)

    def distances(self, answer: tuple[Any, Floats]) -> Floats:
        """Return the distances; those of l2 come squared, those of ip as 1 − ⟨q, x⟩."""
        return (
            unsquared(answer[1])
            if self._space == "l2"
            else answer[1] - (self._space == "ip")
        )

    @property
    def nbytes(self) -> int:
        """The size of the file that the index would be saved to."""
        return int(self._index.index_file_size())
