"""What the harness asks of an index, whichever library it comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from experiments.strict import Strict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    Floats = NDArray[np.float32]
    Ids = NDArray[np.int64]

METRICS = ("l2", "ip", "cosine", "l1")


class Params(Strict):
    """Parameters of a constructor or of a search."""

    def small(self) -> Self:
        """Return parameters that a sample of a thousand vectors can be built with."""
        return self


class PQ(Params):
    """Product quantization, a codec of ours."""

    kind: Literal["PQ"] = "PQ"
    m: int = Field(ge=1)
    nbits: Literal[4, 8] = 8
    opq: bool = False

    def __str__(self) -> str:
        return f"{'O' if self.opq else ''}PQ{self.m}x{self.nbits}"


class SQ(Params):
    """Scalar quantization, a codec of ours."""

    kind: Literal["SQ"] = "SQ"
    bits: Literal[4, 8] = 8

    def __str__(self) -> str:
        return f"SQ{self.bits}"


class RaBitQ(Params):
    """Rotated codes with unbiased estimates, a codec of ours."""

    kind: Literal["RaBitQ"] = "RaBitQ"
    bits: int = Field(4, ge=1, le=8)

    def __str__(self) -> str:
        return f"RaBitQ{self.bits}"


class PCA(Params):
    """Principal components, a transform of ours."""

    kind: Literal["PCA"] = "PCA"
    d_out: int = Field(ge=1)

    def __str__(self) -> str:
        return f"PCA{self.d_out}"


class Truncate(Params):
    """The first columns, a transform of ours."""

    kind: Literal["Truncate"] = "Truncate"
    d_out: int = Field(ge=1)

    def __str__(self) -> str:
        return f"Truncate{self.d_out}"


class Adapter(ABC):
    """One index of one library.

    Class attributes say what it is: ``library`` and ``kind`` are its names in a config,
    and ``name`` is both in one word; ``module`` is what it imports, and ``package``
    what pip installs, where they are not the library's name. ``Build`` and ``Search``
    are its parameters, ``metrics`` those that it can answer, ``jit`` says whether Numba
    compiles it. Defining one imports nothing heavy: the library is imported when an
    instance is made, in a worker process.

    Parameters
    ----------
    metric : one of ``metrics``
    build : checked parameters, an instance of ``Build``
    seed : for whatever is drawn at random
    """

    library: ClassVar[str]
    kind: ClassVar[str]
    name: ClassVar[str] = ""
    module: ClassVar[str] = ""
    package: ClassVar[str] = ""
    jit: ClassVar[bool] = False
    metrics: ClassVar[tuple[str, ...]] = METRICS
    Build: ClassVar[type[Params]] = Params
    Search: ClassVar[type[Params]] = Params

    @abstractmethod
    def __init__(self, metric: str, build: Any, seed: int) -> None: ...

    @classmethod
    def spelling(cls, build: Any) -> str:
        """Return the ``index`` column: the kind, after dashes transform and codec."""
        parts = (getattr(build, name, None) for name in ("transform", "codec"))
        return "-".join([cls.kind, *(part.kind for part in parts if part)])

    @classmethod
    def family(cls, build: Any) -> str:
        """Return "Flat", "IVF", "HNSW" or "Graph"; figures colour by it."""
        return cls.kind

    @classmethod
    def unfit(cls, metric: str, build: Any, n: int, d: int) -> str | None:
        """Return why n vectors of d columns cannot be held, if that can be foreseen."""
        nlist = getattr(build, "nlist", None) or 1
        return f"nlist must be at most n={n}, got {nlist}" if nlist > n else None

    @classmethod
    def unsearchable(cls, build: Any, search: Any, k: int) -> str | None:
        """Return why k neighbours cannot be searched for, if that can be foreseen."""
        nlist, nprobe = (
            getattr(params, name, None)
            for params, name in ((build, "nlist"), (search, "nprobe"))
        )
        if nlist and nprobe and nprobe > nlist:
            return f"nprobe must be at most nlist={nlist}, got {nprobe}"
        return None

    def prepare(self, X: Vectors) -> Vectors:
        """Return vectors as the library wants them; this is never timed."""
        return X

    @abstractmethod
    def add(self, X: Vectors, threads: int) -> None:
        """Build the index from (n, d) prepared vectors; this is timed."""

    @abstractmethod
    def searcher(self, search: Any, k: int, threads: int) -> Callable[[Vectors], Any]:
        """Set the search up and return the call to time.

        The call takes (nq, d) prepared queries and returns what the library returns;
        ``ids`` unpacks it outside the timed region.
        """

    @abstractmethod
    def ids(self, answer: Any) -> Ids:
        """Return the (nq, k) ids in a searcher's answer, -1 where one is missing."""

    def distances(self, answer: Any) -> Floats | None:
        """Return the (nq, k) distances in an answer, in the sign and units of ``ann``.

        None, the default, where they are estimates or are not told. Those that are
        given are checked against the vectors; where they are wrong, the row is refused.
        """
        return None

    def distance_computations(self, Q: Vectors, search: Any, k: int) -> Ids | None:
        """Return how many vectors each query was compared with, if that is known."""
        return None

    def vector_level(self) -> str | None:
        """Return the vector level that the library says it runs at, if it says one.

        :mod:`experiments.peers.levels` looks at the binary of one that does not.
        """
        return None

    def problems(self) -> str | None:
        """Return what an audit of the index finds wrong, if the library has one."""
        return None

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """The size of the index in bytes, vectors included."""
