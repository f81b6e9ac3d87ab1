"""The indexes of ``ann`` under the interface of ann-benchmarks.

Copy this folder to ``ann_benchmarks/algorithms/ann`` in a checkout of that suite, where
``ann`` is installed. Nothing else of this project is needed there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import ann

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ids = NDArray[np.int64]
    Vectors = NDArray[np.float32]
    BaseANN = object
else:
    try:
        from ann_benchmarks.algorithms.base.module import BaseANN
    except ImportError:  # not in that suite
        BaseANN = object

_REHEARSAL = 1000  # vectors
_NEIGHBORS = 10


class _Ours(BaseANN):
    """What the four have in common.

    Numba compiles at the first use of a kernel, as other libraries were compiled when
    they were installed. So that neither ``fit`` nor a query is timed with it, the
    constructor, which is not timed, builds and searches a small index of noise.

    Parameters
    ----------
    metric : "euclidean" or "angular", or any other spelling that ``ann`` knows
    dimension : width of the vectors
    build : parameters of the constructor; ``codec`` and ``transform`` are mappings
        such as ``{"kind": "SQ", "bits": 8}``
    """

    structure = ""
    effort = ""  # the parameter that a search sweeps

    def __init__(
        self, metric: str, dimension: int, build: dict[str, Any] | None = None
    ) -> None:
        self._metric, self._build = metric, self._parameters(build or {}, dimension)
        self._search: dict[str, int] = {}
        self._asked: list[Vectors] = []
        self._k = _NEIGHBORS
        self._index: Any = None
        self._answers: Any = None
        self._rehearse(dimension)

    def _parameters(self, build: dict[str, Any], dimension: int) -> dict[str, Any]:
        return dict(build)

    def _make(self, **changed: Any) -> Any:
        """Return an empty index."""
        params = self._build | changed
        for name in ("codec", "transform"):
            if params.get(name):
                own = dict(params[name])
                params[name] = getattr(ann, own.pop("kind"))(**own)
        return getattr(ann, self.structure)(metric=self._metric, **params)

    def _small(self) -> dict[str, Any]:
        """Return the parameters that an index of a thousand vectors differs in."""
        return {}

    def _rehearse(self, dimension: int) -> None:
        X = np.random.default_rng(0).standard_normal((_REHEARSAL, dimension))
        self._index = self._make(**self._small()).add(X.astype(np.float32))
        Q = X[:32].astype(np.float32)
        self.query(Q[0], _NEIGHBORS)
        self.batch_query(Q, _NEIGHBORS)
        self.get_additional()
        self._index = self._answers = None

    def fit(self, X: Vectors) -> None:
        """Build the index of (n, d) vectors, on all cores.

        Vectors without a direction have no angle, and are left out under "angular".
        """
        self._index = self._make()
        if self._index.metric != "cosine" or X.any(axis=1).all():
            self._index.add(X)
        else:
            rows = np.flatnonzero(X.any(axis=1))
            self._index.add(X[rows], ids=rows)

    def set_query_arguments(self, value: int) -> None:
        """Set how much a search looks at."""
        self._search = {self.effort: value}
        self._asked.clear()

    def query(self, v: Vectors, n: int) -> Ids:
        """Return the ids of about the n nearest neighbours, closest first."""
        self._asked.append(v)
        self._k = n
        try:
            ids: Ids = self._index.search(v, k=n, **self._effort(n))[0]
        except ValueError:
            if v.any():
                raise
            return np.empty(0, np.int64)  # no direction, and so no nearest angle
        return ids if ids[-1] >= 0 else ids[ids >= 0]

    def batch_query(self, X: Vectors, n: int) -> None:
        """Answer all queries at once, on all cores."""
        self._asked.extend(X)
        self._k = n
        if self._index.metric == "cosine" and not X.any(axis=1).all():
            self._answers = np.full((len(X), n), -1)
            rows = np.flatnonzero(X.any(axis=1))
            self._answers[rows] = self._index.search(X[rows], n, **self._effort(n))[0]
        else:
            self._answers = self._index.search(X, n, **self._effort(n))[0]

    def get_batch_results(self) -> list[Ids]:
        """Return the ids of each query of the batch."""
        return [ids[ids >= 0] for ids in self._answers]

    def get_additional(self) -> dict[str, Any]:
        """Return the distance computations of all queries since the last setting.

        They are counted in a search of its own, which is not timed.
        """
        asked = [v for v in self._asked if v.any()]
        self._asked.clear()
        counts = np.zeros(len(asked), np.int64)
        if asked:
            self._index.search(
                np.stack(asked),
                k=self._k,
                distance_computations=counts,
                **self._effort(self._k),
            )
        return {"dist_comps": int(counts.sum())}

    def get_memory_usage(self) -> float:
        """Return the bytes of all arrays of the index, in kilobytes."""
        return self._index.nbytes / 1024 if self._index is not None else 0.0

    def done(self) -> None:
        """Let go of the index."""
        self._index = self._answers = None
        self._asked.clear()

    def _effort(self, n: int) -> dict[str, int]:
        """Return the parameters of a search for n neighbours."""
        return self._search

    def __str__(self) -> str:
        shown = self._build | self._effort(self._k)
        params = ", ".join(f"{name}={value}" for name, value in shown.items())
        return f"ann {type(self).__name__}({params})"


class Flat(_Ours):
    """Exact search, or exact over a codec's approximations."""

    structure = "Flat"


class HNSW(_Ours):
    """A graph of ``M`` neighbours, built with ``ef_construction``.

    A pool smaller than the number of neighbours asked for is raised to it.
    """

    structure = "HNSW"
    effort = "ef_search"

    def _effort(self, n: int) -> dict[str, int]:
        return {name: max(value, n) for name, value in self._search.items()}


class IVF(_Ours):
    """``nlist`` lists, of which ``nprobe`` are scanned, at most all of them."""

    structure = "IVF"
    effort = "nprobe"

    def _small(self) -> dict[str, Any]:
        return {"nlist": 4}

    def _effort(self, n: int) -> dict[str, int]:
        most = self._index.nlist
        return {name: min(value, most) for name, value in self._search.items()}


class IVFPQ(IVF):
    """Lists of product quantization: ``m`` codes of ``nbits``, ``opq`` or not.

    Without ``m``, the largest divisor of the dimension that is at most half of it.
    """

    structure = "IVF"

    def _parameters(self, build: dict[str, Any], dimension: int) -> dict[str, Any]:
        codec: dict[str, Any] = {"kind": "PQ", "m": _half(dimension)}
        codec |= {name: build[name] for name in ("m", "nbits", "opq") if name in build}
        rest = {name: value for name, value in build.items() if name not in codec}
        return rest | {"codec": codec}


def _half(dimension: int) -> int:
    halves = range(1, max(dimension // 2, 1) + 1)
    return max(m for m in halves if dimension % m == 0)
