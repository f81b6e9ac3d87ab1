"""Scalar quantization: component j is ``low[j] + grid * u[j]``, u on a grid of 256."""

from typing import NamedTuple

import numpy as np

from ann.kernels import int8, simd
from ann.kernels._jit import kernel, reduction
from ann.kernels.stores import (
    as_query_of,
    begin,
    begin_of,
    between_of,
    decode,
    decode_of,
    fetch_codes,
    fetch_of,
    lines_of,
    lines_of_codes,
    score_of,
)  # fmt: skip


class Codes(NamedTuple):
    """What the stores of scalar quantization hold.

    A query is prepared as two float32, ``constant`` and ``factor``, and, from element
    16 on, an integer per component. A key is ``constant + factor · sum``, of an integer
    sum over codes and query.

    4-bit codes are the points 0, 16, … 240 of the grid, two a byte: component j in the
    low half of byte j, component half + j in its high half.
    """

    codes: np.ndarray  #: (n, w) uint8, w a multiple of 16, padded with zeros
    low: np.ndarray  #: (d,) float32
    grid: np.float32  #: distance between neighbouring points
    half: int  #: components in bytes' low halves: ceil(d / 2); for 8 bits d
    squares: np.ndarray  #: (n,) float32, squared norms; only ``between`` for dot


class L2SQ8(Codes):
    """8-bit codes under the squared Euclidean distance."""


class DotSQ8(Codes):
    """8-bit codes under the negated dot product."""


class L1SQ8(Codes):
    """8-bit codes under the Manhattan distance."""


class L2SQ4(Codes):
    """4-bit codes under the squared Euclidean distance."""


class DotSQ4(Codes):
    """4-bit codes under the negated dot product."""


class L1SQ4(Codes):
    """4-bit codes under the Manhattan distance."""


STORES = {
    (8, "l2"): L2SQ8,
    (8, "dot"): DotSQ8,
    (8, "l1"): L1SQ8,
    (4, "l2"): L2SQ4,
    (4, "dot"): DotSQ4,
    (4, "l1"): L1SQ4,
}
HEAD = 16  # float32 before a prepared query's integers: a cache line
_MIDDLE, _TOP = np.float32(128.0), np.float32(255.0)  # of the grid
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_LEAST = np.finfo(np.float32).tiny  # of which the inverse is finite


@kernel
def _inverse(step):
    return _ONE / step if step >= _LEAST else _ZERO


@kernel
def _clear_query(store, buffer, size):
    """Zero the integers of ``size`` bytes that a query is padded with."""
    n = HEAD + store.codes.shape[1] * size // 2  # two components a byte at most
    for j in range(HEAD, n):
        buffer[j] = _ZERO


@reduction
def _put_signed(q, start, stop, at, inverse, buffer):
    """Write components as signed bytes; return the sum of what they come to."""
    total = _ZERO
    for j in range(stop - start):
        code = np.rint(simd.at(q, start + j) * inverse)
        total += code
        int8.put(buffer, HEAD, at + j, np.int8(code))
    return total


@reduction
def _sum_and_dot(q, low):
    """Return Σ q and ⟨q, low⟩, alike at every vector level."""
    total = dot = _ZERO
    for j in range(q.size):
        total += simd.at(q, j)
        dot += simd.at(q, j) * simd.at(low, j)
    return total, dot


def _begin_dot(store, q, buffer):
    """Write the query as signed bytes, in steps of its largest component / 127.

    −⟨q, x⟩ = −⟨q, low⟩ − grid·⟨q, u⟩. What rounding the query loses is made up for at
    the middle of the grid, where most codes are.
    """
    d, width = q.size, store.codes.shape[1]
    total, low = _sum_and_dot(q, store.low)
    least, largest = simd.ends(q, 0, d)
    step = max(-least, largest) / np.float32(127.0)
    inverse = _inverse(step)
    _clear_query(store, buffer, 1)
    written = _put_signed(q, 0, store.half, 0, inverse, buffer)
    written += _put_signed(q, store.half, d, width, inverse, buffer)
    buffer[0] = -(low + store.grid * _MIDDLE * (total - step * written))
    buffer[1] = -store.grid * step


@reduction
def _beyond(store, offset, scaled, point, inverse):
    """Return what a point that was moved to the grid leaves; exactly 0 if it was not.

    A grid without width, as all vectors are the same, has no inverse.
    """
    if scaled == point and inverse != _ZERO:
        return _ZERO
    return offset - store.grid * point


