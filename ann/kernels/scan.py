"""Scans: exact search over all vectors, and over the lists of an IVF index."""

from typing import Any, NamedTuple

import numpy as np

from ann.kernels._jit import by_type, kernel
from ann.kernels.answer import nearest_of
from ann.kernels.fastscan import FastScan, scan_blocks
from ann.kernels.pool import clear, insert, name_of, passes
from ann.kernels.rabitq import Blocks, enter_residuals, scan_codes
from ann.kernels.record import note_list
from ann.kernels.rows import project
from ann.kernels.shadow import (
    ListShadow,
    Shadow,
    enter_list,
    nearest_by_shadow,
    scan_shadows,
)
from ann.kernels.sq import STORES
from ann.kernels.stores import PQ4, PQ8, ROWS, ResidualL2, begin, fetch, score

AHEAD = 8  # vectors on their way while one is scored
TILE = 1024  # vectors


def scan_range(
    store, query, slot, first, count, then, bias, row_ids, keys, ids, allowed=None
):
    """Score ``count`` consecutive vectors of a store into a pool.

    Parameters
    ----------
    store : NamedTuple          read-only
    query : float32             what ``begin`` wrote; the scratch in it is overwritten
    slot : int                  where the store has the first of them
    first : int                 its number, when the empty slots between lists do not
                                count
    then : int                  slot where the scan goes on: the hardware follows a scan
                                by itself, but has to be told of a jump
    bias : float32              added to every key
    row_ids : (n,) int32 or None    name of vector number i; None: i itself
    keys, ids : (k,) float32, int32     a full pool (``clear``), overwritten
    allowed : (n,) uint8 or None    which names may enter the pool (``pool.passes``)
    """
    raise NotImplementedError


_scan_range = by_type(scan_range)


def _scan_one_by_one(
    store, query, slot, first, count, then, bias, row_ids, keys, ids, allowed=None
):
    k = keys.size
    limit = keys[k - 1]
    for offset in range(count):
        left = count - offset
        if left <= AHEAD:
            fetch(store, then + AHEAD - left)
        key = score(store, query, slot + offset) + bias
        if key <= limit:
            i = first + offset
            name = name_of(row_ids, i)
            if allowed is None or passes(allowed, name):
                insert(keys, ids, k, k, key, name)
                limit = keys[k - 1]


for _store in (*ROWS.values(), *STORES.values(), PQ8, PQ4, ResidualL2):
    _scan_range(_store)(_scan_one_by_one)
_scan_range(FastScan)(scan_blocks)
_scan_range(Blocks)(scan_codes)
for _store in (Shadow, ListShadow):
    _scan_range(_store)(scan_shadows)


def enter(store, query, which):
    """Make a query ready for list ``which``, where stores differ from list to list."""
    raise NotImplementedError


_enter = by_type(enter)


def _enter_any(store, query, which):
    pass


for _store in (
    *ROWS.values(), *STORES.values(), PQ8, PQ4, ResidualL2, FastScan, Shadow,
):  # fmt: skip
    _enter(_store)(_enter_any)
_enter(ListShadow)(enter_list)
_enter(Blocks)(enter_residuals)


def nearest_rows(store, query, n, bounds, keys, ids):
    """Find the best of the first ``n`` vectors of a store of rows.

    ``bounds`` (>= n,) float32 is scratch; ``keys``, ``ids`` is a full pool (``clear``)
    of at most n, overwritten.
    """
    raise NotImplementedError


_nearest_rows = by_type(nearest_rows)


def _nearest_by_scan(store, query, n, bounds, keys, ids):
    scan_range(store, query, 0, 0, n, 0, np.float32(0.0), None, keys, ids)


for _store in ROWS.values():
    _nearest_rows(_store)(_nearest_by_scan)
_nearest_rows(Shadow)(nearest_by_shadow)


class Everything(NamedTuple):
    """All vectors of a store, one after the other."""

    store: Any
    n: int
    columns: Any  #: as of ``Lists``
    allowed: Any = None  #: as of ``Lists``


