"""Whatever FAISS's factory makes of a string."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from experiments.adapter import Params
from experiments.peers.faiss import Faiss

if TYPE_CHECKING:
    from experiments.adapter import Floats


class Factory(Faiss):
    """Whatever ``faiss.index_factory`` makes of a string."""

    kind = "Factory"
    name = "faiss-factory"
    metrics = ("l2", "ip", "cosine")

    class Build(Params):
        """The string, such as "IVF1024,PQ48x4fs,RFlat"."""

        factory: str

    class Search(Params):
        """Search parameters, each given only where the index has it."""

        nprobe: int | None = Field(None, ge=1)
        ef_search: int | None = Field(None, ge=1)
        k_factor: int | None = Field(None, ge=1)

    @classmethod
    def spelling(cls, build: Build) -> str:
        """Return the string itself."""
        return build.factory

    @classmethod
    def family(cls, build: Build) -> str:
        """Return the structure that the string names."""
        families = (name for name in ("HNSW", "IVF") if name in build.factory)
        return next(families, "Flat")

    def distances(self, answer: tuple[Floats, Any]) -> Floats | None:
        """Return them where the string ends in an exact refinement."""
        exact = self._build.factory.endswith("RFlat")
        return super().distances(answer) if exact else None

    def _make(self, d: int) -> Any:
        import faiss

        return faiss.index_factory(d, self._build.factory, self._faiss_metric)
