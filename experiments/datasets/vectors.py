"""What every source hands over, and how it is checked, sampled and split."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann.metrics import metric as metric_of

MAX_EXPANSION = 200
"""Most bytes that one stored byte may stand for; real embeddings stay below 30."""

POOL_QUERIES = 2000
"""Queries held out of a set that has none, if a tenth of the set is no fewer."""

_BLOCK = 16_384


@dataclass(frozen=True, eq=False)
class Vectors:
    """Vectors as a source has them, before sampling and conversion to float32.

    Parameters
    ----------
    train : (n, d)      base vectors, or all vectors where `test` is None
    test : (nq, d)      queries, or None: they are then held out of `train`
    metric : str        canonical, or None where the source does not say it
    source : str        one line: where the vectors come from
    neighbors : (nq, k) row numbers of `train`, closest first, or None
    distances : (nq, k) their distances, or None
    drop_zeros : bool   zero vectors are dropped under cosine rather than refused
    """

    train: NDArray[Any]
    test: NDArray[Any] | None
    metric: str | None
    source: str
    neighbors: NDArray[Any] | None = None
    distances: NDArray[Any] | None = None
    drop_zeros: bool = False


class DataError(ValueError):
    """A file is not what it must be; says which, the rule, the limit and the value."""


@contextmanager
def parsing(where: object, kind: str) -> Iterator[None]:
    """Turn whatever a parser raises over a malformed file into a `DataError`.

    The parsers of other libraries raise nearly every type there is.
    """
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:
        raise DataError(f"{where}: must be a readable {kind} file: {error}") from error


def canonical_metric(name: str, where: str) -> str:
    """Return `name` as l2, ip, cosine or l1."""
    if name == "normalized":  # VIBE's word for unit vectors and 1 - cosine
        return "cosine"
    try:
        return metric_of(name).name
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None


def check_matrix(array: Any, where: str) -> None:
    """Refuse what is not a non-empty matrix of real numbers; read no element."""
    if array.dtype.kind not in "fiu":
        raise DataError(f"{where}: dtype must be float or integer, got {array.dtype}")
    if len(array.shape) != 2 or min(array.shape) < 1:
        raise DataError(
            f"{where}: shape must be (n, d) with n, d >= 1, got {array.shape}"
        )


def check_expansion(declared: int, stored: int, where: str) -> None:
    """Refuse a declared size that the bytes on disk cannot honestly stand for."""
    if declared > MAX_EXPANSION * stored:
        raise DataError(
            f"{where}: declared bytes must be at most {MAX_EXPANSION} times the "
            f"{stored} stored bytes, got {declared}"
        )


def from_arrays(
    arrays: Mapping[str, NDArray[Any]], metric: str | None, path: Path
) -> Vectors:
    """Assemble the arrays of an ann-benchmarks file, under their names there."""
    if "train" not in arrays:
        raise DataError(f"{path}: needs the dataset 'train', got {sorted(arrays)}")
    train, test = arrays["train"], arrays.get("test")
    check_matrix(train, f"{path}: train")
    neighbors, distances = arrays.get("neighbors"), arrays.get("distances")
    if test is not None:
        check_matrix(test, f"{path}: test")
        if test.shape[1] != train.shape[1]:
            raise DataError(
                f"{path}: test must be as wide as train, d={train.shape[1]}, "
                f"got d={test.shape[1]}"
            )
    if test is None or neighbors is None or distances is None:
        return Vectors(train, test, metric, str(path))
    for name, array in (("neighbors", neighbors), ("distances", distances)):
        check_matrix(array, f"{path}: {name}")
        if array.shape != neighbors.shape or len(array) != len(test):
            raise DataError(
                f"{path}: {name} must have shape (nq={len(test)}, k), got {array.shape}"
            )
    if neighbors.dtype.kind == "f":
        raise DataError(f"{path}: neighbors must be integers, got {neighbors.dtype}")
    return Vectors(train, test, metric, str(path), neighbors, distances)


Rows = NDArray[np.int64] | None
"""Row numbers in ascending order; None stands for all rows."""


def sample_rows(
    vectors: Vectors, n: int | None, nq: int | None, seed: int
) -> tuple[Rows, Rows]:
    """Choose the rows of train and of test.

    Samples of one seed are nested, and the base vectors do not depend on `nq`: where
    queries have to be held out, they are the front of one seeded permutation of the
    rows, and the base vectors its back. Rows keep the order of the source.
    """
    size = len(vectors.train)
    queries = None if vectors.test is None else len(vectors.test)
    n, nq = counts(size, queries, n, nq, vectors.source)
    if queries is not None:
        return (
            _sample(n, size, np.random.default_rng((seed, 0))),
            _sample(nq, queries, np.random.default_rng((seed, 1))),
        )
    order = np.random.default_rng(seed).permutation(size)
    return np.sort(order[size - n :]), np.sort(order[:nq])


def counts(
    size: int, queries: int | None, n: int | None, nq: int | None, source: str
) -> tuple[int, int]:
    """Return how many base vectors and queries a sample has.

    Parameters
    ----------
    size, queries : vectors, and queries or None where these are held out
    n, nq : how many are wanted, or None
    source : of the vectors, for the message

    Raises
    ------
    ValueError
        When there are not as many.
    """
    if queries is None:
        if size < 2:
            raise ValueError(
                f"{source}: holding out queries needs at least 2 vectors, got {size}"
            )
        nq = min(POOL_QUERIES, max(1, size // 10)) if nq is None else nq
        _within("nq", nq, size - 1)
        size, queries = size - nq, nq
    n, nq = size if n is None else n, queries if nq is None else nq
    _within("n", n, size)
    _within("nq", nq, queries)
    return n, nq


def take(array: NDArray[Any], rows: Rows, where: str) -> NDArray[np.float32]:
    """Return the chosen rows as C-contiguous float32, all of them finite."""
    chosen = array if rows is None else array[rows]
    with np.errstate(over="ignore"):
        # writable: so a mapped file is copied, and not paged in under a stopwatch
        out = np.require(np.asarray(chosen), np.float32, ["C", "W"])
    for start in range(0, len(out), _BLOCK):
        block = out[start : start + _BLOCK]
        # One addition per value and no mask: a float64 sum of float32 cannot overflow.
        with np.errstate(invalid="ignore"):
            finite = np.isfinite(block.sum(dtype=np.float64))
        if not finite:
            row, column = np.argwhere(~np.isfinite(block))[0]
            at = start + row
            raise DataError(
                f"{where}: values must be finite in float32, got {chosen[at, column]} "
                f"in row {at if rows is None else rows[at]}, column {column}"
            )
    return out


def _sample(count: int, size: int, rng: np.random.Generator) -> Rows:
    return None if count == size else np.sort(rng.permutation(size)[:count])


def _within(name: str, value: int, limit: int) -> None:
    if not 1 <= value <= limit:
        raise ValueError(f"{name} must be in [1, {limit}], got {value}")
