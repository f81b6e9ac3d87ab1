"""Read a curve at a recall that none of its settings has exactly.

Settings are measured at recalls of their own; two curves are compared at one. Between
two neighbouring settings of the frontier the logarithm of a cost is taken to be linear
in recall, so that neither curve gains from where its settings happen to lie. Nothing
is extrapolated: above the best recall there is no reading, and below the least the
cheapest setting's own cost stands, as a bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

COARSE = 0.01  # of recall between neighbours; a wider gap is marked


class Reading(NamedTuple):
    """Two settings around a recall, by their positions, and the second's share.

    ``bound`` says that the cheapest setting already has more than that recall, so its
    cost is a bound; ``gap`` is the distance of the two settings in recall.
    """

    below: int
    above: int
    share: float
    gap: float
    bound: bool

    def of(self, values: Sequence[float]) -> float:
        """Return the value of a measure between the two settings."""
        below, above = values[self.below], values[self.above]
        if self.below == self.above:
            return below
        if not (below > 0 and above > 0):  # or NaN: not measured
            return math.nan
        return math.exp(
            (1 - self.share) * math.log(below) + self.share * math.log(above)
        )

    @property
    def mark(self) -> str:
        """Return "≤" for a bound, "~" for a wide gap, or nothing."""
        return "≤" if self.bound else "~" if self.gap > COARSE else ""


def frontier(recall: Sequence[float], cost: Sequence[float]) -> list[int]:
    """Return the positions of the non-dominated points, by rising recall.

    A point is dominated when another has no less recall at no more cost and is
    strictly better in one of the two; of equal points the first stands.
    """
    order = sorted(range(len(recall)), key=lambda i: (-recall[i], cost[i], i))
    kept: list[int] = []
    for i in order:
        if not kept or cost[i] < cost[kept[-1]]:
            kept.append(i)
    return kept[::-1]


def read_at(
    target: float, recall: Sequence[float], cost: Sequence[float]
) -> Reading | None:
    """Return where on the frontier of ``cost`` a recall lies, or None if it is beyond.

    Parameters
    ----------
    target : the recall to read at
    recall, cost : of each setting; settings with a NaN are left out
    """
    known = [i for i in range(len(recall)) if not math.isnan(recall[i] + cost[i])]
    best = frontier([recall[i] for i in known], [cost[i] for i in known])
    path = [known[i] for i in best]
    if not path or recall[path[-1]] < target:
        return None
    above = next(j for j, i in enumerate(path) if recall[i] >= target)
    high = path[above]
    if above == 0 or recall[high] == target:
        bound = recall[high] > target and len(path) > 1  # one setting has no choice
        return Reading(high, high, 1.0, 0.0, bound)
    low = path[above - 1]
    gap = recall[high] - recall[low]
    return Reading(low, high, (target - recall[low]) / gap, gap, False)
