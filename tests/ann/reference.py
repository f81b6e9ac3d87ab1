"""Plain oracles: what the kernels must compute, written to be read, in float64."""

import numpy as np

METRICS = ("l2", "ip", "cosine", "l1")
KEYS = ("l2", "dot", "l1")


def distances(metric, Q, X):
    """Return the (nq, n) float64 distances, in the sign and the unit of ``search``."""
    if metric == "cosine":
        return 1 + keys("dot", unit(Q), unit(X))
    table = keys({"ip": "dot"}.get(metric, metric), Q, X)
    return np.sqrt(table) if metric == "l2" else table


def keys(key, Q, X):
    """Return the (nq, n) float64 keys: squared, negated dot, or Manhattan."""
    Q, X = np.asarray(Q, np.float64), np.asarray(X, np.float64)
    if key == "dot":
        return -np.einsum("qd,nd->qn", Q, X)
    difference = Q[:, None] - X[None]
    return (np.abs if key == "l1" else np.square)(difference).sum(axis=2)


def unit(X):
    X = np.asarray(X, np.float64)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def exact(metric, Q, X, k, ids=None):
    """Return ids and distances of the k nearest, ties by id, padded with (-1, +inf)."""
    return nearest(distances(metric, Q, X), k, ids)


def nearest(table, k, ids=None):
    """Return ids and distances of the k least of each row, ties by id, padded."""
    nq, n = table.shape
    ids = np.arange(n) if ids is None else np.asarray(ids)
    found = np.full((nq, k), -1, np.int64), np.full((nq, k), np.inf)
    for row, values in enumerate(table):
        order = np.lexsort((ids, values))[:k]
        found[0][row, : len(order)] = ids[order]
        found[1][row, : len(order)] = values[order]
    return found


def recall(found, true):
    """Return the mean share of each row of ``true`` that ``found`` has."""
    shares = [len(set(f) & set(t)) / len(t) for f, t in zip(found, true, strict=True)]
    return float(np.mean(shares))


# --- graphs ---------------------------------------------------------------------------


def search_layer(
    neighbours, key_of, start, ef, wanted=1, bound=None, near=None, links=0
):
    """Beam search (Malkov & Yashunin 2018, Alg. 2), candidates and results in one pool.

    ``neighbours(node)`` lists links, ``key_of(node)`` is the key to the query. Returns
    the pool as [(key, node)], best first, and how many links were scored. With
    ``bound``, what is beyond ``bound(key)`` of the best ``wanted``-th is not expanded;
    with ``near``, what is beyond ``near(key)`` of it by its first ``links`` links only.
    """
    pool, expanded, visited, scored = [(key_of(start), start)], set(), {start}, 0
    while waiting := [member for member in pool if member[1] not in expanded]:
        key, node = waiting[0]
        if bound and len(pool) >= wanted and key > bound(pool[wanted - 1][0]):
            break
        expanded.add(node)
        far = near and len(pool) >= wanted and key > near(pool[wanted - 1][0])
        for other in neighbours(node)[: links if far else None]:
            if other not in visited:
                visited.add(other)
                scored += 1
                pool = sorted([*pool, (key_of(other), other)])[:ef]
    return pool, scored


def gather(neighbours, passes, node, seen, degree, room):
    """Return what passes around a node, first met first, looking through what fails.

    Until as many that pass were met as the node has links, or ``degree``;
    ``room(size)`` tells whether a queue of that size may grow. Also returns how many
    were met, and how many links were looked at. What was found or looked through is put
    into ``seen``.
    """
    queue, at, found, met, looked, enough = [node], 0, [], 0, 0, degree
    while at < len(queue) and met < enough and room(len(queue)):
        for other in neighbours(queue[at]):
            looked, met = looked + 1, met + passes(other)
            if other not in seen:
                (found if passes(other) else queue).append(other)
                seen.add(other)
        at += 1
        enough = max(enough, looked) if at == 1 else enough
    seen -= set(queue[at:])
    return found, met, looked


