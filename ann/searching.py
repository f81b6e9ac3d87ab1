"""How any index is searched: a batch, one query, a radius, with a trace.

A structure supplies the steps between (``_nearest`` and what follows it here);
everything around them is shared: checks, preparation by the metric, filters, ids,
refinement, presentation.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from operator import is_
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import exact, filters, guard, parallel, validation
from ann.codecs import Codec, Float32
from ann.filters import Filter, Prepared
from ann.kernels import answer
from ann.kernels._jit import direct
from ann.kernels.reduce import reduce
from ann.kernels.tricks import on
from ann.memory import aligned
from ann.metrics import Metric
from ann.names import Names
from ann.state import Desk, Floats, Outcome, Plan, Ready, State
from ann.traces import Nodes
from ann.transforms import Transform, reduced

METRICS = ("l2", "ip", "cosine", "l1")  # as the kernels number them
MOST = 2**31 - 1  # vectors of an index, and neighbours of a query
_FLOAT32, _INT64 = np.dtype(np.float32), np.dtype(np.int64)
_FINISH_CHUNK = 16
_FIRST_RANGE = 32  # neighbours that a range search begins with
_NO_IDS, _NO_DISTANCES = np.empty(0, np.int64), np.empty(0, np.float32)
_DIRECT_CALLS = on("direct-calls")


class Searching(ABC):
    """The half of an index that answers; nothing here changes it."""

    _metric: Metric
    _refine: float | None
    _state: State  #: all that a change replaces

    def _view(self) -> Self:
        """Return an index that stays as this one is now, whatever changes meanwhile.

        A search that reads the state more than once runs on one.
        """
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        return view

    @property
    def _codec(self) -> Codec:
        return self._state.contents.codec

    @property
    def _transform(self) -> Transform | None:
        return self._state.contents.transform

    @property
    def _norm_check(self) -> str:
        return self._state.contents.norm_check

    @property
    def _norms(self) -> guard.Norms:
        return self._state.contents.norms

    @property
    def _d(self) -> int | None:
        return self._state.contents.d

    @property
    def _held(self) -> Any:
        return self._state.contents.held

    # --- what a structure supplies ----------------------------------------------------

    @abstractmethod
    def _nearest(
        self, state: State, Q: Floats, k: int, threads: int, scored: NDArray[np.int64],
        effort: Any,
    ) -> tuple[Floats, NDArray[np.int32]]:  # fmt: skip
        """Return keys and positions (nq, <= k) of prepared queries, closest first.

        ``Q`` is as wide as the state's structure takes it.
        """

    @abstractmethod
    def _filtered(
        self, state: State, selected: Filter, effort: Any, nq: int
    ) -> tuple[State, Any]:
        """Return the state that finds only what is selected, and what it takes.

        There are at least ``nq`` queries.
        """

    @abstractmethod
    def _listed(self, state: State, selected: Filter) -> tuple[State, Any]:
        """Return the state that scores all that is selected, and what it takes.

        By the vectors themselves, where the index has them; nothing else is looked at,
        such as links.
        """

    @abstractmethod
    def _scratch(self, state: State, effort: Any) -> Any:
        """Return working memory for one thread that searches."""

    def _fits(self, scratch: Any, effort: Any) -> bool:
        """Whether working memory is large enough."""
        return True

    @abstractmethod
    def _record(self, state: State, desk: Desk, effort: Any) -> Any:
        """Search for a desk's query as ``answer.search`` does; return what happened."""

    # --- a batch ----------------------------------------------------------------------

    def _search(
        self,
        Q: ArrayLike,
        k: int,
        threads: int | None,
        distance_computations: NDArray[np.int64] | None,
        wanted: filters.Wanted | None,
        effort: Any,
        asked: tuple[Any, ...],
    ) -> tuple[NDArray[np.int64], Floats]:
        state, most = self._state, self._state.names.count
        if one(threads) and distance_computations is None and most:
            q: Any = Q
            if self._is_lone(q):
                inside, way = state, effort
                if wanted is not None:
                    most, inside, way = self._among(state, wanted, effort, 1)
                if most:
                    self._plan(inside, q, k, way, asked)
                    found = self._again(inside, q, asked)
                    if found is not None:
                        return found
        queries, single = validation.queries(Q, self._d)
        workers = validation.threads(threads, 1 if single else parallel.available())
        scored = _counts(distance_computations, len(queries))
        prepared = self._metric.prepare(queries, "Q")
        guard.look_at_queries(queries, state.bounds, self._norms, self._norm_check)
        ids = np.full((len(queries), k), -1, np.int64)
        distances = np.full((len(queries), k), np.inf, np.float32)
        if wanted is not None:
            most, state, effort = self._among(state, wanted, effort, len(queries))
        if most and len(queries):
            sought = min(self._sought(state, k), most)
            narrow = reduced(state.reduction, prepared, "Q", workers)
            keys, positions = self._nearest(
                state, narrow, sought, workers, scored, effort
            )
            final = state.final

            def work(ranges: parallel.Ranges) -> None:
                for a, b in ranges:
                    answer.finish_all(
                        final, prepared[a:b], keys[a:b], positions[a:b],
                        distances[a:b], ids[a:b], scored[a:b],
                    )  # fmt: skip

            chunk = parallel.chunk(len(queries), _FINISH_CHUNK, workers)
            parallel.run(work, len(queries), chunk, workers)
        else:
            scored[:] = 0
        return (ids[0], distances[0]) if single else (ids, distances)

    # --- filters ----------------------------------------------------------------------

    def prepare_filter(self, filter: filters.Given) -> Prepared:
        """Return a filter that ``search`` can use time and again, made ready once.

        To go through a mask takes longer than to search among the few that it lets
        pass.

        Parameters
        ----------
        filter : array or callable
            As ``search`` takes it: ids, a mask or a function. Later changes of an array
            have no effect.

        Returns
        -------
        filters.Prepared
            To be given to ``search`` as its ``filter``. After a change of the index the
            next search makes it ready anew, so what was added since may pass.

        Raises
        ------
        ValueError
            It is neither of these.

        Examples
        --------
        >>> red = index.prepare_filter(colours == "red")
        >>> ids, distances = index.search(q, k=10, filter=red)
        """
        prepared = Prepared(filter)
        self._ready(self._state, prepared)
        return prepared

    def _among(
        self, state: State, wanted: filters.Wanted, effort: Any, nq: int
    ) -> tuple[int, State, Any]:
        """Return how many pass, the state that finds only these, and what it takes."""
        if wanted is filters.everything and state.names.count:
            every = _resolved(state.names, wanted)
            return len(every), *self._listed(state, every)
        if not isinstance(wanted, Prepared):
            return self._way(state, _resolved(state.names, wanted), effort, nq)
        selected, ways = self._ready(state, wanted)
        asked = effort, nq.bit_length()
        way: tuple[int, State, Any] | None = ways.get(asked)
        if way is None:
            least = 1 << nq.bit_length() >> 1
            way = ways[asked] = self._way(state, selected, effort, least)
        return way

    def _ready(self, state: State, wanted: Prepared) -> Ready:
        """Return what a prepared filter is in a state."""
        ready = state.prepared.get(wanted)
        if ready is None:
            ready = Ready(_resolved(state.names, wanted.given), {})
            state.prepared[wanted] = ready
        return ready

    def _way(
        self, state: State, selected: Filter, effort: Any, nq: int
    ) -> tuple[int, State, Any]:
        some = len(selected)
        if not 0 < some < state.names.count:
            return some, state, effort
        return some, *self._filtered(state, selected, effort, nq)

    @abstractmethod
    def search(
        self, Q: ArrayLike, k: int = 10, *args: Any, **effort: Any
    ) -> tuple[NDArray[np.int64], Floats]:
        """Return about the ``k`` nearest neighbours of each query."""

    def exact(
        self, Q: ArrayLike, k: int = 10, *, threads: int | None = None
    ) -> tuple[NDArray[np.int64], Floats]:
        """Return the ``k`` nearest of all vectors inside: what ``search`` may miss.

        All are scored, by the vectors themselves where the index has them (float32, or
        ``refine``), else by their codes, or by what a transform has made of them.
        Nothing depends on links or on which lists are near.

        Parameters
        ----------
        Q : (nq, d) or (d,) array
        k : int
        threads : int, optional
            All cores for a batch, 1 for a single query by default.

        Returns
        -------
        ids, distances
            As ``search``.

        Raises
        ------
        ValueError
            As ``search``.
        """
        k = validation.integer(k, "k", 1, MOST)
        every = filters.everything
        return self._view()._search(Q, k, threads, None, every, None, (every, k))

    def range_search(
        self, Q: ArrayLike, radius: float, **effort: Any
    ) -> tuple[Any, Any]:
        """Return about all neighbours within a radius of each query.

        Parameters
        ----------
        Q : (nq, d) or (d,) array
        radius : float
            The greatest distance, in the metric's own terms; only under ``ip`` it may
            be negative.
        **effort
            What ``search`` takes beside ``k``. A graph's pool, ``ef_search``, grows
            with what there is to find.

        Returns
        -------
        ids, distances : lists of nq arrays, int64 and float32
            Each query's, closest first; for a single query one array each.

        Raises
        ------
        ValueError
            As ``search``; ``radius`` is negative or not a finite number.

        Notes
        -----
        It searches for more and more neighbours until the last lies outside: as
        exact as ``search`` is. Under ``cosine``, distances of up to ``(16 + d / 16)
        2**-24``, such as rounding makes of 0, count as 0 where the radius is less.
        """
        least = -math.inf if self._metric.name == "ip" else 0.0
        radius = validation.real(radius, "radius", least)
        now = self._view()
        queries, single = validation.queries(Q, now._d)
        nq = len(queries)
        all_ids, all_distances = [_NO_IDS] * nq, [_NO_DISTANCES] * nq
        k, left = _FIRST_RANGE, np.arange(nq)
        limit = self._metric.radius(radius, queries.shape[1])
        while True:
            ids, distances = now.search(queries[left], k, **self._wider(effort, k))
            for r, i, d in zip(left, ids, distances, strict=True):
                near = d <= limit
                all_ids[r], all_distances[r] = i[near], np.minimum(d[near], radius)
            left = left[distances[:, -1] <= limit]
            n = now._state.names.count
            if not len(left) or k >= n:
                break
            k = min(4 * k, n)
        if single:
            return all_ids[0], all_distances[0]
        return all_ids, all_distances

    def _wider(self, effort: dict[str, Any], k: int) -> dict[str, Any]:
        """Return what ``search`` takes to find ``k`` neighbours."""
        return effort

    # --- one query: three kernel calls, or four with a transform ----------------------

    def _again(
        self, state: State, Q: Any, asked: tuple[Any, ...]
    ) -> tuple[NDArray[np.int64], Floats] | None:
        """Answer a lone query that is asked as the one before, else return None.

        What was asked has been looked at then: that took 3 of 24 us. None, too, for a
        query that is to be refused.
        """
        plan = state.plan
        if plan is None or not _is_plain(Q) or Q.shape != plan.given:
            return None
        # Only ``is`` will do: what is equal may be of a type to be refused.
        if not all(map(is_, asked, plan.asked)):
            return None
        try:
            desk = state.spare.pop()
        except IndexError:
            desk = self._borrow(state, plan.found, plan.effort, plan)
        if desk.plan is not plan:
            state.spare.append(desk)
            desk = self._borrow(state, plan.found, plan.effort, plan)
        whole, query, keys, found, scored, scratch, _ = desk
        (prepare, narrow, search, finish), shape = plan.codes, plan.shape
        ids, distances = np.empty(shape, _INT64), np.empty(shape, _FLOAT32)
        fine = prepare(plan.metric, state.bounds, Q, whole) == answer.FINE
        if fine and narrow is not None:
            fine = narrow(state.reduction, whole, query) < 0
        if fine:
            search(state.structure, query, plan.effort, scratch, keys, found, scored)
            finish(state.final, whole, keys, found, distances, ids, scored)
        state.spare.append(desk)
        return (ids, distances) if fine else None

    def _is_lone(self, Q: Any) -> bool:
        """Whether this is a single query that the kernels can take as it is."""
        return _DIRECT_CALLS and _is_plain(Q) and Q.shape in ((self._d,), (1, self._d))

    def _plan(
        self, state: State, Q: Floats, k: int, effort: Any, asked: tuple[Any, ...]
    ) -> None:
        """Keep how a lone query is answered, for this one and those like it."""
        before, shape = state.plan, (*Q.shape[:-1], k)
        if before is not None and (before.shape, before.effort) == (shape, effort):
            if not all(map(is_, asked, before.asked)):
                state.plan = before._replace(asked=asked)
            return
        found = min(self._sought(state, k), state.names.count)
        metric = METRICS.index(self._metric.name)
        codes = self._codes_for_one(state, Q, shape, found, effort, metric)
        state.plan = Plan(asked, Q.shape, shape, found, effort, metric, codes)

    def _codes_for_one(
        self, state: State, Q: Floats, shape: tuple[int, ...], found: int, effort: Any,
        metric: int,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Return the kernels' machine code for one query."""
        kind = type(state.structure), type(effort), Q.ndim
        codes: tuple[Any, ...] | None = state.codes.get(kind)
        if codes is None:
            desk = self._borrow(state, found, effort)
            whole, query, keys, those, scored, scratch, _ = desk
            prepare, finish = answer.prepare, answer.finish_one
            if Q.ndim == 2:
                prepare, finish = answer.prepare_row, answer.finish_all
            answers = np.empty(shape, np.float32), np.empty(shape, np.int64)
            final, how = state.final, state.reduction
            codes = state.codes[kind] = (
                direct(prepare, metric, state.bounds, Q, whole),
                None if how is None else direct(reduce, how, whole, query),
                direct(
                    answer.search, state.structure, query, effort, scratch, keys,
                    those, scored,
                ),
                direct(finish, final, whole, keys, those, *answers, scored),
            )  # fmt: skip
            state.spare.append(desk)
        return codes

    def _borrow(
        self, state: State, found: int, effort: Any, plan: Plan | None = None
    ) -> Desk:
        """Return working memory for one thread; the caller puts it back when done."""
        while state.spare:
            try:
                desk = state.spare.pop()
            except IndexError:  # another thread was quicker
                break
            if desk.ids.shape[1] == found and self._fits(desk.scratch, effort):
                return desk._replace(plan=plan)
        whole = aligned((1, state.contents.d or 0), np.float32)
        query = whole
        if state.reduction is not None:
            query = aligned((1, self._width(state)), np.float32)
        return Desk(
            whole=whole,
            query=query,
            keys=np.empty((1, found), np.float32),
            ids=np.empty((1, found), np.int32),
            scored=np.empty(1, np.int64),
            scratch=self._scratch(state, effort),
            plan=plan,
        )

    def _width(self, state: State) -> int:
        """Return how wide the queries are that a state's structure takes."""
        d = state.contents.d or 0
        return d if state.reduction is None else state.reduction.width

    # --- a traced query ---------------------------------------------------------------

    def _trace(self, Q: ArrayLike, k: int, effort: Any = None) -> Iterator[Outcome]:
        """Search for one query after another, and keep what each search did."""
        queries, _ = validation.queries(Q, self._d)
        prepared, state = self._metric.prepare(queries, "Q"), self._state
        narrow = reduced(state.reduction, prepared, "Q", 1)
        for both in zip(prepared, narrow, strict=True):
            yield self._trace_one(state, both, k, effort)

    def _trace_one(
        self, state: State, both: tuple[Floats, Floats], k: int, effort: Any
    ) -> Outcome:
        ids, distances = np.full((1, k), -1, np.int64), np.full((1, k), np.inf, "f4")
        if not state.names.count:
            return Outcome(ids[0], distances[0], 0, 0, None)
        desk = self._borrow(
            state, min(self._sought(state, k), state.names.count), effort
        )
        whole, query, keys, found, scored, *_ = desk
        whole[0], query[0] = both
        record = self._record(state, desk, effort)
        by_structure = int(scored[0])
        answer.finish_all(state.final, whole, keys, found, distances, ids, scored)
        refined = int(scored[0]) - by_structure
        state.spare.append(desk)
        return Outcome(ids[0], distances[0], by_structure, refined, record)

    def _counted(self, outcome: Outcome, exact: int = 0) -> dict[str, Any]:
        """Return the fields that traces share; ``exact`` were scored beside codes."""
        if isinstance(self._codec, Float32) and self._transform is None:
            exact = outcome.scored
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
        answer.present(METRICS.index(self._metric.name), distances)
        return distances

    def _names(self, positions: NDArray[Any]) -> NDArray[np.int64]:
        """Return users' ids; −1 stays −1."""
        places, ids = positions.astype(np.int64), self._state.names.ids
        if ids is None:
            return places
        return np.where(places < 0, -1, ids[places])

    def _row_cost(self, nq: int) -> float:
        """Return what scoring one of those that pass costs beside a lone query."""
        return filters.row_cost(nq) if self._shares(nq) else 1.0

    def _shares(self, nq: int) -> bool:
        """Whether so many queries among few vectors share the reading of rows."""
        rows = isinstance(self._codec, Float32) or self._refine is not None
        batch = nq >= exact.FEWEST_FOR_BYTES
        return rows and batch and self._metric.key != "l1"

    def _sought(self, state: State, k: int) -> int:
        """Return how many a state's structure has to find for ``k`` results."""
        refined = state.final.originals is not None
        return min(self._candidates(k) if refined else k, state.names.count)

    def _candidates(self, k: int) -> int:
        """Return how many a structure has to find for ``k`` results."""
        return k if self._refine is None else math.ceil(k * self._refine)


def _is_plain(Q: Any) -> bool:
    """Whether kernels can take it as it is, if it has the right shape."""
    return type(Q) is np.ndarray and Q.dtype == _FLOAT32 and Q.flags.carray


def one(threads: int | None) -> bool:
    """Whether one thread is asked for, or by default if there is one query."""
    return threads is None or (type(threads) is int and threads == 1)


def _resolved(names: Names, given: filters.Given) -> Filter:
    return filters.resolve(given, names.n, names.ids, names.alive, names.find)


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
