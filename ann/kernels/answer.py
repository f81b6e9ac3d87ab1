"""From a query as its caller gave it to an answer, in kernels.

A lone query runs through ``answer`` in one call: with a kernel call for each step, and
numpy between them, Python took 19 µs around a search of 30.
"""

from typing import Any, NamedTuple

import numpy as np

from ann.kernels._jit import by_type, kernel
from ann.kernels.pool import clear, insert
from ann.kernels.rows import normalize_row, square_norm
from ann.kernels.stores import fetch, score

L2, IP, COSINE, L1 = range(4)
FINE, REFUSED = 0, 1  # what ``answer`` returns
AHEAD = 8  # vectors on their way while one is scored


class Final(NamedTuple):
    """What becomes of the candidates that a structure finds."""

    metric: int  #: L2, IP, COSINE or L1
    longest: float  #: norm of a vector at most
    originals: Any  #: store of rows to score candidates by anew, or None
    names: Any  #: (n,) int64, users' ids, or None where they are the positions


class Workspace(NamedTuple):
    """Working memory of one thread."""

    query: np.ndarray  #: (d,) float32, prepared
    keys: np.ndarray  #: (>= candidates,) float32
    ids: np.ndarray  #: (>= candidates,) int32
    scratch: Any  #: what the structure needs


def nearest(structure, q, effort, scratch, keys, ids):
    """Find candidates of a prepared query; return how many vectors were scored.

    ``keys`` (c,) float32 and ``ids`` (c,) int32 are overwritten, best first, the rest
    with (+inf, −1). ``effort`` and ``scratch`` are the structure's own.
    """
    raise NotImplementedError


nearest_of = by_type(nearest)


@kernel
def _prepare(metric, longest, q, out):
    square = square_norm(q)
    if not square <= longest * longest:  # NaN and infinity come here too
        return REFUSED
    if metric == COSINE:
        if square == 0.0:
            return REFUSED
        normalize_row(q, square, out)
    else:
        for j in range(q.size):
            out[j] = q[j]
    return FINE


@kernel
def finish(final, q, keys, ids, out_distances, out_ids):
    """Turn a query's candidates into its answer; return how many were scored anew.

    Parameters
    ----------
    final : Final
    q : (d,) float32            prepared
    keys, ids : (c,) float32, int32     candidates, best first, then (+inf, −1)
    out_distances, out_ids : (k,) float32, int64    overwritten
    """
    n = 0
    while n < ids.size and ids[n] >= 0:
        n += 1
    clear(out_distances, out_ids)
    rescored = _choose(final.originals, q, keys, ids, n, out_distances, out_ids)
    _present(final.metric, out_distances)
    _name(final.names, out_ids)
    _settle_ties(out_distances, out_ids)
    return rescored


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
def _present(metric, keys):
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
def answer(structure, final, workspace, effort, found, q, distances, ids):
    """Answer one query.

    Parameters
    ----------
    structure, effort : what ``nearest`` takes
    final : Final
    workspace : Workspace       overwritten
    found : int                 candidates to find
    q : (d,) float32            as the caller gave it
    distances, ids : (k,) float32, int64    overwritten

    Returns
    -------
    status : int                FINE, or REFUSED for a query that the metric cannot take
    """
    query = workspace.query
    status = _prepare(final.metric, final.longest, q, query)
    if status == FINE:
        keys, candidates = workspace.keys[:found], workspace.ids[:found]
        nearest(structure, query, effort, workspace.scratch, keys, candidates)
        finish(final, query, keys, candidates, distances, ids)
    return status
