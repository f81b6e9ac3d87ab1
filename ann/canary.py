"""Known queries with known answers: whether an index still finds what it found.

Checksums tell that a file holds what was written. A canary tells that what reads it
computes what its writer computed: with another version of the library, on another
processor, under the metric that it was built for.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ann.stored import Stored

QUERIES, K = 8, 10
SHARE = 0.9  # of the places of the answers that must come out the same
_CLOSE = 1e-3  # of the largest distance: rounding differs between processors


class Canary(NamedTuple):
    """Queries (m, d) as users give them, and what was found for them, (m, k) each."""

    queries: NDArray[np.float32]
    ids: NDArray[np.int64]
    distances: NDArray[np.float32]

    def saved(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays to be kept in a file."""
        return {f"canary_{name}": array for name, array in self._asdict().items()}

    def fault(
        self, ids: NDArray[np.int64], distances: NDArray[np.float32]
    ) -> str | None:
        """Return what is wrong with answers to the same queries, or None.

        A neighbour that is as far as the known one is as good.
        """
        known, found = self.distances, distances
        missing = np.isinf(known) & np.isinf(found)
        size = np.abs(known[np.isfinite(known)]).max(initial=0.0)
        with np.errstate(invalid="ignore"):
            same = missing | (np.abs(known - found) <= _CLOSE * size)
        share = float((same & ((ids < 0) == (self.ids < 0))).mean())
        if share >= SHARE:
            return None
        return (
            f"known queries must find at least {SHARE:.0%} of what they found when the "
            f"index was saved, got {share:.0%}"
        )


def restored(stored: Stored, d: int) -> Canary | None:
    """Return the canary of a file; None where there is none."""
    if not stored.has("canary_queries"):
        return None
    queries = stored.finite("canary_queries", (None, d))
    ids = stored.array("canary_ids", np.int64, (len(queries), None))
    distances = stored.array("canary_distances", np.float32, ids.shape)
    return Canary(queries, ids, distances)


def chosen(X: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a few of the vectors (n, d), evenly spaced, as queries."""
    step = max(1, len(X) // QUERIES)
    return X[::step][:QUERIES].copy()
