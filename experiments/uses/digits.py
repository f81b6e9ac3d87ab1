"""Handwritten digits, which scikit-learn brings along, for several of the uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.lessons.sets import Set

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.lessons.notebook import Notebook
    from experiments.lessons.sets import Floats

SIDE = 8


class Digits(NamedTuple):
    """Images (n, 64) from 0, which is paper, to 1, and what they show (n,)."""

    X: Floats
    y: NDArray[np.int64]


def load(notes: Notebook) -> Digits:
    """Return all digits, or a sample, in a random order."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    rows = np.random.default_rng(notes.seed).permutation(len(X))[: notes.n]
    images = (X[rows] / 16).astype(np.float32)
    source = "scikit-learn load_digits: 8x8 images of handwritten digits"
    notes.use(Set("digits", images, images[:0], source))
    return Digits(images, y[rows])


def images(X: Floats) -> Floats:
    """Return rows (n, 64) as images (n, 8, 8)."""
    return X.reshape(-1, SIDE, SIDE)
