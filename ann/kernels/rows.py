"""Norms of rows, summed in float64."""

import numpy as np

from ann.kernels import simd
from ann.kernels._jit import kernel, reduction


@reduction
def _square_norm(X, i):
    total = 0.0
    for j in range(X.shape[1]):
        total += np.float64(X[i, j]) * np.float64(X[i, j])
    return total


@kernel
def norms(X, out):
    """Write the Euclidean norm of each row of ``X`` (n, d) to ``out`` (n,) float64."""
    for i in range(X.shape[0]):
        out[i] = np.sqrt(_square_norm(X, i))


@kernel
def normalize(X, out):
    """Write the rows of ``X`` scaled to norm 1 to ``out``, both (n, d) float32.

    Returns
    -------
    zero : int                  first row of norm 0 (left as it is), or −1
    """
    zero = -1
    for i in range(X.shape[0]):
        norm = np.sqrt(_square_norm(X, i))
        scale = 1.0 / norm if norm > 0.0 else 1.0
        if norm == 0.0 and zero < 0:
            zero = i
        for j in range(X.shape[1]):
            out[i, j] = np.float32(X[i, j] * scale)
    return zero


@kernel
def first_longer(X, limit):
    """Return the first row of ``X`` whose norm is above ``limit``, or −1."""
    for i in range(X.shape[0]):
        if not _square_norm(X, i) <= limit * limit:
            return i
    return -1


@kernel
def rotate(X, columns, out):
    """Write each row's products with ``columns`` (d, d) to ``out``, (n, d) float32.

    A matrix product would round a lone query otherwise than the same one in a batch.
    """
    n, d = X.shape
    for i in range(n):
        for j in range(columns.shape[0]):
            out[i, j] = simd.dot(X, i * d, columns, j * d, d)
