"""How hard a query is, whatever index answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ann.dimension import local_intrinsic_dimension

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.datasets import Dataset

SAMPLE = 1000  # vectors that tell the mean distance
_SCIPY = {"l2": "euclidean", "l1": "cityblock", "cosine": "cosine"}


class Difficulty(NamedTuple):
    """Of each query; NaN where the metric has no such notion.

    ``lid`` is the local intrinsic dimension over the exact neighbours: the higher, the
    harder (Aumüller & Ceccarello, Information Systems 2021). ``contrast`` is the mean
    distance to all vectors over that to the tenth neighbour (He, Kumar & Chang, ICML
    2012): the lower, the harder.
    """

    lid: NDArray[np.float64]
    contrast: NDArray[np.float64]


def difficulty(data: Dataset, seed: int = 0) -> Difficulty:
    """Return both measures of every query.

    Cosine distances are turned into chords, which scale with length as both measures
    ask; inner products are no distances, and have neither.
    """
    nq, n = len(data.test), len(data.train)
    if data.metric == "ip":
        nothing = np.full(nq, np.nan)
        return Difficulty(nothing, nothing)
    from scipy.spatial.distance import cdist

    near = _lengths(data.distances.astype(np.float64), data.metric)
    lid = local_intrinsic_dimension(near)
    rows = np.random.default_rng(seed).choice(n, min(n, SAMPLE), replace=False)
    far = cdist(data.test, data.train[rows], _SCIPY[data.metric])
    mean = _lengths(far, data.metric).mean(axis=1)
    with np.errstate(divide="ignore"):
        contrast = mean / near[:, min(10, near.shape[1]) - 1]
    return Difficulty(lid, contrast)


def _lengths(distances: NDArray[np.float64], metric: str) -> NDArray[np.float64]:
    if metric != "cosine":
        return distances
    chords: NDArray[np.float64] = np.sqrt(2 * np.maximum(distances, 0))
    return chords
