r"""Recall, defined once.

An answer's id counts for recall@k when it stands among the first k of its answer, has
not stood there before, and its vector is no farther from the query than the k-th
exact neighbour: a tie with that neighbour is as good as the neighbour. Both distances
are recomputed here in float64 from the vectors themselves, so neither the index under
test nor the truth file is trusted for more than ids.

"No farther" allows for what exact search in float32 cannot tell apart:

* relatively 1e-6 of the k-th distance, for the rounding of a sum;
* for ``ip`` and ``cosine`` also 2 eps ‖q‖‖x‖ with eps = 2⁻²³ and, for cosine, unit
  norms: a dot product is a sum with cancellation, and its rounding error scales with
  the norms even where the product is near zero or 1 − cos is. ``l2`` and ``l1`` sum
  terms of one sign, need no such allowance and get none, so exact duplicates of a
  query (distance 0) are told from near ones.

There is no absolute tolerance: on data of small scale one would count far vectors.
That of ann-benchmarks has one, and that of many papers counts ids alone; both are here
too (``others``), to compare with figures from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32] | NDArray[np.float64]

KS = (1, 5, 10)
_RTOL = 1e-6
_AB_ATOL = 1e-3  # of ann-benchmarks, absolute
_DOT_ROUNDING = 2 * float(np.finfo(np.float32).eps)
_BLOCK_BYTES = 64 << 20


def recall(
    ids: NDArray[np.int64],
    neighbors: NDArray[np.int64],
    X: NDArray[np.float32],
    Q: NDArray[np.float32],
    metric: str,
    ks: tuple[int, ...] = KS,
) -> NDArray[np.float64]:
    """Return each query's recall@k for several k from one answer.

    Parameters
    ----------
    ids : (nq, width) int64
        Answers, closest first, -1 where one is missing; ``width`` is at least the
        greatest k. recall@k looks at the first k alone, so recall@1 of a search for
        ten can differ from that of a search for one.
    neighbors : (nq, truth_k) int64
        Exact neighbours, closest first; -1 where there are fewer.
    X, Q : (n, d), (nq, d)
        The vectors.
    metric : "l2", "ip", "cosine" or "l1"
    ks : the cut-offs

    Returns
    -------
    (nq, len(ks)) float64
        Hits divided by min(k, n).

    Raises
    ------
    ValueError
        When an id is not in [-1, n), or answers or neighbours are too few.
    """
    n, nq = len(X), len(Q)
    width, known = max(ks), min(max(ks), n)
    _require_ids("answers", ids, (nq, width), low=-1, n=n)
    _require_ids("exact neighbours", neighbors, (nq, known), low=0, n=n)
    ids, neighbors = ids[:, :width], neighbors[:, :known]
    result = np.empty((nq, len(ks)))
    for rows in _blocks(nq, 4 * 8 * width * X.shape[1]):
        found, rounding = _distances(ids[rows], X, Q[rows], metric)
        found[repeated(ids[rows]) | (ids[rows] < 0)] = np.inf
        exact = np.sort(_distances(neighbors[rows], X, Q[rows], metric)[0], axis=1)
        for j, k in enumerate(ks):
            limit = exact[:, [min(k, n) - 1]]
            near = found[:, :k] <= limit + _RTOL * np.abs(limit) + rounding[:, :k]
            result[rows, j] = near.sum(axis=1) / min(k, n)
    return result


def others(
    ids: NDArray[np.int64],
    neighbors: NDArray[np.int64],
    X: NDArray[np.float32],
    Q: NDArray[np.float32],
    metric: str,
    k: int = max(KS),
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each query's recall@k as others define it.

    Parameters
    ----------
    ids, neighbors, X, Q, metric
        As ``recall`` has them, and checked by it.

    Returns
    -------
    strict, ab : (nq,) float64 each
        By ids alone: a tie with the k-th neighbour does not count. And that of
        ann-benchmarks: every distance up to the k-th plus 0.001 counts.
    """
    known = min(k, len(X))
    ids, neighbors = ids[:, :k], neighbors[:, :known]
    fresh = (ids >= 0) & ~repeated(ids)
    strict, ab = np.empty(len(Q)), np.empty(len(Q))
    for rows in _blocks(len(Q), 4 * 8 * k * X.shape[1]):
        hits = (ids[rows, :, None] == neighbors[rows, None, :]).any(axis=2)
        strict[rows] = (hits & fresh[rows]).sum(axis=1) / known
        found = distances_of(ids[rows], X, Q[rows], metric)
        limit = distances_of(neighbors[rows], X, Q[rows], metric).max(axis=1)
        near = (found <= limit[:, None] + _AB_ATOL) & (ids[rows] >= 0)
        ab[rows] = near.sum(axis=1) / known
    return strict, ab


