"""Exact search among float32 rows: the truth for everything else.

A batch goes through matrix products in blocks, so memory stays bounded; whatever the
product's rounding leaves undecided is scored again directly (``kernels.scan``).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann import parallel
from ann.kernels import scan
from ann.kernels.stores import ROWS
from ann.memory import query_buffers
from ann.metrics import row_norms

QUERY_BLOCK, ROW_BLOCK = 256, 2048  # 2 MiB of products a thread
SCAN_BLOCK = 16  # queries that share a tile of vectors
# Fewer queries are scanned: 10.5 against 15.3 ms for 16, 21.1 against 19.0 ms for 32,
# on one thread and 50,000 x 192.
FEWEST_FOR_BLAS = 24

Floats = NDArray[np.float32]
Norms = NDArray[np.float64]
Positions = NDArray[np.int32]
Pools = tuple[Floats, Positions]


def search(
    key: str,
    rows: Floats,
    Q: Floats,
    k: int,
    threads: int,
    norms: Norms | None = None,
) -> Pools:
    """Return the ``k`` best of ``rows`` for each query, ties broken by row number.

    Parameters
    ----------
    key : {"l2", "dot", "l1"}
    rows : (n, d) float32
    Q : (nq, d) float32
    k : int
        At most n.
    norms : (n,) float64, optional
        Euclidean norms of the rows, where they are known.

    Returns
    -------
    keys, positions : (nq, k) float32, (nq, k) int32
    """
    store = ROWS[key](rows)
    if len(Q) < FEWEST_FOR_BLAS or key == "l1":
        return scan_rows(store, len(rows), Q, k, threads, Q.shape[1])
    return _search_by_products(key, store, norms, Q, k, threads)


def scan_rows(
    store: Any, n: int, Q: Floats, k: int, threads: int, query_size: int
) -> Pools:
    """Score all ``n`` vectors of any store for each query; as ``search`` otherwise."""
    keys, ids = np.empty((len(Q), k), np.float32), np.empty((len(Q), k), np.int32)

    def work(ranges: parallel.Ranges) -> None:
        buffers = query_buffers(min(SCAN_BLOCK, len(Q)), query_size)
        for a, b in ranges:
            scan.scan_all(store, n, Q[a:b], buffers, keys[a:b], ids[a:b])

    parallel.run(work, len(Q), SCAN_BLOCK, threads)
    return keys, ids


def rescore(
    key: str, rows: Floats, Q: Floats, candidates: Positions, k: int, threads: int
) -> Pools:
    """Return the ``k`` best of each query's candidates (−1: none), scored directly."""
    store = ROWS[key](rows)
    keys, ids = np.empty((len(Q), k), np.float32), np.empty((len(Q), k), np.int32)

    def work(ranges: parallel.Ranges) -> None:
        for a, b in ranges:
            scan.rescore(store, Q[a:b], candidates[a:b], keys[a:b], ids[a:b])

    parallel.run(work, len(Q), SCAN_BLOCK, threads)
    return keys, ids


def _search_by_products(
    key: str, store: Any, norms: Norms | None, Q: Floats, k: int, threads: int
) -> Pools:
    rows, (n, d) = store.rows, store.rows.shape
    keys, ids = np.empty((len(Q), k), np.float32), np.empty((len(Q), k), np.int32)
    norms = row_norms(rows) if norms is None else norms
    # |fl(⟨q,x⟩) − ⟨q,x⟩| <= γ‖q‖‖x‖ (Higham 2002, Sec. 3.1), and so for the direct sum;
    # 4γ covers both, the norms' rounding and the additions around them.
    gamma = 4 * (d + 8) * 2.0**-24
    query_norms = row_norms(Q)
    if key == "l2":
        scale = np.float32(-2.0)
        offset = (query_norms**2).astype(np.float32)
        shift = (norms**2 * (1 - gamma)).astype(np.float32)
        slack = (query_norms**2 * gamma).astype(np.float32)
    else:
        scale = np.float32(-1.0)
        offset, shift = np.zeros(len(Q), np.float32), np.zeros(n, np.float32)
        slack = (query_norms * norms.max() * gamma).astype(np.float32)
    slack = np.nextafter(slack, np.float32(np.inf))

    def work(ranges: parallel.Ranges) -> None:
        products = np.empty((QUERY_BLOCK, min(ROW_BLOCK, n)), np.float32)
        for a, b in ranges:
            keys[a:b], ids[a:b] = np.inf, -1
            for first in range(0, n, ROW_BLOCK):
                block = rows[first : first + ROW_BLOCK]
                shape = b - a, len(block)  # the last block is narrower
                dots = products.ravel()[: shape[0] * shape[1]].reshape(shape)
                np.matmul(Q[a:b], block.T, out=dots)
                scan.merge_block(
                    store, first, Q[a:b], dots, offset[a:b], scale, shift, slack[a:b],
                    keys[a:b], ids[a:b],
                )  # fmt: skip

    with parallel.serial_blas():
        parallel.run(work, len(Q), QUERY_BLOCK, threads)
    return keys, ids
