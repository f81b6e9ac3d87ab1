"""Clusters: walk from neighbour to neighbour, and see where one does not get to.

The data are handwritten digits, their labels kept away until the end.
``ann.ANNTransformer`` turns them into the graph of their nearest neighbours, and
scikit-learn cuts it where the fewest links are (spectral clustering). The trick: what
is far apart may be one cluster if there is a chain of near ones in between, which
k-means, the usual way, cannot see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import ann
from experiments.uses import digits, panels
from experiments.uses.shown import Shown

if TYPE_CHECKING:
    from experiments.lessons.notebook import Notebook
    from experiments.uses.digits import Floats, Labels

KS = (7, 10, 20, 40)  # with 6, 27 digits are out of reach of all others
K = 10  # of what is shown
CLUSTERS, MEMBERS = 10, 8  # members shown of each


def use(notes: Notebook) -> Shown:
    """Cluster by the graph of neighbours and by k-means, and compare with labels."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    X, y = digits.load(notes)
    by_means = KMeans(CLUSTERS, n_init=10, random_state=notes.seed).fit_predict(X)
    by_graph = {k: cut(X, k, notes.seed) for k in KS}

    plain = float(adjusted_rand_score(y, by_means))
    agreed = {k: float(adjusted_rand_score(y, by_graph[k])) for k in KS}
    found = numbered(by_graph[K], y)
    counts = np.zeros((CLUSTERS, 10))
    np.add.at(counts, (found, y), 1)

    rng = np.random.default_rng(notes.seed)
    rows = []
    for cluster in range(CLUSTERS):
        inside = X[found == cluster]
        rows += [inside.mean(axis=0), *inside[rng.choice(len(inside), MEMBERS)]]
    return Shown(
        "Ten clusters found without a label: most are one digit each",
        [f"{len(X):,} digits", "ANNTransformer, HNSW, l2", "spectral clustering"],
        "Left: agreement with the labels, which no method has seen (adjusted Rand "
        f"index: 0 by chance, 100 % if equal). Middle, for {K} neighbours: a row is a "
        "cluster, left of the line its mean, then members by chance. Right: how many "
        "percent of each cluster are which digit.",
        {"adjusted Rand index, k-means": plain}
        | {f"adjusted Rand index, graph of {k}": agreed[k] for k in KS}
        | {"in the cluster of their digit": float((found == y).mean())},
        {
            "agreement – with the labels": panels.curves(
                {"": [*agreed.items()]}, "neighbours in the graph",
                level=(plain, "k-means"),
            ),
            "clusters – their means, and some members": panels.gallery(
                digits.images(np.array(rows)), 1 + MEMBERS, line=True
            ),
            "contents – the digits in each cluster": panels.percents(
                counts, "digit", "cluster"
            ),
        },
    )  # fmt: skip


def cut(X: Floats, k: int, seed: int) -> Labels:
    """Cut the graph of k neighbours into clusters."""
    from sklearn.cluster import SpectralClustering
    from sklearn.pipeline import make_pipeline

    clustering = SpectralClustering(
        CLUSTERS,
        affinity="precomputed_nearest_neighbors",
        n_neighbors=k + 1,  # scikit-learn counts the digit itself
        assign_labels="cluster_qr",
        random_state=seed,
    )
    graph = ann.ANNTransformer(n_neighbors=k, random_state=seed)
    labels: Labels = make_pipeline(graph, clustering).fit_predict(X)
    return labels


def numbered(clusters: Labels, y: Labels) -> Labels:
    """Give the clusters the numbers of the digits they fit best, one digit each."""
    from scipy.optimize import linear_sum_assignment

    counts = np.zeros((CLUSTERS, 10))
    np.add.at(counts, (clusters, y), 1)
    digit: Labels = linear_sum_assignment(-counts)[1]
    return digit[clusters]
