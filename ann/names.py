"""Users' ids: who is at which position, and who is still there."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import validation
from ann.memory import grown

Ids = NDArray[np.int64]
_TAIL = 1024  # positions at least that are looked through one by one


class _Sorted(NamedTuple):
    """The ids of the first ``n`` positions in order, to be searched by bisection."""

    n: int
    ids: Ids
    positions: Ids


class Names:
    """The ids of positions ``0 <= i < n``; never changed, but replaced by another.

    Attributes
    ----------
    n : int
        Positions in use.
    count : int
        Those that have not been removed.
    arrived : int
        Vectors that ever came: what the next is called by default.
    ids : (>= n,) int64 or None
        None while every id is its position.
    alive : (n,) bool or None
        Which have not been removed; None while all.
    """

    def __init__(
        self,
        n: int = 0,
        arrived: int = 0,
        ids: Ids | None = None,
        alive: NDArray[np.bool_] | None = None,
        known: _Sorted | None = None,
    ) -> None:
        self.n, self.arrived, self.ids, self.alive = n, arrived, ids, alive
        self.count = n if alive is None else int(np.count_nonzero(alive))
        self._known = known

    @property
    def here(self) -> Ids:
        """The positions of those that have not been removed, in ascending order."""
        if self.alive is None:
            return np.arange(self.n)
        return np.flatnonzero(self.alive)

    @property
    def of_all(self) -> Ids:
        """The id of each position, also of those removed."""
        return np.arange(self.n) if self.ids is None else self.ids[: self.n]

    def fresh(self, ids: ArrayLike | None, more: int) -> Ids | None:
        """Return the ids of ``more`` new vectors; None if each is its position.

        Raises
        ------
        ValueError
            Not integers, wrong length, negative, or given twice.
        """
        if ids is None:
            new = np.arange(self.arrived, self.arrived + more)
            if self.ids is None and self.arrived == self.n:
                return None
        else:
            new = validation.ids(ids, more)
        taken = new[self.find(new) >= 0]
        if len(taken):
            raise ValueError(f"ids must be unique, got {taken[0]} more than once")
        return new

    def extended(self, new: Ids | None, more: int) -> "Names":
        """Return the names with ``more`` behind them, as ``fresh`` says."""
        ids, alive = self.ids, self.alive
        if new is not None:
            ids = grown(self.of_all if ids is None else ids, self.n, new)
        if alive is not None:
            alive = np.concatenate([alive, np.ones(more, bool)])
        return Names(self.n + more, self.arrived + more, ids, alive, self._known)

    def own(self) -> "Names":
        """Return the names with arrays that nothing else refers to."""
        ids = None if self.ids is None else self.ids[: self.n].copy()
        return Names(self.n, self.arrived, ids, self.alive, self._known)

    def positions(self, ids: ArrayLike) -> Ids:
        """Return where these are.

        Raises
        ------
        ValueError
            Not integers, not one-dimensional, given twice, or not in the index.
        """
        wanted = validation.ids(ids)
        found = self.find(wanted)
        if len(found) and found.min() < 0:
            stranger = wanted[np.argmin(found)]
            raise ValueError(f"ids must be in the index, got {stranger}, which is not")
        return found

    def without(self, positions: Ids) -> "Names":
        """Return the names less those at some positions, which stay in use."""
        alive = np.ones(self.n, bool) if self.alive is None else self.alive.copy()
        alive[positions] = False
        return Names(self.n, self.arrived, self.ids, alive, self._known)

    def exchanged(
        self, positions: NDArray[np.int32], others: NDArray[np.int32]
    ) -> "Names":
        """Return the names with those at ``positions`` and ``others`` exchanged."""
        if not len(positions):
            return self
        ids = self.of_all.copy()
        ids[positions], ids[others] = ids[others], ids[positions]
        return Names(self.n, self.arrived, ids, self.alive)

    def kept(self, kept: NDArray[np.bool_]) -> "Names":
        """Return the names at ``kept`` (n,) positions, which close up."""
        ids = self.of_all[kept]
        return Names(len(ids), self.arrived, ids)

    def find(self, ids: Ids) -> Ids:
        """Return each one's position, or −1; ids are (m,) int64."""
        if self.ids is None:
            positions = np.where((ids >= 0) & (ids < self.n), ids, -1)
            return self._if_alive(positions)
        if self._known is None or self.n - self._known.n > max(_TAIL, self.n // 16):
            order = self.here[np.argsort(self.ids[self.here], kind="stable")]
            self._known = _Sorted(self.n, self.ids[order], order)
        known, found = self._known, np.full(len(ids), -1)
        if len(known.ids):
            at = np.minimum(np.searchsorted(known.ids, ids), len(known.ids) - 1)
            same = known.ids[at] == ids
            found[same] = known.positions[at[same]]
            found = self._if_alive(found)
        tail = np.arange(known.n, self.n)
        if self.alive is not None:
            tail = tail[self.alive[tail]]
        order = np.argsort(ids, kind="stable")
        places = np.searchsorted(ids[order], self.ids[tail])
        inside = places < len(ids)
        hits, tail = order[places[inside]], tail[inside]
        same = ids[hits] == self.ids[tail]
        found[hits[same]] = tail[same]
        return found

    def _if_alive(self, positions: Ids) -> Ids:
        if self.alive is None:
            return positions
        return np.where(self.alive[positions], positions, -1)
