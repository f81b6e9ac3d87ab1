"""Exact scans that read a quarter of the memory: an 8-bit shadow rejects most rows.

Float32 rows are bound by memory. So each has a shadow, its 8-bit code, from which a
lower bound of its key follows; only rows whose bound is not above the present k-th key
are read and scored. The bound holds for rounded arithmetic too, so the result is that
of scoring all rows.

With x' = x − centre = s·c + e (c whole numbers, ‖e‖ known) and q' = t·b + f alike,
``|⟨q', x'⟩ − s·t·⟨b, c⟩| <= ‖f‖·s‖c‖ + ‖q'‖·‖e‖`` by Cauchy and Schwarz, where ⟨b, c⟩
is a sum of whole numbers; and ‖q − x‖² = ‖q'‖² + ‖x'‖² − 2⟨q', x'⟩.

Of 1,850 vectors in 20 lists (384 dimensions, cosine), 49 pass for k = 10, of which 40
would pass with the keys themselves. Measured and left out: bounds from the upper half
of each float32 (half the memory, 42 pass) and from the first 128 of 384 components with
the norms of the others (1,849 pass: no component matters more than others there).
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ann.kernels import int8, simd
from ann.kernels._jit import kernel, reduction
from ann.kernels.emit import (
    I8,
    I32,
    I64,
    Lanes,
    broadcast,
    call,
    pointer,
)  # fmt: skip
from ann.kernels.pool import INFINITY, insert
from ann.kernels.stores import LINE, begin, begin_of, fetch, score

STEP = 64  # a shadow's width is a multiple
FEWEST_DIMENSIONS = 64  # below, a shadow is not much smaller than the row
MOST_DIMENSIONS = 2**16  # of which no sum of products overflows 32 bits
AHEAD = 8  # shadows on their way while one is looked at
ZERO = 128  # code of 0
ROUNDING = np.float32(2.0**-20)
TINY = np.float32(1e-30)  # a smaller step is not inverted
UNDERFLOW = np.float32(1e-37)  # more than sums of vanishing products lose


class Shadow(NamedTuple):
    """Float32 rows and their shadows, under the squared distance or the dot product."""

    exact: Any  #: L2Rows or DotRows
    codes: np.ndarray  #: (n, width) uint8, c + 128
    terms: np.ndarray  #: (n, 4) float32: s, s‖c‖, ‖e‖ and, for l2, ‖x'‖², less slack
    centre: np.ndarray  #: (d,) float32, 0 for dot
    euclidean: bool


def width(d: int) -> int:
    """Return how many bytes the shadow of a row of ``d`` components takes."""
    return -(-d // STEP) * STEP


@kernel
def _slack(d):
    """Return the relative error that rounding leaves in any of the sums here.

    |fl(⟨q, x⟩) − ⟨q, x⟩| <= d·u·‖q‖‖x‖ with u = 2⁻²⁴ (Higham 2002, Sec. 3.1); twice
    that, and some more, covers the direct key's and the bound's.
    """
    return (2.0 * d + 64.0) * 2.0**-24


# --- shadows of rows ------------------------------------------------------------------


@kernel
def cast(X, centre, euclidean, codes, terms):
    """Write the shadows of rows.

    Parameters
    ----------
    X : (n, d) float32          read-only
    centre : (d,) float32
    euclidean : bool
    codes, terms : (n, width) uint8, (n, 4) float32     overwritten
    """
    n, d = X.shape
    up = 1.0 + _slack(d)
    for i in range(n):
        largest = np.float32(0.0)
        for j in range(d):
            largest = max(largest, abs(X[i, j] - centre[j]))
        scale = largest / np.float32(127.0)
        inverse = 1.0 / scale if scale > 0.0 else 0.0
        square = coded = error = row = 0.0
        for j in range(d):
            x = np.float64(X[i, j] - centre[j])
            code = min(max(np.rint(x * inverse), -127.0), 127.0)
            codes[i, j] = np.uint8(np.int64(code) + ZERO)
            row += np.float64(X[i, j]) ** 2
            square += x * x
            coded += code * code
            error += (x - code * scale) ** 2
        for j in range(d, codes.shape[1]):
            codes[i, j] = np.uint8(ZERO)
        terms[i, 0] = scale
        terms[i, 1] = scale * np.sqrt(coded) * up
        if euclidean:
            terms[i, 2] = np.sqrt(error) * up
            terms[i, 3] = square * (1.0 - 4.0 * _slack(d))
        else:
            terms[i, 2] = (np.sqrt(error) + _slack(d) * np.sqrt(row)) * up
            terms[i, 3] = 0.0


# --- queries --------------------------------------------------------------------------


def query_size(d: int) -> int:
    """Return how many float32 a query's memory has; see ``_begin``."""
    return -(-d // 16) * 16 + width(d) + width(d) // 4 + 16


@intrinsic
def _round16(typingctx, x, at, inverse, step, byte):
    """Turn x[at:at+16] into int8 ``b = round(x * inverse)`` and ``x − b * step``.

    The codes go to byte ``byte`` of the array, the rest to where x was. Returns the sum
    of the codes.
    """

    def generate(context, builder, signature, args):
        v = Lanes(builder, 16)
        where = pointer(context, builder, signature.args[0], *args[:2])
        values = v.load(where, I64(0))
        b = builder.fmul(values, broadcast(builder, args[2], 16))
        b = call(builder, "llvm.rint.v16f32", v.vector, [b])
        rest = v.fma(builder.fneg(b), broadcast(builder, args[3], 16), values)
        builder.store(rest, builder.bitcast(where, v.vector.as_pointer()), align=4)
        whole = builder.fptosi(b, ir.VectorType(I32, 16))
        first = pointer(context, builder, signature.args[0], args[0], I64(0))
        to = builder.gep(builder.bitcast(first, I8.as_pointer()), [args[4]])
        codes = builder.trunc(whole, ir.VectorType(I8, 16))
        builder.store(codes, builder.bitcast(to, codes.type.as_pointer()), align=1)
        return call(builder, "llvm.vector.reduce.add.v16i32", I32, [whole])

    i64, f32 = types.int64, types.float32
    return types.int32(x, i64, f32, f32, i64), generate


@reduction
def _largest(x, start, count):
    """Return the largest magnitude of x[start:start+count]."""
    largest = np.float32(0.0)
    for j in range(start, start + count):
        largest = max(largest, abs(simd.at(x, j)))
    return largest


@begin_of(Shadow)
def _begin(store, q, buffer):
    """Write what a scan reads of a query: ``buffer`` is what follows, in float32.

    =============  =====================================================================
    d              the query, for exact keys; up to a multiple of 16
    ``width``      scratch
    ``width / 4``  codes b, int8
    ``16``         the bound's coefficients: a constant, those of s⟨b, c⟩, s‖c‖, ‖e‖ and
                   ‖x'‖², and 128·Σb, which ⟨b, c + 128⟩ has too much
    =============  =====================================================================
    """
    d, size = q.size, store.codes.shape[1]
    begin(store.exact, q, buffer)
    rest = (d + 15) // 16 * 16
    for j in range(d):
        buffer[rest + j] = q[j] - store.centre[j]
    for j in range(rest + d, rest + size):
        buffer[j] = np.float32(0.0)
    up = np.float32(1.0 + _slack(d))
    norm = up * np.sqrt(simd.dot(buffer, rest, buffer, rest, size))
    step = _largest(buffer, rest, size) / np.float32(127.0)
    inverse = np.float32(0.0)
    if step > TINY:
        inverse = np.float32(1.0) / step
    total = 0
    for j in range(0, size, 16):
        total += _round16(buffer, rest + j, inverse, step, 4 * (rest + size) + j)
    error = up * np.sqrt(simd.dot(buffer, rest, buffer, rest, size)) + norm * ROUNDING
    weight = np.float32(2.0 if store.euclidean else 1.0)
    head = rest + size + size // 4
    square = norm * norm * np.float32(1.0 - 6.0 * _slack(d))
    buffer[head] = (square if store.euclidean else np.float32(0.0)) - UNDERFLOW
    buffer[head + 1] = -weight * step
    buffer[head + 2] = weight * error
    buffer[head + 3] = weight * norm
    buffer[head + 4] = np.float32(1.0 if store.euclidean else 0.0)
    buffer[head + 5] = np.float32(ZERO * total)  # exact: Σb < 2**24


# --- the scan -------------------------------------------------------------------------


@kernel
def _estimate(store, query, i):
    """Return vector i's key without what the codes lost, and how much that may be."""
    d, size = store.centre.size, store.codes.shape[1]
    codes = (d + 15) // 16 * 16 + size
    head = codes + size // 4
    products = int8.dot_u8(store.codes, i * size, query, codes, size)
    whole = np.float32(products - np.int64(query[head + 5]))
    key = query[head] + query[head + 1] * (simd.at(store.terms, 4 * i) * whole)
    key += query[head + 4] * simd.at(store.terms, 4 * i + 3)
    lost = query[head + 2] * simd.at(store.terms, 4 * i + 1)
    return key, lost + query[head + 3] * simd.at(store.terms, 4 * i + 2)


def scan_shadows(store, query, slot, first, count, then, bias, row_ids, keys, ids):
    """Score rows whose bound is not above the present k-th key; see ``scan_range``."""
    k, size = keys.size, store.codes.shape[1]
    limit = keys[k - 1]
    for offset in range(count):
        left = count - offset
        ahead = slot + offset + AHEAD if left > AHEAD else then + AHEAD - left
        for t in range(0, size, LINE):
            simd.prefetch(store.codes, ahead * size + t)
        key, lost = _estimate(store, query, slot + offset)
        if key - lost + bias <= limit:
            key = score(store.exact, query, slot + offset) + bias
            if key <= limit:
                i = first + offset
                name = np.int32(i) if row_ids is None else row_ids[i]
                insert(keys, ids, k, k, key, name)
                limit = keys[k - 1]


def nearest_by_shadow(store, query, n, bounds, keys, ids):
    """Find the best of the first ``n`` rows for a full pool; see ``scan.nearest``.

    First those of the best estimates are scored, then whoever's bound is not above the
    worst of these: 1.2 times as many rows as are sought, where a scan with a limit that
    falls as it goes scores 4 to 6 times as many.
    """
    k = keys.size
    for i in range(n):
        key, lost = _estimate(store, query, i)
        bounds[i] = key - lost
        if key <= keys[k - 1]:
            insert(keys, ids, k, k, key, np.int32(i))
    for j in range(k):
        fetch(store.exact, ids[min(j + AHEAD, k - 1)])
        i = ids[j]  # the pool of exact keys grows in the place of those read
        bounds[i] = INFINITY
        insert(keys, ids, j, k, score(store.exact, query, i), i)
    for i in range(n):
        if bounds[i] <= keys[k - 1]:
            insert(keys, ids, k, k, score(store.exact, query, i), np.int32(i))