class FlatScratch(NamedTuple):
    """Working memory of one thread that scans everything."""

    buffer: np.ndarray  #: float32, a prepared query
    room: np.ndarray  #: (2 d,) float32


@nearest_of(Everything)
def _nearest_of_all(everything, q, effort, scratch, keys, ids):
    store, n, query = everything.store, everything.n, scratch.buffer
    project(None, everything.columns, q, scratch.room)
    begin(store, scratch.room[: q.size], query)
    clear(keys, ids)
    zero, allowed = np.float32(0.0), everything.allowed
    scan_range(store, query, 0, 0, n, 0, zero, None, keys, ids, allowed)
    return n


@kernel
def scan_all(store, n, Q, buffers, keys, ids, allowed=None):
    """Exact search of each row of ``Q`` among the ``n`` vectors of a store.

    ``buffers`` (>= nq, query size) is scratch; ``keys``, ``ids`` (nq, k) are
    overwritten; ``allowed`` is as of ``scan_range``. A tile of vectors serves all
    queries while it is in the cache.
    """
    nq = Q.shape[0]
    zero, tile = np.float32(0.0), n if nq == 1 else TILE
    for r in range(nq):
        begin(store, Q[r], buffers[r])
        clear(keys[r], ids[r])
    for start in range(0, n, tile):
        stop = min(n, start + tile)
        for r in range(nq):
            scan_range(
                store, buffers[r], start, start, stop - start, start, zero, None,
                keys[r], ids[r], allowed,
            )  # fmt: skip


class Lists(NamedTuple):
    """An inverted file: vectors by their nearest centroid."""

    centroids: Any  #: a store of rows
    offsets: np.ndarray  #: (nlist + 1,) int64: where a list begins among the vectors,
    slots: np.ndarray  #: (nlist + 1,) int64: and among the slots of …
    store: Any  #: … all vectors in list order
    row_ids: np.ndarray  #: (n,) int32, whose ids these are
    residual: bool  #: whether codes describe x − centroid; its key is then added
    mean: Any  #: (d,) float32 that queries are taken from for the codes, or None
    columns: Any  #: (d, d) float32, a rotation that codes have gone through, or None
    allowed: Any = None  #: (n,) uint8, which ids a search may find, or None for all


class ListScratch(NamedTuple):
    """Working memory of one thread that searches lists for one query after another."""

    probe_keys: np.ndarray  #: (>= nprobe,) float32
    probes: np.ndarray  #: (>= nprobe,) int32
    buffers: np.ndarray  #: (4, size) float32; a query or nlist numbers fit into a row


@nearest_of(Lists)
def _nearest_in_lists(lists, q, effort, scratch, keys, ids, recorder=None):
    """Scan ``effort[0]`` lists, but stop after ``effort[1]`` that changed nothing.

    ``recorder`` is None or a ``record.Visited``.
    """
    choose_lists(lists, q, effort[0], scratch)
    return scan_lists(lists, q, effort, scratch, keys, ids, recorder)


@kernel
def choose_lists(lists, q, nprobe, scratch):
    """Write the lists nearest to a query, and their keys, to ``scratch``."""
    near, bounds = scratch.buffers[0], scratch.buffers[2]
    keys, probes = scratch.probe_keys[:nprobe], scratch.probes[:nprobe]
    begin(lists.centroids, q, near)
    clear(keys, probes)
    nearest_rows(lists.centroids, near, lists.offsets.size - 1, bounds, keys, probes)


