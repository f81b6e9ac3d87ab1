"""Scans: exact search over all vectors, and over the lists of an IVF index."""

from typing import Any, NamedTuple

import numpy as np

from ann.kernels._jit import kernel
from ann.kernels.pool import clear, insert
from ann.kernels.stores import begin, fetch, score

AHEAD = 8  # vectors on their way while one is scored
TILE = 1024  # vectors


@kernel
def scan_range(store, query, start, stop, then, bias, row_ids, keys, ids):
    """Score stored vectors ``start <= i < stop`` into a pool.

    Parameters
    ----------
    store : NamedTuple          read-only
    query : float32             what ``begin`` wrote
    then : int                  where the scan goes on: the hardware follows a scan by
                                itself, but has to be told of a jump
    bias : float32              added to every key
    row_ids : (n,) int32 or None    name of stored vector i; None: i itself
    keys, ids : (k,) float32, int32     a full pool (``clear``), overwritten
    """
    k = keys.size
    limit = keys[k - 1]
    for i in range(start, stop):
        left = stop - i
        if left <= AHEAD:
            fetch(store, then + AHEAD - left)
        key = score(store, query, i) + bias
        if key <= limit:
            if row_ids is None:
                insert(keys, ids, k, k, key, np.int32(i))
            else:
                insert(keys, ids, k, k, key, row_ids[i])
            limit = keys[k - 1]


@kernel
def scan_all(store, n, Q, buffers, keys, ids):
    """Exact search of each row of ``Q`` among the ``n`` vectors of a store.

    ``buffers`` (>= nq, query size) is scratch; ``keys``, ``ids`` (nq, k) are
    overwritten. A tile of vectors serves all queries while it is in the cache.
    """
    nq = Q.shape[0]
    zero, tile = np.float32(0.0), n if nq == 1 else TILE
    for r in range(nq):
        begin(store, Q[r], buffers[r])
        clear(keys[r], ids[r])
    for start in range(0, n, tile):
        stop = min(n, start + tile)
        for r in range(nq):
            scan_range(
                store, buffers[r], start, stop, start, zero, None, keys[r], ids[r]
            )


class Lists(NamedTuple):
    """An inverted file: vectors by their nearest centroid."""

    centroids: Any  #: a store of rows
    offsets: np.ndarray  #: (nlist + 1,) int64: where a list begins among …
    store: Any  #: … vectors in list order,
    row_ids: np.ndarray  #: (n,) int32, whose ids these are
    residual: bool  #: whether codes describe x − centroid; its key is then added


@kernel
def search_lists(
    lists, Q, projected, given, probe_keys, probes, buffers, keys, ids, scored
):
    """Search of each query in the lists nearest to it.

    Parameters
    ----------
    lists : Lists               read-only
    Q, projected : (nq, d) float32  queries, as centroids and as codes know them
    given : bool                whether ``probes`` are; else they are found here
    probe_keys, probes : (nq, nprobe) float32, int32    centroids' keys and numbers
    buffers : (2, query size) float32   scratch
    keys, ids : (nq, k) float32, int32  overwritten: results
    scored : (nq,) int64        overwritten: vectors scored, centroids included
    """
    nlist, nprobe = lists.offsets.size - 1, probes.shape[1]
    near, query = buffers[0], buffers[1]
    zero = np.float32(0.0)
    for r in range(Q.shape[0]):
        if not given:
            begin(lists.centroids, Q[r], near)
            clear(probe_keys[r], probes[r])
            scan_range(
                lists.centroids, near, 0, nlist, 0, zero, None, probe_keys[r], probes[r]
            )
        begin(lists.store, projected[r], query)
        clear(keys[r], ids[r])
        seen = nlist
        for p in range(nprobe):
            which, following = probes[r, p], probes[r, min(p + 1, nprobe - 1)]
            start, stop = lists.offsets[which], lists.offsets[which + 1]
            bias = probe_keys[r, p] if lists.residual else zero
            scan_range(
                lists.store, query, start, stop, lists.offsets[following], bias,
                lists.row_ids, keys[r], ids[r],
            )  # fmt: skip
            seen += stop - start
        scored[r] = seen


@kernel
def rescore(store, Q, candidates, out_keys, out_ids):
    """Take the best of each query's candidates (−1: none), scored by the store.

    ``candidates`` (nq, c) int32; ``out_keys``, ``out_ids`` (nq, k) are overwritten.
    """
    k, last = out_ids.shape[1], candidates.shape[1] - 1
    for r in range(Q.shape[0]):
        clear(out_keys[r], out_ids[r])
        for j in range(last + 1):
            i = candidates[r, j]
            if i < 0:
                break
            fetch(store, candidates[r, min(j + AHEAD, last)])
            insert(out_keys[r], out_ids[r], k, k, score(store, Q[r], i), i)
