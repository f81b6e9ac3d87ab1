"""RaBitQ-Library: SymphonyQG and IVF-RaBitQ, in C++ (VectorDB-NTU/RaBitQ-Library)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from experiments.adapter import Adapter, Params
from experiments.peers.common import normalised, saved_bytes

if TYPE_CHECKING:
    from experiments.adapter import Ids, Vectors

_MISSING = 2**32 - 1  # an id


class _RaBitQ(Adapter):
    """What its indexes share: cosine is the inner product of normalised vectors."""

    library = "rabitqlib"
    metrics = ("l2", "ip", "cosine")
    searched_with: ClassVar[str]  # the name of the parameter that a search sweeps
    _index: Any

    def __init__(self, metric: str, build: Any, seed: int) -> None:
        self._metric, self._build, self._seed = metric, build, seed

    @property
    def _name(self) -> str:
        return "l2" if self._metric == "l2" else "ip"

    def prepare(self, X: Vectors) -> Vectors:
        return normalised(X) if self._metric == "cosine" else X

    def searcher(
        self, search: Params, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        effort = getattr(search, self.searched_with)
        index_search = self._index.search
        return lambda Q: index_search(Q, k, effort, num_threads=threads)

    def ids(self, answer: tuple[Any, Any]) -> Ids:
        import numpy as np

        ids = np.asarray(answer[0]).astype(np.int64)
        return np.where(ids == _MISSING, np.int64(-1), ids)

    @property
    def nbytes(self) -> int:
        """The size of the file that the index would be saved to."""
        return saved_bytes(lambda folder: self._index.save(str(folder / "index")))


class SymphonyQG(_RaBitQ):
    """A graph whose nodes hold 1-bit codes of their neighbours.

    Gou et al., "SymphonyQG: towards symphonious integration of quantization and graph
    for approximate nearest neighbor search", SIGMOD 2025. It has no seed to set.
    """

    kind = "SymphonyQG"
    name = "symphonyqg"
    searched_with = "ef_search"

    class Build(Params):
        """Constructor parameters; ``bits`` of a stored vector's code, 0 for float32."""

        degree: int = Field(32, ge=32, multiple_of=32)
        ef_construction: int = Field(200, ge=1)
        bits: Literal[0, 4, 8] = 0

    class Search(Params):
        """Search parameters."""

        ef_search: int = Field(64, ge=1)

    @classmethod
    def spelling(cls, build: Build) -> str:
        """Return the structure, and the codec of stored vectors."""
        return f"{cls.kind}-RaBitQ{build.bits}" if build.bits else cls.kind

    @classmethod
    def family(cls, build: Build) -> str:
        """Return the family of graphs without levels."""
        return "Graph"

    def add(self, X: Vectors, threads: int) -> None:
        """Build the graph from its authors' initial one, of partitions."""
        from rabitqlib import SymqgIndex

        build = self._build
        if build.degree >= len(X):
            raise ValueError(
                f"SymphonyQG's degree must be less than n = {len(X):,}, got "
                f"{build.degree}"
            )
        self._index = SymqgIndex(X.shape[1], build.degree, self._name, build.bits)
        self._index.build(X, build.ef_construction, threads)


class IVF(_RaBitQ):
    """Inverted lists of RaBitQ codes; ``nbits`` 32 re-ranks with float32 vectors."""

    kind = "IVF"
    name = "rabitqlib-ivf"
    searched_with = "nprobe"

    class Build(Params):
        """Constructor parameters."""

        nlist: int = Field(ge=1)
        nbits: int = Field(32, ge=1, le=32)

    class Search(Params):
        """Search parameters."""

        nprobe: int = Field(16, ge=1)

    def add(self, X: Vectors, threads: int) -> None:
        """Find centroids by its own k-means, and encode."""
        from rabitqlib import FinalAssignmentMode, IvfIndex, RaBitQKMeans

        (n, d), nlist = X.shape, self._build.nlist
        means = RaBitQKMeans(
            d,
            nlist,
            num_threads=threads,
            seed=self._seed,
            spherical=self._metric == "cosine",
            min_points_per_centroid=1,
            final_assignment=FinalAssignmentMode.Exact,
        )
        means.train(X)
        self._index = IvfIndex(d, n, nlist, self._build.nbits, self._name)
        self._index.build(X, means.centroids, means.assignments, threads)
