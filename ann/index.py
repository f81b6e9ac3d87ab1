"""The Index contract: what every structure shares, once.

A structure supplies two steps, ``_insert`` (prepared vectors in) and ``_nearest``
(prepared queries in, keys and positions out); everything around them is here: checks,
preparation by the metric, ids, refinement, presentation.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import parallel, validation
from ann.codecs import Codec, Float32
from ann.kernels import answer
from ann.kernels._jit import direct
from ann.kernels.stores import ROWS
from ann.kernels.tricks import on
from ann.memory import aligned, grown
from ann.metrics import LONGEST
from ann.metrics import metric as metric_named
from ann.traces import Nodes

Floats = NDArray[np.float32]
_FLOAT32 = np.dtype(np.float32)
_METRICS = ("l2", "ip", "cosine", "l1")  # as the kernels number them
_FINISH_CHUNK = 16
_DIRECT_CALLS = on("direct-calls")


class Desk(NamedTuple):
    """Working memory of one thread that answers one query after another."""

    query: Floats  #: (1, d), prepared
    keys: Floats  #: (1, candidates)
    ids: NDArray[np.int32]  #: (1, candidates)
    scored: NDArray[np.int64]  #: (1,)
    scratch: Any  #: what the structure needs


class Outcome(NamedTuple):
    """What a traced search hands to its structure, to be told in users' terms."""

    ids: NDArray[np.int64]  #: (k,)
    distances: Floats  #: (k,)
    scored: int  #: vectors, by the structure
    refined: int  #: vectors, by ``refine``
    record: Any  #: what ``_record`` returned


