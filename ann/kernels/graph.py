"""HNSW's kernels (Malkov & Yashunin 2018): search of a layer, choice of neighbours.

The graph is two int32 tables. ``base`` has one row of up to M0 neighbours per vector;
``upper`` one row of up to M per vector and layer above. Rows end with −1, or with
whatever is no vector's number: a search stays inside its arrays in a damaged file too.
"""

from typing import Any, NamedTuple

import numpy as np

from ann.kernels import simd
from ann.kernels._jit import kernel
from ann.kernels.answer import nearest_of
from ann.kernels.duplicates import package_groups
from ann.kernels.pool import EXPANDED, ID_MASK, INFINITY, NO_ID, insert, package
from ann.kernels.record import POOL, begin_step, end_step, note_all_scored, note_scored
from ann.kernels.rows import project
from ann.kernels.stores import LINE, as_query, begin, between, fetch, lines, score
from ann.kernels.tricks import on

# While one neighbour is scored, the vectors of at least 16 more are on their way; of
# short ones, up to so many cache lines: 32 vectors of 192 bytes rather than 16 took 3
# to 5 % off a search, 32 of 1,536 bytes added 3 %.
AHEAD, LINES_AHEAD = 16, 384
# While a node's neighbours are scored, those of the one that is likely to be next are
# asked for: on 115,647 x 384 that took 4 to 7 % off a search of float32 vectors, 11 to
# 17 % of 8-bit codes. Of nodes far down the pool most neighbours are known already.
LOOK_AHEAD, UNKNOWN = on("look-ahead"), 32


class Graph(NamedTuple):
    """Links of all layers. A kernel changes only the rows it is told to."""

    base: np.ndarray  #: (n, M0) int32, layer 0
    upper: np.ndarray  #: (rows, M) int32, layers 1 and above
    upper_row: np.ndarray  #: (n,) int32, row in ``upper`` of a vector's layer 1
    entry_point: int
    top: int  #: highest layer, the entry point's


class Scratch(NamedTuple):
    """Working memory of one thread."""

    visited: np.ndarray  #: (>= n,) uint8, the search that saw a vector last
    epoch: np.ndarray  #: (1,) uint8, number of the present search
    keys: np.ndarray  #: (>= ef,) float32, a pool
    ids: np.ndarray  #: (>= ef,) int32
    found: np.ndarray  #: (>= M0,) int32, neighbours not seen before …
    found_keys: np.ndarray  #: (>= M0 + 16,) float32, … and their keys
    buffer: np.ndarray  #: float32, a prepared query
    room: np.ndarray  #: (2 d,) float32, to project it


@kernel
def new_search(scratch):
    """Forget what was visited: O(1), but for one reset in 255 searches."""
    epoch = scratch.epoch[0]
    if epoch == 255:
        for i in range(scratch.visited.size):
            scratch.visited[i] = 0
        epoch = np.uint8(0)
    epoch = np.uint8(epoch + np.uint8(1))
    scratch.epoch[0] = epoch
    return epoch


@kernel
def _row_of(graph, node, layer):
    return node if layer == 0 else graph.upper_row[node] + layer - 1


