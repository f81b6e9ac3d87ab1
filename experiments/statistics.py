"""What a sample can say, and how surely.

Intervals are two-sided with 95 % confidence. Those of percentiles come from order
statistics and assume nothing of the distribution; those of means and of ratios from a
bootstrap over queries. Rounds of one setting are not independent of the machine's mood,
so they never make an interval narrower: shown are their least and their greatest, and
how far a figure hangs on one of them alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2
RESAMPLES = 1000
# A sway that earns a badge. Of 316 settings of five rounds each, three rounds with such
# a sway missed the other two by 7 % in the middle and by 16 % one time in ten, three
# with less by 4 % and 11 %. The span of the rounds tells them apart no better, and more
# than a tenth of it marks three settings in four.
NOISY = 0.10
SHARES = (0.5, 0.9, 1.0)


class Interval(NamedTuple):
    """A value and the ends of its interval."""

    value: float
    low: float
    high: float


def percentile(
    values: Floats, percent: float, independent: int | None = None
) -> Interval | None:
    """Return a percentile with its interval, or None where the sample is too small.

    The interval is that of the two order statistics between which the percentile of
    the population lies with the confidence asked for (David & Nagaraja, "Order
    Statistics", 2003, Sec. 7.1). Where no value of the sample is high (or low) enough
    to be an end, the sample does not support the percentile (:func:`fewest`).

    Parameters
    ----------
    values : (n,) in any order
    percent : in (0, 100)
    independent : how many values the sample is worth, all by default. Rounds of the
        same queries are worth one: the ranks are then those of so many values, and
        stand in the whole sample at the same shares.
    """
    worth = len(values) if independent is None else independent
    ranks = _ranks(worth, percent) if worth else None
    if ranks is None:
        return None
    ordered, n = np.sort(values), len(values)
    low = ranks[0] * n // worth
    high = -(-(ranks[1] + 1) * n // worth) - 1
    value = float(np.percentile(ordered, percent))
    return Interval(value, float(ordered[low]), float(ordered[high]))


def fewest(percent: float) -> int:
    """Return how many independent values a percentile needs: p99 368, p95 72, p50 six.

    So many that the least and the greatest of them enclose it.
    """
    share = _share(percent)
    return math.ceil(math.log(_TAIL) / math.log(max(share, 1 - share)))


@lru_cache
def _ranks(n: int, percent: float) -> tuple[int, int] | None:
    """Return the positions of the ends among n ordered values, if they are there."""
    from scipy.stats import binom

    share = _share(percent)
    # The number of values below the percentile is binomial.
    low = int(binom.ppf(_TAIL, n, share)) - 1
    high = int(binom.ppf(1 - _TAIL, n, share))
    return None if low < 0 or high >= n else (low, high)


def _share(percent: float) -> float:
    if not 0 < percent < 100:
        raise ValueError(f"percent must be in (0, 100), got {percent}")
    return percent / 100


def mean(values: Floats, seed: int = 0) -> Interval:
    """Return a mean over queries with its bootstrap interval."""
    rng = np.random.default_rng(seed)
    means = _weights(len(values), rng) @ values
    return Interval(float(values.mean()), *_middle(means))


def paired_difference(a: Floats, b: Floats, seed: int = 0) -> Interval:
    """Return the mean of ``b − a`` over the same queries, with its interval."""
    _require_pairs(a, b)
    return mean(b - a, seed)


def paired_ratio(a: Floats, b: Floats, seed: int = 0) -> Interval:
    """Return ``median(b) / median(a)`` over the same queries, with its interval.

    Queries are resampled in pairs, so what makes a query slow for both does not widen
    the interval.
    """
    _require_pairs(a, b)
    rng = np.random.default_rng(seed)
    rows = rng.integers(len(a), size=(RESAMPLES, len(a)))
    ratios = np.median(b[rows], axis=1) / np.median(a[rows], axis=1)
    return Interval(float(np.median(b) / np.median(a)), *_middle(ratios))


def sway(rounds: Sequence[float]) -> float:
    """Return how far a median over rounds hangs on one of them; NaN for one round.

    The greatest change of the median, as a share of it, when a single round is left
    out. A round that was disturbed while the others agree moves it little.
    """
    if len(rounds) < 2:
        return math.nan
    whole = np.median(rounds)
    without = [np.median(np.delete(rounds, i)) for i in range(len(rounds))]
    return float(np.abs(np.array(without) - whole).max() / whole)


class Tail(NamedTuple):
    """What a mean recall hides."""

    share_50: float  #: share of queries with recall at least 0.5
    share_90: float  #: … 0.9
    share_100: float  #: … 1
    p5: float  #: recall that 95 % of queries reach
    zero: int  #: queries with none of their neighbours


def tail(recalls: Floats) -> Tail:
    """Return robustness at 0.5, 0.9 and 1, the fifth percentile and the lost queries.

    Robustness-δ@k (Wang et al. 2025, arXiv 2507.00379) is the share of queries with a
    recall of at least δ.
    """
    half, most, all_ = (float((recalls >= share - 1e-9).mean()) for share in SHARES)
    p5 = np.percentile(recalls, 5, method="lower")
    return Tail(half, most, all_, float(p5), int((recalls == 0).sum()))


def by_decile(
    values: Floats, difficulty: Floats, groups: int = 10
) -> list[tuple[float, float]]:
    """Return (median difficulty, mean value) of tenths of the queries, easiest first.

    Queries without a known difficulty are left out; fewer than ``groups`` give none.
    """
    known = np.flatnonzero(np.isfinite(difficulty))
    if len(known) < groups:
        return []
    order = known[np.argsort(difficulty[known], kind="stable")]
    return [
        (float(np.median(difficulty[part])), float(values[part].mean()))
        for part in np.array_split(order, groups)
    ]


def _require_pairs(a: Floats, b: Floats) -> None:
    if len(a) != len(b) or len(a) == 0:
        raise ValueError(f"pairs must be of the same queries, got {len(a)}, {len(b)}")


def _weights(n: int, rng: np.random.Generator) -> Floats:
    """Return (RESAMPLES, n) shares of a resample that each value has."""
    weights: Floats = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n
    return weights


def _middle(samples: Floats) -> tuple[float, float]:
    cut = 100 * _TAIL
    low, high = np.percentile(samples, [cut, 100 - cut])
    return float(low), float(high)
