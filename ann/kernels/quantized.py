"""A walk on quantized neighbourhoods (Gou et al., "SymphonyQG", SIGMOD 2025).

At every step one node is scored, and from that all its neighbours are estimated at
once (``neighborhood``). The pool holds estimates; what has been scored is the answer.
"""

from typing import Any, NamedTuple

import numpy as np

from ann.kernels import simd
from ann.kernels._jit import kernel
from ann.kernels.answer import nearest_of
from ann.kernels.duplicates import package_groups
from ann.kernels.fastscan import BLOCK
from ann.kernels.graph import Graph, Scratch, bound, new_search
from ann.kernels.neighborhood import (
    Neighborhoods,
    begin_query,
    estimate16,
    fetch_head,
    fetch_row,
    key_of_centre,
    sum_bits,
)
from ann.kernels.pool import EXPANDED, ID_MASK, INFINITY, NO_ID, insert, package
from ann.kernels.record import POOL, begin_step, end_step, note_scored
from ann.kernels.stores import begin, score
from ann.kernels.tricks import on

STARTS = 8  # roots that a walk begins with
ONE_BEHIND, SECOND_CHANCES = on("one-behind"), on("second-chances")


class QuantizedWalk(NamedTuple):
    """What a search needs: as ``graph.Walk``, and the neighbourhoods."""

    graph: Graph
    store: Any
    columns: Any
    originals: Any
    same: np.ndarray
    near: Neighborhoods  #: of all nodes
    roots: Neighborhoods  #: of the centre: where walks begin


class QuantizedScratch(NamedTuple):
    """Working memory of one thread."""

    walk: Scratch  #: its pool holds estimates
    centred: np.ndarray  #: (d,) float32
    told: np.ndarray  #: (>= m + bits,) float32
    tables: np.ndarray  #: (8 bits,) uint8
    met: np.ndarray  #: (>= places(ef),) int32, who is in the pool, by last bits
    sums: np.ndarray  #: (64,) int32
    estimates: np.ndarray  #: (16,) float32


@kernel
def places(ef):
    """Return how many places there are for who has been met: a power of two.

    A byte for each node, as where nodes are visited, is in no cache: to look at it took
    14 % of a search of 1,000,000 x 128. Of two with the same last bits the later is
    remembered, and the other gets into the pool once more, if it is met again.
    """
    count = 512
    while count < 32 * ef:
        count *= 2
    return count


@nearest_of(QuantizedWalk)
def _nearest(structure, q, effort, scratch, keys, ids, recorder=None):
    """Walk best first by estimates; ``effort`` is as of ``graph``'s, without a taper.

    It is one step behind: the node after the present one is chosen, and asked for,
    before the present one's neighbours are known, so that its row is there in time. To
    wait for a better one took 13 % longer at equal recall (1,000,000 x 128).
    """
    ef, stretch, shift, _ = effort
    near, store, query = structure.near, structure.store, scratch.walk.buffer
    stretch, shift = np.float32(stretch), np.float32(shift)
    begin(store, q, query)
    table = begin_query(near, q, scratch.centred, scratch.told, scratch.tables)
    pool_keys, pool_ids = scratch.walk.keys, scratch.walk.ids
    epoch, wanted = new_search(scratch.walk), min(ids.size, ef)
    visited, last = scratch.walk.visited, places(ef) - 1
    for j in range(last + 1):
        scratch.met[j] = NO_ID
    found, scored = np.int64(0), np.int64(0)
    size, cursor = _take_in(
        structure.roots, 0, NO_ID, key_of_centre(near, q, scratch.centred),
        table, INFINITY, min(ef, STARTS), np.int64(0), np.int64(0), last, scratch,
        recorder,
    )  # fmt: skip
    following, estimate = NO_ID, INFINITY
    while True:
        if following == NO_ID or (size == ef and estimate > pool_keys[size - 1]):
            if cursor == size:
                break
            following, estimate, cursor = _choose(scratch, cursor, size)
            fetch_row(near, store, following)
        if estimate > bound(keys, found, wanted, stretch, shift):
            break
        node, following = following, NO_ID
        if ONE_BEHIND and cursor < size:
            following, estimate, cursor = _choose(scratch, cursor, size)
            fetch_head(near, store, following)
        if np.uint32(node) >= np.uint32(visited.size) or visited[node] == epoch:
            continue
        visited[node] = epoch
        key = score(store, query, node)
        scored += 1
        found, _ = insert(keys, ids, found, wanted, key, node)
        if recorder is not None:
            begin_step(recorder, 0, node)
        most = bound(keys, found, wanted, stretch, shift)
        size, cursor = _take_in(
            near, node, following, key, table, most, ef, size, cursor, last, scratch,
            recorder,
        )  # fmt: skip
        if recorder is not None:
            end_step(recorder, pool_keys[size - 1] if size == ef else most)
        cursor = _next(pool_ids, cursor, size)
    if recorder is not None:
        recorder.used[POOL] = size
    if structure.same.size == 0:
        package(keys, ids, found, keys, ids)
    else:
        for j in range(found):
            pool_keys[j], pool_ids[j] = keys[j], ids[j]
        package_groups(pool_keys, pool_ids, found, structure.same, keys, ids)
    return scored


