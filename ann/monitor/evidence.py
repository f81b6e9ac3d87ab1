"""Evidence that a mean has moved, good at whatever moment it is looked at.

A figure that is watched without end will by chance stray outside of any fixed
interval. So alerts rest on bets. A gambler, whose rule is fixed beforehand, stakes part
of what he has on each next value being above ``null``. Where the mean is not above it,
the game is fair or worse: his capital does not grow, on average, and multiplies by c
with a probability of at most 1/c (Ville's inequality; Waudby-Smith & Ramdas,
"Estimating means of bounded random variables by betting", JRSS B 2024). A change may
come at any time, so a new gambler begins whenever the last one has nothing left to show
for it: the CUSUM form of an e-detector (Shin, Ramdas & Rinaldo, "E-detectors: a
nonparametric framework for sequential change detection", New England Journal of
Statistics in Data Science 2023). With the limit c, n values whose mean stays where it
should raise an alarm with a probability of at most n / c, and alarms are at least c
values apart on average. Nothing is assumed of the distribution, but that each value's
mean, given those before, is not above ``null``.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Of the largest stake that cannot lose everything. The best one depends on how far the
# mean has moved; the average of several is nearly as good as the best.
_STAKES = np.array([0.05, 0.15, 0.35, 0.6, 0.9])
CONFIDENCE_95, ONE_SIDED_99 = 1.96, 2.326  # of the normal distribution


class Segment(NamedTuple):
    """The values since a change seems to have come."""

    size: int
    mean: float  #: of what was told beside the values


class Detector:
    """Looks for the moment at which a mean of values in [0, 1] rises above ``null``.

    Parameters
    ----------
    null : float
        In (0, 1).
    run_length : float
        Values between false alarms, on average and at least.
    """

    def __init__(self, null: float, run_length: float) -> None:
        self.null, self._limit = null, math.log(run_length)
        self._stakes = _STAKES / null
        self.restart()

    def restart(self) -> None:
        """Forget all values."""
        self._capital = np.zeros(len(_STAKES))  # logarithms
        self._counts = np.zeros(len(_STAKES), np.int64)
        self._sums = np.zeros(len(_STAKES))

    def take(self, values: Floats, told: Floats) -> Segment | None:
        """Take values (n,); return the segment of the change if there surely is one.

        ``told`` (n,) is what the segment's mean is of. The detector then starts anew.
        """
        gains = np.log1p(self._stakes[:, None] * (values - self.null))
        total = np.cumsum(gains, axis=1)
        # Capital is total − the lowest it was before; where that is, a segment starts.
        carried = np.maximum(self._capital, 0)
        before = np.concatenate([-carried[:, None], total[:, :-1]], axis=1)
        first = before.argmin(axis=1)
        goes_on = (first == 0) & (carried > 0)
        sums = np.concatenate([[0.0], np.cumsum(told)])
        self._counts = len(values) - first + np.where(goes_on, self._counts, 0)
        self._sums = sums[-1] - sums[first] + np.where(goes_on, self._sums, 0)
        self._capital = total[:, -1] - before.min(axis=1)
        if self._log_evidence() < self._limit:
            return None
        best = int(self._capital.argmax())
        size = int(self._counts[best])
        segment = Segment(size, float(self._sums[best]) / size)
        self.restart()
        return segment

    @property
    def evidence(self) -> float:
        """From 0, none, to 1, which is an alarm: the logarithm's share of its limit."""
        return min(1.0, max(0.0, self._log_evidence() / self._limit))

    def _log_evidence(self) -> float:
        return float(np.logaddexp.reduce(self._capital)) - math.log(len(_STAKES))

    def saved(self) -> dict[str, Any]:
        """Return what ``restore`` takes, as plain values."""
        return {
            "capital": self._capital.tolist(),
            "counts": self._counts.tolist(),
            "sums": self._sums.tolist(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on where a detector of the same ``null`` was."""
        size = len(_STAKES)
        self._capital = np.array(saved["capital"], float).reshape(size)
        self._counts = np.array(saved["counts"], np.int64).reshape(size)
        self._sums = np.array(saved["sums"], float).reshape(size)


def wilson(values: Floats, trials: int, z: float) -> tuple[float, float]:
    """Return an interval of a mean of values in [0, 1] (Wilson 1927).

    Each value is a share of ``trials`` that are not independent: ``n`` values count as
    many coins as would vary as much, at least n and at most ``n * trials``.
    """
    n, mean = len(values), float(values.mean())
    coin, spread = mean * (1 - mean), float(values.var())
    coins = float(n)
    if spread > 0:
        coins = min(max(n * coin / spread, n), n * trials)
    square = z * z / coins
    middle = (mean + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(coin / coins + square / (4 * coins))
    return max(0.0, middle - half), min(1.0, middle + half)
