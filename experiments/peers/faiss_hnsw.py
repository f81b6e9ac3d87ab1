"""FAISS's HNSW."""

from __future__ import annotations

from typing import Any

from experiments.peers.common import GraphBuild, GraphSearch
from experiments.peers.faiss import Faiss


class HNSW(Faiss):
    """A graph of float32 vectors."""

    kind = "HNSW"
    name = "faiss-hnsw"
    Build = GraphBuild
    Search = GraphSearch

    def _make(self, d: int) -> Any:
        import faiss

        index = faiss.IndexHNSWFlat(d, self._build.M, self._faiss_metric)
        index.hnsw.efConstruction = self._build.ef_construction
        return index