class Index(ABC):
    """What ``Flat``, ``IVF`` and ``HNSW`` have in common.

    Parameters
    ----------
    metric : str
        ``l2`` (``euclidean``), ``ip`` (``dot``, ``inner_product``), ``cosine``
        (``angular``) or ``l1`` (``manhattan``, ``cityblock``).
    codec : Codec, optional
        How vectors are stored and scored: ``ann.SQ``, ``ann.PQ``; float32 by default.
        The index keeps a copy; one that is trained already stays as it is.
    refine : float, optional
        With a codec: keep the original vectors too, and score the best ``refine * k``
        with them; at least 1. None keeps only codes.
    """

    def __init__(self, metric: str, codec: Codec | None, refine: float | None) -> None:
        self._metric = metric_named(metric)
        if codec is not None and not isinstance(codec, Codec):
            raise ValueError(
                f"codec must be an ann.PQ, an ann.SQ or None, got {codec!r}"
            )
        if refine is not None:
            if codec is None:
                raise ValueError(
                    f"refine needs a codec: float32 is exact, got {refine!r}"
                )
            refine = validation.real(refine, "refine", 1.0)
            refine = int(refine) if refine.is_integer() else refine
        self._codec = Float32() if codec is None else codec.copy()
        self._codec.check_metric(self._metric)
        self._refine = refine
        self._d: int | None = None
        self._ntotal = 0
        self._ids: NDArray[np.int64] | None = None  # None while they are 0, 1, 2, …
        self._originals = np.empty((0, 0), np.float32)  # prepared; only for refine
        self._incomplete = False  # an add is under way, or was broken off
        self._direct: Any = None  # code and arguments that answer one query
        self._spare: list[Desk] = []  # not in use; list.pop is atomic

    # --- what a structure supplies ----------------------------------------------------

    @abstractmethod
    def _insert(self, X: Floats, threads: int) -> None:
        """Take prepared vectors as positions ``ntotal, ntotal + 1, …``."""

    @abstractmethod
    def _nearest(
        self, Q: Floats, k: int, threads: int, scored: NDArray[np.int64], effort: Any
    ) -> tuple[Floats, NDArray[np.int32]]:
        """Return keys and positions (nq, <= k) of prepared queries, closest first."""

    @abstractmethod
    def _structure(self) -> Any:
        """Return all that the kernels need to search (see ``answer.nearest``)."""

    @abstractmethod
    def _scratch(self, effort: Any) -> Any:
        """Return working memory for one thread that searches."""

    def _fits(self, scratch: Any, effort: Any) -> bool:
        """Whether working memory is large enough."""
        return True

    @abstractmethod
    def _record(self, desk: Desk, effort: Any) -> Any:
        """Search for a desk's query as ``answer.search`` does; return what happened."""

    @abstractmethod
    def _arrays(self) -> list[NDArray[Any]]:
        """Return every array that the structure holds."""

    @property
    @abstractmethod
    def _build_params(self) -> dict[str, Any]:
        """Constructor parameters beyond metric, codec and refine."""

    # --- what users see ---------------------------------------------------------------

    @property
    def ntotal(self) -> int:
        """Number of vectors inside."""
        return self._ntotal

    @property
    def d(self) -> int | None:
        """Width of the vectors; None before the first ``add``."""
        return self._d

    @property
    def metric(self) -> str:
        """Canonical name of the metric."""
        return self._metric.name

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays that the index holds, the codec's included."""
        held = [*self._arrays(), *self._codec.arrays(), self._originals]
        if self._ids is not None:
            held.append(self._ids)
        return sum(array.nbytes for array in held)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters in force, as plain values."""
        codec = None if isinstance(self._codec, Float32) else self._codec.params
        shared = {"metric": self.metric, "codec": codec, "refine": self._refine}
        return {**shared, **self._build_params}

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle holds: no machine code, no working memory."""
        return {**self.__dict__, "_direct": None, "_spare": []}

    def __len__(self) -> int:
        return self._ntotal

    def __repr__(self) -> str:
        shown = {k: v for k, v in self.params.items() if v is not None}
        if "codec" in shown:
            shown["codec"] = self._codec
        text = ", ".join(f"{k}={v!r}" for k, v in shown.items())
        name, size = type(self).__name__, f"ntotal={self.ntotal}, d={self.d}"
        return f"{name}({text}) <{size}, nbytes={self.nbytes}>"

    def add(
        self, X: ArrayLike, ids: ArrayLike | None = None, *, threads: int | None = None
    ) -> Self:
        """Add vectors; the first call also trains what needs training.

        Parameters
        ----------
        X : (n, d) array
            Any real dtype and memory order; copied as float32.
        ids : (n,) array of int64, optional
            Your own names, unique and not negative; by default the order of arrival.
        threads : int, optional
            All cores by default. The result does not depend on it.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Wrong shape or width, a value that is not finite in float32, a zero vector
            under ``cosine``, a norm above 1e18 under the others, an id given twice. The
            index is then unchanged.
        RuntimeError
            An earlier ``add`` was broken off, by Ctrl-C for example.

        Notes
        -----
        Nothing may search while vectors are being added. Under ``l2`` the squares of
        differences below about 1e-19 vanish in float32.
        """
        self._require_complete()
        vectors = validation.vectors(X, "X", self._d)
        names = validation.new_ids(ids, len(vectors), self._ids, self._ntotal)
        workers = validation.threads(threads, parallel.available())
        prepared = self._metric.prepare(vectors, "X")
        if self._ntotal + len(prepared) >= 2**31:
            raise ValueError(
                "an index must hold fewer than 2**31 vectors, got "
                f"{self._ntotal + len(prepared)}"
            )
        if len(prepared) == 0:
            return self
        self._codec.check_width(prepared.shape[1])
        if self._refine is not None:
            self._originals = grown(self._originals, self._ntotal, prepared)
        self._insert(prepared, workers)
        if names is not None:
            before = np.arange(self._ntotal) if self._ids is None else self._ids
            self._ids = np.concatenate([before, names])
        self._d = prepared.shape[1]
        self._ntotal += len(prepared)
        self._direct = None
        self._spare.clear()
        return self

    def _search(
        self,
        Q: ArrayLike,
        k: int,
        threads: int | None,
        distance_computations: NDArray[np.int64] | None,
        effort: Any = None,
    ) -> tuple[NDArray[np.int64], Floats]:
        one = threads is None or (type(threads) is int and threads == 1)
        if one and distance_computations is None:
            lone = self._lone(Q)
            if lone is not None:
                ids, distances = self._answer_one(lone, k, effort)
                if ids is not None:
                    return (ids[0], distances[0]) if lone is Q else (ids, distances)
        array = np.asarray(Q)
        single = array.ndim == 1
        queries = validation.vectors(array[None] if single else array, "Q", self._d)
        workers = validation.threads(threads, 1 if single else parallel.available())
        scored = _counts(distance_computations, len(queries))
        prepared = self._metric.prepare(queries, "Q")
        self._require_complete()
        ids = np.full((len(queries), k), -1, np.int64)
        distances = np.full((len(queries), k), np.inf, np.float32)
        if self._ntotal and len(queries):
            found = min(self._candidates(k), self._ntotal)
            keys, positions = self._nearest(prepared, found, workers, scored, effort)
            final = self._final()

            def work(ranges: parallel.Ranges) -> None:
                for a, b in ranges:
                    answer.finish_all(
                        final, prepared[a:b], keys[a:b], positions[a:b],
                        distances[a:b], ids[a:b], scored[a:b],
                    )  # fmt: skip

            parallel.run(work, len(queries), _FINISH_CHUNK, workers)
        else:
            scored[:] = 0
        return (ids[0], distances[0]) if single else (ids, distances)

    # --- one query: three kernel calls ------------------------------------------------

    def _lone(self, Q: ArrayLike) -> Floats | None:
        """Return a single query that the kernels can take as it is, else None."""
        q: Any = Q
        if not (type(q) is np.ndarray and q.dtype == _FLOAT32 and q.flags.carray):
            return None
        if self._incomplete or not _DIRECT_CALLS:
            return None
        if q.ndim == 2 and len(q) == 1:
            q = q[0]
        return q if q.shape == (self._d,) else None

    def _answer_one(self, q: Floats, k: int, effort: Any) -> Any:
        """Return ids and distances (1, k), or None for a query to be refused."""
        desk = self._borrow(min(self._candidates(k), self._ntotal), effort)
        query, keys, found, scored, scratch = desk
        ids, distances = np.empty((1, k), np.int64), np.empty((1, k), np.float32)
        if self._direct is None:
            self._direct = self._make_direct(q, effort, desk, ids, distances)
        prepare, search, finish, metric, structure, final = self._direct
        status = prepare(metric, LONGEST, q, query)
        if status == answer.FINE:
            search(structure, query, effort, scratch, keys, found, scored)
            finish(final, query, keys, found, distances, ids, scored)
        self._spare.append(desk)
        return (ids, distances) if status == answer.FINE else (None, None)

    def _make_direct(
        self, q: Floats, effort: Any, desk: Desk, ids: Any, distances: Any
    ) -> Any:
        """Return the kernels' machine code for one query, and what it works on."""
        metric, structure = _METRICS.index(self._metric.name), self._structure()
        final, (query, keys, found, scored, scratch) = self._final(), desk
        results = keys, found, scored
        return (
            direct(answer.prepare, metric, LONGEST, q, query),
            direct(answer.search, structure, query, effort, scratch, *results),
            direct(
                answer.finish_all, final, query, keys, found, distances, ids, scored
            ),
            metric,
            structure,
            final,
        )

    def _borrow(self, found: int, effort: Any) -> Desk:
        """Return working memory for one thread; the caller puts it back when done."""
        while self._spare:
            try:
                desk = self._spare.pop()
            except IndexError:  # another thread was quicker
                break
            if desk.ids.shape[1] == found and self._fits(desk.scratch, effort):
                return desk
        return Desk(
            query=aligned((1, self._d or 0), np.float32),
            keys=np.empty((1, found), np.float32),
            ids=np.empty((1, found), np.int32),
            scored=np.empty(1, np.int64),
            scratch=self._scratch(effort),
        )

    # --- a traced query ---------------------------------------------------------------

    def _trace(self, Q: ArrayLike, k: int, effort: Any = None) -> Iterator[Outcome]:
        """Search for one query after another, and keep what each search did."""
        array = np.asarray(Q)
        queries = array[None] if array.ndim == 1 else array
        queries = validation.vectors(queries, "Q", self._d)
        prepared = self._metric.prepare(queries, "Q")
        self._require_complete()
        for q in prepared:
            yield self._trace_one(q, k, effort)

    def _trace_one(self, q: Floats, k: int, effort: Any) -> Outcome:
        ids, distances = np.full((1, k), -1, np.int64), np.full((1, k), np.inf, "f4")
        if not self._ntotal:
            return Outcome(ids[0], distances[0], 0, 0, None)
        desk = self._borrow(min(self._candidates(k), self._ntotal), effort)
        query, keys, found, scored, _ = desk
        query[0] = q
        record = self._record(desk, effort)
        by_structure = int(scored[0])
        answer.finish_all(self._final(), query, keys, found, distances, ids, scored)
        refined = int(scored[0]) - by_structure
        self._spare.append(desk)
        return Outcome(ids[0], distances[0], by_structure, refined, record)

    def _counted(self, outcome: Outcome, exact: int = 0) -> dict[str, Any]:
        """Return the fields that traces share; ``exact`` were scored beside codes."""
        exact = outcome.scored if isinstance(self._codec, Float32) else exact
        return {
            "ids": outcome.ids,
            "distances": outcome.distances,
            "estimated": outcome.scored - exact,
            "exact": exact + outcome.refined,
        }

    def _nodes(self, positions: NDArray[Any], keys: Floats) -> Nodes:
        """Return positions and keys as users know them."""
        places = positions.astype(np.int64)
        return Nodes(self._names(places), places, self._presented(keys))

    def _presented(self, keys: Floats) -> Floats:
        """Return keys as distances."""
        distances = keys.copy()
        answer.present(_METRICS.index(self._metric.name), distances)
        return distances

    def _names(self, positions: NDArray[Any]) -> NDArray[np.int64]:
        """Return users' ids; −1 stays −1."""
        places = positions.astype(np.int64)
        if self._ids is None:
            return places
        return np.where(places < 0, -1, self._ids[places])

    def _final(self) -> answer.Final:
        """Return what the kernels need to turn candidates into answers."""
        metric = _METRICS.index(self._metric.name)
        return answer.Final(metric, self._rows_to_refine_by(), self._ids)

    def _rows_to_refine_by(self) -> Any:
        """Return a store of the original vectors, or None without ``refine``."""
        if self._refine is None:
            return None
        return ROWS[self._metric.key](self._originals)

    # --- the steps between ------------------------------------------------------------

    def _codes(self, X: Floats, threads: int) -> NDArray[np.uint8]:
        """Return vectors as codes; the first ones train the codec."""
        if not self._codec.is_trained:
            self._codec.train(X, threads=threads)
        return self._codec.encode(X, threads=threads)

    def _candidates(self, k: int) -> int:
        """Return how many a structure has to find for ``k`` results."""
        return k if self._refine is None else math.ceil(k * self._refine)

    def _require_complete(self) -> None:
        if self._incomplete:
            raise RuntimeError(
                "the index must be complete, but an add is under way or was broken "
                "off: wait for it, or build the index anew"
            )


def _counts(out: NDArray[np.int64] | None, nq: int) -> NDArray[np.int64]:
    if out is None:
        return np.empty(nq, np.int64)
    fits = isinstance(out, np.ndarray) and out.dtype == np.int64 and out.shape == (nq,)
    if not (fits and out.flags.carray):
        raise ValueError(
            "distance_computations must be a contiguous, writable int64 array of shape "
            f"({nq},), got {getattr(out, 'dtype', type(out).__name__)} {np.shape(out)}"
        )
    return out
