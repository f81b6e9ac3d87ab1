"""How far two rankings of the same vectors agree, query by query."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from experiments import recall

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ids = NDArray[np.int64]
    Floats = NDArray[np.float64]

PERSISTENCE = 0.9  # of the reader whom rank-biased overlap imagines


def overlap(a: Ids, b: Ids) -> Floats:
    """Return the share of each query's answer (nq, k) that the other has, too."""
    shared: Floats = _common(a, b)[:, -1] / a.shape[1]
    return shared


def rank_biased_overlap(a: Ids, b: Ids, persistence: float = PERSISTENCE) -> Floats:
    """Return the agreement of two answers (nq, k) each, where first places count more.

    Webber, Moffat & Zobel, "A similarity measure for indefinite rankings" (ACM TOIS
    2010), their RBO_ext: a reader goes on to the next place with probability
    ``persistence``, and what comes after place k is taken to agree as the first k do.
    1 for equal rankings, 0 for answers without a common id.
    """
    k = a.shape[1]
    depths = np.arange(1, k + 1)
    agreed = _common(a, b) / depths
    weights = (1 - persistence) * persistence ** (depths - 1.0)
    rbo: Floats = agreed @ weights + agreed[:, -1] * persistence**k
    return rbo


def _common(a: Ids, b: Ids) -> NDArray[np.int64]:
    """Return how many ids the first 1, 2 … k places of two answers share (nq, k)."""
    k = a.shape[1]
    meet = a[:, :, None] == b[:, None, :]
    later = np.maximum(np.arange(k)[:, None], np.arange(k))
    counts = [(meet & (later < depth)).sum(axis=(1, 2)) for depth in range(1, k + 1)]
    return np.stack(counts, axis=1)


def kendall(ids: Ids, a: Floats, b: Floats) -> Floats:
    """Return Kendall's tau-b between two distances to the same vectors.

    Parameters
    ----------
    ids : (nq, w)       of vectors; one that comes again in its row counts once
    a, b : (nq, w)      their distances under two metrics

    Returns
    -------
    (nq,) float64
        1 where both order all pairs alike, −1 where none; NaN where one of them is
        the same for all.
    """
    from scipy.stats import kendalltau

    fresh = ~recall.repeated(ids)
    rows = zip(a, b, fresh, strict=True)
    return np.array([kendalltau(x[own], y[own]).statistic for x, y, own in rows])
