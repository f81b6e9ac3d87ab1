"""Vectors made narrower: what a transform in front of an index comes down to."""

from typing import Any, NamedTuple

from ann.kernels._jit import kernel
from ann.kernels.rows import normalize, rotate_row


class Reduction(NamedTuple):
    """How vectors of width d become narrower ones."""

    columns: Any  #: (width, d) float32 to multiply by, or None: the first are taken
    width: int  #: at most d
    unit: bool  #: whether what comes out is scaled to norm 1


@kernel
def reduce(how, X, out):
    """Write the rows of ``X`` (n, d), made narrower, to ``out`` (n, width), float32.

    Each row comes out the same whatever the rows around it.

    Returns
    -------
    zero : int                  first row that has norm 0 where it should have 1 (left
                                as it is), or −1
    """
    for i in range(X.shape[0]):
        _narrow(how.columns, X[i], out[i])
    return normalize(out, out) if how.unit else -1


@kernel
def _narrow(columns, x, out):
    if columns is not None:
        rotate_row(x, columns, out)
    else:
        for j in range(out.size):
            out[j] = x[j]
