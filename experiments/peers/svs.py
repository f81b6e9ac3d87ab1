"""Scalable Vector Search: Intel's Vamana, in C++ (intel/ScalableVectorSearch)."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from experiments.adapter import Adapter, Params
from experiments.peers.common import normalised, saved_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from experiments.adapter import Ids, Vectors


ALIGNED = 32  # bytes; svs takes 32 or 64 to be the fastest


class Vamana(Adapter):
    """A graph without levels, of float32 vectors or of compressed ones.

    LVQ and LeanVec (Aguerrebere et al., "Similarity search in the blink of an eye with
    compressed indices", VLDB 2023; Tepper et al., "LeanVec", TMLR 2024) run on Intel's
    processors alone; on others svs refuses to build them. LeanVec halves the width.

    Cosine is its inner product of normalised vectors: the same graph, at two thirds of
    the latency of its own cosine, which divides by norms every time.
    """

    library = "svs"
    package = "scalable-vs"
    kind = "Vamana"
    metrics = ("l2", "ip", "cosine")

    class Build(Params):
        """Constructor parameters.

        Without ``alpha``, svs's own: 1.2, or 0.95 for ip; without ``storage``, float32.
        """

        graph_max_degree: int = Field(32, ge=2)
        window_size: int = Field(200, ge=1)
        alpha: float | None = Field(None, gt=0)
        storage: (
            Literal["LVQ8", "LVQ4x4", "LVQ4x8", "LVQ8x8", "LeanVec4x8", "LeanVec8x8"]
            | None
        ) = None

    class Search(Params):
        """Search parameters."""

        window_size: int = Field(64, ge=1)

    @classmethod
    def spelling(cls, build: Build) -> str:
        """Return the structure, and how its vectors are compressed."""
        return f"{cls.kind}-{build.storage}" if build.storage else cls.kind

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

        storage = self._build.storage
        chosen = self._build.model_dump(exclude_none=True, exclude={"storage"})
        parameters = svs.VamanaBuildParameters(**chosen)
        distance = svs.DistanceType.L2 if self._metric == "l2" else svs.DistanceType.MIP
        with tempfile.TemporaryDirectory() as folder:
            vectors = _compressed(X, storage, folder) if storage else X
            self._index = svs.Vamana.build(
                parameters, vectors, distance, num_threads=threads
            )

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


def _compressed(X: Vectors, storage: str, folder: str) -> Any:
    """Return what svs reads and compresses vectors by: it takes those of a file."""
    import svs

    path = f"{folder}/vectors.fvecs"
    svs.write_vecs(X, path)
    plain = svs.VectorDataLoader(path, svs.DataType.float32, dims=X.shape[1])
    bits = [int(bit) for bit in re.findall(r"\d", storage)]
    if storage.startswith("LeanVec"):
        kinds = {4: svs.LeanVecKind.lvq4, 8: svs.LeanVecKind.lvq8}
        return svs.LeanVecLoader(plain, X.shape[1] // 2, *(kinds[b] for b in bits))
    return svs.LVQLoader(plain, *bits, padding=ALIGNED)
