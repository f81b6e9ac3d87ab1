"""Float32 rows with an 8-bit shadow, which a scan reads in their stead."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann import parallel
from ann.kernels import shadow
from ann.kernels.shadow import Shadow
from ann.kernels.stores import ROWS
from ann.kernels.tricks import on
from ann.memory import aligned

_CHUNK = 1024  # rows

Floats = NDArray[np.float32]


def pays(key: str, d: int) -> bool:
    """Whether rows of ``d`` components get shadows under a metric's key."""
    fits = shadow.FEWEST_DIMENSIONS <= d < shadow.MOST_DIMENSIONS
    return key != "l1" and fits and on("shadow")


def store(
    key: str,
    rows: Floats,
    slots: NDArray[np.int64],
    centre: Floats,
    threads: int,
) -> Any:
    """Return a store of ``rows`` that is scanned by shadows where they pay.

    Not for ``l1``, for which they give no bound, and not for rows of less than 64
    components. A shadow takes d bytes, up to a multiple of 16, and 16: about a quarter
    of its row.

    Parameters
    ----------
    key : {"l2", "dot", "l1"}
    rows : (n, d) float32
    slots : (n,) int64
        Where each row's shadow goes, in ascending order.
    centre : (d,) float32
        What the rows lie around; for ``l2``. Codes of differences lose less.
    threads : int

    Returns
    -------
    store : Shadow or a store of ``kernels.stores.ROWS``
    """
    exact, (n, d) = ROWS[key](rows), rows.shape
    if not pays(key, d):
        return exact
    if key == "dot":
        centre = np.zeros_like(centre)
    blocks = int(slots[-1]) // shadow.BLOCK + 1
    codes = aligned((blocks, shadow.width(d) // 4, 4 * shadow.BLOCK), np.uint8)
    terms = aligned((blocks, 4, shadow.BLOCK), np.float32)
    codes.fill(shadow.ZERO)
    terms.fill(np.nan)

    def work(ranges: parallel.Ranges) -> None:
        for a, b in ranges:
            shadow.cast(rows[a:b], slots[a:b], centre, key == "l2", codes, terms)

    parallel.run(work, n, _CHUNK, threads)
    return Shadow(exact, codes, terms, centre, key == "l2")


def arrays(of: Any) -> list[NDArray[Any]]:
    """Return what a store holds beside its rows."""
    return [of.codes, of.terms] if isinstance(of, Shadow) else []


def query_size(of: Any, d: int) -> int:
    """Return how many float32 a prepared query of a store of rows takes."""
    return shadow.query_size(d) if isinstance(of, Shadow) else d
