"""Voyager: HNSW in C++ (spotify/voyager)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from experiments.adapter import Adapter
from experiments.peers.common import GraphBuild, GraphSearch, unsquared

if TYPE_CHECKING:
    from experiments.adapter import Floats, Ids, Vectors

_NAMES = {"l2": "Euclidean", "ip": "InnerProduct", "cosine": "Cosine"}


class HNSW(Adapter):
    """A graph of float32 vectors."""

    library = "voyager"
    kind = "HNSW"
    metrics = ("l2", "ip", "cosine")
    Build = GraphBuild
    Search = GraphSearch

    def __init__(self, metric: str, build: GraphBuild, seed: int) -> None:
        self._metric, self._build, self._seed = metric, build, seed

    def prepare(self, X: Vectors) -> Vectors:
        """Copy: voyager takes no read-only array."""
        import numpy as np

        return np.require(X, None, "W")

    def add(self, X: Vectors, threads: int) -> None:
        """Make room for exactly these vectors and insert them."""
        import voyager

        self._index: Any = voyager.Index(
            getattr(voyager.Space, _NAMES[self._metric]),
            num_dimensions=X.shape[1],
            M=self._build.M,
            ef_construction=self._build.ef_construction,
            random_seed=self._seed,
            max_elements=len(X),
        )
        ids = list(range(len(X)))  # its own depend on which thread comes first
        self._index.add_items(X, ids, num_threads=threads)

    def searcher(
        self, search: GraphSearch, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        """Return its query; ``ef`` must be at least k there."""
        query, ef = self._index.query, max(search.ef_search, k)
        return lambda Q: query(Q, k=k, num_threads=threads, query_ef=ef)

    def ids(self, answer: tuple[Any, Any]) -> Ids:
        """Return the labels, which are row numbers here."""
        import numpy as np

        return np.asarray(answer[0]).astype(np.int64)

    def distances(self, answer: tuple[Any, Floats]) -> Floats:
        """Return the distances; those of l2 come squared, those of ip as 1 − ⟨q, x⟩."""
        import numpy as np

        found = np.asarray(answer[1])
        if self._metric == "l2":
            return unsquared(found)
        return found - (self._metric == "ip")

    @property
    def nbytes(self) -> int:
        """The length of the serialised index."""
        return len(self._index.as_bytes())
