"""Anomalies: what has no near neighbour is strange.

The data are handwritten digits of nine kinds; the tenth kind is then slipped in among
new ones of the nine, and each digit has its turn to be the stranger. The score is one
number, the distance to the fifth nearest example. The trick is what it does without: a
picture of what is normal. Normal may be nine heaps far apart, with nothing in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import ann
from experiments.uses import digits, panels
from experiments.uses.shown import Shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.lessons.notebook import Notebook
    from experiments.uses.digits import Floats

K = 5
WAYS = ("neighbours", "ellipsoid", "mean")
SHOWN_DIGIT = 8  # in the middle and on the right
LOOKED_AT = 64  # strange images on the right


class Trial(NamedTuple):
    """Who is strange among those that were asked about, and each score of them."""

    asked: Floats
    strange: NDArray[np.bool_]
    scores: dict[str, Floats]

    def area(self, by: str) -> float:
        """Return how often a strange one scores above a normal one (ROC AUC)."""
        from sklearn.metrics import roc_auc_score

        return float(roc_auc_score(self.strange, self.scores[by]))


def use(notes: Notebook) -> Shown:
    """Let each digit be the stranger in turn, and score by three ways."""
    X, y = digits.load(notes)
    trials = [trial(X, y == stranger, notes) for stranger in range(10)]
    areas = {by: [each.area(by) for each in trials] for by in WAYS}

    shown = trials[SHOWN_DIGIT]
    far = shown.scores["neighbours"]
    strangest = np.argsort(-far)[:LOOKED_AT]
    caught = float(shown.strange[strangest].mean())
    return Shown(
        "A digit that nobody has seen before is far from its nearest neighbours",
        [f"about {len(X) * 9 // 20} examples of nine digits",
         f"distance to neighbour {K}", "HNSW, l2"],
        "Left: the chance that the score of a strange digit is above that of a normal "
        "one (ROC AUC; half is guessing). By the distance to the mean of all examples, "
        "by that in units of their covariance (an ellipsoid, Mahalanobis), and by that "
        f"to the {K}th nearest example. Right: highest scores first, row by row; "
        f"{caught:.0%} are the stranger, the others just badly written.",
        {f"mean AUC, {by}": float(np.mean(areas[by])) for by in WAYS}
        | {f"worst AUC, {by}": min(areas[by]) for by in WAYS},
        {
            "who is strange – ROC AUC when it is this digit": panels.curves(
                {by: [*enumerate(areas[by])] for by in WAYS}, "the stranger",
                key=(0.05, 0.06), joined=False, level=(0.5, ""),
            ),
            f"how far – to neighbour {K}, when it is {SHOWN_DIGIT}": panels.histogram(
                {"normal": far[~shown.strange],
                 f"strange ({SHOWN_DIGIT})": far[shown.strange]},
                np.linspace(far.min(), far.max(), 26), "distance", "density",
                key=(0.02, 0.95), density=True,
            ),
            f"the strangest – when it is {SHOWN_DIGIT}": panels.gallery(
                digits.images(shown.asked[strangest]), 8
            ),
        },
    )  # fmt: skip


def trial(X: Floats, strange: NDArray[np.bool_], notes: Notebook) -> Trial:
    """Take half of the normal ones for examples, and ask about all the others."""
    from sklearn.covariance import LedoitWolf

    normal = np.flatnonzero(~strange)
    half = len(normal) // 2
    examples = X[normal[:half]]
    rows = np.concatenate([normal[half:], np.flatnonzero(strange)])
    asked = X[rows]

    index = ann.HNSW("l2", seed=notes.seed).add(examples, threads=notes.threads)
    _, distances = index.search(asked, k=K)
    scores = {
        "neighbours": distances[:, K - 1],
        "ellipsoid": LedoitWolf().fit(examples).mahalanobis(asked),
        "mean": np.linalg.norm(asked - examples.mean(axis=0), axis=1),
    }
    return Trial(asked, strange[rows], scores)
