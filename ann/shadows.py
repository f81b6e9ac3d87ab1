"""Float32 rows with an 8-bit shadow, which a scan reads in their stead."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann import parallel
from ann.kernels import shadow
from ann.kernels.shadow import ListShadow, Shadow
from ann.kernels.stores import ROWS
from ann.kernels.tricks import on
from ann.memory import aligned
from ann.stored import Stored

_CHUNK = 1024  # rows
_SAMPLE, _NEAR = 1024, 0.25  # rows, and how near their centres they have to be

Floats = NDArray[np.float32]


def pays(key: str, d: int) -> bool:
    """Whether rows of ``d`` components get shadows under a metric's key."""
    fits = shadow.FEWEST_DIMENSIONS <= d < shadow.MOST_DIMENSIONS
    return key != "l1" and fits and on("shadow")


def store(
    key: str,
    rows: Floats,
    slots: NDArray[np.int64],
    centres: Floats,
    threads: int,
    owners: NDArray[np.int64] | None = None,
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
    centres : (1, d) or (nlist, d) float32
        What the rows lie around; for ``l2``. Codes of differences lose less.
    threads : int
    owners : (n,) int64, optional
        With several centres, each row's.

    Returns
    -------
    store : Shadow, ListShadow with several centres, or a store of ``kernels.stores``
    """
    exact, (n, d) = ROWS[key](rows), rows.shape
    if not pays(key, d):
        return exact
    if key == "dot":
        centres = np.zeros((1, d), np.float32)
    blocks = int(slots[-1]) // shadow.BLOCK + 1 if n else 1
    codes = aligned((blocks, shadow.width(d) // 4, 4 * shadow.BLOCK), np.uint8)
    terms = aligned((blocks, 4, shadow.BLOCK), np.float32)
    codes.fill(shadow.ZERO)
    terms.fill(np.nan)
    of = np.zeros(n, np.int64) if owners is None else owners

    def work(ranges: parallel.Ranges) -> None:
        for a, b in ranges:
            shadow.cast(
                rows[a:b], slots[a:b], of[a:b], centres, key == "l2", codes, terms
            )

    parallel.run(work, n, _CHUNK, threads)
    kind = Shadow if owners is None else ListShadow
    return kind(exact, codes, terms, centres, key == "l2")


def owners(
    key: str, rows: Floats, centres: Floats, sizes: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Return the list of each row, in list order, if its centre should be its shadow's.

    That is where rows are far nearer to it than to the mean of all. To code a query for
    every list takes about as long as to scan a hundred rows.
    """
    if key != "l2" or not len(rows):
        return None
    of = np.repeat(np.arange(len(sizes)), sizes)
    some = np.linspace(0, len(rows) - 1, _SAMPLE).astype(np.int64)
    own = np.linalg.norm(rows[some] - centres[of[some]], axis=1).mean()
    mean = np.linalg.norm(rows[some] - centres.mean(axis=0), axis=1).mean()
    return of if own < _NEAR * mean else None


def arrays(of: Any) -> list[NDArray[Any]]:
    """Return what a store holds beside its rows."""
    return [of.codes, of.terms] if isinstance(of, Shadow) else []


def saved(of: Any) -> dict[str, NDArray[Any]]:
    """Return what a file keeps of a store beside its rows."""
    if not isinstance(of, Shadow):
        return {}
    kind = "own" if isinstance(of, ListShadow) else "common"
    return {f"shadow.{kind}.codes": of.codes, f"shadow.{kind}.terms": of.terms}


def restored(
    key: str,
    rows: Floats,
    slots: NDArray[np.int64],
    centres: tuple[Floats, Floats],
    stored: Stored,
) -> Any:
    """Return the store of which ``saved`` told; ``slots`` (nlist + 1,) of the lists.

    ``centres`` are those of a ``Shadow`` and of a ``ListShadow``.
    """
    exact, d = ROWS[key](rows), rows.shape[1]
    if not pays(key, d):
        return exact
    own = key == "l2" and stored.has("shadow.own.codes")
    kind, cls = ("own", ListShadow) if own else ("common", Shadow)
    centre = centres[own] if key == "l2" else np.zeros((1, d), np.float32)
    blocks = max(1, int(slots[-1]) // shadow.BLOCK)
    shape = blocks, shadow.width(d) // 4, 4 * shadow.BLOCK
    codes = stored.array(f"shadow.{kind}.codes", np.uint8, shape)
    shape = blocks, 4, shadow.BLOCK
    terms = stored.array(f"shadow.{kind}.terms", np.float32, shape)
    return cls(exact, codes, terms, centre, key == "l2")


def query_size(of: Any, d: int) -> int:
    """Return how many float32 a prepared query of a store of rows takes."""
    return shadow.query_size(d) if isinstance(of, Shadow) else d
