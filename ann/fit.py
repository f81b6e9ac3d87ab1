"""Whether a codec describes new vectors as well as those that it was trained on.

A codec is trained on the first vectors. Later ones that lie elsewhere get codes that
cannot distinguish them, and no error is raised: with 8 bits a component beyond the
trained range is clipped. So an index keeps the error of the training vectors' codes.
Where that of new vectors is much larger, it measures what recall they lose.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ann.guard import outside
from ann.storage import StorageError

Floats = NDArray[np.float32]

ROWS, _QUERIES, _K = 512, 64, 10  # vectors looked at; of these, queries; neighbours
ENOUGH = 32  # vectors whose recall can be measured
_WORSE = 2.0  # times as large an error: then recall is looked at, too
_LOST = 0.05  # of recall, which raises the warning


class CodecWarning(UserWarning):
    """Vectors came that the codec of an index, as it was trained, describes badly."""


class Fit(NamedTuple):
    """How well a codec describes the vectors of its training, and others since.

    The error is the squared distance of vectors from what is kept of them: from their
    decoded codes (of three quarters of the vectors it is less: a few that are clipped
    say nothing of the others), and what a transform leaves out before.
    """

    error: float  #: of training vectors
    radius: float  #: largest squared distance of a training vector from their mean
    strange: int = 0  #: vectors that came since and are described badly
    found: float = np.nan  #: recall@10 of codes among the last of these, if measured …
    possible: float = np.nan  #: … and of a codec that was trained on them, too

    def saved(self) -> NDArray[np.float64]:
        """Return it as (5,) numbers, to be kept in a file."""
        return np.array(self, np.float64)

    def problem(self) -> str | None:
        """Return what ``Index.check`` has to say, or None."""
        if not self.strange:
            return None
        return (
            f"{self.strange} vectors are unlike those that the codec was trained on"
            f"{self.loss()}: see retrain()"
        )

    def loss(self) -> str:
        """Return what recall is lost, if that is known."""
        if not self.found >= 0:
            return ""
        return (
            f", and their codes alone find {self.found:.2f} of the {_K} nearest "
            f"instead of {self.possible:.2f}"
        )


class Sample(NamedTuple):
    """Some vectors, as the metric prepares them, and what is made of them."""

    X: Floats  #: (n, D)
    inside: Floats  #: (n, d), as the codec gets them: narrower, with a transform
    described: Floats  #: (n, d), their codes, decoded

    def error(self) -> float:
        """Return the error of ``Fit``."""
        left_out = _spread(self.X).mean() - _spread(self.inside).mean()
        return float(max(left_out, 0.0) + np.quantile(self.errors(), 0.75))

    def errors(self) -> NDArray[np.float64]:
        """Return the squared distance of each from its decoded code (n,)."""
        return _squares(self.inside.astype(np.float64) - self.described)

    def recall(self, key: str) -> float:
        """Return the share of the 10 nearest that codes find among these vectors."""
        n, hits = len(self.X), 0
        asked = range(0, n, -(-n // _QUERIES))
        for q in asked:
            true = _keys(key, self.X[q], self.X)
            found = _keys(key, self.inside[q], self.described)
            true[q] = found[q] = np.inf
            last = np.partition(true, _K - 1)[_K - 1]
            nearest = np.argsort(found, kind="stable")[:_K]
            hits += int((true[nearest] <= last).sum())
        return hits / (_K * len(asked))


def restored(saved: NDArray[np.float64]) -> Fit:
    """Return what ``Fit.saved`` returned; raise StorageError if nothing did."""
    error, radius, strange, found, possible = saved.tolist()
    shares = all(np.isnan(share) or 0 <= share <= 1 for share in (found, possible))
    squares = 0 <= error < np.inf and 0 <= radius <= np.inf
    if not (squares and 0 <= strange <= 2**62 and shares):
        raise StorageError(
            "codec_fit must be an error, a radius, a count and two recalls, got "
            f"{saved.tolist()}"
        )
    return Fit(error, radius, int(strange), found, possible)


def some_rows(n: int) -> slice:
    """Return which of ``n`` vectors are looked at: at most 512, evenly spaced."""
    return slice(0, n, -(-n // ROWS) or 1)


def learned(sample: Sample) -> Fit:
    """Return the fit of training vectors; of fewer than 32 one that looks at the next.

    These are then measured whatever their error, and make the fit if they are well.
    """
    if len(sample.X) < ENOUGH:
        return Fit(0.0, np.inf)
    return Fit(sample.error(), float(_spread(sample.inside).max()))


def looked_at(
    fit: Fit, sample: Sample, n: int, again: Callable[[], tuple[float, float]],
    cure: str,
) -> Fit:  # fmt: skip
    """Return the fit after ``n`` more vectors, of which there is a sample.

    Parameters
    ----------
    fit : Fit
    sample : Sample
    n : int
    again : function
        Returns the recall of codes among some of the vectors, and what it would be of a
        codec that was trained on the others, too. Called where the error has grown.
    cure : str

    Warns
    -----
    CodecWarning
        The error is more than twice that of the training vectors, and recall is lower
        by 0.05 than it could be. Of fewer than 32 that cannot be measured: there some
        are farther from their codes than any training vector was from the mean.
    """
    if len(sample.X) < ENOUGH:
        strange = int((sample.errors() > fit.radius).sum())
        found = possible = np.nan
    else:
        if sample.error() <= _WORSE * fit.error:
            return fit
        found, possible = again()
        strange = n if possible - found > _LOST else 0
    if not strange:
        known = fit.error > 0 or fit.strange
        return fit if known or len(sample.X) < ENOUGH else learned(sample)
    fit = Fit(fit.error, fit.radius, fit.strange + strange, found, possible)
    warnings.warn(
        f"X must resemble the vectors that the codec was trained on, got {strange:,} "
        f"that it describes badly{fit.loss()}: {cure}",
        CodecWarning,
        stacklevel=outside(),
    )
    return fit


def _spread(X: Floats) -> NDArray[np.float64]:
    """Return the squared distance of each row from the mean (n,)."""
    return _squares(X - X.mean(axis=0, dtype=np.float64))


def _squares(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", rows, rows)
    return squares


def _keys(key: str, q: Floats, X: Floats) -> NDArray[np.float64]:
    if key == "dot":
        return -(X.astype(np.float64) @ q.astype(np.float64))
    apart = X.astype(np.float64) - q
    keys: NDArray[np.float64] = np.abs(apart) if key == "l1" else np.square(apart)
    summed: NDArray[np.float64] = keys.sum(axis=1)
    return summed
