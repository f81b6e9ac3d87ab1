"""Norms of rows, summed in float64."""

import numpy as np

from ann.kernels import simd
from ann.kernels._jit import kernel, reduction


@reduction
def square_norm(x):
    """Return the squared norm of ``x`` (d,) float32, summed in float64."""
    total = 0.0
    for j in range(x.size):
        total += np.float64(x[j]) * np.float64(x[j])
    return total


@kernel
def normalize_row(x, square, out):
    """Write ``x`` to ``out``, both (d,) float32, scaled by 1 / sqrt(square)."""
    scale = 1.0 / np.sqrt(square)
    for j in range(x.size):
        out[j] = np.float32(x[j] * scale)


@kernel
def norms(X, out):
    """Write the Euclidean norm of each row of ``X`` (n, d) to ``out`` (n,) float64."""
    for i in range(X.shape[0]):
        out[i] = np.sqrt(square_norm(X[i]))


@kernel
def normalize(X, out):
    """Write the rows of ``X`` scaled to norm 1 to ``out``, both (n, d) float32.

    Returns
    -------
    zero : int                  first row of norm 0 (left as it is), or −1
    """
    zero = -1
    for i in range(X.shape[0]):
        square = square_norm(X[i])
        if square == 0.0 and zero < 0:
            zero = i
        normalize_row(X[i], square if square > 0.0 else 1.0, out[i])
    return zero


@kernel
def first_longer(X, limit):
    """Return the first row of ``X`` whose norm is above ``limit``, or −1."""
    for i in range(X.shape[0]):
        if not square_norm(X[i]) <= limit * limit:
            return i
    return -1


@kernel
def rotate_row(x, columns, out):
    """Write the products of ``x`` (d,) with ``columns`` (c, d) to ``out`` (>= c,).

    A matrix product would round a lone query otherwise than the same one in a batch.
    """
    d = x.size
    for j in range(columns.shape[0]):
        out[j] = simd.dot(x, 0, columns, j * d, d)


@kernel
def rotate(X, columns, out):
    """``rotate_row`` for each row of ``X`` (n, d) float32."""
    for i in range(X.shape[0]):
        rotate_row(X[i], columns, out[i])


@kernel
def project(mean, columns, q, room):
    """Write ``q`` (d,) to ``room[:d]`` as codes know it: less the mean, then rotated.

    ``mean`` (d,) and ``columns`` (d, d) are None where there is nothing to do; ``room``
    (>= 2 d,) float32 is overwritten.
    """
    d = q.size
    centred = room[d : 2 * d]
    _subtract(q, mean, centred)
    _turn(centred, columns, room)


@kernel
def _subtract(q, mean, out):
    for j in range(q.size):
        out[j] = q[j]
    if mean is not None:
        for j in range(q.size):
            out[j] -= mean[j]


@kernel
def _turn(x, columns, out):
    if columns is not None:
        rotate_row(x, columns, out)
    else:
        for j in range(x.size):
            out[j] = x[j]
