"""What an index expects of the norms of the vectors that it meets.

Under the inner product the longest vectors win, whatever is asked. A collection of unit
vectors ranks as under cosine, until an upstream change leaves out the normalisation of
some: these are then everybody's neighbours, and no error is raised. So an index
remembers the norms of what it took in, and says when what comes is not like that.
"""

import math
import warnings
from dataclasses import astuple, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ann import validation
from ann.metrics import LONGEST, UNIT, row_norms
from ann.storage import StorageError

CHECKS = ("raise", "warn", "off")
_UNIT_ENOUGH, _ENOUGH = 10, 1000  # vectors whose norms tell what to expect
_MOSTLY = 0.9  # share of unit vectors in a first ``add`` that was meant to be of them
_MOST, _HIGHEST, _ROUNDING = 2**62, 1e45, 1e-9  # of what a file may tell
_LONGER = 10.0  # a norm of more than so many times the longest is strange


class NormWarning(UserWarning):
    """Vectors came whose norms are not like those that the index holds."""


class Bounds(NamedTuple):
    """Norms that are expected."""

    low: float
    high: float


ANY = Bounds(0.0, LONGEST)


@dataclass(frozen=True)
class Norms:
    """Euclidean norms of the vectors that an index took in, as they were given.

    Those that were strange when they came (see ``norm_check``) are only counted, in
    ``strange``: one bad batch must not teach the index that bad is usual.
    """

    count: int = 0
    low: float = math.inf
    high: float = 0.0
    mean: float = 0.0
    variance: float = 0.0
    strange: int = 0

    @property
    def std(self) -> float:
        """Standard deviation."""
        return math.sqrt(self.variance)

    @property
    def unit(self) -> bool:
        """Whether all were normalised, and there are enough of them to tell."""
        within = UNIT[0] <= self.low and self.high <= UNIT[1]
        return self.count >= _UNIT_ENOUGH and within

    def saved(self) -> NDArray[np.float64]:
        """Return them as (6,) numbers, to be kept in a file."""
        return np.array(astuple(self), np.float64)

    @classmethod
    def restored(cls, saved: NDArray[np.float64]) -> "Norms":
        """Return what ``saved`` returned.

        Raises
        ------
        StorageError
            No vectors have such statistics.
        """
        count, low, high, mean, variance, strange = saved.tolist()
        counts = 1 <= count <= _MOST and 0 <= strange <= _MOST
        slack = _ROUNDING * abs(high)
        ordered = 0 <= low <= mean + slack and mean <= high + slack and high <= _HIGHEST
        if not (counts and ordered and 0 <= variance <= high * high):
            raise StorageError(
                "norm_statistics must be count, low, high, mean, variance and strange "
                f"of some norms, got {saved.tolist()}"
            )
        return cls(int(count), low, high, mean, variance, int(strange))

    def joined(self, norms: NDArray[np.float64], strange: int) -> "Norms":
        """Return the statistics with more norms (n,) (Chan, Golub & LeVeque 1983)."""
        n, m = self.count, len(norms)
        if m == 0:
            return replace(self, strange=self.strange + strange)
        mean, share = float(norms.mean()), m / (n + m)
        apart = mean - self.mean
        inner = (1 - share) * self.variance + share * float(norms.var())
        return Norms(
            count=n + m,
            low=min(self.low, float(norms.min())),
            high=max(self.high, float(norms.max())),
            mean=self.mean + share * apart,
            variance=inner + share * (1 - share) * apart**2,
            strange=self.strange + strange,
        )

    def of_rows(self, metric: str) -> Bounds:
        """Return what is expected of vectors that come to be added."""
        if metric == "cosine":  # which sees directions only
            return ANY
        if self.unit:
            return Bounds(*UNIT)
        if self.count < _ENOUGH:
            return ANY
        return Bounds(0.0, min(self.high * _LONGER, LONGEST))

    def of_queries(self, metric: str) -> Bounds:
        """Return what is expected of queries.

        Under ``ip`` they need not resemble what they are compared with (users and
        items do not), but where all that is held is normalised.
        """
        return ANY if metric == "ip" and not self.unit else self.of_rows(metric)

    def usual(self, lengths: NDArray[np.float64], metric: str) -> NDArray[np.bool_]:
        """Return which norms (n,) a query may have."""
        low, high = self.of_queries(metric)
        return (lengths >= low) & (lengths <= high)


def checked(how: Any) -> str:
    """Return a ``norm_check``, or raise ValueError."""
    return validation.named(how, "norm_check", CHECKS)


def absorb(norms: Norms, lengths: NDArray[np.float64], metric: str, how: str) -> Norms:
    """Return the statistics with the norms (n,) of vectors that are to be added.

    Raises
    ------
    ValueError
        With ``how`` "raise": some are not as expected.

    Warns
    -----
    NormWarning
        With ``how`` "warn".
    """
    if how == "off" or metric == "cosine":  # which sees directions only
        return norms.joined(lengths, strange=0)
    bounds = norms.of_rows(metric)
    if norms.count == 0 and len(lengths) >= _UNIT_ENOUGH:
        unit = (lengths >= UNIT[0]) & (lengths <= UNIT[1])
        if unit.mean() >= _MOSTLY:
            bounds = Bounds(*UNIT)
    strange = _report(lengths, bounds, "X", norms, how)
    return norms.joined(lengths[~strange], int(strange.sum()))


def look_at_queries(
    Q: NDArray[np.float32], bounds: Bounds, held: Norms, how: str
) -> None:
    """Say where queries (nq, d) are out of bounds; raises and warns as ``absorb``."""
    if bounds != ANY:
        _report(row_norms(Q), bounds, "Q", held, how)


def _report(
    lengths: NDArray[np.float64], bounds: Bounds, name: str, held: Norms, how: str
) -> NDArray[np.bool_]:
    """Return which norms are strange, and say so."""
    strange = (lengths < bounds.low) | (lengths > bounds.high)
    count = int(strange.sum())
    if count and how != "off":
        row = int(np.argmax(strange))
        text = (
            f"{name} must have norms in [{bounds.low:.4g}, {bounds.high:.4g}], "
            f"{_like(held, bounds)}, got {lengths[row]:.4g} in row {row} "
            f"({count} of {len(lengths)} rows are outside): {_what_to_do(bounds)}"
        )
        if how == "raise":
            raise ValueError(text)
        warnings.warn(text, NormWarning, stacklevel=outside())
    return strange


def _like(held: Norms, bounds: Bounds) -> str:
    if held.count == 0:
        return "as nearly all of these rows have"
    kind = "unit vectors" if bounds == UNIT else "vectors"
    return f"as the {held.count:,} {kind} of the index have"


def _what_to_do(bounds: Bounds) -> str:
    cure = "divide each by its norm, or use metric='cosine', which does"
    if bounds != UNIT:
        cure = "make them as those of the index were made"
    return f"{cure}; norm_check='off' takes any"


def outside() -> int:
    """Return the stack level of the caller of this library, for a warning."""
    import sys

    level, frame = 1, sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("ann."):
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    return level
