"""Hierarchical Navigable Small World graphs.

Malkov & Yashunin, "Efficient and robust approximate nearest neighbor search using
hierarchical navigable small world graphs", IEEE TPAMI 2018.
"""

import math
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import (
    adaptive,
    duplicates,
    exact,
    filters,
    halves,
    nodes,
    parallel,
    traces,
    validation,
)
from ann.adaptive import NEVER, Calibration, Tapered
from ann.changing import Kept, Progress
from ann.codecs import SQ, Codec, Float32
from ann.duplicates import Seen
from ann.filters import Filter
from ann.index import Index
from ann.insertion import Insertion, new_scratch
from ann.kernels.answer import search, search_recorded
from ann.kernels.filtered import THROUGH, FilteredScratch, FilteredWalk
from ann.kernels.graph import Graph, Scratch, Taper, Walk
from ann.kernels.listed import Listed
from ann.kernels.pool import ID_MASK
from ann.kernels.record import Walked
from ann.kernels.scan import Everything, FlatScratch
from ann.kernels.stores import ROWS
from ann.kernels.tricks import on
from ann.memory import Spare, aligned, grown, taken
from ann.names import Names
from ann.nodes import HIGHEST, Nodes
from ann.searching import MOST, one
from ann.soundness import audit, faults
from ann.state import Contents, Desk, Floats, Outcome, State, Stopped
from ann.stored import Stored
from ann.traces import WalkTrace
from ann.transforms import Transform, reduced
from ann.upkeep import Upkeep, compact

_SEARCH_CHUNK = 16
_STEPS, _SCORED = 256, 4096  # what a trace has room for at first
_NOBODY, _NOTHING = np.empty(0, np.int32), np.empty(0, np.float32)
_POOL = 64  # by default
_RARELY = 16  # an add of one vector in so many looks for any that are out of reach
_CEILING = 1000  # of a pool whose size is not what ends a search

Effort = tuple[int, float, float, None] | Tapered
Working = Scratch | FilteredScratch | FlatScratch


