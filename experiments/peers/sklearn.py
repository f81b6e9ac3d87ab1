"""scikit-learn's exact search, in Cython (scikit-learn/scikit-learn)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from experiments.adapter import Adapter, Params

if TYPE_CHECKING:
    from experiments.adapter import Floats, Ids, Vectors

_LEVELS = {"haswell": "avx2", "zen": "avx2"} | dict.fromkeys(
    ("skylakex", "cooperlake", "sapphirerapids"), "avx512"
)  # of the processors that OpenBLAS has kernels for
_NAMES = {"l2": "euclidean", "cosine": "cosine", "l1": "manhattan"}


class Brute(Adapter):
    """Exact search."""

    library = "scikit-learn"
    kind = "Brute"
    name = "sklearn-brute"
    module = "sklearn"
    metrics = ("l2", "cosine", "l1")

    @classmethod
    def family(cls, build: Params) -> str:
        """Return ours for exact search."""
        return "Flat"

    def __init__(self, metric: str, build: Params, seed: int) -> None:
        self._metric = metric

    def add(self, X: Vectors, threads: int) -> None:
        """Keep the vectors."""
        from sklearn.neighbors import NearestNeighbors

        index = NearestNeighbors(algorithm="brute", metric=_NAMES[self._metric])
        self._index: Any = index.fit(X)

    def searcher(
        self, search: Params, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        """Set the jobs, which scikit-learn keeps in the index."""
        self._index.n_jobs = threads
        kneighbors = self._index.kneighbors
        return lambda Q: kneighbors(Q, k)

    def ids(self, answer: tuple[Any, Ids]) -> Ids:
        """Return the row numbers."""
        return answer[1]

    def distances(self, answer: tuple[Floats, Any]) -> Floats:
        """Return the distances, which are in our units."""
        return answer[0]

    def distance_computations(self, Q: Vectors, search: Params, k: int) -> Ids:
        """Return n for every query."""
        import numpy as np

        return np.full(len(Q), self._index.n_samples_fit_, np.int64)

    def vector_level(self) -> str | None:
        """Return the level of the BLAS, which computes the distances."""
        from threadpoolctl import threadpool_info

        found = (str(pool.get("architecture", "")) for pool in threadpool_info())
        core = next(filter(None, found), "").lower()
        return _LEVELS.get(core, core) or None

    @property
    def nbytes(self) -> int:
        """The bytes of the vectors."""
        return int(self._index._fit_X.nbytes)
