"""Whether a codec describes new vectors as well as those that it was trained on.

A codec is trained on the first vectors. Later ones that lie elsewhere get codes that
cannot distinguish them, and no error is raised: with 8 bits a component beyond the
trained range is clipped. So an index keeps the error of the training vectors' codes,
and the recall of these codes among the training vectors, and compares.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ann.guard import outside
from ann.storage import StorageError

Floats = NDArray[np.float32]

_ROWS, _QUERIES, _K = 512, 64, 10  # vectors looked at; of these, queries; neighbours
_ENOUGH = 32  # vectors whose recall can be measured
_WORSE = 2.0  # times as large an error: then recall is looked at, too
_LOST = 0.05  # of recall, which raises the warning


class CodecWarning(UserWarning):
    """Vectors came that the codec of an index, as it was trained, describes badly."""


class Fit(NamedTuple):
    """How well codes describe vectors: those of the training, and others since."""

    error: float  #: mean squared distance of a training vector from its decoded code
    radius: float  #: largest squared distance of a training vector from their mean
    recall: float  #: share of the 10 nearest that codes find; NaN of fewer than 32
    strange: int = 0  #: vectors that came since and are described badly
    found: float = np.nan  #: what ``recall`` was among the last of these, if known

    def saved(self) -> NDArray[np.float64]:
        """Return it as (5,) numbers, to be kept in a file."""
        return np.array(self, np.float64)

    def problem(self) -> str | None:
        """Return what ``Index.check`` has to say, or None."""
        if not self.strange:
            return None
        return (
            f"{self.strange} vectors are unlike those that the codec was trained on"
            f"{self._loss()}: see retrain()"
        )

    def _loss(self) -> str:
        if not self.found >= 0:
            return ""
        return (
            f", and their codes alone find {self.found:.2f} of the {_K} nearest "
            f"instead of {self.recall:.2f}"
        )


def restored(saved: NDArray[np.float64]) -> Fit:
    """Return what ``Fit.saved`` returned; raise StorageError if nothing did."""
    error, radius, recall, strange, found = saved.tolist()
    shares = all(np.isnan(share) or 0 <= share <= 1 for share in (recall, found))
    squares = 0 <= error < np.inf and 0 <= radius < np.inf
    if not (squares and 0 <= strange <= 2**62 and shares):
        raise StorageError(
            "codec_fit must be an error, a radius, a recall, a count and a recall, got "
            f"{saved.tolist()}"
        )
    return Fit(error, radius, recall, int(strange), found)


def some_rows(n: int) -> slice:
    """Return which of ``n`` vectors are looked at: at most 512, evenly spaced."""
    return slice(0, n, -(-n // _ROWS) or 1)


def learned(X: Floats, inside: Floats, described: Floats, key: str) -> Fit:
    """Return the fit of training vectors.

    Parameters
    ----------
    X : (n, D) float32          as the metric prepares them
    inside : (n, d) float32     as the codec gets them, which may be narrower
    described : (n, d) float32  their codes, decoded
    key : str                   of the metric
    """
    error = float(_errors(inside, described).mean())
    radius = float(_errors(inside, inside.mean(axis=0, dtype=np.float64)).max())
    return Fit(error, radius, _recall(X, described, inside, key))


def looked_at(
    fit: Fit, X: Floats, inside: Floats, described: Floats, key: str, n: int, cure: str
) -> Fit:
    """Return the fit after more vectors, (m, D) of ``n``; see ``learned``.

    Warns
    -----
    CodecWarning
        Their codes are off by more than twice as much as those of the training
        vectors, and find fewer of the nearest neighbours by 0.05 at least. Of fewer
        than 32 that cannot be measured: there some are farther from their codes than
        any training vector was from the mean.
    """
    errors = _errors(inside, described)
    if len(errors) < _ENOUGH or not fit.recall >= 0:
        strange = int((errors > fit.radius).sum() * n / len(errors))
        found = np.nan
    else:
        # What a transform leaves out is no error of a code.
        if X.shape == inside.shape and errors.mean() <= _WORSE * fit.error:
            return fit
        found = _recall(X, described, inside, key)
        strange = n if fit.recall - found > _LOST else 0
    if not strange:
        return fit
    fit = fit._replace(strange=fit.strange + strange, found=found)
    warnings.warn(
        f"X must resemble the vectors that the codec was trained on, got {strange:,} "
        f"that it describes badly{fit._loss()}: {cure}",
        CodecWarning,
        stacklevel=outside(),
    )
    return fit


def _errors(inside: Floats, described: NDArray[Any]) -> NDArray[np.float64]:
    """Return squared distances (n,)."""
    apart = inside.astype(np.float64) - described
    errors: NDArray[np.float64] = np.einsum("ij,ij->i", apart, apart)
    return errors


def _recall(X: Floats, described: Floats, inside: Floats, key: str) -> float:
    """Return the share of the nearest that codes find, of vectors among one another."""
    n = len(X)
    if n < _ENOUGH:
        return np.nan
    hits = 0
    for q in range(0, n, -(-n // _QUERIES)):
        true, found = _keys(key, X[q], X), _keys(key, inside[q], described)
        true[q] = found[q] = np.inf
        last = np.partition(true, _K - 1)[_K - 1]
        nearest = np.argsort(found, kind="stable")[:_K]
        hits += int((true[nearest] <= last).sum())
    return hits / (_K * len(range(0, n, -(-n // _QUERIES))))


def _keys(key: str, q: Floats, X: Floats) -> NDArray[np.float64]:
    if key == "dot":
        return -(X.astype(np.float64) @ q.astype(np.float64))
    apart = X.astype(np.float64) - q
    keys: NDArray[np.float64] = np.abs(apart) if key == "l1" else np.square(apart)
    summed: NDArray[np.float64] = keys.sum(axis=1)
    return summed
