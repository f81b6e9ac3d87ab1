"""Whatever FAISS's factory makes of a string."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import Field

from experiments.adapter import Params
from experiments.peers.faiss import Faiss

if TYPE_CHECKING:
    from experiments.adapter import Floats


#: PCA shifts vectors by their mean, and a graph with Panorama knows l2 alone.
_OF_L2 = re.compile("PCA|Panorama")


class Factory(Faiss):
    """Whatever ``faiss.index_factory`` makes of a string.

    What keeps l2 alone is searched by l2 for cosine too: vectors have norm 1 there.
    """

    kind = "Factory"
    name = "faiss-factory"
    metrics = ("l2", "ip", "cosine")

    class Build(Params):
        """The string, such as "IVF1024,PQ48x4fs,RFlat", and what it does not say."""

        factory: str
        ef_construction: int | None = Field(None, ge=1)

    class Search(Params):
        """Search parameters, each given only where the index has it."""

        nprobe: int | None = Field(None, ge=1)
        ef_search: int | None = Field(None, ge=1)
        k_factor: int | None = Field(None, ge=1)

    def __init__(self, metric: str, build: Build, seed: int) -> None:
        super().__init__(metric, build, seed)
        import faiss

        self._is_l2 = bool(_OF_L2.search(build.factory))
        if self._is_l2 and metric == "ip":
            raise ValueError(
                f"faiss's PCA and Panorama keep l2 alone, which orders vectors as ip "
                f"does only where they have one norm: got {build.factory} under ip"
            )
        if self._is_l2:
            self._faiss_metric = faiss.METRIC_L2

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
        import numpy as np

        if not self._build.factory.endswith("RFlat"):
            return None
        if self._is_l2 and self._metric == "cosine":
            halves: Floats = answer[0] / np.float32(2)
            return halves  # ‖q − x‖² is 2 (1 − ⟨q, x⟩) of norms 1
        return super().distances(answer)

    def vector_level(self) -> str:
        """Return the level; faiss dispatches all of its kernels but Panorama's."""
        panorama = "Panorama" in self._build.factory
        return "sse2" if panorama else super().vector_level()

    def _make(self, d: int) -> Any:
        import faiss

        index = faiss.index_factory(d, self._build.factory, self._faiss_metric)
        if ef := self._build.ef_construction:
            faiss.ParameterSpace().set_index_parameter(index, "efConstruction", ef)
        return index
