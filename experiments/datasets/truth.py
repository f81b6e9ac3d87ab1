"""Ground truth: the exact neighbours of every query, computed once per content."""

import hashlib
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from experiments.datasets.cache import atomic

if TYPE_CHECKING:
    from rich.progress import Progress

SCHEMA = 1
"""Raise it when ground truth that was computed before must be computed again."""

Truth = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Neighbours and distances, both (nq, truth_k), closest first, ties by id."""

_SPOT = 16  # queries of a file's own ground truth that are searched again
_BLOCK = 256  # queries per step of the progress bar
_GATHER = 1 << 22  # values gathered per step of a check
_RTOL = 1e-3  # of a distance: the vectors may have been rounded to float16 since
_ATOL = 1e-5  # of the norms: ‖q‖² + ‖x‖² − 2qx in float32 cancels that much


def fingerprint(
    train: NDArray[np.float32], test: NDArray[np.float32], metric: str
) -> str:
    """Return the sha256 of the shapes, the values and the metric."""
    digest = hashlib.sha256(f"{train.shape} {test.shape} {metric} ".encode())
    digest.update(train.data)
    digest.update(test.data)
    return digest.hexdigest()


def ground_truth(
    train: NDArray[np.float32],
    test: NDArray[np.float32],
    metric: str,
    k: int,
    *,
    key: str,
    cache: Path,
    given: tuple[NDArray[Any], NDArray[Any]] | None = None,
    where: str = "ground truth",
    progress: "Progress | None" = None,
) -> Truth:
    """Return the k exact neighbours of each query, from the cache where it has them.

    Parameters
    ----------
    key
        The `fingerprint` of the data. The cache file is named by it, by `k` and by
        `SCHEMA`, so a change in any of them finds no stale answer.
    given
        Neighbours and distances that came with exactly these vectors. They are used
        once `verify` has passed them, if they are at least k wide.
    """
    if not 1 <= k <= len(train):
        raise ValueError(f"truth_k must be in [1, n={len(train)}], got {k}")
    path = cache / "ground-truth" / f"{key}-k{k}-v{SCHEMA}.npz"
    cached = _read(path, len(test), k)
    if cached is not None:
        return cached
    if given is not None and given[0].shape[1] >= k:
        truth = verify(train, test, metric, (given[0][:, :k], given[1][:, :k]), where)
    else:
        truth = exact_search(train, test, metric, k, progress)
    with atomic(path) as temporary:
        np.savez(temporary, neighbors=truth[0], distances=truth[1])
    return truth


def exact_search(
    train: NDArray[np.float32],
    test: NDArray[np.float32],
    metric: str,
    k: int,
    progress: "Progress | None" = None,
) -> Truth:
    """Search exactly with `ann.Flat`; the only place that does."""
    import ann

    index = ann.Flat(metric=metric).add(train)
    ids = np.empty((len(test), k), dtype=np.int64)
    distances = np.empty((len(test), k), dtype=np.float32)
    task = progress.add_task("ground truth", total=len(test)) if progress else None
    for start in range(0, len(test), _BLOCK):
        block = slice(start, start + _BLOCK)
        ids[block], distances[block] = index.search(test[block], k=k)
        if progress is not None and task is not None:
            progress.update(task, completed=min(start + _BLOCK, len(test)))
    return ids, distances


def verify(
    train: NDArray[np.float32],
    test: NDArray[np.float32],
    metric: str,
    given: tuple[NDArray[Any], NDArray[Any]],
    where: str,
) -> Truth:
    """Check ground truth that came with a file, and restate its distances.

    Every id is in range and occurs once per query; every distance is, to float error,
    the one between the two vectors, and no distance is below the one before it. A few
    queries are searched again: what the file calls nearest must be nearest. The
    distances returned are computed anew, as the file's carry its own rounding.
    """
    ids = given[0].astype(np.int64)
    claimed = given[1].astype(np.float64)
    outside = (ids < 0) | (ids >= len(train))
    if outside.any():
        query, rank = np.argwhere(outside)[0]
        raise ValueError(
            f"{where}: neighbors must be in [0, n={len(train)}), "
            f"got {ids[query, rank]} at rank {rank} of query {query}"
        )
    ordered = np.sort(ids, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    if repeated.any():
        raise ValueError(
            f"{where}: the neighbors of a query must be distinct, got one twice for "
            f"query {repeated.argmax()}"
        )
    actual, tolerance = _distances(train, test, metric, ids)
    every = np.arange(len(test))
    rule = f"{where}: distances must be those of the neighbors"
    _must_agree(claimed, actual, tolerance, every, rule)
    rule = f"{where}: distances must ascend"
    _must_agree(claimed, np.maximum.accumulate(claimed, axis=1), tolerance, every, rule)
    spot = np.linspace(0, len(test) - 1, min(_SPOT, len(test))).astype(np.int64)
    nearest = exact_search(train, test[spot], metric, ids.shape[1])[1]
    rule = f"{where}: neighbors must be the nearest"
    _must_agree(actual[spot], nearest, tolerance[spot], spot, rule)
    rounded = actual.astype(np.float32)
    order = np.lexsort((ids, rounded), axis=1)
    return (
        np.take_along_axis(ids, order, axis=1),
        np.take_along_axis(rounded, order, axis=1),
    )


def _must_agree(
    got: NDArray[Any],
    expected: NDArray[Any],
    tolerance: NDArray[np.float64],
    queries: NDArray[np.int64],
    rule: str,
) -> None:
    wrong = ~(np.abs(got - expected) <= tolerance)  # so that a NaN is wrong
    if wrong.any():
        row, rank = np.argwhere(wrong)[0]
        raise ValueError(
            f"{rule}, {expected[row, rank]:.6g} within {tolerance[row, rank]:.1g}, "
            f"got {got[row, rank]:.6g} at rank {rank} of query {queries[row]}"
        )


def _distances(
    train: NDArray[np.float32],
    test: NDArray[np.float32],
    metric: str,
    ids: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distance from each query to each id, and the error to allow in it."""
    distances = np.empty(ids.shape, dtype=np.float64)
    tolerance = np.empty(ids.shape, dtype=np.float64)
    step = max(1, _GATHER // (ids.shape[1] * train.shape[1]))
    for start in range(0, len(test), step):
        rows = slice(start, start + step)
        x = train[ids[rows]].astype(np.float64)
        q = test[rows, None].astype(np.float64)
        distances[rows], tolerance[rows] = _directly(x, q, metric)
    return distances, tolerance


def _directly(
    x: NDArray[np.float64], q: NDArray[np.float64], metric: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances and tolerances of x (b, k, d) to q (b, 1, d), by the definition."""
    if metric == "l1":
        d = np.abs(x - q).sum(axis=2)
        return d, _RTOL * d + _ATOL * (np.abs(x).sum(axis=2) + np.abs(q).sum(axis=2))
    xx, qq = np.square(x).sum(axis=2), np.square(q).sum(axis=2)
    if metric == "l2":
        d = np.sqrt(np.square(x - q).sum(axis=2))
        in_square = _ATOL * (xx + qq)  # moves a root by square / 2d, at most its root
        return d, _RTOL * d + in_square / np.maximum(d, np.sqrt(in_square))
    inner, norms = (x * q).sum(axis=2), np.sqrt(xx * qq)
    if metric == "ip":
        return -inner, _RTOL * np.abs(inner) + _ATOL * norms
    d = 1 - inner / norms
    return d, _RTOL * d + _ATOL


def _read(path: Path, nq: int, k: int) -> Truth | None:
    """Return cached ground truth, or None where it is absent or damaged."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            ids, distances = file["neighbors"], file["distances"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):
        return None
    sound = ids.shape == distances.shape == (nq, k) and (
        (ids.dtype, distances.dtype) == (np.int64, np.float32)
    )
    return (ids, distances) if sound else None