def search_filtered(around, passes, key_of, start, seeds, ef, most, scored):
    """Walk among what passes; ``around(node, seen)`` is ``gather``.

    ``seeds(met)`` are taken in beside what passes around the start. Returns the pool as
    [(key, node)], best first, or [] where more than ``most`` would have to be scored,
    and ``scored`` with those added that were.
    """
    seen = {start}
    found, met, looked_at = around(start, seen)
    found += [start] * passes(start)
    found += [seed for seed in seeds(met) if seed not in seen]
    seen |= set(found)
    pool, expanded = sorted((key_of(other), other) for other in found)[:ef], set()
    scored += len(found)
    while waiting := [node for _, node in pool if node not in expanded]:
        if scored + looked_at // 16 > most:
            return [], scored
        expanded.add(waiting[0])
        found, _, looked = around(waiting[0], seen)
        scored, looked_at = scored + len(found), looked_at + looked
        pool = sorted([*pool, *((key_of(other), other) for other in found)])[:ef]
    return pool, scored


def select_neighbors(candidates, key_between, limit):
    """Choose from [(key, node)], best first (Alg. 4, without its two options)."""
    taken = []
    for key, node in candidates:
        if len(taken) < limit and all(key_between(node, t) >= key for t in taken):
            taken.append(node)
    return taken


def bridge(neighbours, node, alive, key_between, width):
    """Lead a row past what is not alive; return it, and how many steps that took.

    What stays is kept; beside it stand living neighbours of the removed, farther ones
    only while there are fewer than half a row. A row that loses nothing is not touched.
    """
    row, found, steps = neighbours(node), [], 0
    ring = [other for other in row if not alive[other]]
    if not ring:
        return row, steps
    kept, seen = [other for other in row if alive[other]], {node, *row}
    while ring and 2 * len(found) < width:
        behind = dict.fromkeys(o for r in ring for o in neighbours(r) if o not in seen)
        seen.update(behind)
        found += [other for other in behind if alive[other]]
        ring, steps = [other for other in behind if not alive[other]], steps + 1
    taken = []
    for key, other in sorted((key_between(node, o), o) for o in kept + found):
        room = width - len(kept) > len(set(taken) - set(kept))
        near = any(key_between(other, t) < key for t in taken)
        if other in kept or (room and not near):
            taken.append(other)
    return taken, steps


def descend(neighbours, key_of, node, layers):
    """Walk greedily to the least (key, node) around, on each of ``layers`` in turn."""
    for layer in layers:
        while True:
            around = [(key_of(other), other) for other in neighbours(node, layer)]
            best = min([*around, (key_of(node), node)])[1]
            if best == node:
                break
            node = best
    return node


def reachable(base, start):
    """Return the set of nodes that links lead to from ``start``."""
    seen, waiting = {start}, [start]
    while waiting:
        for other in base[waiting.pop()]:
            if other >= 0 and other not in seen:
                seen.add(int(other))
                waiting.append(int(other))
    return seen


# --- clusters -------------------------------------------------------------------------


def k_means_plus_plus(X, uniform):
    """Return rows chosen by k-means++ (Arthur & Vassilvitskii 2007) for given draws."""
    n, chosen = len(X), [int(uniform[0] * len(X))]
    for c in range(1, len(uniform)):
        errors = keys("l2", X, X[chosen]).min(axis=1)
        left = uniform[c] * errors.sum()
        if errors.sum() == 0:
            chosen.append(c % n)
        else:
            chosen.append(int(np.argmax(np.cumsum(errors) > left)))
    return chosen


def sum_by_label(X, labels, k):
    rows = [X[labels == c].astype(np.float64) for c in range(k)]
    return np.array([r.sum(axis=0) for r in rows]), np.array([len(r) for r in rows])
