"""When a walk has enough: a margin around the best, and the recall that it comes to.

A search with ``epsilon`` gives each query the effort that it needs, but what recall an
epsilon comes to depends on the vectors. So it is measured, once, on queries of the kind
that will be asked, and kept with the index.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ann import truth, validation
from ann.kernels.graph import Taper
from ann.names import Names
from ann.storage import StorageError
from ann.stored import Stored

Floats = NDArray[np.float32]
Answers = tuple[NDArray[np.int64], Floats]

FIRST, GROWTH = 0.02, 1.2  # epsilons that are tried: 0, then a geometric series …
LAST, ENOUGH = 4.0, 0.999  # … up to here, or until this recall is reached
STALE = 10  # a calibration is, when one vector in so many came or went
_ENTRIES = ("k", "queries", "n", "arrived")
_FARTHEST = 1e6  # epsilon whose square float32 can hold
NEVER = (-1.0, -1.0)  # as ``search_layer`` has it


class Tapered(NamedTuple):
    """The effort of a walk that looks at less of what is hardly worth it."""

    ef: int
    stretch: float
    shift: float
    taper: Taper


def stop(epsilon: float, metric: str) -> tuple[float, float]:
    """Return how far keys may stretch, and what makes them distances (or squares).

    Squared l2 keys grow by (1 + epsilon)², and so do cosine distances, which are half
    the squares of those between unit vectors.

    Raises
    ------
    ValueError
        ``epsilon`` is out of range, or the metric is ``ip``.
    """
    epsilon = validation.real(epsilon, "epsilon", 0.0, _FARTHEST)
    if metric == "ip":
        raise ValueError(f"epsilon needs l2, cosine or l1, got {epsilon:g} under ip")
    power = 1 if metric == "l1" else 2
    return (1 + epsilon) ** power - 1, 1.0 if metric == "cosine" else 0.0


class Calibration(NamedTuple):
    """What recall each epsilon came to, and of what index."""

    epsilons: NDArray[np.float64]  #: (m,), ascending from 0
    recalls: NDArray[np.float64]  #: (m,), means over queries, not descending
    k: int  #: neighbours that were searched for
    queries: int  #: how many were asked
    n: int  #: vectors inside then …
    arrived: int  #: … and how many had ever come

    def epsilon(self, target: float) -> float:
        """Return the least epsilon that comes to a recall, between those tried.

        Raises
        ------
        ValueError
            None of them does.
        """
        best = float(self.recalls[-1])
        if target > best:
            raise ValueError(
                f"target_recall must be at most {best:.4f}, what the calibration came "
                f"to, got {target:g}"
            )
        at = int(np.searchsorted(self.recalls, target))
        if at == 0:
            return float(self.epsilons[0])
        (low, high), (r, s) = (
            self.epsilons[at - 1 : at + 1],
            self.recalls[at - 1 : at + 1],
        )
        return float(low + (high - low) * (target - r) / (s - r))

    def changed(self, names: Names) -> int:
        """Return how many vectors came or went since."""
        came = names.arrived - self.arrived
        return came + (self.n + came - names.count)

    def saved(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays to be kept in a file."""
        about = [getattr(self, name) for name in _ENTRIES]
        return {
            "calibration_curve": np.stack([self.epsilons, self.recalls]),
            "calibration_about": np.array(about, np.int64),
        }


def margin(
    known: Calibration | None, names: Names, k: int, target_recall: float
) -> float:
    """Return the epsilon that came to a recall.

    Raises
    ------
    ValueError
        There is no calibration, or it is for another ``k``, came to less, or is stale.
    """
    target = validation.real(target_recall, "target_recall", 0.0, 1.0)
    if known is None:
        raise ValueError("target_recall needs calibrate(Q), got no such call")
    if known.k != k:
        raise ValueError(
            f"target_recall needs k={known.k}, for which the index was calibrated, "
            f"got {k}"
        )
    changed = known.changed(names)
    if changed * STALE > known.n:
        raise ValueError(
            f"target_recall needs a calibration since which at most a tenth of "
            f"{known.n} vectors have come or gone, got {changed}: calibrate anew"
        )
    return known.epsilon(target)


def restored(stored: Stored) -> Calibration | None:
    """Return the calibration of a file; None where there is none."""
    if not stored.has("calibration_curve"):
        return None
    epsilons, recalls = curve = stored.finite(
        "calibration_curve", (2, None), np.float64
    )
    most = 2**62
    about = stored.within("calibration_about", np.int64, (len(_ENTRIES),), 0, most)
    shares = recalls.size and recalls[0] >= 0 and recalls[-1] <= 1
    if not (shares and epsilons[0] >= 0 and (np.diff(curve) >= 0).all()):
        raise StorageError("calibration_curve must ascend, from 0 and to 1 at most")
    return Calibration(epsilons, recalls, *about.tolist())


def calibrated(
    search: Callable[[float], Answers], exact: Answers, names: Names, size: float
) -> Calibration:
    """Try one epsilon after another, until hardly anything is missed any more.

    Parameters
    ----------
    search : function           answers the queries with an epsilon
    exact : ids, distances      (nq, k) each: what an exact search finds
    names : Names               of the index as it is
    size : float                what rounding is relative to, see ``truth.recalls``
    """
    nq, k = exact[0].shape
    epsilons: list[float] = []
    recalls: list[float] = []
    epsilon = 0.0
    while epsilon <= LAST and not (recalls and recalls[-1] >= ENOUGH):
        epsilons.append(epsilon)
        recalls.append(float(truth.recalls(*search(epsilon), *exact, size).mean()))
        epsilon = max(FIRST, GROWTH * epsilon)
    ascending = np.maximum.accumulate(recalls)
    return Calibration(np.array(epsilons), ascending, k, nq, names.count, names.arrived)
