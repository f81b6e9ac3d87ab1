"""Scans: exact search over all vectors, and over the lists of an IVF index."""

from typing import Any, NamedTuple

import numpy as np

from ann.kernels import simd
from ann.kernels._jit import kernel
from ann.kernels.pool import INFINITY, insert, package
from ann.kernels.stores import begin, fetch, score

AHEAD = 8  # vectors on their way while one is scored
TILE = 1024  # vectors


@kernel
def scan_range(store, query, start, stop, then, bias, row_ids, keys, ids, size, k):
    """Score stored vectors ``start <= i < stop`` into a pool of ``k``.

    Parameters
    ----------
    store : NamedTuple          read-only
    query : array               what ``begin`` returned
    then : int                  where the scan goes on: the hardware follows a scan by
                                itself, but has to be told of a jump
    bias : float32              added to every key
    row_ids : (n,) int32 or None    name of stored vector i; None: i itself
    keys, ids, size : a pool    overwritten

    Returns
    -------
    size : int                  of the pool
    """
    limit = keys[k - 1] if size == k else INFINITY
    for i in range(start, stop):
        left = stop - i
        if left <= AHEAD:
            fetch(store, then + AHEAD - left)
        key = score(store, query, i) + bias
        if key <= limit:
            if row_ids is None:
                size, _ = insert(keys, ids, size, k, key, np.int32(i))
            else:
                size, _ = insert(keys, ids, size, k, key, row_ids[i])
            if size == k:
                limit = keys[k - 1]
    return size


@kernel
def scan_all(store, n, Q, buffer, keys, ids):
    """Exact search of each row of ``Q`` among the ``n`` vectors of a store.

    ``buffer`` is scratch; ``keys``, ``ids`` (nq, k) are overwritten. A tile of vectors
    serves all queries while it is in the cache.
    """
    nq, k = keys.shape
    zero, tile = np.float32(0.0), n if nq == 1 else TILE
    for start in range(0, n, tile):
        stop = min(n, start + tile)
        size = min(start, k)
        for r in range(nq):
            query = begin(store, Q[r], buffer)
            scan_range(
                store, query, start, stop, start, zero, None, keys[r], ids[r], size, k
            )
    for r in range(nq):
        package(keys[r], ids[r], min(n, k), keys[r], ids[r])


class Lists(NamedTuple):
    """An inverted file: vectors by their nearest centroid."""

    centroids: Any  #: a store of rows
    offsets: (
        np.ndarray
    )  #: (nlist + 1,) int64; list l is ``offsets[l]:offsets[l+1]`` of …
    store: Any  #: … vectors in list order
    row_ids: np.ndarray  #: (n,) int32, id of each of them
    residual: bool  #: whether codes describe x − centroid, so that a list's key counts
    squares: np.ndarray  #: (nlist,) float32, what the centroid's key is too large by


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
    buffers : float32, float32  scratch for a query of centroids and one of codes
    keys, ids : (nq, k) float32, int32  overwritten: results
    scored : (nq,) int64        overwritten: vectors scored, centroids included
    """
    k, nlist, nprobe = ids.shape[1], lists.offsets.size - 1, probes.shape[1]
    zero = np.float32(0.0)
    for r in range(Q.shape[0]):
        if not given:
            near = begin(lists.centroids, Q[r], buffers[0])
            scan_range(
                lists.centroids, near, 0, nlist, 0, zero, None, probe_keys[r],
                probes[r], 0, nprobe,
            )  # fmt: skip
        query = begin(lists.store, projected[r], buffers[1])
        size, seen = 0, nlist
        for p in range(nprobe):
            which = probes[r, p]
            start, stop = lists.offsets[which], lists.offsets[which + 1]
            then = lists.offsets[probes[r, min(p + 1, nprobe - 1)]]
            bias = probe_keys[r, p] - lists.squares[which] if lists.residual else zero
            size = scan_range(
                lists.store, query, start, stop, then, bias, lists.row_ids, keys[r],
                ids[r], size, k,
            )  # fmt: skip
            seen += stop - start
        package(keys[r], ids[r], size, keys[r], ids[r])
        scored[r] = seen


@kernel
def rescore(store, Q, candidates, out_keys, out_ids):
    """Take the best of each query's candidates (−1: none), scored by the store.

    ``candidates`` (nq, c) int32; ``out_keys``, ``out_ids`` (nq, k) are overwritten.
    """
    k = out_ids.shape[1]
    for r in range(Q.shape[0]):
        size = 0
        for j in range(candidates.shape[1]):
            i = candidates[r, j]
            if i < 0:
                break
            fetch(store, candidates[r, min(j + AHEAD, candidates.shape[1] - 1)])
            key = score(store, Q[r], i)
            size, _ = insert(out_keys[r], out_ids[r], size, k, key, i)
        package(out_keys[r], out_ids[r], size, out_keys[r], out_ids[r])


@kernel
def merge_block(
    store, first, count, Q, dots, offset, scale, shift, slack, k, keys, ids, sizes
):
    """Take a block of a matrix product into each query's pool, exactly.

    The product gives each key only up to rounding. Whatever could be among the best
    ``k`` within the error bound is scored again directly, so the pools hold direct
    keys, and no cancellation in ``‖q‖² + ‖x‖² − 2⟨q, x⟩`` can change the result.

    Parameters
    ----------
    store : rows                read-only
    first, count : int          the block's first stored vector, and how many
    Q : (nq, d) float32
    dots : (nq, count) float32  ⟨q, x⟩
    offset : (nq,) float32      key ≈ offset[r] + scale·dot + shift[i]
    shift : (n,) float32        already lowered by the vector's share of the error
    slack : (nq,) float32       the query's share of the error
    keys, ids, sizes : (nq, k), (nq, k), (nq,)   pools, updated
    """
    flat, width = dots, dots.shape[1]
    for r in range(Q.shape[0]):
        query, pool_keys, pool_ids = Q[r], keys[r], ids[r]
        size = sizes[r]
        limit = pool_keys[k - 1] if size == k else INFINITY
        below = limit - offset[r] + slack[r]
        whole = count - count % 16
        for j in range(0, whole, 16):
            bits = simd.below16(flat, r * width + j, shift, first + j, scale, below)
            while bits != 0:
                i = first + j + simd.trailing_zeros(bits)
                bits &= bits - np.uint32(1)
                key = score(store, query, i)
                if key <= limit:
                    size, _ = insert(pool_keys, pool_ids, size, k, key, np.int32(i))
                    if size == k:
                        limit = pool_keys[k - 1]
                        below = limit - offset[r] + slack[r]
        for j in range(whole, count):
            i = first + j
            if not (scale * dots[r, j] + shift[i] < below):
                continue
            key = score(store, query, i)
            if key <= limit:
                size, _ = insert(pool_keys, pool_ids, size, k, key, np.int32(i))
                if size == k:
                    limit = pool_keys[k - 1]
                    below = limit - offset[r] + slack[r]
        sizes[r] = size
