"""Handwritten digits, which scikit-learn brings along, for several of the uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.lessons.sets import Set

if TYPE_CHECKING:
    from experiments.lessons.notebook import Notebook

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
SIDE = 8


class Digits(NamedTuple):
    """Images (n, 64) from 0, which is paper, to 1, and what they show (n,)."""

    X: Floats
    y: Labels


def load(notes: Notebook) -> Digits:
    """Return all digits, or a sample, in a random order."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    rows = np.random.default_rng(notes.seed).permutation(len(X))[: notes.n]
    drawn = (X[rows] / 16).astype(np.float32)
    source = "scikit-learn load_digits: 8x8 images of handwritten digits"
    notes.use(Set("digits", drawn, drawn[:0], source))
    return Digits(drawn, y[rows])


def images(rows: Floats) -> Floats:
    """Return rows (…, 64) as images (n, 8, 8)."""
    return rows.reshape(-1, SIDE, SIDE)
