"""Filters: from what a user gives to positions, and which strategy to search them by.

Three strategies, of which the number of vectors that pass decides (``walk_pays``,
``lists_pay``):

===========  =========================================================================
few          all that pass are scored, and nothing else (:mod:`ann.kernels.listed`)
some         a walk of the graph that looks through those that fail, or what passes
             in more lists (:mod:`ann.kernels.filtered`)
nearly all   the same, where it costs what a search without a filter does: a walk
             finds enough that passes among its direct links, a scan tests what it
             would have taken in
===========  =========================================================================
"""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import validation
from ann.kernels.filtered import LINKS_A_SCORE, THIN, FilteredLists, FilteredWalk
from ann.kernels.graph import Walk
from ann.kernels.listed import IN_BLOCKS, Listed, ListedInLists
from ann.kernels.scan import Everything, Lists
from ann.kernels.selection import ascending, owners_of, places_of

Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
Ids = NDArray[np.int64]
Positions = NDArray[np.int32]
Given = ArrayLike | Callable[[Ids], Bools]


class Prepared:
    """A filter that many searches share: what ``Index.prepare_filter`` returns.

    It means what it was made of, always: when the index has changed, the next search
    finds out anew which vectors pass.

    Parameters
    ----------
    given : array or callable
        As ``resolve`` takes it; of an array a copy is kept.
    """

    def __init__(self, given: Given) -> None:
        validation.unmasked(given, "filter")
        kept = given if callable(given) or np.ndim(given) != 1 else np.array(given)
        self.given: Given = kept  # what is no filter, ``resolve`` refuses


Wanted = Given | Prepared
_FIRST = np.zeros(1, np.int32)


class Filter:
    """Which of an index's vectors a search may find.

    Parameters
    ----------
    positions : (m,) int32
        Of those that pass: ascending, each once.
    n : int
        Positions that the index has.
    allowed : (n,) uint8, optional
        The attribute, where it is known.
    """

    def __init__(
        self, positions: Positions, n: int, allowed: Bytes | None = None
    ) -> None:
        self.positions, self.n, self._allowed = positions, n, allowed

    @cached_property
    def allowed(self) -> Bytes:
        """1 for each position that passes, else 0; (n,) uint8.

        Made when it is first asked for: a search of few never does.
        """
        if self._allowed is not None:
            return self._allowed
        allowed = np.zeros(self.n, np.uint8)
        allowed[self.positions] = 1
        return allowed

    def __len__(self) -> int:
        return len(self.positions)


# What it costs to score one of all that passes, by counts of vectors that took as long
# (115,647 x 384, cosine, one thread): beside a vector of a walk, which comes from a
# place that is not known ahead; beside one of a list, which follows another; in a batch
# beside a lone query, and to lay it there for all queries.
IN_ORDER, SCATTERED = 0.5, 2.5
SHARED, GATHERED = 0.12, 2.0

# --- what a user gives ----------------------------------------------------------------


def resolve(
    given: Given,
    n: int,
    names: Ids | None = None,
    alive: Bools | None = None,
    find: Callable[[Ids], NDArray[np.integer[Any]]] | None = None,
) -> Filter:
    """Return what passes, as positions.

    Parameters
    ----------
    given : (m,) bool array, (m,) integer array, or function
        - a mask: id i passes where ``i < m`` and ``mask[i]``, so that what was added
          since the mask was made does not pass;
        - ids: those that pass, in any order. Others than the index has, such as ids
          that were removed since, pass nothing. Nothing but 0 and 1, some repeated, is
          taken for a mask of another dtype, and refused;
        - a function that is called once, with all ids (ntotal,) int64 in no particular
          order and read-only, and returns a mask of the same shape.
    n : int
        Positions that the index has, those of removed vectors among them.
    names : (n,) int64, optional
        The ids; None where they are the positions.
    alive : (n,) bool, optional
        False where a vector was removed; None where none was.
    find : function, optional
        From ids to positions, −1 where there is none; without it all names are gone
        through. Not asked where ``names`` is None.

    Raises
    ------
    ValueError
        Anything else: of more dimensions (one filter serves all queries), of another
        dtype, a mask of integers; or the function returned something else than a mask.
    """
    if callable(given):
        return Filter(_by_function(given, n, names, alive).astype(np.int32), n)
    array = np.asarray(validation.unmasked(given, "filter"))
    if array.ndim != 1:
        raise ValueError(
            "filter must be a mask (m,), ids (m,) or a function, and is one for "
            f"all queries, got {type(given).__name__} of shape {array.shape}"
        )
    if array.dtype == np.bool_:
        selected = _by_mask(array, n, names)
    elif array.dtype.kind in "iu" or array.size == 0:
        _refuse_bits(array)
        selected = _by_ids(array.astype(np.int64, copy=False), n, names, find)
    else:
        raise ValueError(
            f"filter must be of bool or of integers, got dtype {array.dtype}"
        )
    if alive is None:
        return selected
    return Filter(selected.positions[alive[selected.positions]], n)


