"""The only place where arrays and numbers from outside are cast and checked."""

import math
import numbers
import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BLOCK = 8192  # rows looked at together, so that a check allocates little
_LARGEST = 2**63 - 1  # that any kernel could take


def vectors(X: ArrayLike, name: str, d: int | None = None) -> NDArray[np.float32]:
    """Return ``X`` as (n, d) float32: C-contiguous, writable, finite.

    ``X`` itself comes back where it is all that already.

    Raises
    ------
    ValueError
        Not numeric, not two-dimensional, zero or wrong width, or a value that is not
        finite in float32. Names the rule, the limit, the value and the row.
    """
    array = numbers_of(X, name)
    if array.ndim != 2:
        raise ValueError(f"{name} must have shape (n, d), got {array.shape}")
    if array.shape[1] == 0:
        raise ValueError(f"{name} must have at least 1 column, got {array.shape}")
    if d is not None and array.shape[1] != d:
        raise ValueError(f"{name} must have d={d} columns, got {array.shape[1]}")
    if not (array.dtype == np.float32 and array.flags.carray):
        with np.errstate(over="ignore"):  # an overflow is found, and named, just below
            array = np.require(array, np.float32, ["C", "W", "A"])
    for start in range(0, len(array), _BLOCK):
        _check_finite(array[start : start + _BLOCK], name, start)
    return array


def queries(Q: ArrayLike, d: int | None) -> tuple[NDArray[np.float32], bool]:
    """Return ``Q`` as ``vectors`` does, and whether it is a single one, (d,)."""
    array = numbers_of(Q, "Q")
    single = array.ndim == 1
    return vectors(array[None] if single else array, "Q", d), single


def vector(x: ArrayLike, name: str, d: int | None = None) -> NDArray[np.float32]:
    """Return ``x`` (d,) as (1, d): otherwise as ``vectors``."""
    array = numbers_of(x, name)
    if array.ndim != 1:
        raise ValueError(f"{name} must have shape (d,), got {array.shape}")
    return vectors(array[None], name, d)


def numbers_of(values: ArrayLike, name: str) -> NDArray[Any]:
    """Return an array of any shape and real dtype; ValueError otherwise."""
    array = np.asarray(unmasked(values, name))
    if array.dtype.kind not in "fiub":  # one object: None, a sparse matrix, a set, …
        got = f"dtype {array.dtype}" if array.ndim else type(array.item()).__name__
        raise ValueError(f"{name} must hold real numbers, got {got}")
    return array


def unmasked(values: Any, name: str) -> Any:
    """Return ``values``; ValueError for an array that hides some behind a mask."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        hidden = np.ma.getmaskarray(values).sum()
        raise ValueError(f"{name} must have no masked values, got {hidden}")
    return values


def distances(values: ArrayLike, low: float, under: str) -> NDArray[np.float32]:
    """Return distances as float32: at least ``low`` under a metric, or +inf.

    Raises
    ------
    ValueError
        Not real numbers, NaN, or too small.
    """
    with np.errstate(over="ignore"):  # what float32 cannot hold is as far as can be
        array = numbers_of(values, "distances").astype(np.float32)
    wrong = array[~(array >= low) | (array == -np.inf)]
    if wrong.size:
        rule = "numbers" if low == -np.inf else f">= {low:g}"
        raise ValueError(f"distances must be {rule} under {under}, got {wrong[0]}")
    return array


def _check_finite(block: NDArray[np.float32], name: str, start: int) -> None:
    if math.isfinite(np.vdot(block, block)):  # NaN and infinity survive a sum
        return
    bad = np.argwhere(~np.isfinite(block))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{name} must be finite in float32, got {block[row, column]} "
            f"in row {start + row}, column {column}"
        )


def ids(ids: ArrayLike, n: int | None = None) -> NDArray[np.int64]:
    """Return ids as (n,) int64.

    Raises
    ------
    ValueError
        Not integers, wrong shape, negative, or given twice.
    """
    raw = np.asarray(unmasked(ids, "ids"))
    if raw.dtype.kind not in "iu" and raw.size:
        raise ValueError(f"ids must be integers, got dtype {raw.dtype}")
    if n is not None and raw.shape != (n,):
        raise ValueError(f"ids must have shape ({n},), got {raw.shape}")
    if raw.ndim != 1:
        raise ValueError(f"ids must have shape (n,), got {raw.shape}")
    if raw.size and (raw.min() < 0 or raw.max() > np.iinfo(np.int64).max):
        worst = raw.min() if raw.min() < 0 else raw.max()
        raise ValueError(f"ids must be in [0, 2**63 - 1], got {worst}")
    array = raw.astype(np.int64)
    values, counts = np.unique(array, return_counts=True)
    if len(values) < len(array):
        twice = values[counts > 1][0]
        raise ValueError(f"ids must be unique, got {twice} more than once")
    return array


def threads(value: Any, default: int) -> int:
    """Return how many threads to use: ``default`` for None, else at least 1."""
    return default if value is None else integer(value, "threads", 1)


def one_of(value: Any, name: str, choices: tuple[int, ...]) -> int:
    """Return ``value`` as an int among ``choices``; ValueError otherwise."""
    number = integer(value, name, min(choices), max(choices))
    if number not in choices:
        raise ValueError(f"{name} must be one of {choices}, got {number}")
    return number


def named(value: Any, name: str, choices: tuple[str, ...]) -> str:
    """Return one of some names; raise ValueError for anything else."""
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{name} must be one of {listed}, got {value!r}")
    return value


def real(value: Any, name: str, low: float, high: float = math.inf) -> float:
    """Return ``value`` as a finite float in ``[low, high]``.

    Raises
    ------
    ValueError
        Not a real number, not finite, or out of range.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise ValueError(f"{name} must be a real number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:  # an int that no float can hold
        number = -math.inf if value < 0 else math.inf
    if not (math.isfinite(number) and number >= low):
        raise ValueError(f"{name} must be finite and >= {low:g}, got {number:g}")
    if number > high:
        raise ValueError(f"{name} must be <= {high:g}, got {number:g}")
    return number


def integer(
    value: Any, name: str, low: int, high: int | None = None, limit: str = ""
) -> int:
    """Return ``value`` as an int in ``[low, high]``; ``limit`` says where high is from.

    Raises
    ------
    ValueError
        Not an integer, or out of range.
    """
    number = value if type(value) is int else _index(value, name)
    if number < low or (high is not None and number > high):
        bounds = f">= {low}" if high is None else f"in [{low}, {limit}{high}]"
        raise ValueError(f"{name} must be {bounds}, got {number}")
    if number > _LARGEST:
        raise ValueError(f"{name} must be <= 2**63 - 1, got {number}")
    return number


def boolean(value: Any, name: str) -> bool:
    """Return ``value`` as a bool; ValueError for anything that is not one."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def _index(value: Any, name: str) -> int:
    try:
        if not isinstance(value, bool | np.bool_):
            return operator.index(value)
    except TypeError:
        pass
    raise ValueError(f"{name} must be an integer, got {value!r}")
