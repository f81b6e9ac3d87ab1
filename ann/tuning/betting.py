"""A lower bound on a mean of values in [0, 1] that holds for any distribution.

Recall of a query is a share between 0 and 1, and most are exactly 1: near there an
interval of mean ± 1.645 standard errors promises 95 % and keeps, at worst, nothing (if
no query of a sample fails, its width is 0). So the bound rests on bets, as the
monitor's alarms do (:mod:`ann.monitor.evidence`). Somebody claims that the mean is at
most m. Then a gambler who stakes a fixed share s of his money on each next value x
being above m, and so multiplies it by 1 + s (x / m − 1), plays a game that is at best
fair: the chance that he ever has c times what he began with is at most 1 / c (Ville's
inequality). If he does get to 1 / (1 − confidence), the claim is given up. The lower
bound is the greatest m that is given up (Waudby-Smith & Ramdas, "Estimating means of
bounded random variables by betting", JRSS B 2024). It holds for every number of values,
not only for many, as long as they are drawn independently and the share is chosen
without looking at them: it is chosen on other queries.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MOST = 0.9  # of the money: whoever stakes all of it is out of the game after one 0
_SHARES = np.linspace(0.02, _MOST, 45)
_DOUBT = 0.5  # an imagined query's recall, so that luck does not look like certainty
_STEPS = 30  # of a bisection: the bound is known to 2⁻³⁰


def fewest(target: float, confidence: float) -> int:
    """Return how many perfect values it takes to be sure of a mean of ``target``."""
    gain = math.log1p(_MOST * (1 / target - 1))
    return math.ceil(_enough(confidence) / gain)


def share(values: Floats, null: float) -> float:
    """Return the share that would have won most on values (n,) against ``null``."""
    seen = np.append(values, _DOUBT)
    growth = np.log1p(_SHARES[:, None] * (seen / null - 1)).mean(axis=1)
    return float(_SHARES[growth.argmax()])


def promising(values: Floats, null: float, count: int, confidence: float) -> bool:
    """Whether ``count`` more values such as these should refute a mean of ``null``."""
    growth = np.log1p(share(values, null) * (values / null - 1)).mean()
    return bool(count * growth >= _enough(confidence))


def lower(values: Floats, confidence: float, share: float) -> float:
    """Return the lower bound of the mean that values (n,) come from.

    Parameters
    ----------
    values : (n,) float64
        In [0, 1], drawn independently.
    confidence : float
        The chance, at least, that the mean is not below what is returned.
    share : float
        In (0, 1): what is staked; by ``share`` of other values.
    """
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        # Wealth falls as the claim rises, so that bisection finds the last one refuted.
        refuted = _wealth(values, middle, share) >= _enough(confidence)
        low, high = (middle, high) if refuted else (low, middle)
    return low


def _wealth(values: Floats, null: float, share: float) -> float:
    """Return the logarithm of the most that the gambler ever had."""
    return float(np.log1p(share * (values / null - 1)).cumsum().max(initial=0.0))


def _enough(confidence: float) -> float:
    return -math.log1p(-confidence)
