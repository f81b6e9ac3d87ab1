"""Filtered search: a walk among what passes, lists until enough of it was met.

Both know when they do worse than to score all that passes, and then do that.
"""

from typing import NamedTuple

import numpy as np

from ann.kernels import simd
from ann.kernels._jit import kernel
from ann.kernels.answer import nearest, nearest_of
from ann.kernels.duplicates import package_groups
from ann.kernels.graph import (
    AHEAD,
    ONE,
    ZERO,
    Scratch,
    Walk,
    bound,
    descend,
    fetch_links,
    new_search,
)
from ann.kernels.listed import ListedInLists, score_listed
from ann.kernels.pool import EXPANDED, INFINITY, clear, insert, package
from ann.kernels.rows import project
from ann.kernels.scan import Lists, choose_lists, scan_lists
from ann.kernels.scan import enter as enter_list
from ann.kernels.stores import begin, fetch, score

# So many links that are looked at are taken to cost as much as one vector scored.
LINKS_A_SCORE = 16
THROUGH = 2048  # failing vectors that an expansion keeps to look through
ROWS_AHEAD = 4  # whose links are on their way
# A list is read from end to end in the time in which one in so many of it is scored by
# itself.
THIN = 3
# A walk begins with what passes around where it came down, and so many seeds: more
# where too little passes there.
SEEDS, MORE_SEEDS = 8, 128


class FilteredWalk(NamedTuple):
    """What a filtered search of a graph needs."""

    walk: Walk
    allowed: np.ndarray  #: (n,) uint8, not 0 for the nodes that pass
    positions: np.ndarray  #: int32, which these are, ascending
    members: np.ndarray  #: (n,) uint8, not 0 for the vectors that pass: a node passes
    rows: np.ndarray  #: (m,) int32, which these are      if one of its group does
    degree: int  #: passing neighbours that an expansion looks for at least; M0 at most
    most: int  #: vectors that a walk may score before all that pass are scored


class FilteredScratch(NamedTuple):
    """Working memory of one thread."""

    walk: Scratch  #: with room for 2 M0 in ``found``, 16 more in ``found_keys``
    through: np.ndarray  #: (>= THROUGH + M0,) int32, failing vectors to look through


@nearest_of(FilteredWalk)
def _nearest_walk(filtered, q, effort, scratch, keys, ids):
    """Walk, or score all that pass; ``effort`` is as of ``graph``, without a taper.

    All are scored where the walk would score more than ``most``, or has found fewer
    than there are to be found.
    """
    walk, rows, own = filtered.walk, filtered.rows, scratch.walk
    store, query = walk.store, own.buffer
    project(None, walk.columns, q, own.room)
    begin(store, own.room[: q.size], query)
    wanted = min(ids.size, effort[0])
    size, scored = search_filtered(filtered, query, effort, wanted, scratch)
    if walk.same.size == 0:
        package(own.keys, own.ids, size, keys, ids)
    else:
        package_groups(own.keys, own.ids, size, walk.same, keys, ids, filtered.members)
    if ids[min(wanted, rows.size) - 1] >= 0:
        return scored
    clear(keys, ids)
    n, zero = filtered.members.size, np.float32(0.0)
    score_listed(store, query, rows, 0, n, 0, zero, None, keys, ids)
    return scored + rows.size