@kernel
def _choose(scratch, cursor, size):
    """Take the next node from the pool; return it, its key, and a cursor."""
    ids = scratch.walk.ids
    node, estimate = ids[cursor], scratch.walk.keys[cursor]
    ids[cursor] = node | EXPANDED
    return node, estimate, _next(ids, cursor, size)


@kernel
def _next(ids, cursor, size):
    """Return where the next is that has not been expanded."""
    while cursor < size and ids[cursor] < 0:
        cursor += 1
    return cursor


@kernel
def _take_in(
    near, node, following, key, table, most, capacity, size, cursor, last, scratch,
    recorder,
):  # fmt: skip
    """Take the neighbours of a node into the pool, by their estimates.

    One that is in the pool keeps the first estimate that it had. Who falls out of it
    may come again with a better one: estimates from afar are poor. That took recall@10
    at ef 16 from 0.83 to 0.87 (115,647 x 384), and at ef 64 from 0.982 to 0.984.

    Parameters
    ----------
    following : int             whose codes are asked for meanwhile, or −1
    key : float32               of the node
    table : base, step          what ``begin_tables`` returned
    most : float32              what is above is left out
    capacity : int              of the pool, now
    last : int                  of ``scratch.met``, of which so much is in use
    """
    (base, step), degree = table, near.degree
    keys, ids, met = scratch.walk.keys, scratch.walk.ids, scratch.met
    found, found_keys = scratch.walk.found, scratch.walk.found_keys  # of 16
    row = np.int64(node) * near.links.shape[1]
    terms = 2 * row + 2 * degree
    for first in range(0, degree, 16):
        if first % BLOCK == 0:
            sum_bits(
                near, node, first // BLOCK, scratch.tables, scratch.sums, following
            )
        worst = min(most, keys[size - 1]) if size == capacity else most
        bits = estimate16(
            scratch.sums, first % BLOCK, near.terms, terms + first,
            terms + degree + first, key, base, step, worst, scratch.estimates,
        )  # fmt: skip
        count = 0
        while bits != 0:  # who is new cannot be predicted: no branch
            lane = simd.trailing_zeros(bits)
            bits &= bits - np.uint32(1)
            other = simd.at(near.links, row + first + lane) & ID_MASK
            found[count], found_keys[count] = other, scratch.estimates[lane]
            count += np.int64(met[other & last] != other)
        for j in range(count):
            other = found[j]
            if SECOND_CHANCES and size == capacity:  # whoever falls out may come again
                gone = ids[size - 1]
                if gone >= 0 and met[gone & last] == gone:
                    met[gone & last] = NO_ID
            size, at = insert(keys, ids, size, capacity, found_keys[j], other)
            if at < capacity:
                met[other & last] = other
            cursor = min(cursor, at)
            if recorder is not None:
                note_scored(recorder, other, found_keys[j])
    return size, cursor