class HNSW(Index):
    """A graph that is walked from far links to near ones.

    Parameters
    ----------
    metric, codec, refine, refine_dtype, norm_check, transform
        See :class:`ann.Index`. With a codec the walk scores codes; the graph is built
        on the vectors themselves (on what the codes decode to, for vectors of an
        earlier ``add`` whose originals were not kept).
    M : int
        Neighbours chosen for a new point, in [2, 1024]; rows hold M on the upper
        layers, ``M0 = 2 M`` on layer 0.
    ef_construction : int
        Size of the pool while building.
    seed : int
        Of the layers and the order of insertion.

    Notes
    -----
    Departures from the paper:

    - Points are inserted in batches (Manohar et al., "ParlayANN", PPoPP 2024). A
      batch's points all search the graph as it was before, in parallel; their reverse
      edges are then grouped by target and applied in order of id. The same data, seed
      and order of ``add`` calls give the same graph, bit for bit, at any number of
      threads.
    - Within an ``add``, the points of the highest layers go first, the others in a
      seeded random order: a sorted arrival would make batches of near neighbours that
      do not see each other.
    - Ties are broken by (distance, id).
    - For ``ip``, which is no distance, the same rules run on the negated inner product
      (Morozov & Babenko, "Non-metric similarity graphs for maximum inner product
      search", NeurIPS 2018). Vectors that are nobody's answer may then be unreachable.
      Lifting the vectors onto a sphere instead (Bachrach et al., RecSys 2014) was
      tried: on 5,000 x 24 Gaussian vectors with log-normal norms, recall@10 at
      ``ef_search=80`` was 0.26 against 1.00.

    Examples
    --------
    >>> index = HNSW(metric="cosine", M=16, ef_construction=200).add(X)
    >>> ids, distances = index.search(Q, k=10, ef_search=64)
    """

    _kind = "HNSW"

    def __init__(
        self,
        metric: str = "l2",
        *,
        M: int = 16,
        ef_construction: int = 200,
        codec: Codec | None = None,
        refine: float | None = None,
        seed: int = 0,
        norm_check: str = "warn",
        transform: Transform | None = None,
        refine_dtype: str | None = None,
    ) -> None:
        super().__init__(metric, codec, refine, norm_check, transform, refine_dtype)
        self._M = validation.integer(M, "M", 2, 1024)
        self._ef_construction = validation.integer(
            ef_construction, "ef_construction", 1
        )
        self._seed = validation.integer(seed, "seed", 0)

    @property
    def _build_params(self) -> dict[str, Any]:
        return {
            "M": self._M,
            "ef_construction": self._ef_construction,
            "seed": self._seed,
        }

    def _arrays(self) -> list[NDArray[Any]]:
        if self._held is None:
            return []
        held: Nodes = self._held
        links = [held.graph.base, held.graph.upper, held.graph.upper_row]
        if held.spare is not None:
            links += held.spare.arrays()
        return [held.packed, held.squares, held.levels, *links, held.same]

    def _shared(self, contents: Contents) -> Contents:
        held: Nodes | None = contents.held
        if held is None:
            return contents
        return contents._replace(held=held._replace(seen=None, spare=None))

    def _saved_held(self, held: Nodes, n: int) -> dict[str, NDArray[Any]]:
        arrays = nodes.saved(held, n)
        return arrays if held.calibration is None else arrays | held.calibration.saved()

    def _restored(self, stored: Stored, n: int, d: int) -> Nodes:
        held = nodes.restored(stored, n, self._M, self._codec.row(d))
        return held._replace(calibration=adaptive.restored(stored))

    def _wider(self, effort: dict[str, Any], k: int) -> dict[str, Any]:
        given, stop = effort.get("ef_search"), effort.get("epsilon")
        pool = given or (_POOL if stop is None else _CEILING)
        return {**effort, "ef_search": max(pool, self._candidates(k))}

    def search(
        self,
        Q: ArrayLike,
        k: int = 10,
        *,
        ef_search: int | None = None,
        epsilon: float | None = None,
        taper: bool = False,
        target_recall: float | None = None,
        filter: filters.Wanted | None = None,
        threads: int | None = None,
        distance_computations: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int64], Floats]:
        """Return about the ``k`` nearest neighbours of each query.

        Parameters
        ----------
        Q : (nq, d) or (d,) array
        k : int
        ef_search : int, optional
            Size of the pool: larger finds more and takes longer. At least k; by default
            64, or ``k``, or with ``refine`` the ``refine * k`` that are re-scored, if
            that is more. A smaller pool leaves so many fewer to re-score.
        epsilon : float, optional
            Stop where all that is left to look at is farther than 1 + epsilon times the
            k-th best (the ``refine * k``-th, with refinement); at least 0. Each query
            then takes the effort that it needs, and ``ef_search``, 1,000 by default, is
            but a ceiling (see Notes). Not under ``ip``, which has no distances.
        taper : bool
            With ``epsilon``: of what is farther than 1 + epsilon / 2 times the k-th
            best, look at the first M / 2 links alone.
        target_recall : float, optional
            Take the epsilon, with ``taper``, that came to this mean recall when
            ``calibrate`` was called, for the same ``k`` (so ``range_search``, which
            looks for more and more, has none).
        filter : array, callable or Prepared, optional
            Which vectors may be found: their ids; or a mask (m,) of bool, where id i
            passes if ``i < m`` and ``mask[i]``; or a function that is given all ids
            (ntotal,) int64 and returns a mask of them; or what ``prepare_filter`` made
            of one, which saves the time that this takes.
        threads : int, optional
            All cores for a batch, 1 for a single query by default.
        distance_computations : (nq,) int64 array, optional
            Overwritten with the number of vectors scored for each query.

        Returns
        -------
        ids, distances : (nq, k) int64, (nq, k) float32
            Closest first, ties in order of id; (k,) each for a single query. Where
            fewer than ``k`` were found: id −1, distance +inf.

        Raises
        ------
        ValueError
            As ``Flat.search``; ``ef_search < k``; ``epsilon`` out of range or under ip;
            ``target_recall`` beside it, without a calibration for ``k``, or more than
            that came to.

        Notes
        -----
        ``epsilon`` is the rule of adaptive beam search (Al-Jazzazi et al. 2025, arXiv
        2505.15636) and of PyNNDescent. Where some queries are harder than others it
        saves most: on 530,611 image patches recall@10 0.988 took 760 scores a query
        instead of 2,400, the median query 275 instead of 2,040.

        With ``taper`` rows end early, too. What lies in the outer half of the margin
        seldom leads to an answer, and if it does, mostly by the links that were chosen
        first, which are short. Filtered walks do not taper.
        """
        asked = k, ef_search, epsilon, taper, target_recall
        if filter is None and distance_computations is None and one(threads):
            found = self._again(self._state, Q, asked)
            if found is not None:
                return found
        k, now = validation.integer(k, "k", 1, MOST), self._view()
        effort = now._effort(*asked)
        return now._search(Q, k, threads, distance_computations, filter, effort, asked)

    def _effort(
        self,
        k: int,
        ef_search: int | None,
        epsilon: float | None,
        taper: bool = False,
        target_recall: float | None = None,
    ) -> Effort:
        """Return what a walk takes; raise ValueError where it is out of range."""
        if target_recall is not None:
            if epsilon is not None:
                raise ValueError(
                    "target_recall and epsilon must not be given both, got "
                    f"{target_recall!r} and {epsilon!r}"
                )
            epsilon = adaptive.margin(
                self.calibration, self._state.names, k, target_recall
            )
            taper = True
        if validation.boolean(taper, "taper") and epsilon is None:
            raise ValueError("taper needs epsilon, got None")
        if ef_search is None:
            ef = max(_POOL if epsilon is None else _CEILING, self._candidates(k))
        else:
            ef = validation.integer(ef_search, "ef_search", 1)
            if ef < k:
                raise ValueError(f"ef_search must be >= k={k}, got {ef}")
        ef = min(ef, max(1, self.ntotal))
        if epsilon is None:
            return ef, *NEVER, None
        stop = adaptive.stop(epsilon, self.metric)
        if not taper:
            return ef, *stop, None
        near, _ = adaptive.stop(epsilon / 2, self.metric)
        return Tapered(ef, *stop, Taper(near, self._M // 2))

    def calibrate(
        self, Q: ArrayLike, k: int = 10, *, threads: int | None = None
    ) -> Self:
        """Measure what recall each ``epsilon`` comes to, for ``target_recall``.

        Parameters
        ----------
        Q : (nq, d) array
            Such as will be asked, but not these: 1,000 tell a recall of 0.95 to within
            about 0.01. Vectors that are inside find themselves, and are too easy.
        k : int
            Neighbours that will be searched for.
        threads : int, optional
            All cores by default. The result does not depend on it.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As ``search``; there are no queries, or no vectors inside; under ip.

        Notes
        -----
        Recall is that of ``search`` with ``taper``, against ``exact``: with a codec and
        no ``refine``, against what all codes tell. The calibration is saved with the
        index. Where more than a tenth of the vectors have come or gone since, a search
        by ``target_recall`` refuses it. How often it holds is in docs/adaptive.md.

        Examples
        --------
        >>> index.calibrate(queries, k=10)
        >>> ids, distances = index.search(Q, k=10, target_recall=0.95)
        """
        with self._changing(sound=False) as draft:
            adaptive.stop(0.0, self.metric)  # not under ip
            asked, _ = validation.queries(Q, self._d)
            if not len(asked):
                raise ValueError("Q must have at least 1 row, got 0")
            if not self.ntotal:
                raise ValueError("calibrate needs a vector inside, got none")
            calibration = adaptive.calibrated(
                lambda epsilon: self.search(
                    asked, k, epsilon=epsilon, taper=True, threads=threads
                ),
                self.exact(asked, k, threads=threads),
                self._state.names,
                self._metric.least,
            )
            draft._publish(held=draft._held._replace(calibration=calibration))
        return self

    @property
    def calibration(self) -> Calibration | None:
        """What ``calibrate`` measured last, or None."""
        held: Nodes | None = self._held
        return None if held is None else held.calibration

    def trace(
        self,
        Q: ArrayLike,
        k: int = 10,
        *,
        ef_search: int | None = None,
        epsilon: float | None = None,
        taper: bool = False,
        target_recall: float | None = None,
    ) -> list[WalkTrace]:
        """Return what ``search`` does for each query: the way in, every step, the pool.

        Parameters
        ----------
        Q, k, ef_search, epsilon, taper, target_recall
            As of ``search``. Each query is searched for by itself, on one thread.

        Returns
        -------
        list of WalkTrace
            One per query, with its answer.

        Raises
        ------
        ValueError
            As ``search``.

        Examples
        --------
        >>> [trace] = index.trace(q, ef_search=64)
        >>> [(step.id, step.distance) for step in trace.entry + trace.steps]
        """
        k, now = validation.integer(k, "k", 1, MOST), self._view()
        effort = now._effort(k, ef_search, epsilon, taper, target_recall)
        return [now._told(outcome) for outcome in now._trace(Q, k, effort)]

    def _record(
        self, state: State, desk: Desk, effort: Effort
    ) -> tuple[Walked, NDArray[np.int32], Floats]:
        walked = _walk_once(state, desk, effort, _room(_STEPS, _SCORED))
        steps, scored, size = walked.used.tolist()
        if steps > _STEPS or scored > _SCORED:  # the same walk, with room for all of it
            walked = _walk_once(state, desk, effort, _room(steps, scored))
        scratch = _walk_of(desk.scratch)
        return walked, scratch.ids[:size] & ID_MASK, scratch.keys[:size].copy()

    def _told(self, outcome: Outcome) -> WalkTrace:
        walked, ids, keys = outcome.record or (_room(0, 0), _NOBODY, _NOTHING)
        steps, scored, _ = walked.used.tolist()
        return traces.walk(
            self._counted(outcome),
            walked.layers[:steps].tolist(),
            walked.firsts[:steps].tolist(),
            self._nodes(walked.nodes[:steps], walked.worst[:steps]),
            self._nodes(walked.scored[:scored], walked.keys[:scored]),
            self._nodes(ids, keys),
        )

    def _nearest(
        self, state: State, Q: Floats, k: int, threads: int, scored: NDArray[np.int64],
        effort: Effort,
    ) -> tuple[Floats, NDArray[np.int32]]:  # fmt: skip
        if isinstance(state.structure, Listed):
            scored[:] = len(state.structure.rows)
            return self._score_all(state, Q, k, threads)
        keys, ids = np.empty((len(Q), k), np.float32), np.empty((len(Q), k), np.int32)

        def work(ranges: parallel.Ranges) -> None:
            desk = self._borrow(state, k, effort)
            for a, b in ranges:
                search(
                    state.structure, Q[a:b], effort, desk.scratch, keys[a:b], ids[a:b],
                    scored[a:b],
                )  # fmt: skip
            state.spare.append(desk)

        chunk = parallel.chunk(len(Q), _SEARCH_CHUNK, threads)
        parallel.run(work, len(Q), chunk, threads)
        return keys, ids

    def _score_all(
        self, state: State, Q: Floats, k: int, threads: int
    ) -> tuple[Floats, NDArray[np.int32]]:
        """Score all that a filter lets pass, by the vectors themselves if they are."""
        key, some = self._metric.key, state.structure.rows
        if self._refine is not None:
            originals = state.contents.originals
            return exact.search_among(key, originals, some, Q, k, threads)
        if isinstance(state.codec, Float32):
            return exact.search_among(key, state.held.packed, some, Q, k, threads)
        size = _query_size(state.codec, Q.shape[1])
        return exact.search_listed(state.structure, Q, k, threads, size)

    def _filtered(
        self, state: State, selected: Filter, effort: Effort, nq: int
    ) -> tuple[State, Effort]:
        walk: Walk = state.structure
        n, M0 = state.names.count, walk.graph.base.shape[1]
        # Under ip the longest lead everywhere: without them a walk finds 0.88 to 0.98
        # of the best 10 among half or nine tenths of all, whatever its pool.
        lost = self._metric.name == "ip" and 20 * len(selected) < 19 * n
        lost = lost and not (self._norms.unit and state.reduction is None)
        row = self._row_cost(nq)
        if lost or not filters.walk_pays(n, len(selected), effort[0], M0, row):
            return self._listed(state, selected)
        lead = None
        if walk.same.size:
            lead = duplicates.leaders(walk.same, state.names.n)
        walked = filters.filtered_walk(walk, selected, lead)
        ef = filters.pool(effort[0], n, len(selected))
        return state.among(selected, walked), (ef, *effort[1:3], None)

    def _listed(self, state: State, selected: Filter) -> tuple[State, Effort]:
        walk: Walk = state.structure
        every = Everything(walk.store, state.names.n, walk.columns)
        refined = self._refine is not None
        if refined:
            every = Everything(walk.originals, state.names.n, None)
        listed = filters.listed(every, selected)
        return state.among(selected, listed, refined), (1, *NEVER, None)

    def _structure(self, contents: Contents, originals: Any) -> Any:
        return self._walk(contents, originals)

    def _walk(self, contents: Contents, originals: Any) -> Walk:
        codec, held = contents.codec, contents.held
        store = codec.store(held.packed, self._metric.key)
        return Walk(held.graph, store, codec.columns, originals, held.same)

    def _scratch(self, state: State, effort: Effort) -> Working:
        width, d = state.held.graph.base.shape[1], self._width(state)
        size = effort[0]
        if isinstance(state.structure, Listed):
            room = aligned((2 * d,), np.float32)
            query = aligned((_query_size(state.codec, d),), np.float32)
            return FlatScratch(query, room)
        if isinstance(state.structure, FilteredWalk):
            width *= 2
        wide = _query_size(state.codec, d)
        own = new_scratch(state.contents.capacity, size, width, wide, d)
        if isinstance(state.structure, FilteredWalk):
            through = np.empty(THROUGH + state.held.graph.base.shape[1], np.int32)
            return FilteredScratch(own, through)
        return own

    def _fits(self, scratch: Working, effort: Effort) -> bool:
        if isinstance(scratch, FlatScratch):
            return True
        return len(_walk_of(scratch).keys) >= effort[0]

    # --- building ---------------------------------------------------------------------

    def _insert(
        self, X: Floats, originals: Floats, capacity: int, threads: int,
        progress: Progress,
    ) -> Nodes:  # fmt: skip
        first, before = self._state.names.n, self._held or nodes.none(self._M)
        codes = self._codes(X, threads)
        packed = grown(before.packed, first, self._codec.pack(codes), capacity)
        seen = before.seen
        if seen is None or seen.n != first:  # never, or not by a change that was made
            seen = self._all_seen()
        rows = packed if self._refine is None else originals
        leaders = seen.leaders(rows, np.full(len(X), -1, np.int32))
        rng = np.random.default_rng([self._seed, first])
        levels = self._draw_levels(rng, len(X))
        levels[leaders >= 0] = 0
        order = rng.permutation(len(X)).astype(np.int32)
        order = order[np.argsort(-levels[order].astype(np.int64), kind="stable")]
        order = first + order[leaders[order] < 0]
        n, held = first + len(X), nodes.with_room(before, first, packed, levels)
        held, store = self._store_to_build_on(held, n, X, originals, threads)
        insertion = Insertion(
            held.graph,
            store,
            held.levels[:n],
            self._M,
            self._ef_construction,
            _query_size(self._codec, X.shape[1]),
            threads,
        )
        try:
            insertion.insert(order, progress)
        except BaseException as cause:
            absent = np.ones(len(X), bool)
            absent[order[: insertion.inserted] - first] = False
            out = first + np.flatnonzero(absent)
            alive = np.ones(n, bool)
            alive[:first] = self._lead(self._state.names, before.same)
            alive[out] = False
            held = held._replace(graph=insertion.graph, seen=None)
            held = nodes.led(held, first, np.full(len(X), -1, np.int32))
            graph = self._upkeep(held, store, alive, X.shape[1], threads).remove()
            raise Stopped(cause, held._replace(graph=graph), out) from cause
        # One large ``add`` does not need it again.
        held = held._replace(graph=insertion.graph, seen=seen if first else None)
        held = nodes.led(held, first, leaders)
        few = len(X) < n // _RARELY
        if few and len(before.graph.base) == capacity:
            lease = self._state.contents.lease
            changed = np.concatenate([np.arange(first, n), *insertion.changed])
            held = held._replace(spare=Spare(before.graph.base, changed, lease))
        if self._metric.name != "ip" and not few:
            names = self._state.names.extended(None, len(X))
            lead = self._lead(names, held.same)
            linked = self._upkeep(held, store, lead, X.shape[1], threads).connect()
            held = held._replace(graph=linked)
        return held

    def _all_seen(self) -> Seen:
        """Return a table of all leaders in the index."""
        contents = self._state.contents
        names, held = contents.names, contents.held
        if not names.n:
            return Seen(np.empty((0, 4), np.uint8), np.empty(0, bool))
        rows = held.packed if self._refine is None else contents.originals
        return Seen(rows, self._lead(names, held.same))

    def _lead(self, names: Names, same: NDArray[np.int32]) -> Kept:
        """Return which positions (n,) have a place in the graph."""
        lead, links = np.zeros(names.n, bool), same[: names.n]
        lead[names.here] = True
        lead[links[links >= 0]] = False
        return lead

    def _store_to_build_on(
        self, held: Nodes, n: int, X: Floats, originals: Floats, threads: int
    ) -> tuple[Nodes, Any]:
        """Return all ``n`` vectors as the graph's builder compares them.

        These are the stored ones, where the codec can compare two of them. ``X`` are
        the last, which have just come.
        """
        known, key = n - len(X), self._metric.key
        if isinstance(self._codec, SQ) and on("build-on-codes"):
            store = self._codec.store(held.packed, key)
            if key != "dot":
                return held, store
            kept = known if len(held.squares) >= known else 0  # files have none
            new = self._codec.unpack(held.packed[kept:n])
            squares = self._codec.square_norms(new)
            squares = grown(held.squares, kept, squares, len(held.packed))
            return held._replace(squares=squares), store._replace(squares=squares)
        if isinstance(self._codec, Float32):
            rows = held.packed
        elif known == 0:
            rows = X
        elif self._refine is not None:
            whole = halves.floats(originals[:n])
            rows = reduced(self._state.reduction, whole, "X", threads)
        else:
            before = self._codec.unpack(held.packed[:known])
            decoded = self._codec.decode(before, threads=threads)
            rows = np.concatenate([decoded, X])
        return held, ROWS[key](rows)

    # --- upkeep -----------------------------------------------------------------------

    def _upkeep(
        self, held: Nodes, store: Any, lead: Kept, d: int, threads: int
    ) -> Upkeep:
        return Upkeep(
            held.graph,
            store,
            held.levels[: len(lead)],
            lead,
            self._M,
            self._ef_construction,
            _query_size(self._codec, d),
            threads,
        )

    def _take_out(self, positions: NDArray[np.int64], threads: int) -> None:
        held, names = self._held, self._state.names
        dead, same = np.zeros(names.n, bool), held.same
        dead[positions] = True
        if len(same):
            same = same.copy()
            leaders, successors = duplicates.taken_out(same, dead)
            names = names.exchanged(leaders, successors)
            dead[leaders], dead[successors] = False, True
        names = names.without(np.flatnonzero(dead))
        self._set(names=names, held=held._replace(same=same, seen=None))
        self._unlink(threads)

    def _unlink(self, threads: int) -> None:
        """Lead all links past what was removed."""
        held, upkeep = self._under_upkeep(threads)
        self._publish(threads, held=held._replace(graph=upkeep.remove()))

    def _under_upkeep(self, threads: int) -> tuple[Nodes, Upkeep]:
        """Return the nodes with links of their own, and what changes these."""
        contents, d = self._state.contents, self._width(self._state)
        n, nothing = contents.names.n, np.empty((0, d), np.float32)
        held, store = self._store_to_build_on(
            nodes.with_own_links(contents.held, n), n, nothing, contents.originals,
            threads,
        )  # fmt: skip
        lead = self._lead(contents.names, held.same)
        return held, self._upkeep(held, store, lead, d, threads)

    def _faults(self) -> Iterator[str]:
        return map(str, faults(*self._looked_at()) if self._held else ())

    def _looked_at(self) -> tuple[Graph, NDArray[np.uint8], Kept]:
        names, held = self._state.names, self._held
        lead = self._lead(names, held.same)
        return held.graph, held.levels[: names.n], lead

    def _audited(self) -> Iterator[str]:
        if self._held is None:
            return
        found = audit(*self._looked_at())
        yield from map(str, found.faults)
        for health in found.layers:
            if health.unreachable and self._metric.name != "ip":
                yield (
                    f"layer {health.layer}: {health.unreachable} vectors out of reach, "
                    f"the first at position {health.first_unreachable}"
                )

    def _repair(self, threads: int) -> None:
        held, upkeep = self._under_upkeep(threads)
        graph, levels = upkeep.repair()
        n, capacity = len(levels), self._state.contents.capacity
        levels = grown(np.empty(0, np.uint8), 0, levels, capacity)
        rows = grown(np.empty(0, np.int32), 0, graph.upper_row[:n], capacity)
        graph = graph._replace(upper_row=rows)
        self._publish(
            threads, held=held._replace(graph=graph, levels=levels, near=None)
        )

    def _vectors(self, positions: NDArray[np.int64]) -> Floats:
        return self._decoded(self._held.packed[positions])

    def _select(self, held: Nodes, kept: Kept, threads: int) -> Nodes:
        graph, levels, now = compact(
            held.graph, held.levels[: len(kept)], kept, threads
        )
        same = held.same[: len(kept)][kept] if len(held.same) else held.same
        same = np.where(same >= 0, now[same], -1).astype(np.int32)
        return held._replace(
            packed=taken(held.packed, np.flatnonzero(kept)),
            squares=np.empty(0, np.float32),
            levels=levels,
            graph=graph,
            same=same,
            near=None,
            seen=None,
            spare=None,
        )

    def _draw_levels(self, rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
        """Draw each point's highest layer: floor(−ln(U) / ln M) (Sec. 4.1)."""
        uniform = 1.0 - rng.random(n)  # in (0, 1]
        drawn = -np.log(uniform) / math.log(self._M)
        return np.minimum(drawn, HIGHEST).astype(np.uint8)


def _query_size(codec: Codec, d: int) -> int:
    """Return the room for a query's prepared form, and to decode a vector."""
    return d + codec.query_size(d)


def _walk_of(scratch: Any) -> Scratch:
    """Return the working memory of a walk, which may be a part of a larger one."""
    walk: Scratch = getattr(scratch, "walk", scratch)
    return walk


def _walk_once(state: State, desk: Desk, effort: Effort, walked: Walked) -> Walked:
    desk.scored[0] = search_recorded(
        state.structure, desk.query[0], effort, desk.scratch, desk.keys[0],
        desk.ids[0], walked,
    )  # fmt: skip
    return walked


def _room(steps: int, scored: int) -> Walked:
    """Return an empty record with room for so much."""
    return Walked(
        used=np.zeros(3, np.int64),
        layers=np.empty(steps, np.int32),
        nodes=np.empty(steps, np.int32),
        firsts=np.empty(steps, np.int64),
        worst=np.empty(steps, np.float32),
        scored=np.empty(scored, np.int32),
        keys=np.empty(scored, np.float32),
    )
