"""FAISS's inverted lists of float32 vectors."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from experiments.adapter import Params
from experiments.peers.faiss import Faiss


class IVFFlat(Faiss):
    """Inverted lists of float32 vectors."""

    kind = "IVFFlat"
    name = "faiss-ivfflat"

    class Build(Params):
        """Constructor parameters."""

        nlist: int = Field(ge=1)

    class Search(Params):
        """Search parameters."""

        nprobe: int = Field(8, ge=1)

    @classmethod
    def family(cls, build: Build) -> str:
        """Return ours for such an index."""
        return "IVF"

    def _make(self, d: int) -> Any:
        import faiss

        self._quantizer = faiss.IndexFlat(d, self._faiss_metric)
        nlist = self._build.nlist
        index = faiss.IndexIVFFlat(self._quantizer, d, nlist, self._faiss_metric)
        index.cp.seed = self._seed
        index.cp.spherical = self._metric == "cosine"
        return index
