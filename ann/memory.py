"""Arrays that begin at a cache line, in huge pages if large, and arrays that grow.

A 64-byte load that straddles two lines costs two: with rows off the line, a scan of
384-dimensional vectors took 23 instead of 18 ns a row from the cache and 64 instead of
39 out of L3.
"""

import contextlib
import math
import mmap
import threading
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann.kernels.tricks import on

LINE = 64  # bytes
HUGE = 2 << 20  # bytes of a huge page


def aligned(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return an empty C-contiguous array that begins at a cache line."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    large = size >= 2 * HUGE and hasattr(mmap, "MADV_HUGEPAGE")
    line = HUGE if large else LINE
    raw = _pages(size + line) if large else np.empty(size + line, np.uint8)
    start = -raw.__array_interface__["data"][0] % line
    array: NDArray[Any] = raw[start : start + size].view(dtype).reshape(shape)
    return array


def _pages(size: int) -> NDArray[np.uint8]:
    """Return memory in 2 MiB pages: a walk over 4 KiB ones misses the TLB each step."""
    pages = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    wanted = mmap.MADV_HUGEPAGE if on("huge-pages") else mmap.MADV_NOHUGEPAGE
    with contextlib.suppress(OSError):  # a kernel without them
        pages.madvise(wanted)
    return np.frombuffer(pages, np.uint8)


def aligned_copy(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy that begins at a cache line."""
    copy = aligned(array.shape, array.dtype)
    copy[:] = array
    return copy


def grown(
    array: NDArray[Any],
    used: int,
    more: NDArray[Any],
    capacity: int | None = None,
    *,
    anew: bool = False,
) -> NDArray[Any]:
    """Return ``array[:used]`` with ``more`` behind it, in place where there is room.

    A first fill is exact; later ones leave half as much again, so that many small
    additions copy each vector O(1) times. With a ``capacity`` the array is kept if that
    is its length, and copied into one of that length if not. With ``anew`` it is always
    copied: for arrays whose rows before ``used`` will be changed, too.
    """
    n = used + len(more)
    small = len(array) < n if capacity is None else len(array) != capacity
    if small or anew:
        bigger = aligned((capacity or roomy(used, n), *more.shape[1:]), more.dtype)
        if used:
            bigger[:used] = array[:used]
        array = bigger
    array[used:n] = more
    return array


def private(part: Any, copies: dict[tuple[int, int], Any] | None = None) -> Any:
    """Return a nest of named tuples with copies of its arrays, writable and aligned.

    Arrays that share memory from the same address on, and end together, do so in the
    copy, too. What is no array and no tuple is passed on.
    """
    copies = {} if copies is None else copies
    if isinstance(part, np.ndarray):
        key = part.__array_interface__["data"][0], part.nbytes
        if key not in copies:
            copies[key] = aligned_copy(part).reshape(-1).view(np.uint8)
        return copies[key].view(part.dtype).reshape(part.shape)
    if isinstance(part, tuple):
        return type(part)(*(private(inner, copies) for inner in part))
    return part


class Lease:
    """Held by all that read certain arrays: when it is gone, none of them is left."""

    __slots__ = ("__weakref__",)


class Spare:
    """What an array was before its last change, to be written to for the next.

    To copy all links for each vector that comes would take 3 ms for 100,000 of them.

    Parameters
    ----------
    array : (n, ...) array
    changed : (m,) integer array    rows that are others in the array of now
    lease : Lease                   of those that read ``array``
    """

    def __init__(
        self, array: NDArray[Any], changed: NDArray[np.integer[Any]], lease: Lease
    ) -> None:
        self._array: NDArray[Any] | None = array
        self._changed, self._lease = changed, weakref.ref(lease)

    def arrays(self) -> list[NDArray[Any]]:
        """Return the array, until it is taken."""
        return [] if self._array is None else [self._array]

    def take(self, now: NDArray[Any]) -> NDArray[Any] | None:
        """Return the array with the rows of now; None where it is read, or was taken.

        It is the caller's then, whatever becomes of the change.
        """
        array, self._array = self._array, None
        if array is None or self._lease() is not None or array.shape != now.shape:
            return None
        array[self._changed] = now[self._changed]
        return array


def taken(array: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return some rows, as ``aligned_copy`` would."""
    some = aligned((len(rows), *array.shape[1:]), array.dtype)
    np.take(array, rows, axis=0, out=some)
    return some


def roomy(used: int, n: int) -> int:
    """Return the length of an array that is to hold ``n``, and held ``used``."""
    return n if used == 0 else max(n, used + used // 2)


class _Kept(threading.local):
    memory = aligned((0,), np.float32)


_kept = _Kept()


def query_buffers(count: int, size: int) -> NDArray[np.float32]:
    """Return ``count`` buffers for prepared queries of ``size`` float32, one a row.

    They are this thread's and kept from call to call: whoever asks next on the same
    thread overwrites them. Rows begin at a cache line.
    """
    width = (size + 15) & ~15
    if _kept.memory.size < count * width:
        _kept.memory = aligned((count * width,), np.float32)
    return _kept.memory[: count * width].reshape(count, width)
