"""How a stored vector is scored: one NamedTuple per (codec, metric).

A *store* holds a codec's arrays. Every search kernel is written once, against three
functions, and Numba picks their code by the store's class at compile time:

``begin(store, q, buffer)``      prepare a query: write what ``score`` takes
``score(store, query, i)``       key of stored vector ``i``: smaller is closer
``fetch(store, i)``              ask for vector ``i``'s memory ahead of its ``score``

Keys are what the metric orders by, in its cheapest form: the squared distance for
``l2``, the negated dot product for ``ip`` and ``cosine``, the distance for ``l1``.

One class per metric, or one class with an integer flag and a branch in ``score``? A
beam search over 50,000 x 192 took 1.07 to 1.11 times as long with the flag; both are
loaded from the disk cache by a fresh process.
"""

from typing import NamedTuple

import numpy as np

from ann.kernels import int8, simd
from ann.kernels._jit import by_type, kernel
from ann.kernels.rows import rotate_row

LINE = 64  # bytes that one prefetch brings


def begin(store, q, buffer):
    """Write ``q`` (d,) float32 to ``buffer`` as ``score`` wants it."""
    raise NotImplementedError


def score(store, query, i):
    """Return the float32 key of stored vector ``i``."""
    raise NotImplementedError


def fetch(store, i):
    """Prefetch stored vector ``i``."""
    raise NotImplementedError


def between(store, i, j):
    """Return the key between two stored vectors; what a graph is built by."""
    raise NotImplementedError


def as_query(store, i, buffer):
    """Write stored vector ``i`` to ``buffer`` as a query."""
    raise NotImplementedError


_begin, _score, _fetch = by_type(begin), by_type(score), by_type(fetch)
_between, _as_query = by_type(between), by_type(as_query)


# --- float32 rows ---------------------------------------------------------------------


class L2Rows(NamedTuple):
    """Float32 vectors under the squared Euclidean distance."""

    rows: np.ndarray  #: (n, d) float32


class DotRows(NamedTuple):
    """Float32 vectors under the negated dot product."""

    rows: np.ndarray  #: (n, d) float32


class L1Rows(NamedTuple):
    """Float32 vectors under the Manhattan distance."""

    rows: np.ndarray  #: (n, d) float32


ROWS = {"l2": L2Rows, "dot": DotRows, "l1": L1Rows}  # by the metric's key


def _copy_query(store, q, buffer):
    for j in range(q.size):  # the buffer begins at a cache line, a user's query may not
        buffer[j] = q[j]


