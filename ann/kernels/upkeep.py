"""Kernels that change a graph otherwise than by insertion: removal and repair.

Searches go on meanwhile, without locks. Whatever row is rewritten holds valid ids or −1
after every single write, so that a reader finds links of the old row, of the new one,
or of both.
"""

from typing import NamedTuple

import numpy as np

from ann.kernels import simd
from ann.kernels._jit import kernel
from ann.kernels.graph import descend, search_layer
from ann.kernels.pool import EXPANDED, ID_MASK, NO_ID, insert
from ann.kernels.stores import LINE, as_query, between, fetch, score

AHEAD = 8  # vectors, or rows, on their way while one is at work


class Around(NamedTuple):
    """Working memory of one thread that chooses links anew."""

    seen: np.ndarray  #: (n,) int32, the vector that saw another last, or −1
    removed: np.ndarray  #: int32, removed vectors to look behind
    found: np.ndarray  #: int32, living ones that were found there
    keys: np.ndarray  #: (>= found.size + width,) float32, a pool …
    ids: np.ndarray  #: int32 … of these, and of links that stay: these are marked


class Spread(NamedTuple):
    """How far links lead from the entry point, breadth first: a tree."""

    queue: np.ndarray  #: (n,) int32, vectors reached, in order
    waiting: np.ndarray  #: (n,) bool, members of the layer not yet reached
    parent: np.ndarray  #: (n,) int32, whose link reached a vector first, or −1


@kernel
def row_of(graph, node, layer):
    """Return the row of a vector's links, in ``base`` or ``upper``."""
    return np.int64(node) if layer == 0 else np.int64(graph.upper_row[node]) + layer - 1


@kernel
def degree_of(row):
    """Return how many links a row has."""
    degree = 0
    while degree < row.size and row[degree] >= 0:
        degree += 1
    return degree