def distances_of(
    ids: NDArray[np.int64], X: Floats, Q: Floats, metric: str
) -> NDArray[np.float64]:
    """Return (nq, width) distances in float64; a missing id stands for vector 0."""
    return _distances(ids, X, Q, metric)[0]


def check_truth(
    neighbors: NDArray[np.int64],
    X: NDArray[np.float32],
    Q: NDArray[np.float32],
    metric: str,
    k: int = max(KS),
    queries: int = 4,
) -> None:
    """Search for a few queries in float64 and compare with the exact neighbours.

    A file that was made for another metric, or for other vectors, is found out before
    anything is measured against it.

    Raises
    ------
    ValueError
        When a vector is closer than the k-th of the exact neighbours.
    """
    k = min(k, len(X))
    for i in np.linspace(0, len(Q) - 1, min(queries, len(Q))).astype(int):
        q = Q[[i]]
        given, rounding = _distances(neighbors[[i], :k], X, q, metric)
        parts = [
            _distances(np.arange(rows.start, rows.stop)[None], X, q, metric)[0]
            for rows in _blocks(len(X), 4 * 8 * X.shape[1])
        ]
        best = np.partition(np.concatenate(parts, axis=1)[0], k - 1)[k - 1]
        limit = given.max()
        if best < limit - _RTOL * abs(limit) - rounding.max():
            raise ValueError(
                f"the exact neighbours must be the closest under {metric}: that of "
                f"rank {k} of query {i} is at {best:.6g}, got {limit:.6g}"
            )


def _require_ids(
    what: str, ids: NDArray[np.int64], shape: tuple[int, int], low: int, n: int
) -> None:
    if ids.ndim != 2 or len(ids) != shape[0] or ids.shape[1] < shape[1]:
        raise ValueError(f"{what} must be {shape} or wider, got {ids.shape}")
    ids = ids[:, : shape[1]]
    if ids.size and (ids.min() < low or ids.max() >= n):
        row, column = np.argwhere((ids < low) | (ids >= n))[0]
        raise ValueError(
            f"ids of {what} must be in [{low}, n={n}), "
            f"got {ids[row, column]} in row {row}"
        )


def _distances(
    ids: NDArray[np.int64], X: Floats, Q: Floats, metric: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (nq, width) float64 distances to vectors, and float32's rounding of them.

    Missing ids stand for vector 0; the caller masks them.
    """
    V = X[np.maximum(ids, 0)].astype(np.float64)
    Q64 = Q.astype(np.float64)[:, None, :]
    if metric in ("l2", "l1"):
        difference = V - Q64
        order = 2 if metric == "l2" else 1
        return np.linalg.norm(difference, ord=order, axis=2), np.zeros(ids.shape)
    dot = np.einsum("qkd,qod->qk", V, Q64)
    norms = np.linalg.norm(V, axis=2) * np.linalg.norm(Q64, axis=2)
    if metric == "ip":
        return -dot, _DOT_ROUNDING * norms
    if metric == "cosine":
        cosine = np.divide(dot, norms, out=np.zeros_like(dot), where=norms > 0)
        return 1 - cosine, np.full(ids.shape, _DOT_ROUNDING)
    raise ValueError(f"metric must be l2, ip, cosine or l1, got {metric!r}")


def repeated(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark each id that stood earlier in its row, missing ones included."""
    order = np.argsort(ids, axis=1, kind="stable")
    ordered = np.take_along_axis(ids, order, axis=1)
    repeated = np.zeros(ids.shape, bool)
    later = np.zeros(ids.shape, bool)
    later[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    np.put_along_axis(repeated, order, later, axis=1)
    return repeated


def _blocks(n: int, bytes_per_row: int) -> Iterator[slice]:
    """Cut n rows into slices that stay within ``_BLOCK_BYTES``."""
    step = max(1, _BLOCK_BYTES // bytes_per_row)
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))
