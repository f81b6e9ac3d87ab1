"""Filters: from what a user gives to positions, and which strategy to search them by.

Three strategies, of which the number of vectors that pass decides (``walk_pays``,
``lists_pay``):

===========  =========================================================================
few          all that pass are scored, and nothing else (:mod:`ann.kernels.listed`)
some         a walk of the graph that looks through those that fail, or more lists
             (:mod:`ann.kernels.filtered`)
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
from ann.kernels.fastscan import FastScan
from ann.kernels.filtered import LINKS_A_SCORE, FilteredLists, FilteredWalk
from ann.kernels.graph import Walk
from ann.kernels.listed import Listed, ListedInLists
from ann.kernels.scan import Everything, Lists

Bools = NDArray[np.bool_]
Ids = NDArray[np.int64]
Positions = NDArray[np.int32]
Wanted = ArrayLike | Callable[[Ids], Bools]


class Filter:
    """Which of an index's vectors a search may find.

    Parameters
    ----------
    positions : (m,) int32
        Of those that pass: ascending, each once.
    n : int
        Positions that the index has.
    """

    def __init__(self, positions: Positions, n: int) -> None:
        self.positions, self.n = positions, n

    @cached_property
    def allowed(self) -> NDArray[np.uint8]:
        """1 for each position that passes, else 0; (n,) uint8.

        Made when it is first asked for: a search of few never does.
        """
        allowed = np.zeros(self.n, np.uint8)
        allowed[self.positions] = 1
        return allowed

    def __len__(self) -> int:
        return len(self.positions)


# --- what a user gives ----------------------------------------------------------------


def resolve(
    wanted: Wanted,
    n: int,
    names: Ids | None = None,
    alive: Bools | None = None,
    find: Callable[[Ids], NDArray[np.integer[Any]]] | None = None,
) -> Filter:
    """Return what passes, as positions.

    Parameters
    ----------
    wanted : (m,) bool array, (m,) integer array, or function
        - a mask: id i passes where ``i < m`` and ``mask[i]``, so that what was added
          since the mask was made does not pass;
        - ids: those that pass, in any order. Others than the index has, such as ids
          that were removed since, pass nothing;
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
        dtype; or the function returned something else than such a mask.
    """
    positions: NDArray[np.integer[Any]]
    if callable(wanted):
        positions = _by_function(wanted, n, names, alive)
    else:
        array = np.asarray(validation.unmasked(wanted, "filter"))
        if array.ndim != 1:
            raise ValueError(
                "filter must be a mask (m,), ids (m,) or a function, and is one for "
                f"all queries, got {type(wanted).__name__} of shape {array.shape}"
            )
        if array.dtype == np.bool_:
            positions = _by_mask(array, n, names)
        elif array.dtype.kind in "iu" or array.size == 0:
            positions = _by_ids(array.astype(np.int64), n, names, find)
        else:
            raise ValueError(
                f"filter must be of bool or of integers, got dtype {array.dtype}"
            )
        if alive is not None:
            positions = positions[alive[positions]]
    return Filter(positions.astype(np.int32), n)


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


def _by_mask(mask: Bools, n: int, names: Ids | None) -> NDArray[np.int64]:
    if names is None:
        return np.flatnonzero(mask[:n])
    known = np.flatnonzero(names[:n] < len(mask))
    return known[mask[names[known]]]


def _by_ids(
    ids: Ids,
    n: int,
    names: Ids | None,
    find: Callable[[Ids], NDArray[np.integer[Any]]] | None,
) -> NDArray[np.integer[Any]]:
    if names is None:  # what no int64 holds has become negative
        return np.unique(ids[(ids >= 0) & (ids < n)])
    if find is None:
        return np.flatnonzero(np.isin(names[:n], ids))
    positions = np.unique(find(ids))
    return positions[positions >= 0]


# --- graphs ---------------------------------------------------------------------------


def walk_pays(n: int, passing: int, ef: int, M0: int, row: float = 1.0) -> bool:
    """Whether a walk is likely to take less than to score all that passes.

    A walk expands about ``ef`` vectors. Each brings about ``M0 / 2`` that are scored,
    and takes looking at ``M0`` links, or as many more as have to be gone through to
    meet ``degree(M0)`` that pass, ``LINKS_A_SCORE`` of which cost as much as a score.

    Parameters
    ----------
    n, passing : int
        Vectors of the index, and those that pass.
    ef, M0 : int
        Pool of the walk, links of a vector.
    row : float
        What scoring one of all that passes costs beside a score of the walk: less than
        1 in a batch that shares the reading (see :func:`ann.exact.search_among`).
    """
    if passing <= ef:
        return False
    links = max(M0, degree(M0) * n / passing)
    return ef * (M0 / 2 + links / LINKS_A_SCORE) < row * passing


def degree(M0: int) -> int:
    """Return how many passing neighbours an expansion looks for at least.

    As many as a vector has links, where that is more: recall@10 was then that of a
    search without a filter (12,000 x 24 Gaussian vectors, ef 64: 0.983; 0.984, 0.983
    and 0.997 where 50, 10 and 1 % passed). At least ``M0 / 2``: with 1, among 60
    clusters, it was 0.894 instead of 0.994 where 12 passed, and 0.973 instead of 0.982
    where a tenth in one corner did, for 8 % fewer scores.
    """
    return max(1, M0 // 2)


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
    allowed = selected.allowed if isinstance(everything.store, FastScan) else None
    return Listed(everything._replace(allowed=allowed), selected.positions)


# --- lists ----------------------------------------------------------------------------


def probes(nprobe: int, nlist: int, n: int, passing: int) -> int:
    """Return how many lists hold as much that passes as ``nprobe`` do without a filter.

    Where a share s passes at random, the k nearest of it are about the k / s nearest of
    all. Their ball has 1 / s times the volume, and so have the lists that are scanned
    if they are 1 / s times as many: recall is what it was, or better, for cells are
    smaller beside a larger ball.
    """
    return min(nlist, math.ceil(nprobe * n / max(1, passing)))


def lists_pay(nprobe: int, nlist: int, n: int, passing: int, row: float = 2.0) -> bool:
    """Whether scanning ``probes`` lists is likely to take less than all that passes.

    ``row`` is what scoring one of these, each from a place of its own, costs beside a
    vector of a scan.
    """
    scanned = nlist + probes(nprobe, nlist, n, passing) * n / nlist
    return scanned < row * passing


def listed_in_lists(
    lists: Lists, selected: Filter, places: Positions | None = None
) -> ListedInLists:
    """Return the structure that scores all that passes in an inverted file.

    ``places`` (n,) int32 tells where in the lists each position is, if that is known;
    without it all vectors are gone through.
    """
    if places is None:
        rows = np.flatnonzero(selected.allowed[lists.row_ids]).astype(np.int32)
    else:
        rows = np.sort(places[selected.positions])
    in_blocks = isinstance(lists.store, FastScan)
    allowed = selected.allowed if in_blocks else None
    if in_blocks or lists.residual:
        owner = np.searchsorted(lists.offsets, rows, side="right") - 1
        owners, starts = np.unique(owner.astype(np.int32), return_index=True)
    else:  # one list is like another: all at once
        owners, starts = np.zeros(1, np.int32), np.zeros(1, np.int64)
    return ListedInLists(
        lists._replace(allowed=allowed), rows, owners, np.append(starts, len(rows))
    )


def filtered_lists(
    lists: Lists, selected: Filter, nprobe: int, places: Positions | None = None
) -> FilteredLists:
    """Return an inverted file's structure for a filtered search.

    It is searched with ``probes(nprobe, …)`` lists, and answers exactly where these
    have less than half of what ``nprobe`` lists have without a filter: where what
    passes lies far from the query.
    """
    in_order = selected.allowed[lists.row_ids]
    ends = np.concatenate([[0], np.cumsum(in_order, dtype=np.int64)])[lists.offsets]
    nlist = len(lists.offsets) - 1
    return FilteredLists(
        lists=lists._replace(allowed=selected.allowed),
        passing=np.diff(ends),
        enough=min(len(selected), nprobe * len(in_order) // (2 * nlist)),
        listed=listed_in_lists(lists, selected, places),
    )
