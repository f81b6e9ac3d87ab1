"""Local intrinsic dimension: how hard a neighbourhood is, whatever its width d."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def local_intrinsic_dimension(distances: NDArray[Any]) -> NDArray[np.float64]:
    """Estimate the local intrinsic dimension around each query.

    The maximum-likelihood estimator of Amsaleg et al., "Estimating Local Intrinsic
    Dimensionality" (KDD 2015), section 4.1: minus the inverse of the mean of
    ln(x_i / x_k) over the k distances x_i. Distances of zero are left out, as there.

    Parameters
    ----------
    distances : (nq, k)
        Distances to the k nearest neighbours, ascending, of a metric that scales with
        length (l2, l1; not ip, and cosine gives half the dimension).

    Returns
    -------
    (nq,) float64
        NaN where fewer than two distances are positive, +inf where all are equal.

    Examples
    --------
    >>> radii = (np.arange(1, 101) / 100) ** (1 / 7)  # a 7-dimensional ball
    >>> local_intrinsic_dimension(radii[None]).round(1)
    array([7.2])
    """
    x = np.asarray(distances, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] < 2:
        raise ValueError(
            f"distances must have shape (nq, k) with k >= 2, got {x.shape}"
        )
    positive = x > 0
    logs = np.log(x, where=positive, out=np.zeros_like(x))
    counts = positive.sum(axis=1)
    gaps = np.where(positive, logs[:, -1:] - logs, 0.0).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(counts >= 2, counts / gaps, np.nan)
