"""What float32 and float16 cannot tell apart: noticed when vectors come.

The checks look at samples, so that they take little beside an ``add``.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann.guard import outside

_RUNS, _RUN = 16, 1024  # runs of consecutive rows that are looked at
_BLOCK = 1024  # rows hashed at a time
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: no bit stays alone


class PrecisionWarning(UserWarning):
    """Vectors came that the precision they are kept in cannot tell apart."""


def warn(text: str) -> None:
    """Warn the caller of this library."""
    warnings.warn(text, PrecisionWarning, stacklevel=outside())


def look_at_rows(given: NDArray[Any], X: NDArray[np.float32], name: str) -> None:
    """Warn where rows that differ have become equal in float32.

    Of more than 16,384 rows, 16 runs of 1,024 are looked at, evenly spaced: near ones
    often follow one another.

    Parameters
    ----------
    given : (n, d) array
        Of any dtype; what float32 holds exactly is not looked at.
    X : (n, d) float32
        The same, cast.
    name : str

    Warns
    -----
    PrecisionWarning
        Names how many rows, out of how many that were looked at.
    """
    if np.can_cast(given.dtype, np.float32, "safe") or len(X) < 2:
        return
    some = _some(len(X))
    left = _distinct(X, some, np.uint32)
    if left == len(some):
        return
    lost = _distinct(given, some, np.uint64) - left
    if lost > 0:
        warn(
            f"{name} must have rows that stay distinct in float32, of 24 bits, got "
            f"{lost:,} of {len(some):,} rows looked at that became equal to others "
            f"when cast from {given.dtype}: subtract what vectors and queries have in "
            "common and scale them before they are cast, or leave out repeated rows"
        )


def _some(n: int) -> NDArray[np.int64]:
    """Return rows to look at, ascending: all, or evenly spaced runs."""
    if n <= _RUNS * _RUN:
        return np.arange(n)
    starts = np.linspace(0, n - _RUN, _RUNS).astype(np.int64)
    return (starts[:, None] + np.arange(_RUN)).ravel()


def _distinct(X: NDArray[Any], some: NDArray[np.int64], words: Any) -> int:
    """Return how many of some rows are distinct, by hashes of 64 bits."""
    drawn = np.random.default_rng(0).integers(2**63, size=X.shape[1], dtype=np.uint64)
    factors = 2 * drawn + np.uint64(1)
    hashes = np.empty(len(some), np.uint64)
    for a in range(0, len(some), _BLOCK):
        rows = X[some[a : a + _BLOCK]]
        if words is np.uint64:  # whole numbers above 2^53 are not for float64
            rows = rows.astype(np.float64 if rows.dtype.kind == "f" else np.int64)
        bits = (rows + rows.dtype.type(0)).view(words).astype(np.uint64)  # −0 is 0
        bits = bits * _MIX
        bits ^= bits >> np.uint64(32)
        hashes[a : a + _BLOCK] = (bits * factors).sum(axis=1, dtype=np.uint64)
    return len(np.unique(hashes))