@kernel
def scan_lists(lists, q, effort, scratch, keys, ids, recorder):
    """Scan what ``choose_lists`` chose, as ``nearest``; centroids count as scored."""
    nprobe, patience = effort
    query, room = scratch.buffers[1], scratch.buffers[3]
    probe_keys, probes = scratch.probe_keys[:nprobe], scratch.probes[:nprobe]
    project(lists.mean, lists.columns, q, room)
    begin(lists.store, room[: q.size], query)
    clear(keys, ids)
    seen, quiet, last = lists.offsets.size - 1, 0, keys.size - 1
    for p in range(nprobe):
        which, following = probes[p], probes[min(p + 1, nprobe - 1)]
        worst_key, worst = keys[last], ids[last]
        start = lists.offsets[which]
        count = lists.offsets[which + 1] - start
        bias = probe_keys[p] if lists.residual else np.float32(0.0)
        enter(lists.store, query, which)
        scan_range(
            lists.store, query, lists.slots[which], start, count,
            lists.slots[following], bias, lists.row_ids, keys, ids, lists.allowed,
        )  # fmt: skip
        seen += count
        if recorder is not None:
            note_list(recorder, which, probe_keys[p], keys[last], ids[last])
        # Whatever enters a full pool puts its last out.
        same = keys[last] == worst_key and ids[last] == worst
        quiet = quiet + 1 if same and worst >= 0 else 0
        if quiet == patience:
            break
    return seen


@kernel
def search_together(
    lists, Q, probe_keys, probes, starts, order, buffers, room, keys, ids, scored
):
    """As ``answer.search``, for queries whose probes are given, list after list.

    A list is read once for all queries that probe it, but for each query's nearest
    list, and then the next three, which come first: what they find spares the others'
    vectors.

    Parameters
    ----------
    starts : (nlist + 1,) int64     scratch
    order : (nq * nprobe,) int64    scratch
    buffers : (>= nq, size) float32     scratch
    room : (2 d,) float32       scratch
    """
    nq, nprobe = probes.shape
    few = min(4, nprobe)
    for r in range(nq):
        project(lists.mean, lists.columns, Q[r], room)
        begin(lists.store, room[: Q.shape[1]], buffers[r])
        clear(keys[r], ids[r])
        scored[r] = lists.offsets.size - 1
    for first, last in ((0, 1), (1, few), (few, nprobe)):
        _group(probes, first, last, starts, order)
        for which in range(lists.offsets.size - 1):
            begin_at, end = starts[which], starts[which + 1]
            size = lists.offsets[which + 1] - lists.offsets[which]
            for tile in range(0, size if begin_at < end else 0, TILE):
                count = min(TILE, size - tile)
                slot = lists.slots[which] + tile
                for e in range(begin_at, end):
                    r, p = divmod(order[e], nprobe)
                    bias = probe_keys[r, p] if lists.residual else np.float32(0.0)
                    enter(lists.store, buffers[r], which)
                    scan_range(
                        lists.store, buffers[r], slot, lists.offsets[which] + tile,
                        count, slot, bias, lists.row_ids, keys[r], ids[r],
                        lists.allowed,
                    )  # fmt: skip
                    scored[r] += count


@kernel
def _group(probes, first, last, starts, order):
    """Sort columns ``first`` to ``last - 1`` of probes by list, by counting.

    Entry ``r * nprobe + p`` of list c comes to ``order[starts[c]:starts[c + 1]]``.
    """
    nq, nprobe = probes.shape
    for c in range(starts.size):
        starts[c] = 0
    for r in range(nq):
        for p in range(first, last):
            starts[probes[r, p]] += 1
    total = 0
    for c in range(starts.size):
        total += starts[c]
        starts[c] = total  # where the list ends
    for r in range(nq - 1, -1, -1):
        for p in range(last - 1, first - 1, -1):
            starts[probes[r, p]] -= 1
            order[starts[probes[r, p]]] = r * nprobe + p


@kernel
def rescore(store, Q, candidates, out_keys, out_ids):
    """Take the best of each query's candidates (−1: none), scored by the store.

    ``candidates`` (nq, c) int32; ``out_keys``, ``out_ids`` (nq, k) are overwritten.
    """
    k, last = out_ids.shape[1], candidates.shape[1] - 1
    for r in range(Q.shape[0]):
        clear(out_keys[r], out_ids[r])
        for j in range(last + 1):
            i = candidates[r, j]
            if i < 0:
                break
            fetch(store, candidates[r, min(j + AHEAD, last)])
            insert(out_keys[r], out_ids[r], k, k, score(store, Q[r], i), i)
