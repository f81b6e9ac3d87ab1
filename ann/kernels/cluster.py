"""k-means' kernels, for centroids in many dimensions and codewords in few."""

import numpy as np

from ann.kernels import simd
from ann.kernels._jit import kernel
from ann.kernels.pool import INFINITY

TINY = np.float32(2.0**-120)  # far above what underflow takes from a distance


@kernel
def seed(X, uniform, nearest, chosen):
    """k-means++ (Arthur & Vassilvitskii 2007): far vectors are likelier to be chosen.

    Parameters
    ----------
    X : (n, d) float32          read-only
    uniform : (k,) float64      draws from [0, 1), one a choice
    nearest : (n,) float32      overwritten: squared distance to the nearest choice
    chosen : (k,) int64         overwritten: rows of X; once every vector coincides with
                                a choice, the rest repeats rows in order
    """
    n, d = X.shape
    for i in range(n):
        nearest[i] = INFINITY
    chosen[0] = np.int64(uniform[0] * n)
    for c in range(1, chosen.size):
        last, total = chosen[c - 1], 0.0
        for i in range(n):
            nearest[i] = min(nearest[i], simd.l2sq(X, i * d, X, last * d, d))
            total += nearest[i]
        chosen[c] = c % n
        left = uniform[c] * total
        if total > 0.0:
            for i in range(n):
                left -= nearest[i]
                if nearest[i] > 0.0:  # the last one, should rounding leave a rest
                    chosen[c] = i
                    if left < 0.0:
                        break


@kernel
def nearest_around(X, centroids, near_keys, near, labels, keys):
    """Find the nearest centroid of each row among those near the one it had before.

    Parameters
    ----------
    X, centroids : (n, d), (k, d) float32   read-only
    near_keys, near : (k, m) float32, int32     each centroid's nearest, itself
                                among them, and the squared distances; closest first
    labels : (n,) int32         the centroid before; overwritten with the nearest, ties
                                to the lower one, or −1 where the m do not suffice
    keys : (n,) float32         overwritten: squared distance to it
    """
    (n, d), last = X.shape, near.shape[1] - 1
    # Squared distances are relatively wrong by at most (d + 16) 2⁻²⁴ each.
    four = np.float32(4.0 * (1.0 + (d + 16) * 2.0**-21))
    for i in range(n):
        at, before = i * d, labels[i]
        best = simd.l2sq(X, at, centroids, before * d, d)
        reach, nearest = four * best + TINY, before
        if not reach < near_keys[before, last]:
            labels[i] = -1
            continue
        for j in range(last):
            if near_keys[before, j] > reach:
                break
            c = near[before, j]
            key = simd.l2sq(X, at, centroids, c * d, d)
            if key < best or (key == best and c < nearest):
                best, nearest = key, c
        labels[i], keys[i] = nearest, best


@kernel
def sum_by_label(X, labels, sums, counts):
    """Add each row to its label's sum, in order of rows.

    ``X`` (n, d) float32, ``labels`` (n,) int32; ``sums`` (k, d) float64 and ``counts``
    (k,) int64 are overwritten.
    """
    for c in range(counts.size):
        counts[c] = 0
        for j in range(sums.shape[1]):
            sums[c, j] = 0.0
    for i in range(X.shape[0]):
        label = labels[i]
        counts[label] += 1
        for j in range(X.shape[1]):
            sums[label, j] += X[i, j]


@kernel
def nearest_codeword(X, first, words, half_norms, labels, keys):
    """Find the codeword nearest to columns ``first:first+dsub`` of each row.

    By ‖x − c‖² = ‖x‖² + 2(‖c‖²/2 − ⟨x, c⟩), all codewords at once.

    Parameters
    ----------
    X : (n, d) float32
    words : (dsub, ksub) float32    codewords transposed; ksub a multiple of 16
    half_norms : (ksub,) float32    ‖c‖² / 2
    labels : (n,) int32         overwritten; ties go to the lower codeword
    keys : (n,) float32         overwritten: squared distance to it
    """
    n, d = X.shape
    dsub = words.shape[0]
    for i in range(n):
        at = i * d + first
        simd.nearest_word(X, at, words, half_norms, labels, keys, i)
        square = simd.dot(X, at, X, at, dsub)
        keys[i] = max(np.float32(0.0), square + np.float32(2.0) * keys[i])