@reduction
def _put_words(q, store, start, stop, at, buffer):
    """Write components as 16-bit points of the grid; return Σ (what is cut off)²."""
    inverse, cut = _inverse(store.grid), _ZERO
    for j in range(stop - start):
        offset = simd.at(q, start + j) - simd.at(store.low, start + j)
        scaled = offset * inverse
        point = min(max(scaled, -_TOP), _TOP + _TOP)
        beyond = _beyond(store, offset, scaled, point, inverse)
        cut += beyond * beyond
        int8.put(buffer, HEAD, at + j, np.int16(np.rint(point)))
    return cut


def _begin_square(store, q, buffer):
    """Write the query as points of the grid, up to the grid's width outside of it.

    Of what lies farther off only the square counts, not its product with a difference
    that depends on the vector.
    """
    _clear_query(store, buffer, 2)
    cut = _put_words(q, store, 0, store.half, 0, buffer)
    cut += _put_words(q, store, store.half, q.size, store.codes.shape[1], buffer)
    buffer[0], buffer[1] = cut, store.grid * store.grid


@reduction
def _put_bytes(q, store, start, stop, at, buffer):
    """Write components as points of the grid; return how far they lie outside."""
    inverse, outside = _inverse(store.grid), _ZERO
    for j in range(stop - start):
        offset = simd.at(q, start + j) - simd.at(store.low, start + j)
        scaled = offset * inverse
        point = min(max(scaled, _ZERO), _TOP)
        outside += abs(_beyond(store, offset, scaled, point, inverse))
        int8.put(buffer, HEAD, at + j, np.uint8(np.rint(point)))
    return outside


def _begin_absolute(store, q, buffer):
    """Write the query as points of the grid; what lies outside adds to every key."""
    _clear_query(store, buffer, 1)
    outside = _put_bytes(q, store, 0, store.half, 0, buffer)
    outside += _put_bytes(q, store, store.half, q.size, store.codes.shape[1], buffer)
    buffer[0], buffer[1] = outside, store.grid


def _as_query(store, i, buffer):
    """Prepare a stored vector, decoded behind where its integers will be."""
    d, width = store.low.size, store.codes.shape[1]
    first = HEAD + width  # 16 bits a component, two components a byte
    decode(store, i, buffer[first : first + d])
    begin(store, buffer[first : first + d], buffer)


def _decoded_by(point):
    def decoded(store, i, out):
        width = store.codes.shape[1]
        for j in range(store.low.size):
            u = point(store.codes, i * width, j, store.half)
            out[j] = store.low[j] + store.grid * np.float32(u)

    return decoded


@kernel
def _point8(codes, row, j, half):
    return int8.u8(codes, row, j)


@kernel
def _point4(codes, row, j, half):
    if j < half:
        return (int8.u8(codes, row, j) << 4) & 0xF0
    return int8.u8(codes, row, j - half) & 0xF0


def _scored_by(total):
    def score(store, query, i):
        width = store.codes.shape[1]
        found = total(store.codes, i * width, query, HEAD, width)
        return query[0] + query[1] * np.float32(found)

    return score


def _apart_by(total, squared):
    def between(store, i, j):
        width = store.codes.shape[1]
        found = total(store.codes, i * width, store.codes, j * width, width)
        factor = store.grid * store.grid if squared else store.grid
        return factor * np.float32(found)

    return between


def _dot_between(total):
    """−⟨x, y⟩ = (‖x − y‖² − ‖x‖² − ‖y‖²) / 2, where the lows cancel."""

    def between(store, i, j):
        width = store.codes.shape[1]
        found = total(store.codes, i * width, store.codes, j * width, width)
        apart = store.grid * store.grid * np.float32(found)
        return np.float32(0.5) * (apart - store.squares[i] - store.squares[j])

    return between


_CODE = {
    L2SQ8: (_begin_square, int8.square_u8, _apart_by(int8.square_u8_u8, True)),
    L2SQ4: (_begin_square, int8.square_u4, _apart_by(int8.square_u4_u4, True)),
    DotSQ8: (_begin_dot, int8.dot_u8, _dot_between(int8.square_u8_u8)),
    DotSQ4: (_begin_dot, int8.dot_u4, _dot_between(int8.square_u4_u4)),
    L1SQ8: (_begin_absolute, int8.absolute_u8, _apart_by(int8.absolute_u8, False)),
    L1SQ4: (_begin_absolute, int8.absolute_u4, _apart_by(int8.absolute_u4_u4, False)),
}
for (_bits, _), _sq in STORES.items():
    _prepare, _total, _apart = _CODE[_sq]
    begin_of(_sq)(_prepare)
    score_of(_sq)(_scored_by(_total))
    fetch_of(_sq)(fetch_codes)
    lines_of(_sq)(lines_of_codes)
    between_of(_sq)(_apart)
    as_query_of(_sq)(_as_query)
    decode_of(_sq)(_decoded_by(_point8 if _bits == 8 else _point4))
