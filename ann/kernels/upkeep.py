"""Kernels that change a graph otherwise than by insertion: removal and repair.

Searches go on meanwhile, without locks. Whatever row is rewritten holds valid ids or −1
after every single write, so that a reader finds links of the old row, of the new one,
or of both.
"""

from typing import NamedTuple

import numpy as np

from ann.kernels import simd
from ann.kernels._jit import kernel
from ann.kernels.audit import row_of
from ann.kernels.graph import TO_THE_END, ZERO, descend, search_layer
from ann.kernels.pool import EXPANDED, ID_MASK, NO_ID, insert
from ann.kernels.stores import LINE, as_query, between, fetch, score

AHEAD = 8  # vectors, or rows, on their way while one is at work


class Around(NamedTuple):
    """Working memory of one thread that chooses links anew."""

    marked: np.ndarray  #: (n,) bool, all false between rows
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
def bridge(graph, store, layer, nodes, alive, around, added, thin):
    """Let rows lead past removed vectors (FreshDiskANN, Singh et al. 2021, Alg. 4).

    Links to living vectors stay. The places of the others go to living neighbours of
    the removed, by the rule of ``select_neighbors``. Of rows that change, only the own
    one is read, so a call's result does not depend on what others write.

    The paper chooses among all anew, by a rule that keeps more. By HNSW's, rows grow
    thin: after 10 rounds of removing and adding again a fifth of 5,000 clustered
    vectors, recall@10 at ef 80 was 0.965 instead of 0.999.

    Parameters
    ----------
    nodes : (b,) int32          living members of the layer
    alive : (n,) bool           false for whatever has to go
    around : Around             overwritten
    added : (b, width) int32    overwritten: the new links in each row, then −1
    thin : (b,) bool            overwritten: which rows should be refilled, on layer 0
                                those that lost half of their links or more, above those
                                that lost any: one walks there without a pool
    """
    links = graph.base if layer == 0 else graph.upper
    for i in range(nodes.size):
        node = nodes[i]
        row = links[row_of(graph, node, layer)]
        for j in range(row.size):
            added[i, j] = NO_ID
        if i + AHEAD < nodes.size:
            _fetch_row(links, row_of(graph, nodes[i + AHEAD], layer))
        degree = degree_of(row)
        living = 0
        for j in range(degree):
            living += np.int64(alive[row[j]])
        thin[i] = degree == 0
        if living < degree:
            n_found = _look_behind(graph, layer, node, row, degree, alive, around)
            size = ZERO
            for j in range(degree):
                if alive[row[j]]:
                    size = _keep(store, node, row[j], around, size)
            size = _offer(store, node, n_found, around, size)
            taken = choose(store, around, size, row.size - living, row, added[i])
            thin[i] = layer > 0 or 2 * taken < degree or taken == 0


@kernel
def _look_behind(graph, layer, node, row, degree, alive, around):
    """Find living vectors behind removed neighbours; return how many.

    Where they are few it goes on, to what lies behind removed neighbours of those.
    """
    links = graph.base if layer == 0 else graph.upper
    marked, removed, found = around.marked, around.removed, around.found
    waiting, n_found, first = 0, ZERO, 0
    for j in range(degree):
        marked[row[j]] = True
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
                if other == node or marked[other]:
                    continue
                if alive[other] and n_found < found.size:
                    marked[other] = True
                    found[n_found] = other
                    n_found += 1
                elif not alive[other] and waiting < removed.size:
                    marked[other] = True
                    removed[waiting] = other
                    waiting += 1
        first = last
    _unmark(marked, row, degree)
    _unmark(marked, removed, waiting)
    _unmark(marked, found, n_found)
    return n_found


@kernel
def _unmark(marked, nodes, count):
    for j in range(count):
        marked[nodes[j]] = False


@kernel
def _keep(store, node, other, around, size):
    """Put a link that stays into the pool, marked."""
    key = between(store, node, other)
    size, at = insert(around.keys, around.ids, size, around.keys.size, key, other)
    around.ids[at] |= EXPANDED
    return size


@kernel
def _offer(store, node, n_found, around, size):
    """Put what was found into the pool."""
    found = around.found
    for j in range(min(AHEAD, n_found)):
        fetch(store, found[j])
    for j in range(n_found):
        if j + AHEAD < n_found:
            fetch(store, found[j + AHEAD])
        key = between(store, node, found[j])
        size, _ = insert(around.keys, around.ids, size, around.keys.size, key, found[j])
    return size


