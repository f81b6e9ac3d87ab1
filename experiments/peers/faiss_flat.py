"""FAISS's exact search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from experiments.peers.faiss import Faiss

if TYPE_CHECKING:
    from experiments.adapter import Ids, Params, Vectors


class Flat(Faiss):
    """Exact search."""

    kind = "Flat"
    name = "faiss-flat"

    def distance_computations(self, Q: Vectors, search: Params, k: int) -> Ids:
        """Return n for every query."""
        import numpy as np

        return np.full(len(Q), self._index.ntotal, np.int64)

    def _make(self, d: int) -> Any:
        import faiss

        return faiss.IndexFlat(d, self._faiss_metric)
