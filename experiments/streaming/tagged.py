"""An index whose vectors go by tags that can be taken away and given again.

The index itself knows vectors by numbers that are never used twice, so a tag may be
deleted and come back with another vector, whatever the library makes of ids. Where it
cannot remove, what is deleted stays inside; a search then asks for more than ``k``,
drops the dead, and asks those queries again for twice as many that are left with too
few.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.adapter import Adapter, Params

if TYPE_CHECKING:
    from experiments.adapter import Floats, Ids, Vectors
    from experiments.streaming.updatable import Updatable

REMOVED, FILTERED = "removed", "filtered"


class Tagged(Adapter):
    """An updatable index under tags.

    Parameters
    ----------
    index : an index without vectors
    tags : the least number that no tag reaches
    vectors : how many will be inserted in all
    """

    library = kind = ""

    def __init__(self, index: Updatable, tags: int, vectors: int) -> None:
        self._index = index
        index.capacity = vectors
        self._number = np.full(tags, -1, np.int64)  # of each tag
        self._tag = np.full(vectors + 1, -1, np.int64)  # of each number; last: missing
        self._alive = np.zeros(vectors + 1, bool)  # likewise
        self._count = 0  # numbers given

    @property
    def deletes(self) -> str:
        """Say what becomes of deleted vectors."""
        return REMOVED if self._index.removes else FILTERED

    @property
    def live(self) -> int:
        """How many vectors there are."""
        return int(self._alive.sum())

    def add(self, X: Vectors, threads: int) -> None:
        """Insert vectors under the next tags; a stream inserts by ``insert``."""
        self.insert(range(self._count, self._count + len(X)), X, threads)

    def insert(self, tags: range, X: Vectors, threads: int) -> None:
        """Insert vectors under tags that are free."""
        numbers = np.arange(self._count, self._count + len(X))
        self._index.add(X, threads)
        self._number[tags.start : tags.stop] = numbers
        self._tag[numbers] = np.asarray(tags)
        self._alive[numbers] = True
        self._count += len(X)

    def delete(self, tags: range) -> None:
        """Take vectors away, or mark them as dead."""
        numbers = self._number[tags.start : tags.stop]
        if self._index.removes:
            self._index.remove(numbers.copy())
        self._alive[numbers] = False
        numbers[:] = -1

    def searcher(
        self, search: Params, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        """Return a plain search while nothing dead is inside, else one that filters."""
        if self._index.removes or self.live == self._count:
            return self._index.searcher(search, k, threads)
        return self._filtering(search, k, threads)

    def _filtering(
        self, search: Params, k: int, threads: int
    ) -> Callable[[Vectors], Ids]:
        index, alive, count = self._index, self._alive, self._count
        first = _expected(k, self.live / count)

        def ask(Q: Vectors, fetch: int) -> tuple[Ids, Any]:
            """Return live numbers, and the queries that a larger k may give more."""
            call = index.searcher(_room(search, fetch), fetch, threads)
            numbers = index.ids(call(Q))
            found = _living(numbers, alive, k)
            return found, np.flatnonzero((found[:, -1] < 0) & (numbers[:, -1] >= 0))

        def call(Q: Vectors) -> Ids:
            fetch = max(k, min(first, count))
            found, lacking = ask(Q, fetch)
            while len(lacking) and fetch < count:
                fetch = min(2 * fetch, count)
                found[lacking], still = ask(Q[lacking], fetch)
                lacking = lacking[still]
            return found

        return call

    def ids(self, answer: Any) -> Ids:
        """Return the tags in an answer, -1 where one is missing."""
        numbers = answer if isinstance(answer, np.ndarray) else self._index.ids(answer)
        tags: Ids = self._tag[numbers]
        return tags

    def distances(self, answer: Any) -> Floats | None:
        """Return None: of a filtered search there are none."""
        return None

    @property
    def nbytes(self) -> int:
        """The size of the index, the dead included."""
        return self._index.nbytes


def _room(search: Params, fetch: int) -> Params:
    """Return parameters whose pool has room for what is fetched."""
    if (pool := getattr(search, "ef_search", None)) is None or pool >= fetch:
        return search
    return search.model_copy(update={"ef_search": fetch})


def _expected(k: int, share: float) -> int:
    """Return how many to ask for where each lives with some chance, to get k of them.

    Three standard deviations more than on average: where the dead lie among the living
    by chance, one query in a thousand has to be asked again.
    """
    if share == 0:
        return k
    return math.ceil((k + 3 * math.sqrt(k * (1 - share))) / share)


def _living(numbers: Ids, alive: Any, k: int) -> Ids:
    """Return the first k of each row that live, in their order, then -1."""
    dead = ~alive[numbers]  # the last entry, of number -1, is dead
    order = np.argsort(dead, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(numbers, order, axis=1)
    found[np.take_along_axis(dead, order, axis=1)] = -1
    return found