def _refuse_bits(ids: NDArray[Any]) -> None:
    """Raise ValueError for 0 and 1 repeated: a mask that is of integers."""
    if ids.size < 2 or not (0 <= ids[0] <= 1 and 0 <= ids[-1] <= 1):
        return
    if (ids.size > 2 or ids[0] == ids[1]) and ids.min() >= 0 and ids.max() <= 1:
        raise ValueError(
            "filter must be a mask of bool, or ids other than 0 and 1 repeated, got "
            f"{ids.size} integers that look like a mask: use mask.astype(bool)"
        )


def _by_function(
    passing: Callable[[Ids], Bools], n: int, names: Ids | None, alive: Bools | None
) -> NDArray[np.int64]:
    positions = np.arange(n) if alive is None else np.flatnonzero(alive)
    ids = positions.copy() if names is None else names[positions]
    ids.flags.writeable = False
    mask: Bools = np.asarray(validation.unmasked(passing(ids), "filter"))
    if mask.dtype != np.bool_ or mask.shape != ids.shape:
        raise ValueError(
            f"filter must return bool of shape {ids.shape}, a value for "
            f"each id that it is given, got {mask.dtype} of shape {mask.shape}"
        )
    return positions[mask]


def _by_mask(mask: Bools, n: int, names: Ids | None) -> Filter:
    if names is None:
        return _where(mask[:n], n)
    known = np.flatnonzero(names[:n] < len(mask))
    return Filter(known[mask[names[known]]].astype(np.int32), n)


def _where(mask: Bools, n: int) -> Filter:
    """Return what a mask over positions says; others than it has do not pass."""
    whole = (mask if mask.flags.carray else mask.copy()).view(np.uint8)
    words = whole[: len(whole) & -8].view(np.uint64)
    if not words.flags.aligned:
        words = words.copy()
    out = np.empty(np.count_nonzero(mask), np.int32)
    places_of(whole, words, out)
    return Filter(out, n, whole if len(whole) == n else None)


def _by_ids(
    ids: Ids,
    n: int,
    names: Ids | None,
    find: Callable[[Ids], NDArray[np.integer[Any]]] | None,
) -> Filter:
    positions: NDArray[np.integer[Any]] = ids  # what no int64 holds has become negative
    if names is None:
        out = np.empty(len(ids) + 1, np.int32)
        count = ascending(ids if ids.flags.carray else ids.copy(), n, out)
        if count >= 0:
            return Filter(out[:count], n)
    elif find is None:
        return _where(np.isin(names[:n], ids), n)
    else:
        positions = find(ids)
    mask = np.zeros(n, bool)
    mask[positions[(positions >= 0) & (positions < n)]] = True
    return _where(mask, n)


def everything(ids: Ids) -> Bools:
    """Let all pass: what exact search is asked for by (``Searching.exact``)."""
    return np.ones(len(ids), np.bool_)


# --- graphs ---------------------------------------------------------------------------


def row_cost(nq: int) -> float:
    """Return what scoring a vector for each of a batch costs beside a lone query.

    What passes is laid side by side, and then its reading is shared.
    """
    return SHARED + GATHERED / nq


def walk_pays(n: int, passing: int, ef: int, M0: int, row: float = 1.0) -> bool:
    """Whether a walk is likely to take less than to score all that passes.

    A walk expands about as many vectors as its ``pool`` has places. Each brings about
    ``2 M0 / 3`` that are scored, and takes looking at as many links as have to be gone
    through to meet ``degree(M0)`` that pass, ``LINKS_A_SCORE`` of which cost as much
    as a score.

    Parameters
    ----------
    n, passing : int
        Vectors of the index, and those that pass.
    ef, M0 : int
        Pool of a walk without a filter, links of a vector.
    row : float
        What scoring one of all that passes costs beside that for a lone query
        (``row_cost``).
    """
    if passing <= ef:
        return False
    expansion = 2 * M0 / 3 + degree(M0) * n / passing / LINKS_A_SCORE
    return pool(ef, n, passing) * expansion < IN_ORDER * row * passing


