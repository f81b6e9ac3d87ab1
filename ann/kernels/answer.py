"""From a query as its caller gave it to an answer: three kernels for any structure.

``prepare``, ``search`` and ``finish`` do all there is to do for a lone query, so that
Python has to call three times and no numpy in between (``Searching._again``).
"""

from typing import Any, NamedTuple

import numpy as np

from ann.kernels._jit import by_type, kernel
from ann.kernels.pool import clear, insert
from ann.kernels.rows import normalize_row, square_norm
from ann.kernels.stores import fetch, score

L2, IP, COSINE, L1 = range(4)
FINE, REFUSED = 0, 1  # what ``prepare`` returns
AHEAD = 8  # vectors on their way while one is scored


class Final(NamedTuple):
    """What becomes of the candidates that a structure finds."""

    metric: int  #: L2, IP, COSINE or L1
    n: int  #: candidates from there on are not to be seen (see ``index.State``)
    originals: Any  #: store of rows to score candidates by anew, or None
    names: Any  #: (n,) int64, users' ids, or None where they are the positions


def nearest(structure, q, effort, scratch, keys, ids, recorder=None):
    """Find candidates of a prepared query; return how many vectors were scored.

    ``keys`` (c,) float32 and ``ids`` (c,) int32 are overwritten, best first, the rest
    with (+inf, −1). ``effort`` and ``scratch`` are the structure's own. A ``recorder``
    (see ``record``) is overwritten with what happens.
    """
    raise NotImplementedError


nearest_of = by_type(nearest)


@kernel
def search(structure, Q, effort, scratch, keys, ids, scored):
    """Find candidates for each row of ``Q``; see ``nearest``.

    ``keys``, ``ids`` (nq, c) and ``scored`` (nq,) int64, the number of vectors scored,
    are overwritten.
    """
    for r in range(Q.shape[0]):
        scored[r] = nearest(structure, Q[r], effort, scratch, keys[r], ids[r])


@kernel
def search_recorded(structure, q, effort, scratch, keys, ids, recorder):
    """``search`` of one query (d,) that is traced; return how many were scored."""
    return nearest(structure, q, effort, scratch, keys, ids, recorder)


@kernel
def prepare(metric, bounds, q, out):
    """Write a query (d,) float32 to ``out`` (1, d) as ``Metric.prepare`` would.

    Returns
    -------
    status : int                FINE, or REFUSED for one that the metric cannot take or
                                whose norm is not within ``bounds`` (low, high)
    """
    square, (low, high) = square_norm(q), bounds
    if not low * low <= square <= high * high:  # NaN and infinity come here too
        return REFUSED
    if metric == COSINE:
        if square == 0.0:
            return REFUSED
        normalize_row(q, square, out[0])
    else:
        for j in range(q.size):
            out[0, j] = q[j]
    return FINE


@kernel
def prepare_row(metric, bounds, Q, out):
    """``prepare`` for a query that is (1, d)."""
    return prepare(metric, bounds, Q[0], out)


@kernel
def finish(final, q, keys, ids, out_distances, out_ids):
    """Turn a query's candidates into its answer; return how many were scored anew.

    Parameters
    ----------
    final : Final
    q : (d,) float32            prepared
    keys, ids : (c,) float32, int32     candidates, best first, then (+inf, −1);
                                overwritten
    out_distances, out_ids : (k,) float32, int64    overwritten
    """
    n = _close_up(keys, ids, np.uint32(final.n))
    clear(out_distances, out_ids)
    rescored = _choose(final.originals, q, keys, ids, n, out_distances, out_ids)
    present(final.metric, out_distances)
    _name(final.names, out_ids)
    _settle_ties(out_distances, out_ids)
    return rescored


@kernel
def _close_up(keys, ids, limit):
    """Drop candidates that are not below ``limit``, −1 too; return how many stay."""
    n = 0
    for j in range(ids.size):
        keys[n], ids[n] = keys[j], ids[j]
        n += np.int64(np.uint32(ids[j]) < limit)
    return n


@kernel
def _choose(originals, q, keys, ids, n, out_keys, out_ids):
    """Take the best of ``n`` candidates; return how many were scored to find them."""
    k = out_ids.size
    if originals is None:
        for j in range(min(n, k)):
            out_keys[j] = keys[j]
            out_ids[j] = ids[j]
        return 0
    for j in range(min(n, AHEAD)):
        fetch(originals, ids[j])
    for j in range(n):
        if j + AHEAD < n:
            fetch(originals, ids[j + AHEAD])
        insert(out_keys, out_ids, k, k, score(originals, q, ids[j]), np.int64(ids[j]))
    return n


@kernel
def _name(names, ids):
    """Replace positions by users' ids, where these differ."""
    if names is not None:
        for j in range(ids.size):
            if ids[j] >= 0:
                ids[j] = names[ids[j]]


@kernel
def present(metric, keys):
    """Turn keys into distances; +inf stays +inf."""
    for j in range(keys.size):
        if metric == L2:  # sums of codes may round below 0
            keys[j] = np.sqrt(max(keys[j], np.float32(0.0)))
        elif metric == COSINE:  # a rounded −1.0000001 must not become negative
            keys[j] = max(keys[j] + np.float32(1.0), np.float32(0.0))


@kernel
def _settle_ties(distances, ids):
    """Order ids among equal distances, which ascend.

    Different keys may become one distance, and own ids arrive in any order.
    """
    for j in range(1, ids.size):
        i, at = ids[j], j
        while at > 0 and distances[at - 1] == distances[j] and ids[at - 1] > i:
            ids[at] = ids[at - 1]
            at -= 1
        ids[at] = i


@kernel
def finish_all(final, Q, keys, ids, distances, out_ids, scored):
    """``finish`` for each row; ``scored`` (nq,) int64 grows by what it scores."""
    for r in range(Q.shape[0]):
        scored[r] += finish(final, Q[r], keys[r], ids[r], distances[r], out_ids[r])


@kernel
def finish_one(final, Q, keys, ids, distances, out_ids, scored):
    """``finish_all`` of one row, whose answer is (k,)."""
    scored[0] += finish(final, Q[0], keys[0], ids[0], distances, out_ids)