def _fetch_row(store, i):
    d = store.rows.shape[1]
    for t in range(0, d, LINE // 4):
        simd.prefetch(store.rows, i * d + t)


def _copy_row(store, i, buffer):
    d = store.rows.shape[1]
    for j in range(d):
        buffer[j] = store.rows[i, j]


for _rows in ROWS.values():
    _begin(_rows)(_copy_query)
    _fetch(_rows)(_fetch_row)
    _as_query(_rows)(_copy_row)


@_score(L2Rows)
def _l2_rows(store, query, i):
    d = store.rows.shape[1]
    return simd.l2sq(store.rows, i * d, query, 0, d)


@_score(DotRows)
def _dot_rows(store, query, i):
    d = store.rows.shape[1]
    return -simd.dot(store.rows, i * d, query, 0, d)


@_score(L1Rows)
def _l1_rows(store, query, i):
    d = store.rows.shape[1]
    return simd.l1(store.rows, i * d, query, 0, d)


@_between(L2Rows)
def _between_l2(store, i, j):
    d = store.rows.shape[1]
    return simd.l2sq(store.rows, i * d, store.rows, j * d, d)


@_between(DotRows)
def _between_dot(store, i, j):
    d = store.rows.shape[1]
    return -simd.dot(store.rows, i * d, store.rows, j * d, d)


@_between(L1Rows)
def _between_l1(store, i, j):
    d = store.rows.shape[1]
    return simd.l1(store.rows, i * d, store.rows, j * d, d)


# --- scalar quantization: component j is low[j] + grid * u[j], u on a grid of 256 -----


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
    grid: float  #: float32, distance between neighbouring points
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


SQ = {
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


@kernel
def _inverse(step):
    return _ONE / step if step > _ZERO else _ZERO


@kernel
def _clear_query(store, buffer, size):
    """Zero the integers of ``size`` bytes that a query is padded with."""
    n = HEAD + store.codes.shape[1] * size // 2  # two components a byte at most
    for j in range(HEAD, n):
        buffer[j] = _ZERO


@kernel
def _put_signed(q, start, stop, at, inverse, buffer):
    """Write components as signed bytes; return the sum of what they come to."""
    total = _ZERO
    for j in range(start, stop):
        code = np.rint(q[j] * inverse)
        total += code
        int8.put(buffer, HEAD, at + j - start, np.int8(code))
    return total


def _begin_dot(store, q, buffer):
    """Write the query as signed bytes, in steps of its largest component / 127.

    −⟨q, x⟩ = −⟨q, low⟩ − grid·⟨q, u⟩. What rounding the query loses is made up for at
    the middle of the grid, where most codes are.
    """
    d, width = q.size, store.codes.shape[1]
    largest = low = total = _ZERO
    for j in range(d):
        largest = max(largest, abs(q[j]))
        total += q[j]
        low += q[j] * store.low[j]
    step = largest / np.float32(127.0)
    inverse = _inverse(step)
    _clear_query(store, buffer, 1)
    written = _put_signed(q, 0, store.half, 0, inverse, buffer)
    written += _put_signed(q, store.half, d, width, inverse, buffer)
    buffer[0] = -(low + store.grid * _MIDDLE * (total - step * written))
    buffer[1] = -store.grid * step


@kernel
def _put_words(q, low, start, stop, at, inverse, buffer):
    for j in range(start, stop):
        point = np.rint((q[j] - low[j]) * inverse)
        point = min(max(point, -_TOP), _TOP + _TOP)
        int8.put(buffer, HEAD, at + j - start, np.int16(point))


def _begin_square(store, q, buffer):
    """Write the query as 16-bit points of the grid, up to its width outside of it."""
    inverse = _inverse(store.grid)
    _clear_query(store, buffer, 2)
    _put_words(q, store.low, 0, store.half, 0, inverse, buffer)
    width = store.codes.shape[1]
    _put_words(q, store.low, store.half, q.size, width, inverse, buffer)
    buffer[0], buffer[1] = _ZERO, store.grid * store.grid


@kernel
def _put_bytes(q, low, start, stop, at, inverse, buffer):
    """Write components as points of the grid; return how far they lie outside."""
    outside = _ZERO
    for j in range(start, stop):
        exact = (q[j] - low[j]) * inverse
        inside = min(max(exact, _ZERO), _TOP)
        outside += abs(exact - inside)
        int8.put(buffer, HEAD, at + j - start, np.uint8(np.rint(inside)))
    return outside


def _begin_absolute(store, q, buffer):
    """Write the query as points of the grid; what lies outside adds to every key."""
    inverse = _inverse(store.grid)
    _clear_query(store, buffer, 1)
    outside = _put_bytes(q, store.low, 0, store.half, 0, inverse, buffer)
    width = store.codes.shape[1]
    outside += _put_bytes(q, store.low, store.half, q.size, width, inverse, buffer)
    buffer[0], buffer[1] = store.grid * outside, store.grid


def _decode_row(store, i, buffer):
    """Prepare a stored vector, decoded behind where its integers will be."""
    d, width = store.low.size, store.codes.shape[1]
    row, first = i * width, HEAD + width  # 16 bits a component, two components a byte
    four = store.half < d
    for j in range(d):
        if j >= store.half:
            u = int8.u8(store.codes, row, j - store.half) & 0xF0
        elif four:
            u = (int8.u8(store.codes, row, j) << 4) & 0xF0
        else:
            u = int8.u8(store.codes, row, j)
        buffer[first + j] = store.low[j] + store.grid * np.float32(u)
    begin(store, buffer[first : first + d], buffer)


def _fetch_codes(store, i):
    width = store.codes.shape[1]
    for t in range(0, width, LINE):
        simd.prefetch(store.codes, i * width + t)
    if width % LINE:  # then a row may end in one line more
        simd.prefetch(store.codes, i * width + width - 1)


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


_SQ_CODE = {
    L2SQ8: (_begin_square, int8.square_u8, _apart_by(int8.square_u8_u8, True)),
    L2SQ4: (_begin_square, int8.square_u4, _apart_by(int8.square_u4_u4, True)),
    DotSQ8: (_begin_dot, int8.dot_u8, _dot_between(int8.square_u8_u8)),
    DotSQ4: (_begin_dot, int8.dot_u4, _dot_between(int8.square_u4_u4)),
    L1SQ8: (_begin_absolute, int8.absolute_u8, _apart_by(int8.absolute_u8, False)),
    L1SQ4: (_begin_absolute, int8.absolute_u4, _apart_by(int8.absolute_u4_u4, False)),
}
for _sq, (_prepare, _total, _apart) in _SQ_CODE.items():
    _begin(_sq)(_prepare)
    _score(_sq)(_scored_by(_total))
    _fetch(_sq)(_fetch_codes)
    _between(_sq)(_apart)
    _as_query(_sq)(_decode_row)


# --- product quantization: a query becomes a table, a score a sum of lookups ----------

TABLE_L2, TABLE_DOT, TABLE_L1 = 0, 1, 2


class PQ8(NamedTuple):
    """8-bit PQ codes."""

    codes: np.ndarray  #: (n, m) uint8
    codewords: np.ndarray  #: (m, dsub, ksub) float32, the codebooks transposed
    kind: int  #: TABLE_L2, TABLE_DOT or TABLE_L1


class PQ4(NamedTuple):
    """4-bit PQ codes, two a byte: subspace 2b in the low half of byte b, 2b+1 above."""

    codes: np.ndarray  #: (n, ceil(m / 2)) uint8
    codewords: np.ndarray  #: (m, dsub, 16) float32
    kind: int


def _begin_table(store, q, buffer):
    """Write the ``m x ksub`` asymmetric distances (Jégou et al. 2011, Sec. III-A)."""
    m, dsub, ksub = store.codewords.shape
    for j in range(buffer.size):
        buffer[j] = np.float32(0.0)
    for j in range(m):
        table = buffer[j * ksub : (j + 1) * ksub]
        for t in range(dsub):
            word, qt = store.codewords[j, t], q[j * dsub + t]
            if store.kind == TABLE_L2:
                for c in range(ksub):
                    difference = word[c] - qt
                    table[c] += difference * difference
            elif store.kind == TABLE_DOT:
                for c in range(ksub):
                    table[c] -= word[c] * qt
            else:
                for c in range(ksub):
                    table[c] += abs(word[c] - qt)


for _pq in (PQ8, PQ4):
    _begin(_pq)(_begin_table)
    _fetch(_pq)(_fetch_codes)


@_score(PQ8)
def _pq8(store, query, i):
    m, at = store.codes.shape[1], i * store.codes.shape[1]
    a = b = c = d = np.float32(0.0)  # four sums hide the lookups' latency
    for j in range(0, m - 3, 4):
        a += simd.at(query, (j << 8) + np.int64(simd.at(store.codes, at + j)))
        b += simd.at(query, (j + 1 << 8) + np.int64(simd.at(store.codes, at + j + 1)))
        c += simd.at(query, (j + 2 << 8) + np.int64(simd.at(store.codes, at + j + 2)))
        d += simd.at(query, (j + 3 << 8) + np.int64(simd.at(store.codes, at + j + 3)))
    for j in range(m & ~3, m):
        a += simd.at(query, (j << 8) + np.int64(simd.at(store.codes, at + j)))
    return (a + b) + (c + d)


@_score(PQ4)
def _pq4(store, query, i):
    width, at = store.codes.shape[1], i * store.codes.shape[1]
    a = b = np.float32(0.0)
    for j in range(width):
        code = np.int64(simd.at(store.codes, at + j))
        a += simd.at(query, (j << 5) + (code & 15))
        b += simd.at(query, (j << 5) + 16 + (code >> 4))
    return a + b


class ResidualL2(NamedTuple):
    """Codes r̂ of ``x − centroid`` under the squared Euclidean distance.

    ‖q − c − r̂‖² = ‖q − c‖² + (‖r̂‖² + 2⟨c, r̂⟩) − 2⟨q, r̂⟩: the first part belongs to the
    list, the second to the vector, and only the last needs a table, one for all lists.
    ``c`` and ``q`` are taken from the centroids' mean, lest the last two cancel.
    """

    codes: PQ8 | PQ4  #: of kind TABLE_DOT
    cross: np.ndarray  #: (n,) float32, ‖r̂‖² + 2⟨c, r̂⟩


@_begin(ResidualL2)
def _begin_residual(store, q, buffer):
    begin(store.codes, q, buffer)


@_fetch(ResidualL2)
def _fetch_residual(store, i):
    fetch(store.codes, i)


@_score(ResidualL2)
def _residual_l2(store, query, i):
    two = np.float32(2.0)
    return store.cross[i] + two * score(store.codes, query, i)


class Rotated(NamedTuple):
    """Codes of rotated vectors, whose queries have to be rotated first."""

    codes: PQ8 | PQ4
    columns: np.ndarray  #: (d, d) float32, columns of the rotation


@_begin(Rotated)
def _begin_rotated(store, q, buffer):
    rotated = buffer[buffer.size - q.size :]
    rotate_row(q, store.columns, rotated)
    begin(store.codes, rotated, buffer[: buffer.size - q.size])


@_fetch(Rotated)
def _fetch_rotated(store, i):
    fetch(store.codes, i)


@_score(Rotated)
def _score_rotated(store, query, i):
    return score(store.codes, query, i)
