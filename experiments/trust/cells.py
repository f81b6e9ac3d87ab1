"""Cells of k-means: what lies together in a data set, by the simplest means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from experiments.peers.common import normalised

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.datasets import Dataset

MOST, FEWEST = 256, 8  # cells, and vectors a cell


def cells(data: Dataset, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the cell of each vector (n,), and how far each cell lies from the queries.

    That is the Euclidean distance between its centroid and the mean of the queries;
    under cosine, of vectors of norm 1.
    """
    import ann
    from ann import kmeans, parallel

    X, Q = data.train, data.test
    if data.metric == "cosine":
        X, Q = normalised(X), normalised(Q)
    count = max(1, min(MOST, len(X) // FEWEST))
    rng = np.random.default_rng(seed)
    centroids = kmeans.kmeans(X, count, rng, parallel.available())
    labels, _ = ann.Flat("l2").add(centroids).search(X, k=1)
    middle = Q.mean(axis=0, dtype=np.float64)
    return labels[:, 0], np.linalg.norm(centroids - middle, axis=1)
