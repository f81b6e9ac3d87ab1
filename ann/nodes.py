"""What an HNSW holds: vectors in stored form, their layers and links, who is like whom.

Pure functions from nodes to nodes: ``ann.hnsw`` says when.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ann import duplicates
from ann.adaptive import Calibration
from ann.duplicates import Seen
from ann.kernels.graph import Graph
from ann.memory import Spare, aligned, aligned_copy, grown
from ann.storage import StorageError
from ann.stored import Stored

Levels = NDArray[np.uint8]
Positions = NDArray[np.int32]

HIGHEST = 31  # layer


class Nodes(NamedTuple):
    """What ``HNSW`` holds; arrays have ``capacity`` rows, ``upper`` its own."""

    packed: NDArray[Any]  #: the codec's stored form
    squares: NDArray[np.float32]  #: of norms: for the builder
    levels: Levels  #: highest layer of each vector
    graph: Graph
    same: Positions  #: see ``kernels.duplicates``; (0,) while there are none
    near: Any = None  #: ``ann.neighborhoods.Near``, where a graph has it
    seen: Seen | None = None  #: all equal vectors, while they keep coming
    spare: Spare | None = None  #: what ``graph.base`` was before the last few came
    calibration: Calibration | None = None  #: of what is inside, or was


def none(M: int) -> Nodes:
    """Return nodes of which there are none."""
    graph = Graph(
        base=_no_links(0, 2 * M),
        upper=_no_links(0, M),
        upper_row=np.empty(0, np.int32),
        entry_point=-1,
        top=-1,
    )
    nothing, levels = np.empty(0, np.float32), np.empty(0, np.uint8)
    return Nodes(nothing, nothing, levels, graph, np.empty(0, np.int32))


def _no_links(n: int, width: int) -> Positions:
    return np.full((n, width), -1, np.int32)


def with_room(nodes: Nodes, first: int, packed: NDArray[Any], levels: Levels) -> Nodes:
    """Return the nodes with new ones behind them, which nothing links to.

    Links are in arrays of their own, for those of the nodes before will change, too.

    Parameters
    ----------
    nodes : Nodes
    first : int                 how many are in use
    packed : (capacity, ...)    of all, the new ones after the first
    levels : (m,) uint8         of the new ones
    """
    graph, more, capacity = nodes.graph, int(levels.sum()), len(packed)
    (_, M0), (_, M) = graph.base.shape, graph.upper.shape
    used = int(nodes.levels[:first].sum())
    above = np.cumsum(levels, dtype=np.int64) - levels + used
    upper = grown(graph.upper, used, _no_links(more, M), anew=True)
    spare = None if nodes.spare is None else nodes.spare.take(graph.base)
    base = graph.base if spare is None else spare
    new = _no_links(len(levels), M0)
    base = grown(base, first, new, capacity, anew=spare is None)
    rows = grown(graph.upper_row, first, above.astype(np.int32), capacity)
    return nodes._replace(
        packed=packed,
        levels=grown(nodes.levels, first, levels, capacity),
        graph=graph._replace(base=base, upper=upper, upper_row=rows),
        spare=None,
    )


def with_own_links(nodes: Nodes, n: int) -> Nodes:
    """Return the first ``n`` nodes with links that may be changed."""
    graph = nodes.graph
    base, upper = aligned(graph.base.shape, np.int32), aligned_copy(graph.upper)
    base[:n] = graph.base[:n]
    return nodes._replace(graph=graph._replace(base=base, upper=upper), spare=None)


def led(nodes: Nodes, first: int, leaders: Positions) -> Nodes:
    """Return the nodes with those new ones that equal another behind it.

    ``leaders`` (m,) int32 are those of the vectors from ``first`` on; −1 without any.
    """
    if not (len(nodes.same) or (leaders >= 0).any()):
        return nodes
    more, capacity = np.full(len(leaders), -1, np.int32), len(nodes.packed)
    before = nodes.same
    if not len(before):
        before = np.full(first, -1, np.int32)
    same = grown(before, first, more, capacity, anew=True)
    same[first + len(more) :] = -1
    duplicates.follow(same, first, leaders)
    return nodes._replace(same=same)


# --- in a file ------------------------------------------------------------------------


def saved(nodes: Nodes, n: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of the first ``n`` nodes that are kept in a file."""
    graph, used = nodes.graph, int(nodes.levels[:n].sum())
    arrays = {
        "packed": nodes.packed[:n],
        "levels": nodes.levels[:n],
        "base": graph.base[:n],
        "upper": graph.upper[:used],
        "upper_row": graph.upper_row[:n],
        "entry": np.array([graph.entry_point, graph.top], np.int32),
    }
    return {**arrays, "same": nodes.same[:n]} if len(nodes.same) else arrays


def restored(stored: Stored, n: int, M: int, one: NDArray[Any]) -> Nodes:
    """Return the nodes of a file; ``one`` is a vector in stored form.

    Raises
    ------
    StorageError
        A search could be led outside of the arrays, or would never end.
    """
    levels = stored.within("levels", np.uint8, (n,), 0, HIGHEST)
    above = int(levels.sum())
    upper = stored.array("upper", np.int32, (above, M))
    row = stored.within("upper_row", np.int32, (n,), 0, 2**31 - 1)
    if ((row.astype(np.int64) + levels)[levels > 0] > above).any():
        raise StorageError(f"upper_row must leave each level a row of {above}")
    entry, top = stored.within("entry", np.int32, (2,), -1, max(n - 1, -1)).tolist()
    if top != (levels[entry] if entry >= 0 else -1):
        raise StorageError(f"entry must be a point and its level, got {entry}, {top}")
    same = np.empty(0, np.int32)
    if stored.has("same"):
        same = stored.within("same", np.int32, (n,), -1, n - 1)
        if (np.bincount(same[same >= 0]) > 1).any():  # or a group had no end
            raise StorageError("same must lead to a vector once")
    graph = Graph(
        base=stored.array("base", np.int32, (n, 2 * M)),
        upper=upper,
        upper_row=row,
        entry_point=entry,
        top=top,
    )
    packed = stored.array("packed", one.dtype, (n, *one.shape[1:]))
    return Nodes(packed, np.empty(0, np.float32), levels, graph, same)
