"""FAISS's inverted lists of 4-bit product quantization, scanned by FastScan."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from experiments.adapter import Params
from experiments.peers.faiss import Faiss


class IVFPQFastScan(Faiss):
    """Lists of 4-bit codes, the best of them scored again on float32 vectors.

    André, Kermarrec & Le Scouarnec, "Quicker ADC", IEEE TPAMI 2021.
    """

    kind = "IVFPQFastScan"
    name = "faiss-ivfpq-fs"
    metrics = ("l2", "ip", "cosine")

    class Build(Params):
        """Constructor parameters; ``m`` by default half the width."""

        nlist: int = Field(ge=1)
        m: int | None = Field(None, ge=1)

    class Search(Params):
        """Search parameters; ``k_factor`` times k are scored again."""

        nprobe: int = Field(8, ge=1)
        k_factor: int = Field(4, ge=1)

    @classmethod
    def spelling(cls, build: Build) -> str:
        """Return the structure and its codec."""
        return "IVF-PQ"

    @classmethod
    def family(cls, build: Build) -> str:
        """Return ours for such an index."""
        return "IVF"

    def _make(self, d: int) -> Any:
        import faiss

        m = self._build.m or d // 2
        string = f"IVF{self._build.nlist},PQ{m}x4fs,RFlat"
        return faiss.index_factory(d, string, self._faiss_metric)
