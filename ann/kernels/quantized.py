"""A walk on quantized neighbourhoods (Gou et al., "SymphonyQG", SIGMOD 2025).

At every step one node is scored, and from that all its neighbours are estimated at
once (``neighborhood``). The pool holds estimates; what has been scored is the answer.
"""

from typing import Any, NamedTuple

import numpy as np

from ann.kernels._jit import kernel
from ann.kernels.answer import nearest_of
from ann.kernels.duplicates import package_groups
from ann.kernels.fastscan import BLOCK
from ann.kernels.frontier import (
    begin_frontier,
    beyond,
    key_of,
    limit,
    narrow,
    put,
    sort_members,
    take_best,
)
from ann.kernels.graph import bound, new_search
from ann.kernels.neighborhood import (
    Frame,
    Neighborhoods,
    begin_query,
    estimate16,
    fetch_head,
    fetch_row,
    key_of_centre,
    sum_bits,
)
from ann.kernels.pool import INFINITY, NO_ID, insert, package
from ann.kernels.record import POOL, begin_step, end_step, note_all_scored
from ann.kernels.stores import begin, score
from ann.kernels.tricks import on

STARTS = 8  # roots that a walk begins with
ONE_BEHIND = on("one-behind")


class QuantizedWalk(NamedTuple):
    """What a search needs of an index."""

    store: Any
    originals: Any  #: store of rows that the best are scored by anew, or None
    same: np.ndarray  #: (n,) int32, the next of its duplicates, or (0,) without any
    near: Neighborhoods  #: of all nodes
    roots: Neighborhoods  #: of the centre: where walks begin
    frame: Frame


class QuantizedScratch(NamedTuple):
    """Working memory of one thread."""

    visited: np.ndarray  #: (>= n,) uint8, the search that scored a node last
    epoch: np.ndarray  #: (1,) uint8, number of the present search
    keys: np.ndarray  #: (room(ef),) float32, of a ``Frontier`` of estimates …
    ids: np.ndarray  #: (room(ef),) int32
    met: np.ndarray  #: (>= places(ef),) uint32
    query: np.ndarray  #: float32, as the store has it
    centred: np.ndarray  #: (d,) float32
    told: np.ndarray  #: float32, as ``sketch.begin_tables`` has it
    tables: np.ndarray  #: (8 bits,) uint8
    sums: np.ndarray  #: (64,) int32
    estimates: np.ndarray  #: (16,) float32


@nearest_of(QuantizedWalk)
def _nearest(structure, q, effort, scratch, keys, ids, recorder=None):
    """Walk best first by estimates; ``effort`` is as of ``graph``'s, without a taper.

    It is one step behind: the node after the present one is chosen, and asked for,
    before the present one's neighbours are known, so that its row is there in time. To
    wait for a better one took 13 % longer at equal recall (1,000,000 x 128).
    """
    ef, stretch, shift, _ = effort
    near, frame, store = structure.near, structure.frame, structure.store
    query, visited = scratch.query, scratch.visited
    stretch, shift = np.float32(stretch), np.float32(shift)
    begin(store, q, query)
    table = begin_query(frame, q, scratch.centred, scratch.told, scratch.tables)
    pool = begin_frontier(scratch.keys, scratch.ids, scratch.met, ef)
    epoch, wanted = new_search(scratch), min(ids.size, ef)
    found, scored = np.int64(0), np.int64(0)
    key, fine = key_of_centre(frame, q, scratch.centred), frame.sketch.fine
    size, _ = _take_in(
        structure.roots, 0, NO_ID, key, table, fine, INFINITY, INFINITY, STARTS,
        np.int64(0), pool, scratch, recorder,
    )  # fmt: skip
    size, _ = narrow(pool, size, STARTS, STARTS)
    worst = INFINITY
    following, estimate = NO_ID, INFINITY
    while True:
        if following != NO_ID:  # if worse now, it is still what was best before
            estimate = min(estimate, key_of(pool, following, estimate))
        if following == NO_ID or beyond(pool, size, ef, estimate):
            following, estimate = take_best(pool, size)
            if following == NO_ID or beyond(pool, size, ef, estimate):
                break
            fetch_row(near, store, following)
        if estimate > bound(keys, found, wanted, stretch, shift):
            break
        node, following = following, NO_ID
        if ONE_BEHIND:
            following, estimate = take_best(pool, size)
            if following != NO_ID:
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
        size, worst = _take_in(
            near, node, following, key, table, fine, most, worst, ef, size, pool,
            scratch, recorder,
        )  # fmt: skip
        if recorder is not None:
            end_step(recorder, min(most, worst))
    if recorder is not None:
        sort_members(pool, size)
        recorder.used[POOL] = min(size, ef)
    if structure.same.size == 0:
        package(keys, ids, found, keys, ids)
    else:
        for j in range(found):
            pool.keys[j], pool.ids[j] = keys[j], ids[j]
        package_groups(pool.keys, pool.ids, found, structure.same, keys, ids)
    return scored


@kernel
def _take_in(
    near, node, following, key, table, fine, most, worst, capacity, size, pool,
    scratch, recorder,
):  # fmt: skip
    """Take the neighbours of a node into the pool, by their estimates.

    Parameters
    ----------
    following : int             whose codes are asked for meanwhile, or −1
    key : float32               of the node
    table : base, step          what ``begin_tables`` returned
    fine : bool                 whether there are two sets of them
    most, worst : float32       what is above is left out
    capacity : int              of the pool
    size : int                  its members

    Returns
    -------
    size, worst                 as they are now
    """
    (base, step), degree, estimates = table, near.degree, scratch.estimates
    row = np.int64(node) * near.links.shape[1]
    terms = 2 * row + 2 * degree
    for first in range(0, degree, 16):
        if first % BLOCK == 0:
            sum_bits(
                near, node, first // BLOCK, fine, scratch.tables, scratch.sums,
                following,
            )  # fmt: skip
        bits = estimate16(
            scratch.sums, first % BLOCK, near.terms, terms + first,
            terms + degree + first, key, base, step, min(most, worst), estimates,
        )  # fmt: skip
        before, size = size, put(pool, size, bits, estimates, near.links, row + first)
        if recorder is not None:
            names = pool.ids[before:]
            note_all_scored(recorder, names, pool.keys[before:], size - before)
        if size > limit(capacity):
            size, worst = narrow(pool, size, capacity, capacity + capacity // 8)
    return size, worst
