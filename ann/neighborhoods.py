"""Quantized neighbourhoods of a graph's nodes, kept up with its links."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ann import parallel, sketches
from ann.kernels import neighborhood as kernels
from ann.kernels.neighborhood import Around, Frame, Neighborhoods
from ann.kernels.sketch import Sketch, bits
from ann.memory import Lease, Spare, aligned
from ann.stored import Stored

_CHUNK = 64  # nodes
ROOTS = 256  # a multiple of 32
_FEW = 8  # one row in so many, at most, for that the rows before are kept
_CANDIDATES = 4  # neighbours' neighbours looked at for each place of a row

Floats = NDArray[np.float32]
Kept = NDArray[np.bool_]


class Stores(NamedTuple):
    """The vectors of a graph, twice."""

    compared: Any  #: a store that can compare two of them
    told: Any  #: one that can tell what they are


class Near(NamedTuple):
    """Who is near whom, and near the centre."""

    nodes: Neighborhoods
    roots: Neighborhoods  #: one row: where walks begin
    frame: Frame
    learned_from: int  #: nodes that there were when differences were learned
    spare: Spare | None = None  #: what ``nodes.rows`` was before its last few changes


def none(
    degree: int, sketch: Sketch, centre: Floats, metric: str, learned_from: int
) -> Near:
    """Return neighbourhoods of no nodes."""
    wide = bits(sketch)
    nodes, roots = (
        kernels.of_rows(_empty_rows(n, of, wide), of, wide)
        for n, of in ((0, degree), (1, ROOTS))
    )
    return Near(nodes, roots, _frame(sketch, centre, metric), learned_from)


def _frame(sketch: Sketch, centre: Floats, metric: str) -> Frame:
    return Frame(sketch, centre, metric == "l2", metric == "cosine")


def _empty_rows(n: int, degree: int, bits: int) -> NDArray[np.uint8]:
    """Return rows without links, which are near to nothing."""
    rows = aligned((n, kernels.width(degree, bits)), np.uint8)
    rows[:] = 255
    return rows


def informed(
    near: Near,
    levels: NDArray[np.uint8],
    base: NDArray[np.int32],
    stores: Stores,
    lead: Kept,
    capacity: int,
    growth: tuple[float, float],
    lease: Lease,
    threads: int,
) -> Near:
    """Return the neighbourhoods with those rows made anew that are out of date.

    The rows before stay as they are. The result does not depend on ``threads``.

    Parameters
    ----------
    near : Near
    levels : (>= n,) uint8      highest layers: those of the highest are the roots
    base : (>= n, M0) int32     links of the graph
    stores : Stores
    lead : (n,) bool            what has a place in the graph
    capacity : int              rows that there is to be room for
    growth : float, float       ``stretch`` and ``shift`` of ``kernels.choose``
    lease : Lease               of those that read the rows before
    threads : int
    """
    rows, frame = _with_room(near, capacity), near.frame
    nodes = np.flatnonzero(lead).astype(np.int32)
    leading, stale = lead.view(np.uint8), np.empty(len(nodes), np.bool_)

    def look(ranges: parallel.Ranges) -> None:
        for a, b in ranges:
            kernels.outdated(rows, base, leading, nodes[a:b], stale[a:b])

    parallel.run(look, len(nodes), 16 * _CHUNK, threads)
    roots = _rooted(near.roots, frame, nodes, levels, stores)
    nodes = nodes[stale]
    stretch, shift = np.float32(growth[0]), np.float32(growth[1])

    def link(ranges: parallel.Ranges) -> None:
        around = _around(rows, frame, len(lead))
        for a, b in ranges:
            kernels.choose(
                rows, base, stores.compared, leading, nodes[a:b], stretch, shift, around
            )

    parallel.run(link, len(nodes), _CHUNK, threads)
    linked = rows.links[nodes, : rows.degree]
    wanted = np.append(linked, nodes)
    told, place = _told(frame, stores.told, wanted, len(lead), threads)

    def write(ranges: parallel.Ranges) -> None:
        around = _around(rows, frame, 0)
        for a, b in ranges:
            some = nodes[a:b]
            kernels.encode(rows, frame, stores.told, some, told, place, around)

    parallel.run(write, len(nodes), _CHUNK, threads)
    spare = None
    if _FEW * len(nodes) < len(lead) and len(near.nodes.rows) == capacity:
        spare = Spare(near.nodes.rows, nodes, lease)
    return Near(rows, roots, frame, near.learned_from, spare)


def _told(
    frame: Frame, store: Any, some: NDArray[np.int32], n: int, threads: int
) -> tuple[Floats, NDArray[np.int32]]:
    """Return what some of ``n`` vectors are along the axes, and where each is in it.

    Missing ones (−1) may be among ``some``. The last row is that of the centre, zeros.
    """
    wanted = np.zeros(n + 1, bool)
    wanted[some] = True
    wanted[n] = False  # where −1 leads
    those = np.flatnonzero(wanted).astype(np.int32)
    place = np.full(n, -1, np.int32)
    place[those] = np.arange(len(those), dtype=np.int32)
    sketch, d = frame.sketch, len(frame.centre)
    told = aligned((len(those) + 1, len(sketch.units)), np.float32)
    told[-1] = 0
    axes = sketches.axes_of(sketch, d)

    def work(ranges: parallel.Ranges) -> None:
        vector = aligned((d,), np.float32)
        for a, b in ranges:
            kernels.tell(frame, store, those[a:b], axes, vector, told[a:b])

    parallel.run(work, len(those), _CHUNK, threads)
    return told, place


def _rooted(
    roots: Neighborhoods,
    frame: Frame,
    nodes: NDArray[np.int32],
    levels: NDArray[np.uint8],
    stores: Stores,
) -> Neighborhoods:
    """Return the roots that a graph with these nodes has, in a row of its own."""
    roots = _of_rows(_empty_rows(1, ROOTS, roots.bits), roots)
    highest = np.argsort(-levels[nodes].astype(np.int64), kind="stable")[:ROOTS]
    roots.links[0, : len(highest)] = nodes[highest]
    told, place = _told(frame, stores.told, nodes[highest], len(levels), 1)
    around = _around(roots, frame, 0)
    kernels.encode_roots(roots, frame, stores.told, told, place, around)
    return roots


def _with_room(near: Near, capacity: int) -> Neighborhoods:
    """Return a copy with so many rows."""
    now = near.nodes.rows
    rows = None if near.spare is None else near.spare.take(now)
    if rows is None or len(rows) != capacity:
        n = min(len(now), capacity)
        rows = aligned((capacity, now.shape[1]), np.uint8)
        rows[:n], rows[n:] = now[:n], 255
    return _of_rows(rows, near.nodes)


def _of_rows(rows: NDArray[np.uint8], near: Neighborhoods) -> Neighborhoods:
    """Return neighbourhoods that are as others, but of these rows."""
    return kernels.of_rows(rows, near.degree, near.bits)


def _around(near: Neighborhoods, frame: Frame, n: int) -> Around:
    m, d = len(frame.sketch.units), len(frame.centre)
    candidates = _CANDIDATES * near.degree
    return Around(
        seen=np.full(n, -1, np.int32),
        keys=np.empty(candidates, np.float32),
        ids=np.empty(candidates, np.int32),
        apart=aligned((m,), np.float32),
        odd=aligned((m,), np.float32),
        vector=aligned((d,), np.float32),
        other=aligned((d,), np.float32),
    )


# --- in a file ------------------------------------------------------------------------


def saved(near: Near, n: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of the first ``n`` nodes that are kept in a file."""
    return {
        "near_rows": near.nodes.rows[:n],
        "near_roots": near.roots.rows,
        "near_centre": near.frame.centre,
        "near_learned_from": np.array([near.learned_from], np.int64),
        **sketches.saved(near.frame.sketch),
    }


def restored(stored: Stored, n: int, degree: int, d: int, metric: str) -> Near:
    """Return the neighbourhoods of a file.

    Rows need not be looked at: where they lead out of the arrays a search does not go,
    and what they tell of neighbours are estimates.
    """
    sketch = sketches.restored(stored, d)
    wide = bits(sketch)
    centre = stored.finite("near_centre", (d,))
    nodes, roots = (
        kernels.of_rows(
            stored.array(name, np.uint8, (count, kernels.width(of, wide))), of, wide
        )
        for name, count, of in (("near_rows", n, degree), ("near_roots", 1, ROOTS))
    )
    of = n  # what earlier versions of the library left out
    if stored.has("near_learned_from"):
        of = int(stored.within("near_learned_from", np.int64, (1,), 0, 2**31 - 1)[0])
    return Near(nodes, roots, _frame(sketch, centre, metric), of)