@kernel
def choose(store, around, size, limit, out, added):
    """Choose a row as ``select_neighbors`` does, but keep those that are marked.

    Parameters
    ----------
    around : Around             a pool of ``size``, best first
    limit : int                 others at most
    out : (width,) int32        overwritten, its rest with −1
    added : (width,) int32      overwritten with the others alone

    Returns
    -------
    taken : int
    """
    taken = new = 0
    for c in range(size):
        candidate, chosen = around.ids[c] & ID_MASK, around.ids[c] < 0
        if not chosen and new < limit:
            chosen = True
            for t in range(taken):
                if between(store, candidate, out[t]) < around.keys[c]:
                    chosen = False
                    break
            if chosen:
                added[new] = candidate
                new += 1
        if chosen:
            out[taken] = candidate
            taken += 1
    for t in range(taken, out.size):
        out[t] = NO_ID
    for t in range(new, added.size):
        added[t] = NO_ID
    return taken


@kernel
def find(graph, store, layer, nodes, ef, scratch, out):
    """Search a layer for stored vectors, from the entry point; nothing is written.

    ``out`` (b, ef) int32 is overwritten: what is nearest to each of ``nodes`` among all
    in reach, closest first, itself not among them; its rest with −1.
    """
    query = scratch.buffer
    for i in range(nodes.size):
        as_query(store, nodes[i], query)
        node = np.int32(graph.entry_point)
        key = score(store, query, node)
        node, key, _ = descend(
            graph, store, query, graph.top, layer + 1, node, key, None
        )
        size, _ = search_layer(
            graph, store, query, layer, node, key, ef, scratch, *TO_THE_END
        )
        n_found = 0
        for c in range(size):
            other = scratch.ids[c] & ID_MASK
            if other != nodes[i]:
                out[i, n_found] = other
                n_found += 1
        for c in range(n_found, ef):
            out[i, c] = NO_ID


@kernel
def refill(graph, store, layer, nodes, found, M, around, out, added):
    """Choose links of vectors with few, beside those that they have.

    Parameters
    ----------
    nodes : (b,) int32          members of the layer; their rows are read
    found : (b, ef) int32       near each of them, then −1
    M : int                     links at most that are added
    around : Around             overwritten; its pool holds ``ef`` and a row
    out : (b, width) int32      overwritten: their new rows
    added : (b, width) int32    overwritten: the new links in these, then −1
    """
    links = graph.base if layer == 0 else graph.upper
    for i in range(nodes.size):
        node = nodes[i]
        row = links[row_of(graph, node, layer)]
        degree, size, n_found = degree_of(row), ZERO, ZERO
        for j in range(degree):
            around.marked[row[j]] = True
            size = _keep(store, node, row[j], around, size)
        for other in found[i]:
            if other >= 0 and not around.marked[other]:
                around.found[n_found] = other
                n_found += 1
        _unmark(around.marked, row, degree)
        size = _offer(store, node, n_found, around, size)
        choose(store, around, size, min(M, row.size - degree), out[i], added[i])


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
def attach(graph, store, layer, nodes, hosts, last, reached):
    """Link to vectors that no link leads to, each from one near it.

    The tree of ``reached`` stays whole, and with it the way to each of its vectors.

    Parameters
    ----------
    nodes : (b,) int32
    hosts : (b, h) int32        vectors near each, closest first, then −1; overwritten
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

    The nearest host's that has one free, else the nearest's with a link that the tree
    can do without. If there is none, the tree is followed towards the vector: a leaf
    can do without any.
    """
    links = graph.base if layer == 0 else graph.upper
    n_hosts = 0
    for host in hosts:
        if host >= 0 and not reached.waiting[host]:
            hosts[n_hosts] = host
            n_hosts += 1
    for host in hosts[:n_hosts]:
        degree = degree_of(links[row_of(graph, host, layer)])
        if degree < links.shape[1]:
            return np.int64(host), degree
    for host in hosts[:n_hosts]:
        row = links[row_of(graph, host, layer)]
        place = _to_spare(store, np.int64(host), row, reached.parent)
        if place >= 0:
            return np.int64(host), place
    host, place = np.int64(hosts[0] if n_hosts else graph.entry_point), -1
    while place < 0:
        row = links[row_of(graph, host, layer)]
        place = _to_spare(store, host, row, reached.parent)
        if place < 0:
            host = _nearest_of(store, node, row)
    return host, place


@kernel
def _to_spare(store, host, row, parent):
    """Return the place of the farthest link that is not of the tree, or −1.

    A free place is to spare, too.
    """
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
def _nearest_of(store, node, row):
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
