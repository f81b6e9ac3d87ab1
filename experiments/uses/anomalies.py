"""Anomalies: what has no near neighbour is strange.

The data are handwritten digits of nine kinds; the tenth kind is then slipped in among
new ones of the nine, and each digit has its turn to be the stranger. The score is one
number, the distance to the fifth nearest example. The trick is what it does without: a
picture of what is normal. Normal may be nine heaps far apart, with nothing in between.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

import ann
from experiments.lessons.looks import BLACK, BLUE, ORANGE
from experiments.uses import digits
from experiments.uses.shown import Shown, mosaic, names, picture, say

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.lessons.notebook import Notebook
    from experiments.lessons.sets import Floats
    from experiments.plots.panel import Panel

K = 5
SCORES = {"neighbours": BLUE, "ellipsoid": ORANGE, "mean": BLACK}
SHOWN_DIGIT = 8  # of the middle and the right
_LOOKED_AT = 64  # strange images on the right


class Trial(NamedTuple):
    """Who is strange among those that were asked about, and each score of them."""

    asked: Floats
    strange: NDArray[np.bool_]
    scores: dict[str, Floats]

    def auc(self, by: str) -> float:
        """Return how often a strange one scores above a normal one."""
        return float(roc_auc_score(self.strange, self.scores[by]))


def use(notes: Notebook) -> Shown:
    """Let each digit be the stranger in turn, and score by three ways."""
    X, y = digits.load(notes)
    trials = [_trial(X, y == stranger, notes) for stranger in range(10)]
    areas = {by: [trial.auc(by) for trial in trials] for by in SCORES}
    merits = {f"mean AUC, {by}": float(np.mean(areas[by])) for by in SCORES}
    merits |= {f"worst AUC, {by}": min(areas[by]) for by in SCORES}

    shown = trials[SHOWN_DIGIT]
    strangest = np.argsort(-shown.scores["neighbours"])[:_LOOKED_AT]
    caught = float(shown.strange[strangest].mean())
    return Shown(
        "A digit that nobody has seen before is far from its nearest neighbours",
        [f"about {len(X) * 9 // 20} examples of nine digits",
         f"distance to neighbour {K}", "HNSW, l2"],
        "Left: the chance that the score of a strange digit is above that of a normal "
        "one (ROC AUC; 0.5 is guessing). By the distance to the mean of all examples, "
        "by that in units of their covariance (an ellipsoid, Mahalanobis), and by that "
        f"to the {K}th nearest example. Right: highest scores first, row by row; "
        f"{caught:.0%} are the stranger, the others just badly written.",
        merits,
        {
            "who is strange – ROC AUC when it is this digit": partial(_areas, areas),
            f"how far – to neighbour {K}, when it is {SHOWN_DIGIT}": partial(
                _histogram, shown
            ),
            f"the strangest – when it is {SHOWN_DIGIT}": partial(
                _gallery, shown.asked[strangest]
            ),
        },
    )  # fmt: skip


def _trial(X: Floats, strange: NDArray[np.bool_], notes: Notebook) -> Trial:
    normal = np.flatnonzero(~strange)
    half = len(normal) // 2
    examples = X[normal[:half]]
    rows = np.concatenate([normal[half:], np.flatnonzero(strange)])
    asked = X[rows]

    index = ann.HNSW("l2", seed=notes.seed).add(examples, threads=notes.threads)
    _, distances = index.search(asked, k=K)
    ellipsoid = LedoitWolf().fit(examples)
    scores = {
        "neighbours": distances[:, K - 1],
        "ellipsoid": ellipsoid.mahalanobis(asked),
        "mean": np.linalg.norm(asked - examples.mean(axis=0), axis=1),
    }
    return Trial(asked, strange[rows], scores)


def _areas(areas: dict[str, list[float]], panel: Panel) -> None:
    for row, (by, colour) in enumerate(SCORES.items()):
        mark = {"ls": "none", "marker": "os^"[row], "ms": 6, "color": colour}
        panel.ax.plot(range(10), areas[by], **mark)
        inside = {"xycoords": "axes fraction", "xytext": (0, 0)}
        say(panel.ax, (0.04, 0.2 - 0.07 * row), "● ■ ▲"[2 * row], colour, **inside)
        say(panel.ax, (0.1, 0.2 - 0.07 * row), by, colour, **inside)
    panel.ax.axhline(0.5, color=BLACK, ls=":", lw=1)
    panel.ax.set_xticks(range(10))
    panel.ax.set_ylim(0, 1.04)
    names(panel.ax, "the stranger")


def _histogram(of: Trial, panel: Panel) -> None:
    far = of.scores["neighbours"]
    edges = np.linspace(far.min(), far.max(), 26)
    step = {"histtype": "step", "lw": 1.6, "density": True}
    panel.ax.hist(far[~of.strange], edges, color=BLACK, **step)
    panel.ax.hist(far[of.strange], edges, color=BLUE, **step)
    inside = {"xycoords": "axes fraction", "xytext": (0, 0)}
    say(panel.ax, (0.02, 0.93), "normal", BLACK, **inside)
    say(panel.ax, (0.02, 0.86), f"strange ({SHOWN_DIGIT})", BLUE, **inside)
    panel.ax.set_yticks([])
    names(panel.ax, "distance", "density")


def _gallery(asked: Floats, panel: Panel) -> None:
    picture(panel.ax, mosaic(digits.images(asked), 8, paper=0, rim=2))
