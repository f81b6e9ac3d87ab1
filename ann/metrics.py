"""What near means: the one place that prepares vectors and presents distances.

Every structure and codec orders by a *key*, smaller is closer, in its cheapest form:

=========  ==================  =====================  ==========================
metric     prepared vector     key                    presented distance
=========  ==================  =====================  ==========================
l2         as it is            squared distance       Euclidean distance
ip         as it is            −⟨q, x⟩                −⟨q, x⟩
cosine     scaled to norm 1    −⟨q, x⟩                1 − cosine similarity
l1         as it is            Manhattan distance     Manhattan distance
=========  ==================  =====================  ==========================
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import validation

_ALIASES = {
    "l2": "l2",
    "euclidean": "l2",
    "ip": "ip",
    "dot": "ip",
    "inner_product": "ip",
    "cosine": "cosine",
    "angular": "cosine",
    "l1": "l1",
    "manhattan": "l1",
    "cityblock": "l1",
}
UNIT = 0.98, 1.02
"""Norms that count as 1: what rounding to float16 or 8 bits leaves of unit vectors."""

LONGEST = 1e18  # norm of a vector: the square of twice that fits into float32


@dataclass(frozen=True)
class Metric:
    """A metric by its canonical name; ``key`` is how its kernels compare vectors."""

    name: str  #: ``l2``, ``ip``, ``cosine`` or ``l1``

    @property
    def key(self) -> str:
        """``l2`` (squared), ``dot`` (negated) or ``l1``."""
        return "dot" if self.name in ("ip", "cosine") else self.name

    @property
    def least(self) -> float:
        """What the rounding of distances is relative to, however small these are.

        Under cosine a distance is a difference from 1.
        """
        return 1.0 if self.name == "cosine" else 0.0

    def radius(self, radius: float, d: int) -> float:
        """Return how far what a radius takes in may be, given rounding.

        Under cosine the distance of a vector from itself is 1 − ⟨x, x⟩ with x rounded
        to norm 1, which puts the square off by 2u (u = 2⁻²⁴), and summed by 16 lanes or
        more, which puts it off by up to (d / 16 + 9) u (Higham 2002, Sec. 3.1). No
        radius is less than these together; under the others that distance is 0.
        """
        least = (16 + d / 16) * 2.0**-24 if self.name == "cosine" else -np.inf
        return max(radius, least)

    def prepare(self, X: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        """Return validated (n, d) vectors as the kernels want them.

        Raises
        ------
        ValueError
            A zero vector under cosine, which has no direction; under the others a norm
            above 1e18, whose keys could overflow.
        """
        from ann.kernels import rows

        if self.name != "cosine":
            check_norms(X, name, LONGEST)
            return X
        prepared = np.empty_like(X)
        zero = rows.normalize(X, prepared)
        if zero >= 0:
            raise ValueError(
                f"{name} must have no zero vector under the cosine metric, got norm 0 "
                f"in row {zero}"
            )
        return prepared


def metric(name: str) -> Metric:
    """Return the metric of any accepted spelling.

    Raises
    ------
    ValueError
        An unknown name.
    """
    canonical = _ALIASES.get(name.lower()) if isinstance(name, str) else None
    if canonical is None:
        raise ValueError(f"metric must be one of {', '.join(_ALIASES)}, got {name!r}")
    return Metric(canonical)


def check_norms(X: NDArray[np.float32], name: str, longest: float) -> None:
    """Raise ValueError where a row's norm is above ``longest``."""
    from ann.kernels import rows

    row = rows.first_longer(X, longest)
    if row >= 0:
        raise ValueError(
            f"{name} must have norms <= {longest:g}, whose squares float32 can hold, "
            f"got {row_norms(X[row : row + 1])[0]:g} in row {row}"
        )


def row_norms(X: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the Euclidean norm of each row, summed in float64."""
    from ann.kernels import rows

    norms = np.empty(len(X))
    rows.norms(X, norms)
    return norms


def similarity(metric_name: str, distances: ArrayLike) -> NDArray[np.float32]:
    """Turn distances into the scores that people know: larger is closer.

    Parameters
    ----------
    metric_name : str
        Any accepted spelling of a metric.
    distances : array
        As ``search`` returns them.

    Returns
    -------
    array of float32
        The cosine similarity for ``cosine``, the inner product for ``ip``, and
        ``1 / (1 + distance)`` in (0, 1] for ``l2`` and ``l1``. A missing neighbour
        (+inf) gives −inf for ``cosine`` and ``ip``, 0 for ``l2`` and ``l1``.

    Raises
    ------
    ValueError
        An unknown metric; distances that are no numbers, NaN, or under ``l2`` and
        ``l1`` negative.

    Examples
    --------
    >>> float(similarity("cosine", 0.25))
    0.75
    """
    name = metric(metric_name).name
    low = 0.0 if name in ("l2", "l1") else -np.inf
    values = validation.distances(distances, low, name)
    if name == "cosine":
        return np.float32(1.0) - values
    if name == "ip":
        return -values
    return np.float32(1.0) / (np.float32(1.0) + values)
