"""Equal vectors of a graph: found on the way in, and led by one of them.

Hundreds of links among equal points would leave none for the way to others.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann.kernels import duplicates as kernels

Positions = NDArray[np.int32]


class Seen:
    """A hash table of the vectors that an index holds.

    Parameters
    ----------
    rows : (>= n, w) array      vectors, or their codes
    lead : (n,) bool            those to be found again

    Attributes
    ----------
    n : int
        Rows that it knows; −1 while it is being changed, and after a change that was
        interrupted.
    """

    def __init__(self, rows: NDArray[Any], lead: NDArray[np.bool_]) -> None:
        self.n = 0
        self._table = np.empty(0, np.int32)
        self.leaders(rows, np.where(lead, -1, -2).astype(np.int32))

    def leaders(self, rows: NDArray[Any], new: Positions) -> Positions:
        """Take in the rows from ``n`` on, and return the equal one before each, or −1.

        ``new`` (m,) is overwritten; those that are −2 are passed over.
        """
        first, n = self.n, self.n + len(new)
        words, self.n = _words(rows), -1
        if len(self._table) < 2 * n:
            known = self._table[self._table >= 0]
            self._table = np.full(1 << (3 * n).bit_length(), -1, np.int32)
            known.sort()
            for_all = np.full(first, -2, np.int32)
            for_all[known] = -1
            kernels.find_leaders(words, self._table, 0, for_all)
        kernels.find_leaders(words, self._table, first, new)
        self.n = n
        return new


def _words(rows: NDArray[Any]) -> NDArray[Any]:
    size = rows.shape[1] * rows.itemsize
    return rows.view(np.uint32 if size % 4 == 0 else np.uint8)


def follow(same: Positions, first: int, leaders: Positions) -> None:
    """Put new vectors from ``first`` on behind their leaders, in place."""
    kernels.follow(same, first, leaders)


def leaders(same: Positions, n: int | None = None) -> Positions:
    """Return who leads each vector's group (n,): itself, where it has no equal.

    ``same`` may be longer, and grow by vectors behind the ``n`` meanwhile: they are
    followed, for others' way may lead over them, and left out.
    """
    same, n = same.copy(), len(same) if n is None else n
    heads, lead = _heads(same), np.arange(len(same), dtype=np.int32)
    kernels.lead(same, heads[heads < n], lead)
    return lead[:n]


def _heads(same: Positions) -> Positions:
    """Return the leaders that have followers."""
    followers = np.zeros(len(same), bool)
    followers[same[same >= 0]] = True
    return np.flatnonzero((same >= 0) & ~followers).astype(np.int32)


def taken_out(same: Positions, dead: NDArray[np.bool_]) -> tuple[Positions, Positions]:
    """Take the ``dead`` (n,) out of their groups, ``same`` being changed in place.

    Returns
    -------
    leaders, successors : (m,) int32
        Dead leaders whose place in the graph stays, and who gives up its own for it.
    """
    heads = _heads(same[: len(dead)])
    successors = np.empty(len(heads), np.int32)
    kernels.take_out(same, dead, heads, successors)
    handed = successors >= 0
    return heads[handed], successors[handed]
