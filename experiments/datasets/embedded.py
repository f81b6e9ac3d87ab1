"""Real vectors that come with scikit-learn: no network, the same on every machine."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.datasets.cache import atomic
from experiments.datasets.vectors import Vectors

PATCHES = "patches-192-euclidean"
DIGITS = "digits-64-euclidean"
NAMES = (PATCHES, DIGITS)

_SIDE = 8
_WIDTH = _SIDE * _SIDE * 3


def load(name: str, cache: Path) -> Vectors:
    """Return one of the embedded sets, its queries still to be held out."""
    if name == DIGITS:
        source = "scikit-learn load_digits: 8x8 images of handwritten digits"
        return Vectors(_digits(), None, "l2", source, drop_zeros=True)
    source = "scikit-learn load_sample_images: distinct 8x8 RGB patches at stride 1"
    return Vectors(_cached_patches(cache), None, "l2", source, drop_zeros=True)


def _digits() -> NDArray[Any]:
    from sklearn.datasets import load_digits

    digits: NDArray[Any] = load_digits().data
    return digits


def _cached_patches(cache: Path) -> NDArray[np.uint8]:
    """Return the patches, from the cache if they were cut before."""
    path = cache / "embedded" / "patches-192-v1.npy"
    try:
        patches: NDArray[np.uint8] = np.load(path, allow_pickle=False)
        if patches.dtype == np.uint8 and patches.shape[1:] == (_WIDTH,):
            return patches
    except (OSError, ValueError, EOFError):
        pass  # absent or damaged: cut them again
    patches = distinct_patches(photographs())
    with atomic(path) as temporary:
        np.save(temporary, patches)
    return patches


def photographs() -> list[NDArray[np.uint8]]:
    """Return the two photographs of scikit-learn, (427, 640, 3) each."""
    from sklearn.datasets import load_sample_images

    return list(load_sample_images().images)


def distinct_patches(images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Cut every 8x8 RGB patch at stride 1 and keep each distinct one once.

    The rows come in one fixed random order. In the order of the scan, neighbouring rows
    would be near-duplicates of each other, which flatters an index that keeps its
    vectors in order of arrival and starves a graph that is built in batches.
    """
    patches = np.concatenate([_cut(image) for image in images])
    as_bytes = patches.view(np.dtype((np.void, _WIDTH))).ravel()
    first = np.unique(as_bytes, return_index=True)[1]
    order = np.random.default_rng(0).permutation(np.sort(first))
    distinct: NDArray[np.uint8] = patches[order]
    return distinct


def _cut(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    windows = np.lib.stride_tricks.sliding_window_view(image, (_SIDE, _SIDE), (0, 1))
    # (y, x, colour, row, column) to (y, x, row, column, colour), as pixels are read
    return windows.transpose(0, 1, 3, 4, 2).reshape(-1, _WIDTH)
