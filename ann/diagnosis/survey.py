"""One pass over all rows: what can be seen without comparing any two of them.

Blocks are read one after another, so a mapped file larger than memory will do. What is
kept is 16 bytes a row, for its norm and a hash, and some hundred bytes a column.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import validation
from ann.metrics import UNIT, row_norms

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]

_EXACT = 2e-3  # norms so near to 1 that they were made so, and not met by chance
_SAME = 1e-6  # of the root mean square of all standard deviations: no difference
_FEW = 2**16  # values that tell of what kind the others are
_BLOCK = 2**20  # values looked at together: 8 MiB of float64


@dataclass(frozen=True, eq=False)
class Survey:
    """What a set of vectors is like, row by row and column by column.

    Parameters
    ----------
    n, d : int
    dtype : dtype             as handed over
    norms : (n,) float64      of the rows in float32; NaN where one is not finite
    nan, infinite, zero, repeated : (m,) int64
        Rows with a NaN; with an infinity in float32; of norm 0; equal to one before.
    mean, std, low, high : (d,) float64
        Of each column over the finite rows; NaN where there are none.
    zeros : float             share of the values that are 0
    whole : bool              whether all finite values are whole numbers
    halves : bool             whether float16 holds all finite values
    values : int              how many different ones the first finite rows hold
    unrepeated : bool         whether no row of these holds one value twice
    """

    n: int
    d: int
    dtype: np.dtype[Any]
    norms: Doubles
    nan: Rows
    infinite: Rows
    zero: Rows
    repeated: Rows
    mean: Doubles
    std: Doubles
    low: Doubles
    high: Doubles
    zeros: float
    whole: bool
    halves: bool
    values: int
    unrepeated: bool

    @cached_property
    def lengths(self) -> Doubles:
        """The norms of the rows that have a direction: finite, and above 0."""
        return self.norms[self.norms > 0]

    @cached_property
    def unit(self) -> NDArray[np.bool_]:
        """Which of ``lengths`` count as 1."""
        return (self.lengths >= UNIT[0]) & (self.lengths <= UNIT[1])

    @cached_property
    def unit_share(self) -> float:
        """The share of the rows with a direction that were normalised, NaN of none.

        Norms that come close to 1 by chance, as those of small counts or of a broad
        distribution do, do not count: unless nearly all are in ``UNIT``, half of those
        that are, and ten at least, must be within 0.002.
        """
        lengths, unit = self.lengths, self.unit
        if not len(lengths):
            return float("nan")
        exact = int((np.abs(lengths[unit] - 1) <= _EXACT).sum())
        made = exact >= max(10.0, 0.5 * unit.sum()) and not self.whole
        return float(unit.mean()) if made or unit.mean() > 0.9 else 0.0

    @cached_property
    def apart(self) -> tuple[float, float, float] | None:
        """Two populations of norms: the share of the shorter, and what lies between.

        That is the greatest norm of the shorter and the least of the longer, the second
        twice the first at least; None where no such gap leaves 1 % on either side, and
        ten rows.
        """
        norms = np.sort(self.lengths)
        edge = max(10, len(norms) // 100)
        if len(norms) < 2 * edge:
            return None
        inner = norms[edge - 1 : len(norms) - edge + 1]
        widest = int(np.argmax(inner[1:] / inner[:-1]))
        low, high = float(inner[widest]), float(inner[widest + 1])
        return ((edge + widest) / len(norms), low, high) if high >= 2 * low else None

    @property
    def spread(self) -> float:
        """Standard deviation of the norms over their mean, NaN of none."""
        lengths = self.lengths
        return float(lengths.std() / lengths.mean()) if len(lengths) else float("nan")

    @property
    def off_centre(self) -> float:
        """Share of the mean square that is the square of the mean: 0 if centred."""
        square = float(np.sum(self.mean**2))
        total = square + float(np.sum(self.std**2))
        return square / total if total > 0 else 0.0

    @property
    def varying(self) -> NDArray[np.bool_]:
        """Which columns tell rows apart: not one value, nor a millionth of others."""
        least = _SAME * float(np.sqrt(np.mean(self.std**2)))
        return (self.high > self.low) & (self.std > least)


def matrix(X: ArrayLike, name: str, d: int | None = None) -> NDArray[Any]:
    """Return (n, d) real numbers as they are: a mapped file stays mapped.

    Raises
    ------
    ValueError
        Not numeric, not two-dimensional, empty, or of another width than ``d``.
    """
    array = validation.numbers_of(X, name)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} must have shape (n, d), n, d >= 1, got {array.shape}")
    if d is not None and array.shape[1] != d:
        raise ValueError(f"{name} must have d={d} columns, got {array.shape[1]}")
    return array


def as_float32(rows: NDArray[Any]) -> Floats:
    """Return rows as an index would hold them, whatever is in them."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.require(rows, np.float32, ["C", "W", "A"])


