"""A search that does nothing: what is measured of it is the harness's own overhead."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from experiments.adapter import Adapter, Params

if TYPE_CHECKING:
    from experiments.adapter import Ids, Vectors


class Nothing(Adapter):
    """Answers every query with the first vectors."""

    library = "dummy"
    kind = "Nothing"
    module = "experiments"

    @classmethod
    def family(cls, build: Params) -> str:
        """Return a family of its own."""
        return "None"

    def __init__(self, metric: str, build: Params, seed: int) -> None:
        pass

    def add(self, X: Vectors, threads: int) -> None:
        """Do nothing."""

    def searcher(
        self, search: Params, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        """Return a call whose answer is the number of queries."""
        self._k = k
        return len

    def ids(self, answer: int) -> Ids:
        """Return the first ids, for each query."""
        import numpy as np

        return np.tile(np.arange(self._k, dtype=np.int64), (answer, 1))

    @property
    def nbytes(self) -> int:
        """Nothing."""
        return 0
