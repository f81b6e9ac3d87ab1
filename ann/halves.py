"""Vectors kept as float16: half the memory, and three digits.

Kernels take them as uint16, whose bits they are: Numba knows no float16.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann import validation

KINDS = ("float32", "float16")
LARGEST = 65504.0

Floats = NDArray[np.float32]


def checked(kind: Any, refine: float | None) -> str:
    """Return a ``refine_dtype``, or raise ValueError."""
    chosen = validation.named(KINDS[0] if kind is None else kind, "refine_dtype", KINDS)
    if refine is None and chosen != KINDS[0]:
        raise ValueError(
            f"refine_dtype must be 'float32' without refine, got {chosen!r}"
        )
    return chosen


def kept(X: Floats, kind: str) -> NDArray[Any]:
    """Return vectors as they are kept.

    Raises
    ------
    ValueError
        A component is too large for float16.
    """
    if kind == "float32":
        return X
    largest = float(np.abs(X).max(initial=0.0))
    if largest > LARGEST:
        raise ValueError(
            f"X must have components within {LARGEST:g} for refine_dtype 'float16', "
            f"got {largest:g}"
        )
    return X.astype(np.float16)


def packed(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows as kernels take them."""
    return rows.view(np.uint16) if rows.dtype == np.float16 else rows


def floats(rows: NDArray[Any]) -> Floats:
    """Return rows, however they are kept, as float32."""
    if rows.dtype == np.uint16:
        rows = rows.view(np.float16)
    return rows.astype(np.float32, copy=False)