@kernel
def search_filtered(filtered, query, effort, wanted, scratch):
    """Search layer 0 for vectors that pass a filter.

    As ``search_layer``, but of a graph whose nodes are those that pass: neighbours of
    one are what is met first, through links and through vectors that fail, until as
    many were met as it has links. That graph is not stored but found as it is walked,
    after ACORN-1 (Patel, Kraft, Guestrin & Zaharia, SIGMOD 2024). Departures: a vector
    that fails is looked through only where the direct links have too few that pass, to
    any depth, and once in a search; neighbours are not cut off at M; and some seeds lie
    evenly among all that pass, for those may be far from where the upper layers lead.

    Parameters
    ----------
    filtered : FilteredWalk     read-only
    query : float32             what ``begin`` wrote
    effort : int, float, float  ``ef``, ``stretch`` and ``shift`` of ``search_layer``
    wanted : int                results that ``stretch`` goes by
    scratch : FilteredScratch   overwritten

    Returns
    -------
    size : int                  results in ``scratch.walk.keys``, ``ids``, as of
                                ``search_layer``; 0 where the walk was given up
    scored : int                vectors scored
    """
    ef, stretch, shift = effort[0], np.float32(effort[1]), np.float32(effort[2])
    graph, store, own = filtered.walk.graph, filtered.walk.store, scratch.walk
    keys, ids = own.keys, own.ids
    node = np.int32(graph.entry_point)
    key = score(store, query, node)
    node, _, scored = descend(graph, store, query, graph.top, ONE, node, key, None)
    epoch = new_search(own)
    size, near, looked = enter(filtered, query, node, ef, epoch, scratch)
    scored += 1 + near
    cursor = 0
    while cursor < size and keys[cursor] <= bound(keys, size, wanted, stretch, shift):
        if scored + looked // LINKS_A_SCORE > filtered.most:
            return 0, scored
        node = ids[cursor]
        ids[cursor] = node | EXPANDED
        n_found, _, links = gather(filtered, node, epoch, scratch)
        scored, looked = scored + n_found, looked + links
        limit = bound(keys, size, wanted, stretch, shift)
        size, first = take_in(filtered, query, n_found, limit, size, ef, scratch)
        cursor = min(cursor, first)
        while cursor < size and ids[cursor] < 0:
            cursor += 1
    return size, scored


