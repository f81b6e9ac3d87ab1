"""The indexes of :mod:`ann`, as the harness drives them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from experiments.adapter import PCA, PQ, SQ, Adapter, Params, RaBitQ, Truncate

if TYPE_CHECKING:
    from experiments.adapter import Floats, Ids, Vectors


class Storage(Params):
    """How vectors are stored and re-scored, the same for every structure."""

    codec: Annotated[PQ | SQ | RaBitQ, Field(discriminator="kind")] | None = None
    refine: float | None = Field(None, ge=1)
    refine_dtype: Literal["float32", "float16"] | None = None
    transform: Annotated[PCA | Truncate, Field(discriminator="kind")] | None = None

    @property
    def whole(self) -> bool:
        """Whether vectors are stored as they are."""
        return self.codec is None and self.transform is None

    @model_validator(mode="after")
    def _refine_what_is_not_whole(self) -> Self:
        if self.refine is not None and self.whole:
            raise ValueError("refine needs a codec or a transform: float32 is exact")
        return self


_PARTS = ("transform", "codec")  # in the order in which vectors go through them


def _part(params: Params | None, seed: int) -> Any:
    """Return the codec or the transform of the library that parameters stand for."""
    import ann

    if params is None:
        return None
    own = params.model_dump(exclude={"kind"})
    kind: str = params.kind  # type: ignore[attr-defined]
    seeds = {"seed": seed} if kind in ("PQ", "RaBitQ", "PCA") else {}
    return getattr(ann, kind)(**own, **seeds)


class _Ours(Adapter):
    library = "ann"
    jit = True
    Build = Storage
    seeded: ClassVar[bool] = True

    def __init__(self, metric: str, build: Storage, seed: int) -> None:
        import ann

        half = build.refine_dtype == "float16"
        self._exact = build.whole or (build.refine is not None and not half)
        params: dict[str, Any] = {"seed": seed} if self.seeded else {}
        params |= {name: getattr(build, name) for name in type(build).model_fields}
        params |= {name: _part(getattr(build, name), seed) for name in _PARTS}
        self._index = getattr(ann, self.kind)(metric=metric, **params)

    @classmethod
    def unfit(cls, metric: str, build: Storage, n: int, d: int) -> str | None:
        """Return what the library's own checks say."""
        try:
            cls(metric, build, 0)
            for name in _PARTS:
                if part := _part(getattr(build, name), 0):
                    part.check_width(d)
                    d = getattr(part, "d_out", d)
        except ValueError as error:
            return str(error)
        return super().unfit(metric, build, n, d)

    def add(self, X: Vectors, threads: int) -> None:
        self._index.add(X, threads=threads)

    def searcher(
        self, search: Params, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        params = search.model_dump(exclude_none=True)
        return partial(self._index.search, k=k, threads=threads, **params)

    def ids(self, answer: tuple[Ids, Any]) -> Ids:
        return answer[0]

    def distances(self, answer: tuple[Ids, Floats]) -> Floats | None:
        """Return the index's, where they are exact: of whole vectors, or refined."""
        return answer[1] if self._exact else None

    def distance_computations(self, Q: Vectors, search: Params, k: int) -> Ids:
        import numpy as np

        counts = np.zeros(len(Q), np.int64)
        params = search.model_dump(exclude_none=True)
        self._index.search(Q, k=k, threads=1, distance_computations=counts, **params)
        return counts

    def vector_level(self) -> str:
        """Return the level in force."""
        from ann.kernels._jit import SIMD_LEVEL

        return SIMD_LEVEL

    def problems(self) -> str:
        """Return what ``check`` finds; nothing in a sound index."""
        return "; ".join(self._index.check().problems)

    def trace(self, q: Floats, search: Params, k: int) -> Any:
        """Return the trace of one query (d,); see ``ann.traces``."""
        [traced] = self._index.trace(q, k=k, **search.model_dump(exclude_none=True))
        return traced

    @property
    def centroids(self) -> Floats:
        """Of an IVF's lists (nlist, d); none without lists."""
        import numpy as np

        none: Floats = np.empty((0, 0), np.float32)
        found: Floats = getattr(self._index, "centroids", none)
        return found

    @property
    def nbytes(self) -> int:
        return int(self._index.nbytes)


class Flat(_Ours):
    """Exact search, or exact over the codec's approximations."""

    kind = "Flat"
    name = "ann-flat"
    seeded = False


class IVF(_Ours):
    """Inverted lists."""

    kind = "IVF"
    name = "ann-ivf"

    class Build(Storage):
        """Constructor parameters."""

        nlist: int | None = Field(None, ge=1)

        def small(self) -> Self:
            """Return as many lists as even a handful of vectors can fill."""
            return self.model_copy(update={"nlist": min(self.nlist or 4, 4)})

    class Search(Params):
        """Search parameters; left out, they are the library's own."""

        nprobe: int | None = Field(None, ge=1)
        patience: int | None = Field(None, ge=1)

        def small(self) -> Self:
            """Return as many probes as any number of lists allows."""
            return self.model_copy(update={"nprobe": 1})


class HNSW(_Ours):
    """Hierarchical navigable small worlds."""

    kind = "HNSW"
    name = "ann-hnsw"

    class Build(Storage):
        """Constructor parameters."""

        M: int = Field(16, ge=2)
        ef_construction: int = Field(200, ge=1)

    class Search(Params):
        """Search parameters; left out, they are the library's own."""

        ef_search: int | None = Field(None, ge=1)
        epsilon: float | None = Field(None, ge=0)
        taper: bool | None = None

    @classmethod
    def unsearchable(cls, build: Storage, search: Any, k: int) -> str | None:
        """Return what is wrong with a beam that is too narrow."""
        ef = search.ef_search or k
        return f"ef_search must be at least k={k}, got {ef}" if ef < k else None


class QG(HNSW):
    """A graph whose nodes hold codes of a few bits of their neighbours."""

    kind = "QG"
    name = "ann-qg"
    metrics = ("l2", "ip", "cosine")

    class Build(HNSW.Build):
        """Constructor parameters."""

        code_bits: int | None = Field(None, ge=16, multiple_of=16)

    @classmethod
    def family(cls, build: Storage) -> str:
        """Return the family of quantized graphs."""
        return "Graph"
