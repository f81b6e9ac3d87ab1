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

from ann.kernels import simd
from ann.kernels._jit import by_type

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


def lines(store):
    """Return how many cache lines a stored vector takes."""
    raise NotImplementedError


def between(store, i, j):
    """Return the key between two stored vectors; what a graph is built by."""
    raise NotImplementedError


def as_query(store, i, buffer):
    """Write stored vector ``i`` to ``buffer`` as a query."""
    raise NotImplementedError


def decode(store, i, out):
    """Write what stored vector ``i`` stands for to ``out`` (>= d,) float32."""
    raise NotImplementedError


begin_of, score_of, fetch_of = by_type(begin), by_type(score), by_type(fetch)
lines_of, between_of, as_query_of = by_type(lines), by_type(between), by_type(as_query)
decode_of = by_type(decode)


# --- rows of float32, or of float16 as uint16 -----------------------------------------


class L2Rows(NamedTuple):
    """Vectors under the squared Euclidean distance."""

    rows: np.ndarray  #: (n, d) float32, uint16


class DotRows(NamedTuple):
    """Vectors under the negated dot product."""

    rows: np.ndarray  #: (n, d) float32, uint16


class L1Rows(NamedTuple):
    """Vectors under the Manhattan distance."""

    rows: np.ndarray  #: (n, d) float32, uint16


ROWS = {"l2": L2Rows, "dot": DotRows, "l1": L1Rows}  # by the metric's key


def _copy_query(store, q, buffer):
    for j in range(q.size):  # the buffer begins at a cache line, a user's query may not
        buffer[j] = q[j]


def _fetch_row(store, i):
    d = store.rows.shape[1]
    for t in range(0, d, LINE // store.rows.itemsize):
        simd.prefetch(store.rows, i * d + t)


def _lines_of_row(store):
    return (store.rows.shape[1] * store.rows.itemsize + LINE - 1) // LINE


def _copy_row(store, i, buffer):
    d = store.rows.shape[1]
    for j in range(d):
        buffer[j] = store.rows[i, j]


for _rows in ROWS.values():
    begin_of(_rows)(_copy_query)
    fetch_of(_rows)(_fetch_row)
    lines_of(_rows)(_lines_of_row)
    as_query_of(_rows)(_copy_row)
    decode_of(_rows)(_copy_row)


@score_of(L2Rows)
def _l2_rows(store, query, i):
    d = store.rows.shape[1]
    return simd.l2sq(store.rows, i * d, query, 0, d)


@score_of(DotRows)
def _dot_rows(store, query, i):
    d = store.rows.shape[1]
    return -simd.dot(store.rows, i * d, query, 0, d)


@score_of(L1Rows)
def _l1_rows(store, query, i):
    d = store.rows.shape[1]
    return simd.l1(store.rows, i * d, query, 0, d)


@between_of(L2Rows)
def _between_l2(store, i, j):
    d = store.rows.shape[1]
    return simd.l2sq(store.rows, i * d, store.rows, j * d, d)


@between_of(DotRows)
def _between_dot(store, i, j):
    d = store.rows.shape[1]
    return -simd.dot(store.rows, i * d, store.rows, j * d, d)


@between_of(L1Rows)
def _between_l1(store, i, j):
    d = store.rows.shape[1]
    return simd.l1(store.rows, i * d, store.rows, j * d, d)


def fetch_codes(store, i):
    """Prefetch a row of codes."""
    width = store.codes.shape[1]
    for t in range(0, width, LINE):
        simd.prefetch(store.codes, i * width + t)
    if width % LINE:  # then a row may end in one line more
        simd.prefetch(store.codes, i * width + width - 1)


def lines_of_codes(store):
    """Return how many cache lines a row of codes takes at least."""
    return (store.codes.shape[1] + LINE - 1) // LINE


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
    begin_of(_pq)(_begin_table)
    fetch_of(_pq)(fetch_codes)
    lines_of(_pq)(lines_of_codes)


@score_of(PQ8)
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


@score_of(PQ4)
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


@begin_of(ResidualL2)
def _begin_residual(store, q, buffer):
    begin(store.codes, q, buffer)


@fetch_of(ResidualL2)
def _fetch_residual(store, i):
    fetch(store.codes, i)


@score_of(ResidualL2)
def _residual_l2(store, query, i):
    two = np.float32(2.0)
    return store.cross[i] + two * score(store.codes, query, i)