@kernel
def _fetch_row(links, row):
    width = links.shape[1]
    for t in range(0, width, LINE // 4):
        simd.prefetch(links, row * width + t)


# --- links past removed vectors -------------------------------------------------------


@kernel
def bridge(graph, store, layer, nodes, alive, around, thin):
    """Let rows lead past removed vectors (FreshDiskANN, Singh et al. 2021, Alg. 4).

    Links to living vectors stay. The places of the others go to living neighbours of
    the removed, by the rule of ``select_neighbors``. Of rows that change, only the own
    one is read, so a call's result does not depend on what others write.

    Parameters
    ----------
    nodes : (b,) int32          living members of the layer
    alive : (n,) bool           false for whatever has to go
    around : Around             overwritten; ``seen`` is −1 at first
    thin : (b,) bool            overwritten: which rows lost half of their links or more
    """
    links = graph.base if layer == 0 else graph.upper
    for i in range(nodes.size):
        node = nodes[i]
        row = links[row_of(graph, node, layer)]
        if i + AHEAD < nodes.size:
            _fetch_row(links, row_of(graph, nodes[i + AHEAD], layer))
        degree = degree_of(row)
        living = 0
        for j in range(degree):
            living += np.int64(alive[row[j]])
        thin[i] = False
        if living < degree:
            n_found = _look_behind(graph, layer, node, row, degree, alive, around)
            size = _gather(store, node, row, degree, alive, n_found, around)
            taken = choose(store, around, size, row.size - living, row)
            thin[i] = 2 * taken < degree


@kernel
def _look_behind(graph, layer, node, row, degree, alive, around):
    """Find living vectors behind removed neighbours; return how many.

    Where they are few it goes on, to what lies behind removed neighbours of those.
    """
    links = graph.base if layer == 0 else graph.upper
    seen, removed, found = around.seen, around.removed, around.found
    seen[node] = node
    waiting = n_found = first = 0
    for j in range(degree):
        seen[row[j]] = node
        if not alive[row[j]]:
            removed[waiting] = row[j]
            waiting += 1
            _fetch_row(links, row_of(graph, row[j], layer))
    while first < waiting and 2 * n_found < row.size:
        last = waiting
        for w in range(first, last):
            behind = links[row_of(graph, removed[w], layer)]
            for j in range(degree_of(behind)):
                other = behind[j]
                if seen[other] == node:
                    continue
                seen[other] = node
                if alive[other] and n_found < found.size:
                    found[n_found] = other
                    n_found += 1
                elif not alive[other] and waiting < removed.size:
                    removed[waiting] = other
                    waiting += 1
        first = last
    return n_found


@kernel
def _gather(store, node, row, degree, alive, n_found, around):
    """Put living links and what was found into a pool; return how many there are."""
    keys, ids, found, size = around.keys, around.ids, around.found, 0
    for j in range(degree):
        if alive[row[j]]:
            size = _keep(store, node, row[j], around, size)
    for j in range(min(AHEAD, n_found)):
        fetch(store, found[j])
    for j in range(n_found):
        if j + AHEAD < n_found:
            fetch(store, found[j + AHEAD])
        key = between(store, node, found[j])
        size, _ = insert(keys, ids, size, keys.size, key, found[j])
    return size


@kernel
def _keep(store, node, other, around, size):
    """Put a link that stays into a pool, marked."""
    key = between(store, node, other)
    size, at = insert(around.keys, around.ids, size, around.keys.size, key, other)
    around.ids[at] |= EXPANDED
    return size


@kernel
def choose(store, around, size, limit, out):
    """Choose a row as ``select_neighbors`` does, but keep those that are marked.

    Parameters
    ----------
    around : Around             a pool of ``size``, best first
    limit : int                 others at most
    out : (width,) int32        overwritten, its rest with −1

    Returns
    -------
    taken : int
    """
    taken = 0
    for c in range(size):
        candidate, chosen = around.ids[c] & ID_MASK, around.ids[c] < 0
        if not chosen and limit > 0:
            chosen = True
            for t in range(taken):
                if between(store, candidate, out[t]) < around.keys[c]:
                    chosen = False
                    break
            limit -= np.int64(chosen)
        if chosen:
            out[taken] = candidate
            taken += 1
    for t in range(taken, out.size):
        out[t] = NO_ID
    return taken


@kernel
def _search(graph, store, layer, node, ef, scratch):
    """Search a layer for a stored vector from the entry point; return the pool's size.

    The vector itself is not taken out of the pool.
    """
    query = scratch.buffer
    as_query(store, node, query)
    start = np.int32(graph.entry_point)
    key = score(store, query, start)
    start, key, _ = descend(graph, store, query, graph.top, layer + 1, start, key)
    size, _ = search_layer(graph, store, query, layer, start, key, ef, scratch)
    return size


@kernel
def refill(graph, store, layer, nodes, ef, M, scratch, around, out):
    """Search for more neighbours of vectors with few.

    Nothing in the graph is written.

    Parameters
    ----------
    nodes : (b,) int32          members of the layer
    ef, M : int                 size of the pool, and links at most that are added
    scratch : Scratch           overwritten
    around : Around             overwritten; its pool holds ``ef`` and a row
    out : (b, width) int32      overwritten: their new rows, old links among them
    """
    links = graph.base if layer == 0 else graph.upper
    for i in range(nodes.size):
        node = nodes[i]
        found = _search(graph, store, layer, node, ef, scratch)
        row = links[row_of(graph, node, layer)]
        degree = degree_of(row)
        around.seen[node] = node
        size = 0
        for j in range(degree):
            around.seen[row[j]] = node
            size = _keep(store, node, row[j], around, size)
        for c in range(found):
            other = scratch.ids[c] & ID_MASK
            if around.seen[other] != node:
                key = between(store, node, other)
                size, _ = insert(
                    around.keys, around.ids, size, around.keys.size, key, other
                )
        choose(store, around, size, min(M, row.size - degree), out[i])


# --- links to what no link leads to ---------------------------------------------------


@kernel
def spread(graph, layer, first, last, reached):
    """Go on from ``queue[first:last]`` to all that links lead to.

    Safe on any content: only vectors that wait are entered.

    Returns
    -------
    last : int                  where the queue ends now
    """
    links = graph.base if layer == 0 else graph.upper
    queue, waiting, parent = reached
    while first < last:
        node = queue[first]
        first += 1
        if first + AHEAD < last:
            _fetch_row(links, row_of(graph, queue[first + AHEAD], layer))
        row = links[row_of(graph, node, layer)]
        for j in range(row.size):
            other = row[j]
            if other < 0:
                break
            if other < waiting.size and waiting[other]:
                waiting[other] = False
                parent[other] = node
                queue[last] = other
                last += 1
    return last


@kernel
def find_hosts(graph, store, layer, nodes, waiting, ef, scratch, hosts):
    """Search for reached vectors near those that are not.

    ``hosts`` (b, ef) int32 is overwritten, closest first, its rest with −1.
    """
    for i in range(nodes.size):
        size = _search(graph, store, layer, nodes[i], ef, scratch)
        n_hosts = 0
        for c in range(size):
            host = scratch.ids[c] & ID_MASK
            if not waiting[host]:
                hosts[i, n_hosts] = host
                n_hosts += 1
        for c in range(n_hosts, hosts.shape[1]):
            hosts[i, c] = NO_ID


@kernel
def attach(graph, store, layer, nodes, hosts, last, reached):
    """Link to vectors that no link leads to, each from one near it.

    The tree of ``reached`` stays whole, and with it the way to each of its vectors.

    Parameters
    ----------
    nodes : (b,) int32          not reached when their hosts were searched for
    hosts : (b, h) int32        closest first, then −1
    last : int                  where the queue ends
    reached : Spread            overwritten

    Returns
    -------
    last : int                  where the queue ends now
    """
    links = graph.base if layer == 0 else graph.upper
    for i in range(nodes.size):
        node = nodes[i]
        if reached.waiting[node]:
            host, place = _place_for(graph, store, layer, node, hosts[i], reached)
            links[row_of(graph, host, layer), place] = node
            reached.waiting[node] = False
            reached.parent[node] = host
            reached.queue[last] = node
            last = spread(graph, layer, last, last + 1, reached)
    return last


@kernel
def _place_for(graph, store, layer, node, hosts, reached):
    """Return whose row, and which place in it, takes a link to a vector.

    The nearest host's that has one to spare, else the nearest's whose tree can do
    without one of its links. If there is none, its tree is followed towards the vector:
    a leaf's links are all to spare.
    """
    links = graph.base if layer == 0 else graph.upper
    width = links.shape[1]
    for host in hosts:
        if host < 0:
            break
        degree = degree_of(links[row_of(graph, host, layer)])
        if degree < width:
            return np.int64(host), degree
    for host in hosts:
        if host < 0:
            break
        place = _to_spare(graph, store, layer, host, reached.parent)
        if place >= 0:
            return np.int64(host), place
    host = np.int64(hosts[0] if hosts[0] >= 0 else graph.entry_point)
    place = _to_spare(graph, store, layer, host, reached.parent)
    while place < 0:
        host = _nearest_link(graph, store, layer, host, node)
        place = _to_spare(graph, store, layer, host, reached.parent)
    return host, place


@kernel
def _to_spare(graph, store, layer, host, parent):
    """Return the place of the farthest link that is not of the tree, or −1."""
    links = graph.base if layer == 0 else graph.upper
    row = links[row_of(graph, host, layer)]
    place, farthest = -1, np.float32(0.0)
    for j in range(row.size):
        if row[j] < 0:
            return j
        if parent[row[j]] != host:
            key = between(store, host, row[j])
            if place < 0 or key >= farthest:
                place, farthest = j, key
    return place


@kernel
def _nearest_link(graph, store, layer, host, node):
    links = graph.base if layer == 0 else graph.upper
    row = links[row_of(graph, host, layer)]
    nearest, least = row[0], between(store, node, row[0])
    for j in range(1, row.size):
        key = between(store, node, row[j])
        if key < least:
            nearest, least = row[j], key
    return np.int64(nearest)


# --- new numbers ----------------------------------------------------------------------


@kernel
def renumber(links, rows, new_ids, out):
    """Copy rows of links under new ids, without links to what has none.

    ``rows`` (m,) int64 are those to copy, ``new_ids`` (n,) int32 hold −1 for what goes;
    ``out`` (m, width) int32 is overwritten.
    """
    for i in range(rows.size):
        taken = 0
        for j in range(links.shape[1]):
            other = links[rows[i], j]
            if other < 0:
                break
            if new_ids[other] >= 0:
                out[i, taken] = new_ids[other]
                taken += 1
        for t in range(taken, out.shape[1]):
            out[i, t] = NO_ID
