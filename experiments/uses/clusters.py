"""Clusters: walk from neighbour to neighbour, and see where one does not get to.

The data are handwritten digits, their labels kept away until the end.
``ann.ANNTransformer`` turns them into the graph of their nearest neighbours, and
scikit-learn cuts it where the fewest links are (spectral clustering). The trick: what
is far apart may be one cluster if there is a chain of near ones in between, which
k-means, the usual way, cannot see.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline

import ann
from experiments.lessons.looks import BLACK, BLUE, ORANGE, draw, style
from experiments.uses import digits
from experiments.uses.shown import Shown, mosaic, names, percents, picture, say

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.lessons.notebook import Notebook
    from experiments.lessons.sets import Floats
    from experiments.plots.panel import Panel

    Labels = NDArray[np.int64]

KS = (7, 10, 20, 40)  # with 4, 27 digits are out of reach of all others
K = 10  # of what is shown
CLUSTERS = 10
_MEMBERS = 8  # shown of each cluster


def use(notes: Notebook) -> Shown:
    """Cluster by the graph of neighbours and by k-means, and compare with labels."""
    X, y = digits.load(notes)
    by_means = KMeans(CLUSTERS, n_init=10, random_state=notes.seed).fit_predict(X)
    by_graph = {k: _cut(X, k, notes) for k in KS}

    plain = adjusted_rand_score(y, by_means)
    agreed = [(k, float(adjusted_rand_score(y, by_graph[k]))) for k in KS]
    found = _in_order(by_graph[K], y)
    counts = np.zeros((CLUSTERS, 10))
    np.add.at(counts, (found, y), 1)
    merits = {"adjusted Rand index, k-means": plain}
    merits |= {f"adjusted Rand index, graph of {k}": index for k, index in agreed}
    merits["in the cluster of their digit"] = float((found == y).mean())
    members = np.concatenate(list(_members(X, found, notes.seed)))
    return Shown(
        "Ten clusters found without a label: most are one digit each",
        [f"{len(X):,} digits", "ANNTransformer, HNSW, l2", "spectral clustering"],
        "Left: agreement with the labels, which no method has seen (adjusted Rand "
        f"index: 0 by chance, 1 if equal); dotted, k-means. Middle, for {K} neighbours: "
        "a row is a cluster, left of the line its mean, then members by chance. Right: "
        "of each cluster, how many percent are which digit.",
        merits,
        {
            "agreement – with the labels": partial(_agreement, agreed, plain),
            "clusters – their means, and some members": partial(_gallery, members),
            "contents – the digits in each cluster": partial(
                percents, counts, "digit", "cluster"
            ),
        },
    )


def _cut(X: Floats, k: int, notes: Notebook) -> Labels:
    """Cut the graph of k neighbours into clusters."""
    # scikit-learn counts the digit itself
    ways = {"affinity": "precomputed_nearest_neighbors", "n_neighbors": k + 1}
    pipeline = make_pipeline(
        ann.ANNTransformer(n_neighbors=k, random_state=notes.seed),
        SpectralClustering(
            CLUSTERS, assign_labels="cluster_qr", random_state=notes.seed, **ways
        ),
    )
    labels: Labels = pipeline.fit_predict(X)
    return labels


def _in_order(clusters: Labels, y: Labels) -> Labels:
    """Number the clusters by the digits they fit best, one digit each."""
    counts = np.zeros((CLUSTERS, 10))
    np.add.at(counts, (clusters, y), 1)
    digit: Labels = linear_sum_assignment(-counts)[1]
    return digit[clusters]


def _members(X: Floats, clusters: Labels, seed: int) -> Iterator[Floats]:
    """Yield the mean of each cluster and some members, (1 + members, 64) each."""
    rng = np.random.default_rng(seed)
    for cluster in range(CLUSTERS):
        inside = X[clusters == cluster]
        some = rng.choice(len(inside), _MEMBERS)
        yield np.vstack([inside.mean(axis=0)[None], inside[some]])


def _agreement(agreed: list[tuple[int, float]], plain: float, panel: Panel) -> None:
    draw(panel, style(BLUE, "o"), agreed)
    panel.ax.axhline(plain, color=BLACK, ls=":", lw=1.4)
    say(panel.ax, (KS[-1], plain), "k-means", BLACK, ha="right", xytext=(0, 5))
    panel.ax.set_ylim(0, 1)
    panel.ax.set_xticks(KS)
    names(panel.ax, "neighbours in the graph")


def _gallery(members: Floats, panel: Panel) -> None:
    sheet = mosaic(digits.images(members), 1 + _MEMBERS, paper=0, rim=2)
    picture(panel.ax, sheet)
    panel.ax.plot([8.5, 8.5], [-0.5, len(sheet) - 0.5], color=ORANGE, lw=2)
