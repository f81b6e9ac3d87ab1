"""Vectors kept as float16: half the memory, and three digits.

Kernels take them as uint16, whose bits they are: Numba knows no float16.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann import precision, validation

KINDS = ("float32", "float16")
LARGEST = 65504.0
_NORMAL, _STEP = 2.0**-14, 2.0**-24  # of float16; below the first its steps are these
_COARSE = 0.002  # of what vectors are apart: as far as rounding may move them
_LOOKED_AT, _ENOUGH = 2048, 10  # rows that tell how far vectors are apart

Floats = NDArray[np.float32]


def checked(kind: Any, refine: float | None) -> str:
    """Return a ``refine_dtype``, or raise ValueError."""
    chosen = validation.named(KINDS[0] if kind is None else kind, "refine_dtype", KINDS)
    if refine is None and chosen != KINDS[0]:
        raise ValueError(
            f"refine_dtype must be 'float32' without refine, got {chosen!r}"
        )
    return chosen


def check(X: Floats, kind: str, before: NDArray[Any]) -> None:
    """Look whether vectors that come can be kept so.

    What rounding moves them by, as a root mean square, is held against their norms and
    against their distances from their mean (those of some of the vectors ``before``
    too). The limit is 0.2 % of either, 9 times what is usual; there recall@10 of 20,000
    vectors fell by about a point.

    Parameters
    ----------
    X : (n, d) float32
    kind : str
        ``refine_dtype``.
    before : (m, d) array
        What is kept already.

    Raises
    ------
    ValueError
        A component is too large for float16, or nearly all are too small.

    Warns
    -----
    PrecisionWarning
        Vectors have so much in common that float16 does not tell them apart.
    """
    if kind == "float32" or not len(X):
        return
    largest = float(np.abs(X).max())
    if largest > LARGEST:
        raise ValueError(
            f"X must have components within {LARGEST:g} for refine_dtype 'float16', "
            f"got {largest:g}"
        )
    new, old = _some(X).astype(np.float64), floats(_some(before)).astype(np.float64)
    moved = _spread(new - new.astype(np.float16))
    both = np.concatenate([new, old.reshape(-1, X.shape[1])])
    if moved > _COARSE * _spread(both):
        raise ValueError(
            "X must be moved by at most 0.2 % of its norms by rounding for "
            f"refine_dtype 'float16', whose steps are {_STEP:.1g} below "
            f"{_NORMAL:.2g}, got {moved / _spread(both):.2%}: scale vectors and "
            "queries up, or use refine_dtype 'float32'"
        )
    apart = _spread(both - both.mean(axis=0))
    if len(both) >= _ENOUGH and 0 < _COARSE * apart < moved:
        precision.warn(
            "X must be moved by at most 0.2 % of its distances from its mean by "
            "rounding for refine_dtype 'float16', which has 11 bits, got "
            f"{moved / apart:.2%}: subtract what vectors and queries have in common, "
            "or use refine_dtype 'float32'"
        )


def kept(X: Floats, kind: str) -> NDArray[Any]:
    """Return vectors that ``check`` has seen as they are kept."""
    return X if kind == "float32" else X.astype(np.float16)


def _some(rows: NDArray[Any]) -> NDArray[Any]:
    """Return at most so many rows, evenly spaced."""
    return rows[:: -(-len(rows) // _LOOKED_AT) or 1]


def _spread(rows: NDArray[Any]) -> float:
    """Return the root mean square of the norms of rows."""
    return float(np.sqrt(np.square(rows).sum() / len(rows)))


def packed(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows as kernels take them."""
    return rows.view(np.uint16) if rows.dtype == np.float16 else rows


def floats(rows: NDArray[Any]) -> Floats:
    """Return rows, however they are kept, as float32."""
    if rows.dtype == np.uint16:
        rows = rows.view(np.float16)
    return rows.astype(np.float32, copy=False)
