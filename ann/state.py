"""What an index holds at a moment, and what a search of it works on."""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ann.filters import Filter
from ann.kernels.answer import Final
from ann.names import Names

Floats = NDArray[np.float32]


class Desk(NamedTuple):
    """Working memory of one thread that answers one query after another."""

    query: Floats  #: (1, d), prepared
    keys: Floats  #: (1, candidates)
    ids: NDArray[np.int32]  #: (1, candidates)
    scored: NDArray[np.int64]  #: (1,)
    scratch: Any  #: what the structure needs


@dataclass(eq=False)
class State:
    """All that an index holds at a moment.

    A change makes another and puts it in its place: a search sees what was before or
    what is after. Arrays may have room for more positions than are in use, which what
    comes is written to. A graph's rows are rewritten in place, and may lead a search
    that is still at work on an earlier state there; so whatever it reads by
    position has ``capacity`` rows in every state that shares the graph, and
    ``final.room`` keeps what it finds there out of its answer.
    """

    names: Names
    originals: Floats  #: prepared; only for refine
    held: Any  #: the structure's arrays; None before the first vectors
    structure: Any  #: all that the kernels need to search (see ``answer.nearest``)
    final: Final
    capacity: int  #: positions that there is room for
    direct: Any = None  #: code and arguments that answer one query
    selected: Filter | None = None  #: what a filtered search may find
    spare: list[Desk] = field(default_factory=list)  #: not in use; list.pop is atomic

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle holds: no machine code, no working memory."""
        return {**self.__dict__, "direct": None, "spare": []}

    def among(self, selected: Filter, structure: Any) -> "State":
        """Return the same for a search among some of its vectors."""
        return replace(
            self, structure=structure, selected=selected, direct=None, spare=[]
        )


class Stopped(Exception):  # noqa: N818
    """Raised by ``_insert``, with what broke it off and what it leaves."""

    def __init__(
        self, cause: BaseException, held: Any, absent: NDArray[np.int64]
    ) -> None:
        super().__init__()
        self.cause, self.held = cause, held
        self.absent = absent  # positions of vectors that are not in


class Outcome(NamedTuple):
    """What a traced search hands to its structure, to be told in users' terms."""

    ids: NDArray[np.int64]  #: (k,)
    distances: Floats  #: (k,)
    scored: int  #: vectors, by the structure
    refined: int  #: vectors, by ``refine``
    record: Any  #: what ``_record`` returned
