"""Annoy: a forest of random projection trees, in C++ (spotify/annoy)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pydantic import Field

from experiments.adapter import Adapter, Params
from experiments.peers.common import saved_bytes

if TYPE_CHECKING:
    from experiments.adapter import Floats, Ids, Vectors

_NAMES = {"l2": "euclidean", "cosine": "angular", "ip": "dot", "l1": "manhattan"}


class Forest(Adapter):
    """Random projection trees; it answers one query at a time."""

    library = "annoy"
    kind = "Forest"

    class Build(Params):
        """Constructor parameters."""

        n_trees: int = Field(50, ge=1)

    class Search(Params):
        """Search parameters: nodes to look at; −1 stands for ``n_trees * k``."""

        search_k: int = Field(-1, ge=-1)

    @classmethod
    def family(cls, build: Build) -> str:
        """Return a family of its own."""
        return "Trees"

    def __init__(self, metric: str, build: Build, seed: int) -> None:
        self._metric, self._build, self._seed = metric, build, seed

    def add(self, X: Vectors, threads: int) -> None:
        """Copy every vector, and grow the trees."""
        from annoy import AnnoyIndex

        name: Any = _NAMES[self._metric]
        self._index: Any = AnnoyIndex(X.shape[1], name)
        self._index.set_seed(self._seed)
        for i, row in enumerate(X):
            self._index.add_item(i, row)
        self._index.build(self._build.n_trees, n_jobs=threads)

    def searcher(
        self, search: Search, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        """Return a call that asks one query after another, or in several threads."""
        find, self._k = self._index.get_nns_by_vector, k

        def one(q: Vectors) -> Any:
            return find(q, k, search.search_k, include_distances=True)

        if threads == 1:
            return lambda Q: [one(q) for q in Q]
        pool = ThreadPoolExecutor(threads)
        return lambda Q: list(pool.map(one, Q, chunksize=1))

    def ids(self, answer: Any) -> Ids:
        """Return the ids, -1 where fewer were found."""
        import numpy as np

        ids = np.full((len(answer), self._k), -1, np.int64)
        for row, (found, _) in zip(ids, answer, strict=True):
            row[: len(found)] = found
        return ids

    def distances(self, answer: Any) -> Floats:
        """Return the distances; its angular one is the chord, its dot the product."""
        import numpy as np

        found = np.full((len(answer), self._k), np.inf, np.float32)
        for row, (_, distances) in zip(found, answer, strict=True):
            row[: len(distances)] = distances
        match self._metric:
            case "cosine":
                chords: Floats = found * found / np.float32(2)
                return chords
            case "ip":
                return -found
            case _:
                return found

    @property
    def nbytes(self) -> int:
        """The size of the file that the index would be saved to."""
        return saved_bytes(lambda folder: self._index.save(str(folder / "index")))
