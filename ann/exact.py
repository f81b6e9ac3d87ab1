"""Exact search among float32 rows: the truth for everything else.

A batch goes through products in blocks, so memory stays bounded; whatever a product's
error leaves undecided is scored again directly (``kernels.products``).
"""

import threading
from contextlib import nullcontext, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann import halves, parallel
from ann.kernels import answer, products, scan
from ann.kernels.listed import Listed
from ann.kernels.scan import Everything, FlatScratch
from ann.kernels.stores import ROWS
from ann.memory import aligned, query_buffers
from ann.metrics import row_norms

QUERY_BLOCK, ROW_BLOCK = 256, 2048  # of a float32 product: 2 MiB a thread
BATCH = 2048  # queries whose 8-bit codes meet a group of rows in the cache
PAIRS = 2**20  # of a row and a query: work of about a millisecond
SAMPLE = 1024  # rows whose mean is taken off all
AXES, TURNS = 16, 4  # directions of the most variance, and steps that find them
MOST_PARTS = 4096  # rows whose parts are held at a time
PROBE = 96  # queries that tell whether the others are worth a try
# Where many neighbours are sought among few rows, all bounds are kept (4 MiB a thread)
# and chosen from. Of 1,360 x 384 and 4,000 x 128 rows, one thread, the best 10 took 5.1
# and 7.3 us a query, by a filter 8.1 and 7.2; the best 160 took 18 us instead of 53.
BOUNDS, MOST_ROWS, MOST_ROWS_EACH = 2**20, 2**14, 400
SCAN_BLOCK = 16  # queries that share a tile of vectors
# Fewer queries are scanned. By integer products, 12 took 5.9 instead of 8.1 ms among
# 50,000 x 192 and 0.37 instead of 0.47 ms among 1,360 x 384; by float32 products, 24 is
# where they begin to pay. One thread.
FEWEST_FOR_BYTES, FEWEST_FOR_BLAS = 12, 24
GATHERED = 2**24  # float32 of chosen rows that lie side by side at a time: 64 MiB

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
    guess: Positions | None = None,
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
    guess : (nq,) int32, optional
        For each query a row that may well be the best, with ``k = 1``: it changes the
        time, not the result.

    Returns
    -------
    keys, positions : (nq, k) float32, (nq, k) int32
    """
    store = ROWS[key](rows)
    by_bytes = products.BYTES and Q.shape[1] <= products.WIDEST
    fewest = FEWEST_FOR_BYTES if by_bytes else FEWEST_FOR_BLAS
    if len(Q) < fewest or key == "l1":
        return scan_rows(store, len(rows), Q, k, threads, Q.shape[1])
    if by_bytes:
        for axes in (0, AXES) if Q.shape[1] >= 4 * AXES else (0,):
            blas = parallel.serial_blas() if axes else nullcontext()
            with suppress(_Undecided), blas:
                return _search_by_bytes(key, store, Q, k, threads, guess, axes)
    return _search_by_floats(key, store, norms, Q, k, threads)


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


def search_among(
    key: str,
    rows: Floats,
    positions: Positions,
    Q: Floats,
    k: int,
    threads: int,
    names: Positions | None = None,
) -> Pools:
    """As ``search``, among the rows at some positions (m,) int32, which ascend.

    With ``names`` (m,) int32, which ascend, positions are in any order, and these are
    found instead. For a batch the rows are first laid side by side, which costs about
    as much as to scan them for two queries, and then searched as any rows. Where there
    are fewer than ``k``, the rest is (+inf, −1).
    """
    d = Q.shape[1]
    if names is None and (len(Q) < FEWEST_FOR_BYTES or key == "l1"):
        everything = Everything(ROWS[key](halves.packed(rows)), len(rows), None)
        return search_listed(Listed(everything, positions), Q, k, threads, d)
    keys, ids = _empty_pools(len(Q), k)
    step = max(1, GATHERED // d)
    for a in range(0, len(positions), step):
        part = positions[a : a + step]
        own = aligned((len(part), d), rows.dtype)
        np.take(rows, part, axis=0, out=own, mode="clip")
        best, found = search(key, halves.floats(own), Q, min(k, len(part)), threads)
        some_keys, some_ids = _empty_pools(len(Q), k)
        some_keys[:, : best.shape[1]] = best
        called = part if names is None else names[a : a + step]
        some_ids[:, : best.shape[1]] = called[found]
        products.merge_pools(some_keys, some_ids, keys, ids)
    return keys, ids


def _empty_pools(nq: int, k: int) -> Pools:
    return np.full((nq, k), np.inf, np.float32), np.full((nq, k), -1, np.int32)


def search_listed(
    listed: Listed, Q: Floats, k: int, threads: int, query_size: int
) -> Pools:
    """Score chosen vectors of any store for each query; else as ``search_among``."""
    keys, ids = np.empty((len(Q), k), np.float32), np.empty((len(Q), k), np.int32)
    scored = np.empty(len(Q), np.int64)

    def work(ranges: parallel.Ranges) -> None:
        room = aligned((2 * Q.shape[1],), np.float32)
        scratch = FlatScratch(aligned((query_size,), np.float32), room)
        for a, b in ranges:
            part = keys[a:b], ids[a:b], scored[a:b]
            answer.search(listed, Q[a:b], None, scratch, *part)

    parallel.run(work, len(Q), SCAN_BLOCK, threads)
    return keys, ids


def _search_by_bytes(
    key: str,
    store: Any,
    Q: Floats,
    k: int,
    threads: int,
    guess: Positions | None,
    axes: int,
) -> Pools:
    """As ``search``, with so many axes; raises ``_Undecided``."""
    n = len(store.rows)
    keys, ids = np.empty((len(Q), k), np.float32), np.empty((len(Q), k), np.int32)
    few = n <= MOST_ROWS
    rows = _Rows(key, store, axes, keep=few)

    def begin(a: int, b: int) -> "_Batch":
        if guess is None:
            keys[a:b], ids[a:b] = np.inf, -1
        else:
            scan.rescore(store, Q[a:b], guess[a:b, None], keys[a:b], ids[a:b])
        return _Batch(rows, Q[a:b])

    def work(ranges: parallel.Ranges) -> None:
        for a, b in ranges:
            begin(a, b).take(0, n, keys[a:b], ids[a:b])

    def choose(ranges: parallel.Ranges) -> None:
        for a, b in ranges:
            begin(a, b).choose(keys[a:b], ids[a:b])

    by_choice = guess is None and few and n <= MOST_ROWS_EACH * k
    if few and len(Q) > 4 * PROBE:
        (choose if by_choice else work)(iter([(0, PROBE)]))
    if by_choice:
        step = min(BOUNDS // n, -(-len(Q) // threads))
        parallel.run(choose, len(Q), step, threads)
    elif len(Q) >= BATCH * threads:
        parallel.run(work, len(Q), BATCH, threads)
    else:
        for a in range(0, len(Q), BATCH):
            b = min(len(Q), a + BATCH)
            _share_rows(begin(a, b), n, keys[a:b], ids[a:b], threads)
    return keys, ids


def _share_rows(
    batch: "_Batch", n: int, keys: Floats, ids: Positions, threads: int
) -> None:
    """Take all rows into a batch's pools, each thread by way of pools of its own."""
    lock, empty = threading.Lock(), (keys.copy(), ids.copy())

    def work(ranges: parallel.Ranges) -> None:
        own_keys, own_ids = empty[0].copy(), empty[1].copy()
        for first, last in ranges:
            batch.take(first, last, own_keys, own_ids)
        with lock:
            products.merge_pools(own_keys, own_ids, keys, ids)

    parallel.run(work, n, min(batch.step, -(-n // threads)), threads)


class _Undecided(Exception):  # noqa: N818
    """Integer products leave so many rows undecided that they do not pay."""


class _Rows:
    """Rows to be coded: the center that is taken off them, and their axes.

    Patches of photographs lie 1,000 from their mean and 12 from their neighbours: with
    all of a vector in codes, a tenth of the rows stayed undecided. Most of that length
    lies along a few directions.
    """

    def __init__(self, key: str, store: Any, axes: int, keep: bool) -> None:
        self.store, self.squared = store, key == "l2"
        n, d = store.rows.shape
        sample = store.rows[:: -(-n // SAMPLE)].astype(np.float64)
        self._center = np.zeros(d)
        if self.squared:  # the shorter the vectors, the smaller their codes' errors
            self._center = sample.mean(axis=0).astype(np.float32).astype(float)
        self.axes = _axes(sample - self._center, axes)
        self._kept = self.parts(store.rows, 0, n) if keep or not axes else None

    @property
    def center(self) -> Floats:
        """What is left to take off the parts: without axes, all."""
        center = self._center if not len(self.axes) else np.zeros_like(self._center)
        return center.astype(np.float32)

    def parts(self, X: Floats, first: int, last: int) -> products.Parts:
        """Return rows of ``X`` apart: along the axes, and what is left."""
        if not len(self.axes):
            nothing = np.empty((0, 0), np.float32), np.empty(0)
            return products.Parts(0, X, *nothing)
        whole = X[first:last] - self._center
        top = (whole @ self.axes.T).astype(np.float32)
        square = np.einsum("ij,ij->i", whole, whole)
        whole -= top.astype(np.float64) @ self.axes
        return products.Parts(first, whole.astype(np.float32), top, square)

    def range(self, first: int, last: int) -> products.Parts:
        """Return the parts of these rows at least."""
        return self._kept or self.parts(self.store.rows, first, last)


def _axes(X: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return about the ``count`` orthonormal directions of the greatest variance."""
    axes = np.eye(X.shape[1], count)
    for _ in range(TURNS if count else 0):
        axes, _ = np.linalg.qr(X.T @ (X @ axes))
    return np.ascontiguousarray(axes.T)


class _Batch:
    """Queries as 8-bit codes, to be held against ranges of rows."""

    def __init__(self, rows: _Rows, Q: Floats) -> None:
        nq, d = Q.shape
        padded = nq + -nq % products.BLOCK
        self._rows, self._Q, self._n_axes = rows, Q, len(rows.axes)
        self._codes = products.Codes(
            center=rows.center,
            v=aligned((padded, d + -d % 16), np.int8),
            top=np.empty((padded, self._n_axes), np.float32),
            start=np.empty(padded, np.int32),
            scale=np.empty(padded, np.float32),
            square=np.empty(padded),
            reach=np.empty(3),
        )
        products.encode_queries(rows.parts(Q, 0, nq), self._codes)
        most = max(8 * products.GROUP, -(-len(rows.store.rows) // 4))  # to judge by
        most = min(most, MOST_PARTS) if self._n_axes else most
        self.step = min(max(8 * products.GROUP, PAIRS // nq), most)  # rows at a time

    def take(self, first: int, last: int, keys: Floats, ids: Positions) -> None:
        """Take rows ``first <= i < last`` into the queries' pools."""
        nq, rows = len(self._Q), self._rows
        limits = np.empty(len(self._codes.start), np.float32)
        panel = self._panel()
        for start in range(first, last, self.step):
            stop = min(last, start + self.step)
            fresh = bool(np.isinf(keys[:, -1]).any())  # these let everything survive
            survivors = products.filter_rows(
                rows.store, rows.range(start, stop), start, stop, rows.squared, self._Q,
                self._codes, panel, limits, keys, ids,
            )  # fmt: skip
            # A direct score costs as much as a few dozen products.
            if not fresh and survivors > nq * (keys.shape[1] + (stop - start) / 32):
                raise _Undecided

    def choose(self, keys: Floats, ids: Positions) -> None:
        """Take the best of all rows, of which there are few, into empty pools."""
        rows, padded = self._rows, len(self._codes.start)
        n = len(rows.store.rows)
        bounds = aligned((padded, n + -n % products.GROUP), np.float32)
        scored = products.select_rows(
            rows.store, rows.range(0, n), rows.squared, self._Q, self._codes,
            self._panel(), bounds, np.empty((2, padded), np.float32), keys, ids,
        )  # fmt: skip
        if scored > len(keys) * (2 * keys.shape[1] + n / 8):
            raise _Undecided

    def _panel(self) -> products.Panel:
        width, group = self._codes.v.shape[1], products.GROUP
        return products.Panel(
            u=aligned((width * group,), np.uint8),
            top=aligned((self._n_axes * group,), np.float32),
            square=aligned((group,), np.float32),
            scale=aligned((group,), np.float32),
            minus_error=aligned((group,), np.float32),
            survivors=np.empty(products.BLOCK, np.uint64),
        )


# --- float32 products -----------------------------------------------------------------


def _search_by_floats(
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
    slack = slack + np.float32(products.TINY)

    def work(ranges: parallel.Ranges) -> None:
        room = np.empty(QUERY_BLOCK * min(ROW_BLOCK, n), np.float32)
        for a, b in ranges:
            keys[a:b], ids[a:b] = np.inf, -1
            for first in range(0, n, ROW_BLOCK):
                block = rows[first : first + ROW_BLOCK]
                shape = b - a, len(block)  # the last block is narrower
                dots = room[: shape[0] * shape[1]].reshape(shape)
                np.matmul(Q[a:b], block.T, out=dots)
                products.merge_block(
                    store, first, Q[a:b], dots, offset[a:b], scale, shift, slack[a:b],
                    keys[a:b], ids[a:b],
                )  # fmt: skip

    with parallel.serial_blas():
        parallel.run(work, len(Q), QUERY_BLOCK, threads)
    return keys, ids