@kernel
def enter(filtered, query, node, ef, epoch, scratch):
    """Begin with what passes around a node, and with seeds.

    Returns
    -------
    size : int                  of the pool
    scored : int                vectors scored
    looked : int                links looked at
    """
    allowed, own = filtered.allowed, scratch.walk
    n_found, met, looked = ZERO, 0, 0
    if np.uint32(node) < np.uint32(allowed.size):
        own.visited[node] = epoch
        n_found, met, looked = gather(filtered, node, epoch, scratch)
        if simd.at(allowed, node) != 0:
            own.found[n_found] = node
            n_found += 1
    size, _ = take_in(filtered, query, n_found, INFINITY, ZERO, ef, scratch)
    scored, m = n_found, filtered.positions.size
    seeds = min(m, SEEDS if met >= filtered.degree // 2 else MORE_SEEDS)
    n_found = ZERO
    for s in range(seeds):
        other = filtered.positions[(2 * s + 1) * m // (2 * seeds)]
        new = own.visited[other] != epoch
        own.visited[other] = epoch
        own.found[n_found] = other
        n_found += np.int64(new)
        if n_found == filtered.degree or s == seeds - 1:
            size, _ = take_in(filtered, query, n_found, INFINITY, size, ef, scratch)
            scored, n_found = scored + n_found, ZERO
    return size, scored, looked


@kernel
def gather(filtered, node, epoch, scratch):
    """Write to ``found`` the passing vectors around a node that were not seen before.

    Failing vectors are looked through in the order in which they are met, so those of
    few links away come first. Only what was looked through is marked as visited: what
    was not, as enough was met before, may still be the way from elsewhere.

    Returns
    -------
    n_found : int               below 2 M0
    met : int                   links that lead to what passes, seen before or not
    looked : int                links looked at
    """
    allowed, links = filtered.allowed, filtered.walk.graph.base
    visited, found, through = scratch.walk.visited, scratch.walk.found, scratch.through
    n, width, enough = allowed.size, links.shape[1], filtered.degree
    through[0] = node
    head, tail = 0, 1
    n_found = met = looked = 0
    while head < tail and met < enough and tail + width <= through.size:
        row = np.int64(through[head]) * width
        head += 1
        for j in range(width):
            other = simd.at(links, row + j)
            if np.uint32(other) >= np.uint32(n):  # −1, or whatever a file may hold
                break
            looked += 1
            good = np.int64(simd.at(allowed, other) != 0)
            new = np.int64(simd.at(visited, other) != epoch)
            visited[np.uint32(other)] = epoch
            found[n_found] = other  # no branch, as in ``search_layer``
            through[tail] = other
            n_found += good & new
            tail += (1 - good) & new
            met += good
        if head == 1:
            enough = max(enough, looked)
        if met < enough:
            for t in range(head, min(head + ROWS_AHEAD, tail)):
                fetch_links(links, through[t])
    for j in range(head, tail):
        visited[np.uint32(through[j])] = 0
    return n_found, met, looked


@kernel
def take_in(filtered, query, n_found, limit, size, ef, scratch):
    """Score what was found, and take it into the pool where it is within a limit.

    Returns
    -------
    size : int                  of the pool
    first : int                 place of the best that was taken in, or ``ef``
    """
    store, own = filtered.walk.store, scratch.walk
    found, found_keys = own.found, own.found_keys
    first = ef
    for j in range(min(AHEAD, n_found)):
        fetch(store, found[j])
    for j in range(n_found):
        if j + AHEAD < n_found:
            fetch(store, found[j + AHEAD])
        found_keys[j] = score(store, query, found[j])
    for start in range(0, n_found, 16):
        worst = min(limit, own.keys[size - 1]) if size == ef else limit
        bits = simd.not_above16(found_keys, start, n_found - start, worst)
        while bits != 0:
            j = start + simd.trailing_zeros(bits)
            bits &= bits - np.uint32(1)
            size, place = insert(own.keys, own.ids, size, ef, found_keys[j], found[j])
            first = min(first, place)
            fetch_links(filtered.walk.graph.base, found[j])
    return size, first


class FilteredLists(NamedTuple):
    """What a filtered search of an inverted file needs."""

    lists: Lists  #: with ``allowed``
    rows: np.ndarray  #: (m,) int32, which pass: numbers in list order, ascending
    starts: np.ndarray  #: (nlist + 1,) int64, where each list's begin among them
    enough: int  #: that pass in the lists that are scanned; else all that pass are
    listed: ListedInLists  #: all that pass


@nearest_of(FilteredLists)
def _nearest_in_filtered_lists(filtered, q, effort, scratch, keys, ids):
    """Scan lists; ``effort`` and ``scratch`` are those of ``Lists``.

    Where what passes lies far from the query, the nearest lists have little of it, and
    are not scanned at all. Where they have some, that is scored, and the rest not read.
    """
    lists, (nprobe, patience) = filtered.lists, effort
    choose_lists(lists, q, nprobe, scratch)
    met, held = count(filtered, scratch.probes[:nprobe])
    if met < filtered.enough:
        nlist = lists.offsets.size - 1
        return nlist + nearest(filtered.listed, q, effort, scratch, keys, ids)
    if patience >= nprobe and met * THIN < held:
        return score_lists(filtered, q, nprobe, scratch, keys, ids)
    return scan_lists(lists, q, effort, scratch, keys, ids, None)


@kernel
def count(filtered, probes):
    """Return how many vectors of some lists pass, and how many there are."""
    starts, offsets = filtered.starts, filtered.lists.offsets
    met = held = 0
    for which in probes:
        met += starts[which + 1] - starts[which]
        held += offsets[which + 1] - offsets[which]
    return met, held


@kernel
def score_lists(filtered, q, nprobe, scratch, keys, ids):
    """Score what passes in the lists that ``choose_lists`` chose, and nothing else."""
    lists, rows, starts = filtered.lists, filtered.rows, filtered.starts
    query, room = scratch.buffers[1], scratch.buffers[3]
    project(lists.mean, lists.columns, q, room)
    begin(lists.store, room[: q.size], query)
    clear(keys, ids)
    scored = lists.offsets.size - 1
    for p in range(nprobe):
        which = scratch.probes[p]
        first, end = lists.offsets[which], lists.offsets[which + 1]
        if lists.residual:
            enter_list(lists.store, query, which)
        score_listed(
            lists.store, query, rows[starts[which] : starts[which + 1]], first, end,
            lists.slots[which] - first,
            scratch.probe_keys[p] if lists.residual else np.float32(0.0),
            lists.row_ids, keys, ids, lists.allowed,
        )  # fmt: skip
        scored += starts[which + 1] - starts[which]
    return scored