def pool(ef: int, n: int, passing: int) -> int:
    """Return the pool of a filtered walk: the wider, the less passes.

    What leads on then lies farther away. Among 115,647 x 384 sentence embeddings, ef 64
    found 0.979, 0.963 and 0.947 of the best 10 where 50, 10 and 5 % passed at random,
    and 0.972, 0.919 and 0.900 where these were the farthest from a vector.
    """
    return math.ceil(ef * (1 + math.log10(n / passing) / 2))


def degree(M0: int) -> int:
    """Return how many passing neighbours an expansion looks for at least.

    As many as a row has room for. With half of that, the same embeddings, 0.963 became
    0.978 and 0.919 became 0.948 where 10 % passed, for 1.25 times the scores; a pool
    of 1.5 times the size took 1.35 times the scores for 0.979 and 0.951.
    """
    return M0


def filtered_walk(
    walk: Walk, selected: Filter, leaders: Positions | None = None
) -> FilteredWalk:
    """Return a graph's structure for a filtered search (``answer.search``).

    A walk that has done as much as it takes to score all that passes is given up.
    ``leaders`` (n,) int32 tells which node of the graph stands for each vector, where
    that may be another.
    """
    nodes = selected
    if leaders is not None:
        nodes = Filter(np.unique(leaders[selected.positions]), selected.n)
    return FilteredWalk(
        walk,
        nodes.allowed,
        nodes.positions,
        selected.allowed,
        selected.positions,
        degree(walk.graph.base.shape[1]),
        len(selected),
    )


def listed(everything: Everything, selected: Filter) -> Listed:
    """Return the structure that scores all that passes, from any store."""
    if isinstance(everything.store, IN_BLOCKS):
        everything = everything._replace(allowed=selected.allowed)
    return Listed(everything, selected.positions)


# --- lists ----------------------------------------------------------------------------


def probes(nprobe: int, nlist: int, n: int, passing: int) -> int:
    """Return how many lists hold as much that passes as ``nprobe`` do without a filter.

    Where a share s passes at random, the k nearest of it are about the k / s nearest of
    all. Their ball has 1 / s times the volume, and so have the lists that are scanned
    if they are 1 / s times as many: recall is what it was, or better, for cells are
    smaller beside a larger ball.
    """
    return min(nlist, math.ceil(nprobe * n / max(1, passing)))


def lists_pay(nprobe: int, nlist: int, n: int, passing: int, row: float = 1.0) -> bool:
    """Whether searching ``probes`` lists is likely to take less than all that passes.

    They are scanned, or what passes in them is scored. ``row`` is as of ``walk_pays``.
    """
    scanned = probes(nprobe, nlist, n, passing) * n / nlist
    cheaper = min(scanned, THIN * scanned * passing / n)
    return nlist + cheaper < SCATTERED * row * passing


def listed_in_lists(lists: Lists, selected: Filter, places: Positions) -> ListedInLists:
    """Return the structure that scores all that passes in an inverted file.

    ``places`` (n,) int32 tells where in the lists each position is.
    """
    rows = places[selected.positions]
    if isinstance(lists.store, IN_BLOCKS):
        lists = lists._replace(allowed=selected.allowed)
    elif not lists.residual:  # one list is like another: all at once, in any order
        return ListedInLists(lists, rows, _FIRST, np.array([0, len(rows)]))
    rows.sort()
    nlist = len(lists.offsets) - 1
    owners, starts = np.empty(nlist, np.int32), np.empty(nlist + 1, np.int64)
    some = owners_of(rows, lists.offsets, owners, starts)
    return ListedInLists(lists, rows, owners[:some], starts[: some + 1])


def filtered_lists(
    lists: Lists, selected: Filter, nprobe: int, places: Positions
) -> FilteredLists:
    """Return an inverted file's structure for a filtered search.

    It is searched with ``probes(nprobe, …)`` lists, and answers exactly where these
    have less than half of what ``nprobe`` lists have without a filter: where what
    passes lies far from the query.
    """
    listed, nlist = listed_in_lists(lists, selected, places), len(lists.offsets) - 1
    rows = np.sort(listed.rows)
    return FilteredLists(
        lists=lists._replace(allowed=selected.allowed),
        rows=rows,
        starts=np.searchsorted(rows, lists.offsets.astype(np.int32)),
        enough=min(len(selected), nprobe * len(lists.row_ids) // (2 * nlist)),
        listed=listed,
    )
