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
_CANDIDATES = 4  # neighbours' neighbours looked at for each place of a row

Floats = NDArray[np.float32]
Kept = NDArray[np.bool_]


class Stores(NamedTuple):
    """The vectors of a graph, twice."""

    compared: Any  #: a store that can compare two of them
    told: Any  #: one that can tell what they are


def none(degree: int, centre: Floats, seed: int, key: str) -> Neighborhoods:
    """Return neighbourhoods of no nodes."""
    rng = np.random.default_rng([seed, len(centre)])
    rows = np.empty((0, kernels.width(degree, len(centre))), np.uint8)
    rotation = drawn(len(centre), rng)
    return kernels.of_rows(rows, degree, rotation, centre, key == "l2")


def informed(
    near: Neighborhoods,
    base: NDArray[np.int32],
    stores: Stores,
    lead: Kept,
    capacity: int,
    growth: tuple[float, float],
    threads: int,
) -> Neighborhoods:
    """Return the neighbourhoods with those rows made anew that are out of date.

    Rows are written in place where there is room. Searches may go on meanwhile: a row
    that is half of before and half of after misleads a walk, but what it finds is
    scored by itself. The result does not depend on ``threads``.

    Parameters
    ----------
    near : Neighborhoods
    base : (>= n, M0) int32     links of the graph
    stores : Stores
    lead : (n,) bool            what has a place in the graph
    capacity : int              rows that there is to be room for
    growth : float, float       ``stretch`` and ``shift`` of ``kernels.choose``
    threads : int
    """
    near = _with_room(near, capacity)
    nodes = np.flatnonzero(lead).astype(np.int32)
    leading, stale = lead.view(np.uint8), np.empty(len(nodes), np.bool_)

    def look(ranges: parallel.Ranges) -> None:
        for a, b in ranges:
            kernels.outdated(near, base, leading, nodes[a:b], stale[a:b])

    parallel.run(look, len(nodes), 16 * _CHUNK, threads)
    nodes = nodes[stale]
    stretch, shift = np.float32(growth[0]), np.float32(growth[1])

    def write(ranges: parallel.Ranges) -> None:
        around = _around(near, len(lead))
        for a, b in ranges:
            kernels.choose(
                near, base, stores.compared, leading, nodes[a:b], stretch, shift, around
            )
            kernels.encode(near, stores.told, nodes[a:b], around)

    parallel.run(write, len(nodes), _CHUNK, threads)
    return near


def _with_room(near: Neighborhoods, capacity: int) -> Neighborhoods:
    n = len(near.rows)
    if n == capacity:
        return near
    rows = aligned((capacity, near.rows.shape[1]), np.uint8)
    rows[:n] = near.rows[:capacity]
    rows[n:] = 255  # no links, nothing near
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


def saved(near: Neighborhoods, n: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of the first ``n`` nodes that are kept in a file."""
    return {
        "near_rows": near.rows[:n],
        "near_signs": near.rotation.signs,
        "near_centre": near.centre,
    }


def restored(stored: Stored, n: int, degree: int, d: int, key: str) -> Neighborhoods:
    """Return the neighbourhoods of a file.

    Rows need not be looked at: where they lead out of the arrays a search does not go,
    and what they tell of neighbours are estimates.
    """
    rows = stored.array("near_rows", np.uint8, (n, kernels.width(degree, d)))
    signs = stored.finite("near_signs", (4, d))
    centre = stored.finite("near_centre", (d,))
    return kernels.of_rows(rows, degree, Rotation(signs), centre, key == "l2")
