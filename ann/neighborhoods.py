"""Quantized neighbourhoods of a graph's nodes, kept up with its links."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ann import parallel
from ann.kernels import neighborhood as kernels
from ann.kernels.neighborhood import Around, Neighborhoods
from ann.kernels.rotation import Rotation, drawn
from ann.memory import aligned
from ann.stored import Stored

_CHUNK = 64  # nodes
ROOTS = 256  # a multiple of 32
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


def none(degree: int, centre: Floats, seed: int, key: str) -> Near:
    """Return neighbourhoods of no nodes."""
    rotation = drawn(len(centre), np.random.default_rng([seed, len(centre)]))
    nodes, roots = (
        kernels.of_rows(
            _empty_rows(n, of, len(centre)), of, rotation, centre, key == "l2"
        )
        for n, of in ((0, degree), (1, ROOTS))
    )
    return Near(nodes, roots)


def _empty_rows(n: int, degree: int, d: int) -> NDArray[np.uint8]:
    """Return rows without links, which are near to nothing."""
    rows = aligned((n, kernels.width(degree, d)), np.uint8)
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
    threads: int,
) -> Near:
    """Return the neighbourhoods with those rows made anew that are out of date.

    Rows are written in place where there is room. Searches may go on meanwhile: a row
    that is half of before and half of after misleads a walk, but what it finds is
    scored by itself. The result does not depend on ``threads``.

    Parameters
    ----------
    near : Near
    levels : (>= n,) uint8      highest layers: those of the highest are the roots
    base : (>= n, M0) int32     links of the graph
    stores : Stores
    lead : (n,) bool            what has a place in the graph
    capacity : int              rows that there is to be room for
    growth : float, float       ``stretch`` and ``shift`` of ``kernels.choose``
    threads : int
    """
    rows, roots = _with_room(near.nodes, capacity), near.roots
    nodes = np.flatnonzero(lead).astype(np.int32)
    leading, stale = lead.view(np.uint8), np.empty(len(nodes), np.bool_)

    def look(ranges: parallel.Ranges) -> None:
        for a, b in ranges:
            kernels.outdated(rows, base, leading, nodes[a:b], stale[a:b])

    parallel.run(look, len(nodes), 16 * _CHUNK, threads)
    roots = _rooted(roots, nodes, levels, stores)
    nodes = nodes[stale]
    stretch, shift = np.float32(growth[0]), np.float32(growth[1])

    def write(ranges: parallel.Ranges) -> None:
        around = _around(rows, len(lead))
        for a, b in ranges:
            kernels.choose(
                rows, base, stores.compared, leading, nodes[a:b], stretch, shift, around
            )
            kernels.encode(rows, stores.told, nodes[a:b], around)

    parallel.run(write, len(nodes), _CHUNK, threads)
    return Near(rows, roots)


def _rooted(
    roots: Neighborhoods,
    nodes: NDArray[np.int32],
    levels: NDArray[np.uint8],
    stores: Stores,
) -> Neighborhoods:
    """Return the roots that a graph with these nodes has, in a row of its own."""
    d = len(roots.centre)
    rows = _empty_rows(1, ROOTS, d)
    roots = kernels.of_rows(rows, ROOTS, roots.rotation, roots.centre, roots.euclidean)
    highest = np.argsort(-levels[nodes].astype(np.int64), kind="stable")[:ROOTS]
    roots.links[0, : len(highest)] = nodes[highest]
    kernels.encode_roots(roots, stores.told, _around(roots, 0))
    return roots


def _with_room(near: Neighborhoods, capacity: int) -> Neighborhoods:
    n = len(near.rows)
    if n == capacity:
        return near
    rows = _empty_rows(capacity, near.degree, len(near.centre))
    rows[:n] = near.rows[:capacity]
    return kernels.of_rows(
        rows, near.degree, near.rotation, near.centre, near.euclidean
    )


def _around(near: Neighborhoods, n: int) -> Around:
    d = len(near.centre)
    wide, candidates = kernels.padded(d), _CANDIDATES * near.degree
    return Around(
        seen=np.full(n, -1, np.int32),
        keys=np.empty(candidates, np.float32),
        ids=np.empty(candidates, np.int32),
        node=aligned((wide,), np.float32),
        apart=aligned((wide,), np.float32),
        vector=aligned((d,), np.float32),
    )


# --- in a file ------------------------------------------------------------------------


def saved(near: Near, n: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of the first ``n`` nodes that are kept in a file."""
    return {
        "near_rows": near.nodes.rows[:n],
        "near_roots": near.roots.rows,
        "near_signs": near.nodes.rotation.signs,
        "near_centre": near.nodes.centre,
    }


def restored(stored: Stored, n: int, degree: int, d: int, key: str) -> Near:
    """Return the neighbourhoods of a file.

    Rows need not be looked at: where they lead out of the arrays a search does not go,
    and what they tell of neighbours are estimates.
    """
    signs = stored.finite("near_signs", (4, d))
    centre = stored.finite("near_centre", (d,))
    nodes, roots = (
        kernels.of_rows(
            stored.array(name, np.uint8, (count, kernels.width(of, d))),
            of, Rotation(signs), centre, key == "l2",
        )
        for name, count, of in (("near_rows", n, degree), ("near_roots", 1, ROOTS))
    )  # fmt: skip
    return Near(nodes, roots)
