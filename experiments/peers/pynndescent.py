"""PyNNDescent: nearest neighbour descent, in Python compiled by Numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from experiments.adapter import Adapter, Params
from experiments.peers import objdump

if TYPE_CHECKING:
    from experiments.adapter import Ids, Vectors


class NNDescent(Adapter):
    """A graph by nearest neighbour descent, without levels."""

    library = "pynndescent"
    kind = "NNDescent"
    jit = True
    metrics = ("l2", "cosine")  # 0.7.0 fails to compile its Manhattan distance

    class Build(Params):
        """Constructor parameters; those left out are pynndescent's own."""

        n_neighbors: int = Field(30, ge=2)
        leaf_size: int | None = Field(None, ge=1)
        pruning_degree_multiplier: float | None = Field(None, gt=0)
        diversify_prob: float | None = Field(None, ge=0, le=1)

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
            **self._build.model_dump(exclude_none=True),
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

    def vector_level(self) -> str | None:
        """Return the level of what Numba made of the distance function."""
        assembly = "\n".join(self._index._distance_func.inspect_asm().values())
        return objdump.widest(objdump.count(assembly.splitlines()))

    def ids(self, answer: tuple[Any, Any]) -> Ids:
        """Return the row numbers."""
        import numpy as np

        return np.asarray(answer[0], np.int64)

    @property
    def nbytes(self) -> int:
        """The length of the pickled index."""
        import pickle

        return len(pickle.dumps(self._index))
