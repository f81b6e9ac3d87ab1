"""What an index holds at a moment, and what a search of it works on."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ann.filters import Filter, Positions, Prepared
from ann.guard import Bounds
from ann.kernels.answer import Final
from ann.kernels.reduce import Reduction
from ann.names import Names

Floats = NDArray[np.float32]
_NONE: "WeakKeyDictionary[Prepared, Ready]" = WeakKeyDictionary()


class Plan(NamedTuple):
    """How a lone query is answered, and others that are asked alike."""

    asked: tuple[Any, ...]  #: as ``search`` was given it
    given: tuple[int, ...]  #: shape of the query: (d,) or (1, d) …
    shape: tuple[int, ...]  #: … and of its answer: (k,) or (1, k)
    found: int  #: candidates
    effort: Any
    metric: int
    codes: tuple[Any, ...]  #: machine code: ``prepare``, ``reduce``, ``search``, …


class Desk(NamedTuple):
    """Working memory of one thread that answers one query after another."""

    whole: Floats  #: (1, d), the prepared query …
    query: Floats  #: … and what the structure takes: the same, or a narrower one
    keys: Floats  #: (1, candidates)
    ids: NDArray[np.int32]  #: (1, candidates)
    scored: NDArray[np.int64]  #: (1,)
    scratch: Any  #: what the structure needs
    plan: Plan | None = None  #: that this is known to suit


class Ready(NamedTuple):
    """What a prepared filter is in a state."""

    selected: Filter
    ways: dict[Any, Any]  #: by effort: the state and effort that find only these


@dataclass(eq=False)
class State:
    """All that an index holds at a moment.

    A change makes another and puts it in its place: a search sees what was before or
    what is after. Arrays may have room for more positions than are in use, which what
    comes is written to. A graph's rows are rewritten in place, and may lead a search
    that is still at work on an earlier state there; so whatever it reads by
    position has ``capacity`` rows in every state that shares the graph, and
    ``final.n`` keeps what it finds there out of its answer.
    """

    names: Names
    originals: Floats  #: prepared; only for refine
    held: Any  #: the structure's arrays; None before the first vectors
    structure: Any  #: all that the kernels need to search (see ``answer.nearest``)
    final: Final
    capacity: int  #: positions that there is room for
    bounds: Bounds  #: norms that queries are expected to have
    reduction: Reduction | None  #: how queries become what the structure takes
    plan: Plan | None = None  #: of the last lone query
    selected: Filter | None = None  #: what a filtered search may find
    spare: list[Desk] = field(default_factory=list)  #: not in use; list.pop is atomic
    # What filtered searches share, by the classes of structure and effort, and ndim …
    codes: dict[tuple[type, type, int], Any] = field(default_factory=dict)
    spares: dict[type, list[Desk]] = field(default_factory=dict)
    # … and what else they leave for the next.
    prepared: "WeakKeyDictionary[Prepared, Ready]" = field(
        default_factory=WeakKeyDictionary
    )
    places: Positions | None = None  #: where a structure has each position

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle holds: no machine code, no working memory."""
        made: dict[str, Any] = {"plan": None, "spare": [], "codes": {}, "spares": {}}
        return {**self.__dict__, **made, "prepared": None, "places": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what ``__getstate__`` returned."""
        self.__dict__.update(state, prepared=WeakKeyDictionary())

    def among(self, selected: Filter, structure: Any, final: bool = False) -> "State":
        """Return the same for a search among some of its vectors.

        ``final`` tells that its keys are those of the originals already.
        """
        of = self.final
        return State(
            self.names,
            self.originals,
            self.held,
            structure,
            Final(of.metric, of.n, None, of.names) if final else of,
            self.capacity,
            self.bounds,
            None if final else self.reduction,
            selected=selected,
            spare=self.spares.setdefault(type(structure), []),
            codes=self.codes,
            prepared=_NONE,
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