def survey(array: NDArray[Any]) -> Survey:
    """Look at every row once."""
    n, d = array.shape
    norms, hashes = np.empty(n), np.empty(n, np.uint64)
    nan, infinite = np.zeros((2, n), bool)
    columns = _Columns(d)
    odd = np.random.default_rng(0).integers(2**64, size=d, dtype=np.uint64) | 1
    step = max(1, _BLOCK // d)
    for a in range(0, n, step):
        rows = as_float32(array[a : a + step])
        b = a + len(rows)
        norms[a:b] = row_norms(rows)
        # + 0 makes −0 equal to 0. A sum of odd multiples differs for any two rows that
        # differ in one value, and for others but for one pair in 2**32 or so.
        words = (rows + np.float32(0)).view(np.uint32)
        hashes[a:b] = words.astype(np.uint64) @ odd
        bad = ~np.isfinite(norms[a:b])  # squares of float32 do not overflow in float64
        if bad.any():
            nan[a:b][bad] = np.isnan(rows[bad]).any(axis=1)
            infinite[a:b][bad] = np.isinf(rows[bad]).any(axis=1)
            rows = rows[~bad]
        columns.take(rows)
    norms[nan | infinite] = np.nan
    return Survey(
        n, d, array.dtype, norms,
        np.flatnonzero(nan), np.flatnonzero(infinite), np.flatnonzero(norms == 0),
        _repeated(array, hashes, norms > 0),
        *columns.moments(), columns.zeros, columns.whole, columns.halves,
        *columns.first,
    )  # fmt: skip


def moments(rows: Floats) -> tuple[Doubles, Doubles]:
    """Return mean and standard deviation of each column of finite rows."""
    columns, step = _Columns(rows.shape[1]), max(1, _BLOCK // rows.shape[1])
    for a in range(0, len(rows), step):
        columns.take(rows[a : a + step])
    return columns.moments()[:2]


class _Columns:
    """Moments and limits of columns, over blocks (Chan, Golub & LeVeque 1983)."""

    def __init__(self, d: int) -> None:
        self._n, self._zeros = 0, 0
        self._mean, self._square = np.zeros((2, d))
        self._low, self._high = np.full(d, np.inf), np.full(d, -np.inf)
        self.whole = self.halves = True
        self.first = 0, False  #: ``values`` and ``unrepeated``

    def take(self, rows: Floats) -> None:
        """Take in a block of finite rows."""
        m = len(rows)
        if not m:
            return
        if not self._n:
            few = np.sort(rows[: max(1, _FEW // rows.shape[1])], axis=1)
            apart = bool((few[:, 1:] > few[:, :-1]).all())
            self.first = len(np.unique(few)), apart
        wide = rows.astype(np.float64)
        self._low = np.minimum(self._low, wide.min(axis=0))
        self._high = np.maximum(self._high, wide.max(axis=0))
        self._zeros += wide.size - int(np.count_nonzero(wide))
        self.whole = self.whole and bool((wide == np.rint(wide)).all())
        if self.halves:
            with np.errstate(over="ignore"):
                self.halves = bool((rows.astype(np.float16) == rows).all())
        mean = wide.mean(axis=0)
        wide -= mean
        total, away = self._n + m, mean - self._mean
        self._square += np.einsum("ij,ij->j", wide, wide)
        self._square += away**2 * (self._n * m / total)
        self._mean += away * (m / total)
        self._n = total

    def moments(self) -> tuple[Doubles, Doubles, Doubles, Doubles]:
        """Return mean, standard deviation, least and greatest value of each."""
        if not self._n:
            nothing = np.full(len(self._mean), np.nan)
            return nothing, nothing, nothing, nothing
        return self._mean, np.sqrt(self._square / self._n), self._low, self._high

    @property
    def zeros(self) -> float:
        """The share of the values that are 0."""
        return self._zeros / max(1, self._n * len(self._mean))


def _repeated(
    array: NDArray[Any], hashes: NDArray[np.uint64], some: NDArray[np.bool_]
) -> Rows:
    """Return those of some rows that are equal to one before them."""
    rows = np.flatnonzero(some)
    order = rows[np.argsort(hashes[rows], kind="stable")]
    same = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    step = max(1, _BLOCK // array.shape[1])
    found = [
        order[1:][part][
            (as_float32(array[order[1:][part]]) == as_float32(array[order[part]])).all(
                axis=1
            )
        ]
        for part in (same[a : a + step] for a in range(0, len(same), step))
    ]
    return np.sort(np.concatenate([np.empty(0, np.int64), *found]))
