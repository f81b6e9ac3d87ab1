"""Classification: ask the nearest examples what they are, and let them vote.

The data are handwritten digits. Nothing is trained: the index holds examples, and a
new image is what most of its k nearest are. The trick is the vote itself: where the
neighbours disagree, say so, and leave the image to a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

import ann
from experiments.lessons.looks import (
    BLACK,
    BLUE,
    DASHED,
    ORANGE,
    draw,
    log_x,
    shares,
    style,
)
from experiments.plots.style import INK
from experiments.uses import digits
from experiments.uses.shown import Shown, mosaic, names, picture, say

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.lessons.notebook import Notebook
    from experiments.lessons.sets import Floats
    from experiments.plots.panel import Panel

    Ids = NDArray[np.int64]
    Curve = list[tuple[float, float]]

KS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100)
K = 5  # of the votes on the right
SHOWN = 8  # mistakes


def use(notes: Notebook) -> Shown:
    """Vote among the neighbours of half of the digits in the other half."""
    X, y = digits.load(notes)
    half = len(X) // 2
    examples, labels, asked, truth = X[:half], y[:half], X[half:], y[half:]

    near, right = {}, {}
    for metric in ("cosine", "l2"):
        index = ann.HNSW(metric, seed=notes.seed).add(examples, threads=notes.threads)
        near[metric], _ = index.search(asked, k=KS[-1], ef_search=200)
        shares = {k: votes(labels[near[metric][:, :k]]) for k in KS}
        right[metric] = [(k, accuracy(shares[k], truth)) for k in KS]
    exact, _ = index.exact(asked, k=K)
    same = float((near["l2"][:, :K] == exact).mean())

    shares = votes(labels[near["cosine"][:, :K]])
    sure, guess = shares.max(axis=1), shares.argmax(axis=1)
    answered = [
        (float((sure >= least).mean()), float((guess == truth)[sure >= least].mean()))
        for least in np.unique(sure)
    ]
    wrong = np.flatnonzero(guess != truth)
    merits = {
        "examples": half,
        f"accuracy, {K} nearest by cosine": accuracy(shares, truth),
        f"accuracy, {K} nearest by l2": dict(right["l2"])[K],
        f"accuracy where all {K} agree": answered[-1][1],
        f"share where all {K} agree": answered[-1][0],
        "neighbours as in exact search": same,
    }
    told = [f"{a}, not {b}" for a, b in zip(truth[wrong], guess[wrong], strict=True)]
    gallery = np.hstack([asked[wrong, None], examples[near["cosine"][wrong, :K]]])
    return Shown(
        "Five neighbours vote on a digit; where they disagree, ask a person",
        [f"{half} examples", f"{len(asked)} to be classified", "HNSW"],
        f"Middle: only images of which at least 2, 3, 4 or all {K} neighbours agree are "
        "answered; accuracy among these. Right: a row is an image that was classified "
        "wrongly, left of the line, and its neighbours, nearest first. The same people wrote "
        "both halves; expect less of strangers.",
        merits,
        {
            "how many – accuracy by the number of neighbours": partial(_curves, right),
            "how sure – accuracy of what is answered": partial(_answered, answered),
            f"why – {min(SHOWN, len(wrong))} of {len(wrong)} mistakes, and who voted":
                partial(_mistakes, gallery[:SHOWN], told[:SHOWN]),
        },
        gap=0.95,
    )  # fmt: skip


def votes(labels: Ids) -> Floats:
    """Return the share of neighbours (n, k) that is of each of the ten classes."""
    counts = (labels[:, :, None] == np.arange(10)).sum(axis=1)
    found: Floats = (counts / labels.shape[1]).astype(np.float32)
    return found


def accuracy(shares: Floats, truth: Ids) -> float:
    """Return how often the most votes are right; the smaller class wins a tie."""
    return float((shares.argmax(axis=1) == truth).mean())


def _curves(right: dict[str, Curve], panel: Panel) -> None:
    looks = {"cosine": style(ORANGE, "^", DASHED), "l2": style(BLACK, "s")}
    for at, (metric, curve) in zip((0.2, 0.1), right.items(), strict=True):
        draw(panel, looks[metric], curve)
        inside = {"xycoords": "axes fraction", "xytext": (0, 0)}
        say(panel.ax, (0.06, at), metric, looks[metric].text, **inside)
    log_x(panel.ax, (1, 3, 10, 30, 100))
    panel.ax.set_ylim(0.88, 1.0)
    panel.ax.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.0f} %")
    names(panel.ax, "neighbours", "accuracy")


def _answered(curve: Curve, panel: Panel) -> None:
    draw(panel, style(BLUE, "o"), curve)
    for (x, y), least in zip(curve[-4:], range(K - 3, K + 1), strict=True):
        say(panel.ax, (x, y), f"{least} of {K}", BLUE, xytext=(7, 3))
    panel.ax.margins(0.2)
    for axis in (panel.ax.xaxis, panel.ax.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(lambda y, _: f"{100 * y:.1f} %")
    names(panel.ax, "share answered", "accuracy of these")


def _mistakes(gallery: Floats, told: Sequence[str], panel: Panel) -> None:
    """Show the rows (rows, 1 + K, 64)."""
    sheet = mosaic(digits.images(gallery), gallery.shape[1], paper=0, rim=2)
    picture(panel.ax, sheet)
    high, wide = sheet.shape
    panel.ax.plot([8.5, 8.5], [-0.5, high - 0.5], color=ORANGE, lw=2)
    panel.ax.set_xlim(-0.5, wide + 18)
    for row, text in enumerate(told):
        say(panel.ax, (wide, 10 * row + 4), text, INK, xytext=(6, 0), va="center")
