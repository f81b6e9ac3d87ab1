"""The vectors that lessons are taught on: real ones that need no download, and drawn.

Sentences are WordNet's glosses as an encoder has them; they come as a file
(`SENTENCES`), and where it is absent a lesson does without.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import datasets
from experiments.datasets import embedded, synthetic
from experiments.datasets.vectors import sample_rows, take
from experiments.peers.common import normalised

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

SENTENCES = "wordnet-minilm-384-angular.hdf5"

_VOCABULARY, _TOPICS = 512, 40
_LENGTH, _LENGTHS, _SHORTEST = 120, 0.8, 20  # words of a document: median, sigma, least
_COMMON = 0.5  # share of a document's words that any topic has


@dataclass(frozen=True, eq=False)
class Set:
    """Vectors and queries under a name for the reader.

    Parameters
    ----------
    name : str
    X : (n, d) float32
    Q : (nq, d) float32
    source : str           one line: where they come from
    """

    name: str
    X: Floats
    Q: Floats
    source: str

    def scaled(self, name: str) -> Set:
        """Return the same vectors and queries at norm 1."""
        source = f"{self.source}; scaled to norm 1"
        return Set(name, normalised(self.X), normalised(self.Q), source)


def digits(n: int, nq: int, seed: int) -> Set:
    """Return images of handwritten digits, 64 columns."""
    return _known("digits", embedded.DIGITS, n, min(nq, 200), seed)


def patches(n: int, nq: int, seed: int) -> Set:
    """Return patches of two photographs, 192 columns."""
    return _known("patches", embedded.PATCHES, n, nq, seed)


def sentences(n: int | None, nq: int, seed: int) -> Set | None:
    """Return sentence embeddings at norm 1, 384 columns; None without the file.

    ``n`` is None for all of them.
    """
    if datasets.locate(SENTENCES) is None:
        return None
    return _known("sentences", SENTENCES, n, nq, seed).scaled("sentences")


def popular(n: int, nq: int, seed: int) -> Set:
    """Return items whose length is their popularity: norms log-normal, 64 columns."""
    return _known("popular items", f"synthetic-heavytail-64d-16i-{n}", n, nq, seed)


def clusters(n: int, nq: int, width: int, intrinsic: int, seed: int) -> Set:
    """Return Gaussians that have ``intrinsic`` dimensions each, in a wide space."""
    name = f"synthetic-clusters-{width}d-{intrinsic}i-{n}"
    return _known("clusters", name, n, nq, seed)


def word_counts(n: int, nq: int, seed: int) -> Set:
    """Draw documents as counts of words, 512 columns.

    Frequencies of words fall as Zipf's law has it; a topic has favourites of its own.
    Documents differ in length: median 120 words, log-normal with sigma 0.8.
    """
    rng = np.random.default_rng((seed, 512))
    common = 1 / np.arange(1, _VOCABULARY + 1)
    favourites = common * rng.gamma(0.1, size=(_TOPICS, _VOCABULARY))
    common /= common.sum()
    favourites /= favourites.sum(axis=1, keepdims=True)
    topics = rng.integers(_TOPICS, size=n + nq)
    lengths = np.maximum(rng.lognormal(math.log(_LENGTH), _LENGTHS, n + nq), _SHORTEST)
    rates = _COMMON * common + (1 - _COMMON) * favourites[topics]
    counts = rng.poisson(lengths[:, None] * rates).astype(np.float32)
    source = f"Poisson counts, {_TOPICS} topics, Zipf frequencies, seed {seed}"
    return Set("word counts", counts[:n], counts[n:], source)


def topics(n: int, nq: int, seed: int) -> Set:
    """Draw vectors of norm 1 around 50 topics, 64 columns, as encoders give them."""
    rng = np.random.default_rng((seed, 64))
    centres = rng.standard_normal((50, 64))
    drawn = centres[rng.integers(50, size=n + nq)]
    drawn = drawn + 0.8 * rng.standard_normal(drawn.shape)
    V = normalised(drawn.astype(np.float32))
    return Set("topics", V[:n], V[n:], f"Gaussians around 50 centres, seed {seed}")


def _known(name: str, dataset: str, n: int | None, nq: int, seed: int) -> Set:
    """Return a sample of a dataset; rows of zeros, which have no direction, go."""
    vectors = datasets.find(dataset, nq, seed=seed)
    size = len(vectors.train) - (nq if vectors.test is None else 0)
    rows, asked = sample_rows(vectors, None if n is None else min(n, size), nq, seed)
    pool = vectors.train if vectors.test is None else vectors.test
    X = _directed(take(vectors.train, rows, "rows"))
    Q = _directed(take(pool, asked, "queries"))
    return Set(name, X, Q, dataset if dataset == SENTENCES else vectors.source)


def _directed(X: Floats) -> Floats:
    kept = X.any(axis=1)
    return X if kept.all() else X[kept]


# --- sets of any width ----------------------------------------------------------------


def noise(n: int, width: int, seed: int) -> Floats:
    """Draw independent Gaussian values."""
    return np.random.default_rng((seed, 1)).standard_normal((n, width), np.float32)


def manifold(n: int, width: int, intrinsic: int, seed: int) -> Floats:
    """Draw points of a subspace that has ``intrinsic`` dimensions, in a wide space."""
    name = f"synthetic-manifold-{width}d-{intrinsic}i-{n}"
    return take(synthetic.generate(name, 1, seed).train, None, name)


def windows(n: int, width: int, seed: int) -> Floats:
    """Cut grey windows of ``width`` pixels, a power of two, from two photographs.

    At most twice as wide as high. One seed cuts at the same places whatever the width,
    so that a wider window holds a narrower one.
    """
    high = 2 ** (int(math.log2(width)) // 2)
    wide = width // high
    photographs = np.stack(embedded.photographs()) @ np.array([0.299, 0.587, 0.114])
    rng = np.random.default_rng(seed)
    _, rows, columns = photographs.shape
    which = rng.integers(len(photographs), size=n)
    top = rng.integers(rows - 32, size=n)
    left = rng.integers(columns - 64, size=n)
    views = np.lib.stride_tricks.sliding_window_view(photographs, (high, wide), (1, 2))
    cut: NDArray[Any] = views[which, top, left].reshape(n, width)
    return cut.astype(np.float32)


def projected(X: Floats, width: int, seed: int) -> Floats:
    """Turn vectors (n, d) into ``width`` columns by a Gaussian matrix.

    Distances stay as they are but for some percent (Johnson & Lindenstrauss 1984).
    """
    rng = np.random.default_rng((seed, width))
    matrix = rng.standard_normal((X.shape[1], width)) / math.sqrt(width)
    return np.ascontiguousarray(X @ matrix.astype(np.float32))
