"""k-means: Lloyd's iterations (1982), and two ways to start them.

One loop serves IVF's centroids and PQ's codewords; they differ in how a vector finds
its nearest centre.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ann import exact, parallel
from ann.kernels import cluster
from ann.metrics import row_norms

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]
Assign = Callable[[Floats], tuple[Floats, Labels]]

ITERATIONS = 10
PER_CENTROID = 256  # training vectors at most
SHARE = 12  # one centroid in so many is looked at near the one before
TRIED = 64  # vectors that tell whether that pays
CHUNK = 1024  # vectors


def kmeans(
    X: Floats,
    k: int,
    rng: np.random.Generator,
    threads: int,
    *,
    spherical: bool = False,
    iterations: int = ITERATIONS,
) -> Floats:
    """Return ``k`` centroids of ``X``.

    Trains on a random sample of at most ``256 * k`` vectors, and starts from ``k`` of
    them, so that centroids lie as densely as the vectors do. k-means++ prefers far
    ones: on 100,000 image patches and 800 lists that lowers the error by 9 %, but
    leaves the dense regions, where queries come from, a few long lists: near recall@10
    0.98 a search scanned five times as many vectors. Centroids that lose all their
    vectors move onto distinct ones that are farthest from their own.

    Parameters
    ----------
    X : (n, d) float32
        n >= k.
    k : int
    rng : Generator
        Of the sample and the start.
    threads : int
        The result does not depend on it.
    spherical : bool
        Assign by the largest dot product and scale centroids to norm 1 (Dhillon &
        Modha 2001): for vectors of norm 1.

    Returns
    -------
    centroids : (k, d) float32
    """
    X = sample(X, PER_CENTROID * k, rng)
    if spherical:
        nearest = _Nearest("dot", X, threads)
        return lloyd(X, sample(X, k, rng), nearest, iterations, spherical)
    centre = middle(X)
    X = X - centre if centre.any() else X  # a copy only where there is need
    nearest = _Nearest("l2", X, threads)
    return lloyd(X, sample(X, k, rng), nearest, iterations) + centre


def middle(X: Floats) -> Floats:
    """Return (d,) numbers to take off rows, lest ‖x‖² − 2⟨x, c⟩ + ‖c‖² cancel.

    They are the means, each to a power of two that is no less than the component's
    standard deviation: so none is left off by more than half of that, taking them off
    and adding them rounds next to nothing, and they are 0 where the means are small.
    """
    mean = X.mean(axis=0, dtype=np.float64)
    apart = np.zeros(X.shape[1])
    for first in range(0, len(X), CHUNK):
        apart += np.square(X[first : first + CHUNK] - mean).sum(axis=0)
    mantissas, exponents = np.frexp(np.sqrt(apart / len(X)))
    unit = np.ldexp(1.0, exponents)
    near = np.where(mantissas > 0, np.rint(mean / unit) * unit, mean)
    middles: Floats = near.astype(np.float32)
    return middles


class _Nearest:
    """Finds each vector's centroid, mostly near the one it had before.

    By the triangle inequality no centroid can be nearer to x than c where it is twice
    as far from c as x is: in clustered data that leaves few (the exponion of Newling &
    Fleuret, ICML 2016, about c itself). Vectors with more to look at than the nearest
    ``1 / SHARE`` of all centroids are held against all. The result is the same.

    Over 2,900 centroids of 185,600 image patches (d = 192) an iteration takes half the
    time; word embeddings lie farther apart than their centroids, and a glance tells.
    """

    def __init__(self, key: str, X: Floats, threads: int) -> None:
        self._key, self._X, self._threads = key, X, threads
        self._before: Labels | None = None
        self._clustered = key == "l2"  # as far as is known

    def __call__(self, centroids: Floats) -> tuple[Floats, Labels]:
        """Return each vector's key and centroid."""
        before, count = self._before, len(centroids) // SHARE
        if before is not None and self._clustered:
            self._clustered = count > 1 and self._near(centroids, before, count)
        if before is None or not self._clustered:
            keys, self._before = self._search(centroids, self._X, before)
            return keys, self._before
        keys, labels = np.empty(len(before), np.float32), before.copy()
        around = exact.search("l2", centroids, centroids, count, self._threads)

        def work(ranges: parallel.Ranges) -> None:
            for a, b in ranges:
                cluster.nearest_around(
                    self._X[a:b], centroids, *around, labels[a:b], keys[a:b]
                )

        parallel.run(work, len(labels), CHUNK, self._threads)
        far = np.flatnonzero(labels < 0)
        if len(far):
            found = self._search(centroids, self._X[far], before[far])
            keys[far], labels[far] = found
        self._before = labels
        return keys, labels

    def _search(
        self, centroids: Floats, X: Floats, guess: Labels | None
    ) -> tuple[Floats, Labels]:
        keys, ids = exact.search(self._key, centroids, X, 1, self._threads, guess=guess)
        return keys[:, 0], ids[:, 0]

    def _near(self, centroids: Floats, before: Labels, count: int) -> bool:
        """Try a few vectors: whether so many centroids suffice for most of them."""
        few = np.linspace(0, len(before) - 1, TRIED).astype(int)
        own = centroids[before[few]]
        reach = 2 * np.linalg.norm(self._X[few] - own, axis=1)
        apart = exact.search("l2", centroids, own, count, self._threads)[0][:, -1]
        return bool(np.mean(reach**2 < apart) > 0.5)


def start(X: Floats, k: int, rng: np.random.Generator) -> Floats:
    """Return ``k`` rows of ``X`` chosen by k-means++; repeats some where n < k.

    PQ's codewords begin with these: there only the error counts.
    """
    chosen = np.empty(k, np.int64)
    cluster.seed(X, rng.random(k), np.empty(len(X), np.float32), chosen)
    return X[chosen]


def lloyd(
    X: Floats,
    centroids: Floats,
    assign: Assign,
    iterations: int,
    spherical: bool = False,
) -> Floats:
    """Move centroids to the means of their vectors until none changes its centroid.

    ``assign(centroids)`` returns each vector's key (the error) and centroid.
    """
    sums = np.empty(centroids.shape)
    counts = np.empty(len(centroids), np.int64)
    before = None
    for _ in range(iterations):
        errors, labels = assign(centroids)
        if before is not None and np.array_equal(labels, before):
            break
        cluster.sum_by_label(X, labels, sums, counts)
        lost = np.flatnonzero(counts == 0)
        if len(lost):
            farthest = _farthest(X, errors, len(lost))
            sums[lost[: len(farthest)]], counts[lost] = X[farthest], 1
        centroids = (sums / counts[:, None]).astype(np.float32)
        if spherical:
            norms = row_norms(centroids)[:, None]
            centroids = np.divide(centroids, norms, where=norms > 0, out=centroids)
        before = labels
    return centroids


def _farthest(X: Floats, errors: Floats, count: int) -> NDArray[np.intp]:
    """Return up to ``count`` rows of the largest errors, no two of them equal."""
    order = np.argsort(-errors, kind="stable")[: 64 * count]
    _, first = np.unique(X[order], axis=0, return_index=True)
    return order[np.sort(first)[:count]]


def sample(X: Floats, most: int, rng: np.random.Generator) -> Floats:
    """Return ``X``, or ``most`` of its rows drawn without replacement, in order."""
    if len(X) <= most:
        return X
    return X[np.sort(rng.choice(len(X), most, replace=False))]
