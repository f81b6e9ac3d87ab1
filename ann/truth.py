"""An answer beside the exact one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ids = NDArray[np.int64]
_ROUNDING = 1e-6  # of float32 distances, relative


def recalls(
    ids: Ids,
    distances: Floats,
    true_ids: Ids,
    true_distances: Floats | None,
    size: float | NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the share of the true neighbours that each answer has (nq,).

    What is as near as the last of them counts too, whatever its id: of equal vectors
    any is right. NaN where there is no true neighbour at all.

    Parameters
    ----------
    ids, distances : (nq, k)
        Answers; −1 and +inf where there is none.
    true_ids : (nq, m)
        Those of exact search.
    true_distances : (nq, m) or (nq, 1)
        Theirs, or the last one's; left out where they are of other vectors.
    size : float or (nq,)
        The least that rounding is relative to: 1 under cosine, where a distance is a
        difference from 1.
    """
    real, found = true_ids >= 0, ids >= 0
    hits = found & (ids[:, :, None] == true_ids[:, None, :]).any(axis=2)
    if true_distances is not None:
        last = np.where(real, true_distances, -np.inf).max(axis=1)
        with np.errstate(invalid="ignore"):  # nothing true: −inf + inf
            last = last + _ROUNDING * np.maximum(np.abs(last), size)
        hits |= found & (distances <= last[:, None])
    of = real.sum(axis=1)
    share = np.minimum(hits.sum(axis=1) / np.maximum(of, 1), 1.0)
    return np.where(of > 0, share, np.nan)


def gaps(distances: Floats, true_distances: Floats) -> NDArray[np.float64]:
    """Return how much nearer the best true neighbour is than the best answer (nq,).

    0 where either is missing.
    """
    near, best = distances[:, 0].astype(float), true_distances[:, 0].astype(float)
    with np.errstate(invalid="ignore"):  # both are missing
        gap = near - best
    return np.where(np.isfinite(gap), np.maximum(gap, 0.0), 0.0)
