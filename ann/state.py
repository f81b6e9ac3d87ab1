"""What an index holds at a moment, and what a search of it works on."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ann.canary import Canary
from ann.codecs import Codec
from ann.filters import Filter, Positions, Prepared
from ann.fit import Fit
from ann.guard import Bounds, Norms
from ann.kernels.answer import Final
from ann.kernels.reduce import Reduction
from ann.memory import Lease, private
from ann.names import Names
from ann.transforms import Transform

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


class Contents(NamedTuple):
    """All that an index holds: what a copy of it keeps.

    A change replaces it by another. Arrays may have spare rows behind those in use,
    which are written to while earlier contents are still being searched; rows in use
    are never written to again.
    """

    codec: Codec  #: how vectors are stored and scored: float32 while one is waiting
    transform: Transform | None
    norm_check: str
    names: Names = Names()
    originals: NDArray[Any] = np.empty((0, 0), np.float32)  #: prepared; for refine
    held: Any = None  #: the structure's arrays; None before the first vectors
    capacity: int = 0  #: positions that there is room for
    d: int | None = None  #: width of the vectors; None before the first
    norms: Norms = Norms()  #: statistics of all vectors taken in
    probes: Floats | None = None  #: queries of the next canary
    waiting: Codec | None = None  #: has too few vectors to be trained on
    fit: Fit | None = None  #: how well codes describe the vectors that came
    owned: bool = True  #: whether spare rows may be written to
    lease: Lease = Lease()  #: of the arrays that ``held`` does not share with others

    def shared(self) -> "Contents":
        """Return what a copy begins with: the same arrays, until it is changed."""
        return self._replace(owned=False)

    def own(self) -> "Contents":
        """Return the same with arrays that may be changed."""
        if self.owned:
            return self
        return self._replace(
            names=self.names.own(),
            originals=private(self.originals),
            held=private(self.held),
            owned=True,
        )


@dataclass(eq=False)
class State:
    """What an index holds at a moment, and what a search of it works with.

    A change makes another and puts it in its place in one step, so a search sees all of
    what was before or all of what is after. No rows that a state uses are ever written
    to again, but for its working memory.
    """

    contents: Contents
    structure: Any  #: all that the kernels need to search (see ``answer.nearest``)
    final: Final
    bounds: Bounds  #: norms that queries are expected to have
    reduction: Reduction | None  #: how queries become what the structure takes
    canary: Canary | None = None  #: of what is inside, once it was saved
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

    @property
    def names(self) -> Names:
        """The ids of all positions."""
        return self.contents.names

    @property
    def held(self) -> Any:
        """The structure's arrays; None before the first vectors."""
        return self.contents.held

    @property
    def codec(self) -> Codec:
        """How vectors are stored and scored."""
        return self.contents.codec

    def among(self, selected: Filter, structure: Any, final: bool = False) -> "State":
        """Return the same for a search among some of its vectors.

        ``final`` tells that its keys are those of the originals already.
        """
        of = self.final
        return State(
            self.contents,
            structure,
            Final(of.metric, of.n, None, of.names) if final else of,
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