@kernel
def fetch_links(links, row):
    """Ask for all cache lines of a row: the first alone left 8 % of the time."""
    width = links.shape[1]
    for t in range(0, width, LINE // 4):
        simd.prefetch(links, row * width + t)


@kernel
def descend(graph, store, query, top, bottom, node, key, recorder=None):
    """Walk greedily to the nearest vector on layers ``top`` down to ``bottom``.

    Algorithm 5 with ef = 1. Asking for the links of each node on the way takes 4 % off
    a search at recall 0.90. ``recorder`` is None or a ``record.Walked``, which begins
    with ``node``.

    Returns
    -------
    node, key : int, float32    where the walk ended
    scored : int                vectors scored
    """
    if recorder is not None:
        note_scored(recorder, node, key)
    scored, n = 0, np.uint32(graph.upper_row.size)
    for layer in range(top, bottom - 1, -1):
        moved = True
        while moved:
            moved, row = False, graph.upper_row[node] + layer - 1
            if np.uint32(row) >= np.uint32(graph.upper.shape[0]):
                break
            if recorder is not None:
                begin_step(recorder, layer, node)
            for j in range(graph.upper.shape[1]):
                other = graph.upper[row, j]
                if np.uint32(other) >= n:
                    break
                fetch(store, other)
            for j in range(graph.upper.shape[1]):
                other = graph.upper[row, j]
                if np.uint32(other) >= n:
                    break
                other_key = score(store, query, other)
                scored += 1
                if recorder is not None:
                    note_scored(recorder, other, other_key)
                if other_key < key or (other_key == key and other < node):
                    node, key, moved = other, other_key, True
                    fetch_links(graph.upper, graph.upper_row[node] + layer - 1)
                    fetch_links(graph.base, node)
            if recorder is not None:
                end_step(recorder, key)
    return node, key, scored


@kernel
def _fetch_neighbors(links, store, row):
    width = links.shape[1]
    for j in range(width):
        other = simd.at(links, row * width + j)
        if other < 0:
            break
        fetch(store, other)


NEVER = np.float32(-1.0)
# A literal is a type of its own to Numba, and so is an argument that is left out: what
# is called with other types is compiled anew, which takes seconds.
ZERO, ONE = np.int64(0), np.int64(1)
TO_THE_END = None, ZERO, NEVER, NEVER, None, None  # of a build; a search's types


@kernel
def bound(keys, size, wanted, stretch, shift):
    """Return the key beyond which nothing is worth expanding (see ``search_layer``)."""
    if stretch < 0 or size < wanted:
        return INFINITY
    key = keys[wanted - 1]
    return key + stretch * max(key + shift, np.float32(0.0))


@kernel
def _limit(keys, size, ef, wanted, stretch, shift):
    """Return the key beyond which a pool takes nothing in."""
    worst = keys[size - 1] if size == ef else INFINITY
    return min(worst, bound(keys, size, wanted, stretch, shift))


class Taper(NamedTuple):
    """How far the links of what is hardly worth it are looked at."""

    near: float  #: stretch up to which a row is read whole
    links: int  #: of a row that are read beyond


@kernel
def search_layer(
    graph, store, query, layer, node, key, ef, scratch, originals=None, wanted=ZERO,
    stretch=NEVER, shift=NEVER, taper=None, recorder=None,
):  # fmt: skip
    """Beam search on one layer (Algorithm 2).

    Candidates and results share one sorted pool: a member is a candidate until it is
    expanded, and the search ends when all ``ef`` members are, or when what is left is
    ``stretch`` farther than the best ``wanted``. An expansion gathers the
    neighbours not seen before, scores them, and takes in those that a bit mask says are
    good enough: what cannot be predicted is kept out of branches, which with the same
    in ``insert`` took a quarter to a third off a search in 4,000 cached vectors.

    Parameters
    ----------
    graph, store : read-only
    query : float32             what ``begin`` or ``as_query`` wrote
    layer : int
    node, key : int32, float32  where to begin, and its key
    ef : int                    size of the pool
    scratch : Scratch           overwritten
    originals, wanted : store of rows, int
        The best ``wanted`` will be scored by these, if not None: they are asked for
        while the walk goes on. That took 3 to 5 % off a search of 4-bit codes.
    stretch, shift : float32
        Where key + shift is a distance, or its square, what is more than 1 + stretch
        times the ``wanted``-th best is neither taken in nor expanded; NEVER for all.
    taper : Taper
        What is more than 1 + ``near`` times the ``wanted``-th best is expanded by its
        first ``links`` links alone, if not None.
    recorder : record.Walked    overwritten, if not None

    Returns
    -------
    size : int                  results in ``scratch.keys``, ``scratch.ids[:size]``,
                                best first, ids marked as expanded
    scored : int                vectors scored
    """
    keys, ids, visited = scratch.keys, scratch.ids, scratch.visited
    found, found_keys = scratch.found, scratch.found_keys
    links = graph.base if layer == 0 else graph.upper
    width = links.shape[1]
    ahead, n = max(AHEAD, LINES_AHEAD // lines(store)), np.uint32(visited.size)
    epoch = new_search(scratch)
    visited[node] = epoch
    keys[0], ids[0] = key, node
    size, cursor, scored = ONE, 0, 0
    while cursor < size and keys[cursor] <= bound(keys, size, wanted, stretch, shift):
        node = ids[cursor]
        ids[cursor] = node | EXPANDED
        if recorder is not None:
            begin_step(recorder, layer, node)
        row = np.int64(_row_of(graph, node, layer)) * width
        n_found, reach = 0, width
        if taper is not None and keys[cursor] > bound(
            keys, size, wanted, np.float32(taper.near), shift
        ):
            reach = min(width, taper.links)
        for j in range(reach):
            other = simd.at(links, row + j)
            if np.uint32(other) >= n:
                break
            new = simd.at(visited, other) != epoch
            visited[np.uint32(other)] = epoch
            found[n_found] = other  # no branch: which are new cannot be predicted
            n_found += np.int64(new)
        for j in range(min(ahead, n_found)):
            fetch(store, found[j])
        scored += n_found
        if LOOK_AHEAD and originals is not None and cursor < wanted:
            fetch(originals, node)
        cursor += 1
        while cursor < size and ids[cursor] < 0:
            cursor += 1
        if LOOK_AHEAD and cursor < min(size, UNKNOWN):
            _fetch_neighbors(links, store, _row_of(graph, ids[cursor], layer))
        for j in range(n_found):
            if j + ahead < n_found:
                fetch(store, found[j + ahead])
            found_keys[j] = score(store, query, found[j])
        for first in range(0, n_found, 16):
            worst = keys[size - 1] if size == ef else INFINITY
            worst = min(worst, bound(keys, size, wanted, stretch, shift))
            bits = simd.not_above16(found_keys, first, n_found - first, worst)
            while bits != 0:
                j = first + simd.trailing_zeros(bits)
                bits &= bits - np.uint32(1)
                size, position = insert(keys, ids, size, ef, found_keys[j], found[j])
                cursor = min(cursor, position)
                fetch_links(links, _row_of(graph, found[j], layer))
        if recorder is not None:
            note_all_scored(recorder, found, found_keys, n_found)
            end_step(recorder, _limit(keys, size, ef, wanted, stretch, shift))
        while cursor < size and ids[cursor] < 0:
            cursor += 1
    if recorder is not None:
        recorder.used[POOL] = size
    return size, scored


class Walk(NamedTuple):
    """What a search needs of an index: its links, and how vectors are scored."""

    graph: Graph
    store: Any
    columns: Any  #: (d, d) float32, a rotation that codes have gone through, or None
    originals: Any  #: store of rows that the best are scored by anew, or None
    same: np.ndarray  #: (n,) int32, the next of its duplicates, or (0,) without any


@nearest_of(Walk)
def _nearest(walk, q, effort, scratch, keys, ids, recorder=None):
    """Algorithm 5; ``effort`` is ``ef``, ``stretch``, ``shift`` and a taper or None.

    Where ``recorder`` is None the machine code is what it would be without one, but not
    with a branch on it here: that laid out a walk on float32 rows anew.
    """
    ef, stretch, shift, taper = effort
    graph, store, query = walk.graph, walk.store, scratch.buffer
    project(None, walk.columns, q, scratch.room)
    begin(store, scratch.room[: q.size], query)
    node = np.int32(graph.entry_point)
    key = score(store, query, node)
    node, key, above = descend(graph, store, query, graph.top, ONE, node, key, recorder)
    size, below = search_layer(
        graph, store, query, ZERO, node, key, ef, scratch, walk.originals,
        min(ids.size, ef), np.float32(stretch), np.float32(shift), taper, recorder,
    )  # fmt: skip
    if walk.same.size == 0:
        package(scratch.keys, scratch.ids, size, keys, ids)
    else:
        package_groups(scratch.keys, scratch.ids, size, walk.same, keys, ids)
    return 1 + above + below


@kernel
def select_neighbors(store, keys, ids, size, limit, out):
    """Choose neighbours that lie in different directions (Algorithm 4).

    A candidate is taken unless it is closer to one taken before than to the point.
    Neither of the algorithm's options is used: candidates are not extended, and
    rejected ones do not fill the row.

    Parameters
    ----------
    keys, ids : (size,) float32, int32  candidates of the point, best first
    limit : int                 neighbours at most
    out : (>= limit,) int32     overwritten, its rest with −1
    """
    taken = 0
    for c in range(size):
        candidate = ids[c] & ID_MASK
        if c + 1 < size:
            fetch(store, ids[c + 1] & ID_MASK)
        near = True
        for t in range(taken):
            if between(store, candidate, out[t]) < keys[c]:
                near = False
                break
        if near:
            out[taken] = candidate
            taken += 1
            if taken == limit:
                break
    for t in range(taken, out.size):
        out[t] = NO_ID


@kernel
def insert_points(graph, store, points, levels, ef, M, scratch):
    """Find and write the links of new points (Algorithm 1, without line 11).

    Every point searches the same frozen graph: only the points' own rows are written,
    and nothing links to them yet.

    Parameters
    ----------
    points : (b,) int32
    levels : (n,) uint8         highest layer of each vector
    ef : int                    ``ef_construction``
    M : int                     neighbours chosen on each layer
    scratch : Scratch           overwritten
    """
    for p in points:
        query = scratch.buffer
        as_query(store, p, query)
        level = min(np.int64(levels[p]), graph.top)
        node = np.int32(graph.entry_point)
        key = score(store, query, node)
        node, key, _ = descend(
            graph, store, query, graph.top, level + 1, node, key, None
        )
        for layer in range(level, -1, -1):
            size, _ = search_layer(
                graph, store, query, layer, node, key, ef, scratch, *TO_THE_END
            )
            links = graph.base if layer == 0 else graph.upper
            row = links[_row_of(graph, p, layer)]
            select_neighbors(store, scratch.keys, scratch.ids, size, M, row)
            node, key = np.int32(scratch.ids[0] & ID_MASK), scratch.keys[0]


@kernel
def link_back(graph, store, layer, targets, starts, sources, capacity, scratch):
    """Add reverse edges, each target's together (Algorithm 1, lines 11 to 16).

    Where they do not fit into the row, it is chosen anew among old and new. A call
    writes its own targets' rows only, so calls with different targets can run at once.

    Parameters
    ----------
    targets : (g,) int32        distinct
    starts : (g + 1,) int64
    sources : int32             target t's new neighbours, in order of id, are
                                ``sources[starts[t]:starts[t+1]]``
    capacity : int              the most candidates that a target has
    scratch : Scratch           overwritten; its pool holds ``capacity``
    """
    keys, ids = scratch.keys, scratch.ids
    links = graph.base if layer == 0 else graph.upper
    width = links.shape[1]
    for t in range(targets.size):
        target = targets[t]
        row = links[_row_of(graph, target, layer)]
        degree = 0
        while degree < width and row[degree] >= 0:
            degree += 1
        first, last = starts[t], starts[t + 1]
        if degree + last - first <= width:
            for s in range(first, last):
                row[degree + s - first] = sources[s]
            continue
        for j in range(degree):
            fetch(store, row[j])
        size = ZERO
        for j in range(degree):
            key = between(store, target, row[j])
            size, _ = insert(keys, ids, size, capacity, key, row[j])
        for s in range(first, last):
            key = between(store, target, sources[s])
            size, _ = insert(keys, ids, size, capacity, key, sources[s])
        select_neighbors(store, keys, ids, size, width, row)
