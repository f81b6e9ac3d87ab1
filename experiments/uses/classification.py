"""Classification: ask the nearest examples what they are, and let them vote.

The data are handwritten digits. Nothing is trained: the index holds examples, and a new
image is what most of its nearest are. The trick is in the vote itself: where the
neighbours disagree, say so, and leave the image to a person.
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

KS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100)
K = 5  # neighbours that vote in the middle and on the right
MISTAKES = 8  # shown


def use(notes: Notebook) -> Shown:
    """Vote among the neighbours of half of the digits in the other half."""
    X, y = digits.load(notes)
    half = len(X) // 2
    examples, labels, asked, truth = X[:half], y[:half], X[half:], y[half:]

    near, right = {}, {}
    for metric in ("cosine", "l2"):
        index = ann.HNSW(metric, seed=notes.seed).add(examples, threads=notes.threads)
        near[metric], _ = index.search(asked, k=KS[-1], ef_search=200)
        votes = {k: ballot(labels[near[metric][:, :k]]) for k in KS}
        right[metric] = {k: accuracy(votes[k], truth) for k in KS}
    same = float((near["l2"][:, :K] == index.exact(asked, k=K)[0]).mean())

    shares = ballot(labels[near["cosine"][:, :K]])
    sure, guess = shares.max(axis=1), shares.argmax(axis=1)
    clear = [sure >= least for least in np.unique(sure)]
    answered = [(float(at.mean()), accuracy(shares[at], truth[at])) for at in clear]

    wrong = np.flatnonzero(guess != truth)[:MISTAKES]
    voters = examples[near["cosine"][wrong, :K]]
    rows = np.concatenate([asked[wrong, None], voters], axis=1)
    told = [f"{truth[i]}, not {guess[i]}" for i in wrong]
    return Shown(
        "Five neighbours vote on a digit; where they disagree, ask a person",
        [f"{half} examples", f"{len(asked)} to be classified", "HNSW"],
        "Middle: from right to left, only images are answered of which more and "
        f"more of the {K} neighbours agree, in the end all. Right: a row is an image "
        "that was classified wrongly, left of the line, and its neighbours, nearest "
        "first. The same people wrote both halves; expect less of strangers.",
        {
            f"accuracy, {K} nearest by cosine": right["cosine"][K],
            f"accuracy, {K} nearest by l2": right["l2"][K],
            f"accuracy where all {K} agree": answered[-1][1],
            f"share where all {K} agree": answered[-1][0],
            "neighbours as in exact search": same,
        },
        {
            "how many – accuracy by the neighbours asked": panels.curves(
                {metric: [*curve.items()] for metric, curve in right.items()},
                "neighbours", within=(0.88, 1), ticks=(1, 3, 10, 30, 100),
            ),
            "how sure – accuracy of what is answered": panels.curves(
                {"": answered}, "share of images that are answered", within=(0.98, 1)
            ),
            "why – mistakes, and who voted": panels.gallery(
                digits.images(rows), 1 + K, told, line=True
            ),
        },
    )  # fmt: skip


def ballot(labels: Labels) -> Floats:
    """Return the share of the neighbours (n, k) that is of each of the ten classes."""
    counts = (labels[:, :, None] == np.arange(10)).sum(axis=1)
    shares: Floats = (counts / labels.shape[1]).astype(np.float32)
    return shares


def accuracy(shares: Floats, truth: Labels) -> float:
    """Return how often the most votes are right; the smaller class wins a tie."""
    return float((shares.argmax(axis=1) == truth).mean())
