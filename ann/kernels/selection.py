"""What a filter lets pass, as positions: a mask or ids gone through once."""

import numpy as np

from ann.kernels import simd
from ann.kernels._jit import kernel

GROUP = 8  # words of 8 values that are passed over together
LOW, HIGH = np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x8080808080808080)


@kernel
def places_of(mask, words, out):
    """Write where a mask is not 0, ascending.

    A group of 64 that fail takes 2 ns, and each that passes about 1.

    Parameters
    ----------
    mask : (n,) uint8
    words : (n // 8,) uint64    the same memory
    out : int32                 overwritten; what it has no room for is left out
    """
    count = first = 0
    while first + GROUP <= words.size:
        if _any(words, first):
            for w in range(first, first + GROUP):
                count = _take(simd.at(words, w), 8 * w, count, out)
        first += GROUP
    for w in range(first, words.size):
        count = _take(simd.at(words, w), 8 * w, count, out)
    for j in range(8 * words.size, mask.size):
        count = _take(np.uint64(mask[j]), j, count, out)


@kernel
def _any(words, first):
    """Whether a group has a bit; written out, for a loop was four times as slow."""
    a = simd.at(words, first) | simd.at(words, first + 1)
    b = simd.at(words, first + 2) | simd.at(words, first + 3)
    c = simd.at(words, first + 4) | simd.at(words, first + 5)
    d = simd.at(words, first + 6) | simd.at(words, first + 7)
    return (a | b) | (c | d) != 0


@kernel
def _take(word, first, count, out):
    """Write the places of a word's bytes that are not 0, whatever they are."""
    bits = (((word & LOW) + LOW) | word) & HIGH  # the highest of each such byte
    while bits != 0 and count < out.size:
        out[count] = first + (simd.trailing_zeros(bits) >> 3)
        bits &= bits - np.uint64(1)
        count += 1
    return count


@kernel
def ascending(ids, n, out):
    """Write the ids in ``[0, n)`` if all ids ascend, each once.

    ``ids`` (m,) int64, ``out`` (>= m + 1,) int32, overwritten.

    Returns
    -------
    count : int                 of those written, or −1 where they do not ascend
    """
    count = 0
    for j in range(ids.size):
        if j and ids[j] <= ids[j - 1]:
            return -1
        out[count] = ids[j]
        count += (ids[j] >= 0) & (ids[j] < n)
    return count


@kernel
def owners_of(rows, offsets, owners, starts):
    """Tell which lists some rows are in, and where each one's begin among them.

    Parameters
    ----------
    rows : (m,) int32           ascending
    offsets : (nlist + 1,) int64    where lists begin
    owners : (>= nlist,) int32  overwritten with the lists, ascending, that have some
    starts : (>= nlist + 1,) int64  overwritten, and its end with m

    Returns
    -------
    count : int                 of lists that have some
    """
    count, which = 0, -1
    for j in range(rows.size):
        if which < 0 or rows[j] >= offsets[which + 1]:
            which += 1
            while rows[j] >= offsets[which + 1]:
                which += 1
            owners[count], starts[count] = which, j
            count += 1
    starts[count] = rows.size
    return count
