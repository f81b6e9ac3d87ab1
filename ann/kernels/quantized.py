"""A walk on quantized neighbourhoods (Gou et al., "SymphonyQG", SIGMOD 2025).

At every step one node is scored, and from that all its neighbours are estimated at
once (``neighborhood``). The pool holds estimates; what has been scored is the answer.
"""

from typing import Any, NamedTuple

import numpy as np

from ann.kernels import simd
from ann.kernels.answer import nearest_of
from ann.kernels.duplicates import package_groups
from ann.kernels.graph import Graph, Scratch, bound, new_search
from ann.kernels.neighborhood import (
    Neighborhoods,
    begin_tables,
    estimate16,
    fetch_row,
    sum_signs,
)
from ann.kernels.pool import EXPANDED, INFINITY, insert, package
from ann.kernels.record import POOL, begin_step, end_step, note_scored
from ann.kernels.stores import begin, score


class QuantizedWalk(NamedTuple):
    """What a search needs: as ``graph.Walk``, and the neighbourhoods."""

    graph: Graph
    store: Any
    columns: Any
    originals: Any
    same: np.ndarray
    near: Neighborhoods


class QuantizedScratch(NamedTuple):
    """Working memory of one thread."""

    walk: Scratch  #: its pool holds estimates
    rotated: np.ndarray  #: (D,) float32
    tables: np.ndarray  #: (4 D,) uint8
    sums: np.ndarray  #: (degree,) int32
    estimates: np.ndarray  #: (16,) float32


@nearest_of(QuantizedWalk)
def _nearest(structure, q, effort, scratch, keys, ids, recorder=None):
    """Walk best first by estimates; ``effort`` is as of ``graph``'s, without a taper.

    A node gets into the pool once, with the first estimate that it has. Where to go on
    is asked for before the present node's neighbours are estimated, and again where one
    of them is better.
    """
    ef, stretch, shift, _ = effort
    near, store, query = structure.near, structure.store, scratch.walk.buffer
    stretch, shift = np.float32(stretch), np.float32(shift)
    begin(store, q, query)
    base, step = begin_tables(near, q, scratch.rotated, scratch.tables)
    pool_keys, pool_ids = scratch.walk.keys, scratch.walk.ids
    visited, epoch = scratch.walk.visited, new_search(scratch.walk)
    wanted = min(ids.size, ef)
    n, degree, stride = np.uint32(visited.size), near.degree, near.links.shape[1]
    entry = np.int32(structure.graph.entry_point)
    visited[entry] = epoch
    pool_keys[0], pool_ids[0] = -INFINITY, entry
    size, cursor, found, scored = np.int64(1), np.int64(0), np.int64(0), np.int64(0)
    if recorder is not None:
        note_scored(recorder, entry, score(store, query, entry))
    while cursor < size:
        if pool_keys[cursor] > bound(keys, found, wanted, stretch, shift):
            break
        node = pool_ids[cursor]
        pool_ids[cursor] = node | EXPANDED
        cursor += 1
        while cursor < size and pool_ids[cursor] < 0:
            cursor += 1
        if cursor < size:
            fetch_row(near, store, pool_ids[cursor])
        key = score(store, query, node)
        scored += 1
        found, _ = insert(keys, ids, found, wanted, key, node)
        if recorder is not None:
            begin_step(recorder, 0, node)
        sum_signs(near, node, scratch.tables, scratch.sums)
        row = np.int64(node) * stride
        for first in range(0, degree, 16):
            worst = pool_keys[size - 1] if size == ef else INFINITY
            worst = min(worst, bound(keys, found, wanted, stretch, shift))
            terms = 2 * row + 2 * degree + first
            bits = estimate16(
                scratch.sums, first, near.terms, terms, terms + degree, key, base,
                step, worst, scratch.estimates,
            )  # fmt: skip
            while bits != 0:
                lane = simd.trailing_zeros(bits)
                bits &= bits - np.uint32(1)
                other = simd.at(near.links, row + first + lane)
                if np.uint32(other) >= n or simd.at(visited, other) == epoch:
                    continue
                visited[np.uint32(other)] = epoch
                estimate = scratch.estimates[lane]
                size, at = insert(pool_keys, pool_ids, size, ef, estimate, other)
                if at <= cursor:
                    cursor = at
                    fetch_row(near, store, other)
                if recorder is not None:
                    note_scored(recorder, other, estimate)
        if recorder is not None:
            worst = pool_keys[size - 1] if size == ef else INFINITY
            end_step(recorder, worst)
        while cursor < size and pool_ids[cursor] < 0:
            cursor += 1
    if recorder is not None:
        recorder.used[POOL] = size
    if structure.same.size == 0:
        package(keys, ids, found, keys, ids)
    else:
        for j in range(found):
            pool_keys[j], pool_ids[j] = keys[j], ids[j]
        package_groups(pool_keys, pool_ids, found, structure.same, keys, ids)
    return scored
