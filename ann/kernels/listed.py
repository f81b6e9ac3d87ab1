"""Exact search among chosen vectors: for the few that pass a filter.

What a scan of all vectors would read and refuse is not read at all.
"""

from typing import NamedTuple

import numpy as np

from ann.kernels._jit import by_type
from ann.kernels.answer import nearest_of
from ann.kernels.fastscan import BLOCK, FastScan
from ann.kernels.pool import clear, insert, name_of
from ann.kernels.rabitq import Blocks, Planes
from ann.kernels.rows import project
from ann.kernels.scan import Everything, Lists, enter, scan_range
from ann.kernels.shadow import ListShadow, Shadow
from ann.kernels.sq import STORES
from ann.kernels.stores import PQ4, PQ8, ROWS, ResidualL2, begin, fetch, score

AHEAD = 8  # vectors on their way while one is scored


def score_listed(
    store, query, rows, first, end, shift, bias, row_ids, keys, ids, allowed=None
):
    """Score chosen vectors of a store into a pool.

    Parameters
    ----------
    store : NamedTuple          read-only
    query : float32             what ``begin`` wrote; the scratch in it is overwritten
    rows : (m,) int32           their numbers in ``[first, end)``, ascending for a store
                                that scores a block at a time
    first, end : int            a list's vectors, which begin a block
    shift : int                 vector i is in slot ``i + shift``
    bias : float32              added to every key
    row_ids : (n,) int32 or None    name of vector number i; None: i itself
    keys, ids : (k,) float32, int32     a full pool (``clear``), overwritten
    allowed : (n,) uint8 or None    which names may be among the results, for a store
                                that scores a block at a time; None for the others
    """
    raise NotImplementedError


_score_listed = by_type(score_listed)


def _one_by_one(
    store, query, rows, first, end, shift, bias, row_ids, keys, ids, allowed=None
):
    k, m = keys.size, rows.size
    for j in range(min(AHEAD, m)):
        fetch(store, rows[j] + shift)
    for j in range(m):
        if j + AHEAD < m:
            fetch(store, rows[j + AHEAD] + shift)
        i = np.int64(rows[j])
        key = score(store, query, i + shift) + bias
        if key <= keys[k - 1]:
            insert(keys, ids, k, k, key, name_of(row_ids, i))


def _in_blocks(
    store, query, rows, first, end, shift, bias, row_ids, keys, ids, allowed=None
):
    """Score the blocks that have one of the vectors, and keep the others out."""
    j = 0
    while j < rows.size:
        start = rows[j] - (rows[j] - first) % BLOCK
        stop = min(start + BLOCK, end)
        scan_range(
            store, query, start + shift, start, stop - start, 0, bias, row_ids, keys,
            ids, allowed,
        )  # fmt: skip
        while j < rows.size and rows[j] < stop:
            j += 1


def _by_rows(
    store, query, rows, first, end, shift, bias, row_ids, keys, ids, allowed=None
):
    """Score the rows themselves, which are numbered without a shift."""
    score_listed(store.exact, query, rows, first, end, 0, bias, row_ids, keys, ids)


for _store in (*ROWS.values(), *STORES.values(), PQ8, PQ4, ResidualL2, Planes):
    _score_listed(_store)(_one_by_one)
IN_BLOCKS = FastScan, Blocks
for _store in IN_BLOCKS:
    _score_listed(_store)(_in_blocks)
for _store in (Shadow, ListShadow):
    _score_listed(_store)(_by_rows)


class Listed(NamedTuple):
    """Some of all vectors of a store."""

    everything: Everything  #: ``allowed`` is as ``score_listed`` wants it
    rows: np.ndarray  #: (m,) int32, which, ascending


@nearest_of(Listed)
def _nearest_listed(listed, q, effort, scratch, keys, ids):
    """Score them all; ``scratch`` has a ``buffer`` and ``room``, ``effort`` is idle."""
    everything, rows, query = listed.everything, listed.rows, scratch.buffer
    project(None, everything.columns, q, scratch.room)
    begin(everything.store, scratch.room[: q.size], query)
    clear(keys, ids)
    score_listed(
        everything.store, query, rows, 0, everything.n, 0, np.float32(0.0), None, keys,
        ids, everything.allowed,
    )  # fmt: skip
    return rows.size


class ListedInLists(NamedTuple):
    """Some vectors of an inverted file."""

    lists: Lists  #: ``allowed`` is as ``score_listed`` wants it
    rows: np.ndarray  #: (m,) int32, which of the vectors in list order, list by list
    owners: np.ndarray  #: (u,) int32, the lists that have some, ascending
    starts: np.ndarray  #: (u + 1,) int64, where each one's begin among ``rows``


@nearest_of(ListedInLists)
def _nearest_listed_in_lists(listed, q, effort, scratch, keys, ids):
    """Score them all; ``scratch`` is a ``ListScratch``, ``effort`` is idle."""
    lists, buffers = listed.lists, scratch.buffers
    near, query, room = buffers[0], buffers[1], buffers[3]
    project(lists.mean, lists.columns, q, room)
    begin(lists.store, room[: q.size], query)
    if lists.residual:
        begin(lists.centroids, q, near)
    clear(keys, ids)
    for u in range(listed.owners.size):
        which, bias = listed.owners[u], np.float32(0.0)
        if lists.residual:
            bias = score(lists.centroids, near, which)
            enter(lists.store, query, which)
        first, end = lists.offsets[which], lists.offsets[which + 1]
        score_listed(
            lists.store, query, listed.rows[listed.starts[u] : listed.starts[u + 1]],
            first, end, lists.slots[which] - first, bias, lists.row_ids, keys, ids,
            lists.allowed,
        )  # fmt: skip
    return listed.rows.size + (listed.owners.size if lists.residual else 0)
