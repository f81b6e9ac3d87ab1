"""Where the vectors around a query stand on paper.

The query is in the middle. How far a vector stands from it tells the true distance, on
a scale that bends; in which direction, the two axes along which the directions of the
vectors that a search scored differ most. A plain projection would keep neither: among
hundreds of dimensions, near and far fall on top of each other.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

INNER, MIDDLE = 0.12, 0.6  # where the nearest vector stands, and the middle one
MOST_BENT = 1 / 3  # least power of a scale
ROUND = (5.0, 2.0, 1.0)  # times a power of ten
APART = 0.13  # ticks, at least


class Scale(NamedTuple):
    """How far from the middle a distance stands: 0 to 1, and beyond for outliers."""

    near: float
    far: float
    power: float

    @classmethod
    def of(cls, near: float, middle: float, far: float) -> Scale:
        """Let ``near`` stand at ``INNER``, ``far`` at 1, ``middle`` at ``MIDDLE``.

        The last only as far as a power of at least ``MOST_BENT`` and at most 1 brings
        it there.
        """
        far = far if far > near else near + 1.0
        share = (middle - near) / (far - near)
        if not 0 < share < 1:
            return cls(near, far, 1.0)
        power = math.log((MIDDLE - INNER) / (1 - INNER)) / math.log(share)
        return cls(near, far, min(1.0, max(MOST_BENT, power)))

    def __call__(self, distances: Any) -> Floats:
        """Return where distances stand."""
        share = np.maximum(np.asarray(distances, np.float64) - self.near, 0)
        radius: Floats = INNER + (1 - INNER) * (share / (self.far - self.near)) ** (
            self.power
        )
        return radius

    def ticks(self, most: int = 5) -> list[float]:
        """Return round distances that stand apart, the roundest first."""
        chosen: list[float] = []
        decade = math.floor(math.log10(self.far - self.near)) + 1
        for power in range(decade, decade - 3, -1):
            for step in (round_ * 10.0**power for round_ in ROUND):
                for i in range(
                    math.ceil(self.near / step), math.floor(self.far / step) + 1
                ):
                    at = self([i * step, *chosen])
                    if len(chosen) < most and (np.abs(at[1:] - at[0]) > APART).all():
                        chosen.append(i * step)
        return sorted(chosen)


class Plane:
    """The plane around a query.

    Parameters
    ----------
    q : (d,) the query
    V : (m, d) vectors whose directions choose the axes
    scale : of distances
    """

    def __init__(self, q: NDArray[Any], V: NDArray[Any], scale: Scale) -> None:
        self._q, self.scale = q.astype(np.float64), scale
        directions = self._directions(V)
        self._mean = directions.mean(axis=0)
        values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(directions.T, ddof=0)))
        axes = vectors[:, ::-1][:, :2]
        signs = np.sign(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])])
        self._axes = axes * signs  # eigenvectors have none of their own
        total = values.sum()
        self.share = float(values[::-1][:2].sum() / total) if total > 0 else 1.0

    def place(self, V: NDArray[Any], distances: NDArray[Any]) -> Floats:
        """Return the places (m, 2) of vectors, whose distances are known."""
        flat = (self._directions(V) - self._mean) @ self._axes
        flat = np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))  # of one dimension
        angle, radius = np.arctan2(flat[:, 1], flat[:, 0]), self.scale(distances)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)

    def _directions(self, V: NDArray[Any]) -> Floats:
        difference = V.astype(np.float64) - self._q
        norms = np.linalg.norm(difference, axis=1, keepdims=True)
        zeros = np.zeros_like(difference)  # the query itself has no direction
        found: Floats = np.divide(difference, norms, out=zeros, where=norms > 0)
        return found
