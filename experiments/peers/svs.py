"""Scalable Vector Search: Intel's Vamana, in C++ (intel/ScalableVectorSearch)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from experiments.adapter import Adapter, Params
from experiments.peers.common import normalised, saved_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from experiments.adapter import Ids, Vectors


class Vamana(Adapter):
    """A graph of float32 vectors, without levels.

    Cosine is its inner product of normalised vectors: the same graph, at two thirds of
    the latency of its own cosine, which divides by norms every time.
    """

    library = "svs"
    package = "scalable-vs"
    kind = "Vamana"
    metrics = ("l2", "ip", "cosine")

    class Build(Params):
        """Constructor parameters; without ``alpha``, svs's own: 1.2, or 0.95 for ip."""

        graph_max_degree: int = Field(32, ge=2)
        window_size: int = Field(200, ge=1)
        alpha: float | None = Field(None, gt=0)

    class Search(Params):
        """Search parameters."""

        window_size: int = Field(64, ge=1)

    @classmethod
    def family(cls, build: Build) -> str:
        """Return the family of graphs without levels."""
        return "Graph"

    def __init__(self, metric: str, build: Build, seed: int) -> None:
        self._metric, self._build = metric, build

    def prepare(self, X: Vectors) -> Vectors:
        """Normalise for cosine; svs takes no read-only array, so copy one."""
        import numpy as np

        return normalised(X) if self._metric == "cosine" else np.require(X, None, "W")

    def add(self, X: Vectors, threads: int) -> None:
        """Build the graph; svs has no seed to set."""
        import svs

        chosen = self._build.model_dump(exclude_none=True)
        parameters = svs.VamanaBuildParameters(**chosen)
        distance = svs.DistanceType.L2 if self._metric == "l2" else svs.DistanceType.MIP
        self._index = svs.Vamana.build(parameters, X, distance, num_threads=threads)

    def searcher(
        self, search: Search, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        """Set window (at least k) and threads, which svs keeps in the index."""
        self._index.search_window_size = max(search.window_size, k)
        if self._index.num_threads != threads:  # it makes a new pool
            self._index.num_threads = threads
        index_search = self._index.search
        return lambda Q: index_search(Q, k)

    def ids(self, answer: tuple[Any, Any]) -> Ids:
        """Return the row numbers."""
        import numpy as np

        return np.asarray(answer[0]).astype(np.int64)

    @property
    def nbytes(self) -> int:
        """The size of the files that the index would be saved to."""

        def save(folder: Path) -> None:
            parts = (str(folder / name) for name in ("config", "graph", "data"))
            self._index.save(*parts)

        return saved_bytes(save)
