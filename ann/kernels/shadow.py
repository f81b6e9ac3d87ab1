"""Exact scans that read a quarter of the memory: an 8-bit shadow rejects most rows.

Float32 rows are bound by memory. So each has a shadow, its 8-bit code, from which a
lower bound of its key follows; only rows whose bound is not above the present k-th key
are read and scored. The bound holds for rounded arithmetic too, so the result is that
of scoring all rows.

Shadows lie in blocks of 16, four components of each in 64 bytes, so that products add
up in 16 lanes, a row each, and a bit mask tells which rows pass (blocks by dimension:
Kuffo, Krippner & Boncz, "PDX", SIGMOD 2025).

With x' = x − centre = s·c + e (c whole numbers, ‖e‖ known) and q' = t·b + f alike,
``|⟨q', x'⟩ − s·t·⟨b, c⟩| <= ‖f‖·s‖c‖ + ‖q'‖·‖e‖`` by Cauchy and Schwarz, where ⟨b, c⟩
is a sum of whole numbers; and ‖q − x‖² = ‖q'‖² + ‖x'‖² − 2⟨q', x'⟩.

Where lists are small and far apart, the centre is each list's own, and a query is coded
anew for every list (``ListShadow``): image patches lie 1,000 from their mean, 40 from
their centroids and 12 from their neighbours.

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

from ann.kernels import simd
from ann.kernels._jit import SIMD_LEVEL, kernel, reduction
from ann.kernels.emit import (
    I8,
    I32,
    I64,
    Lanes,
    broadcast,
    call,
    loop,
    multiply_add_bytes,
    multiply_add_words,
    pointer,
    splat,
)  # fmt: skip
from ann.kernels.pool import INFINITY, insert, name_of, passes
from ann.kernels.stores import LINE, begin, begin_of, fetch, score, score_of

BLOCK = 16  # rows
STEP = 16  # a shadow's width is a multiple
FEWEST_DIMENSIONS = 64  # below, a shadow is not much smaller than the row
MOST_DIMENSIONS = 2**16  # of which no sum of products overflows 32 bits
AHEAD = 8  # rows on their way while one is scored
ZERO = 128  # code of 0
ROUNDING = np.float32(2.0**-20)
TINY = np.float32(1e-30)  # a smaller step is not inverted
UNDERFLOW = np.float32(1e-37)  # more than sums of vanishing products lose


class Shadow(NamedTuple):
    """Float32 rows and their shadows, under the squared distance or the dot product.

    Row i has the slot ``i`` of its list's blocks; what is empty never passes.
    """

    exact: Any  #: L2Rows or DotRows
    codes: np.ndarray  #: (blocks, width / 4, 64) uint8: c + 128 of 16 rows x 4
    terms: np.ndarray  #: (blocks, 4, 16) float32: s, s‖c‖, ‖e‖, and …
    #: … for l2 ‖x'‖², less slack
    centres: np.ndarray  #: (1, d) float32, 0 for dot; or (nlist, d)
    euclidean: bool


class ListShadow(Shadow):
    """Shadows of rows about the centres of their lists, under squared distance."""


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
def cast(X, slots, owners, centres, euclidean, codes, terms):
    """Write the shadows of rows.

    Parameters
    ----------
    X : (n, d) float32          read-only
    slots : (n,) int64          where each row's shadow goes
    owners : (n,) int64         which of the centres is each row's
    centres : (m, d) float32
    euclidean : bool
    codes, terms : as of ``Shadow``     overwritten
    """
    n, d = X.shape
    up = 1.0 + _slack(d)
    for i in range(n):
        block, lane = slots[i] // BLOCK, slots[i] % BLOCK
        centre = centres[owners[i]]
        largest = np.float32(0.0)
        for j in range(d):
            largest = max(largest, abs(X[i, j] - centre[j]))
        scale = largest / np.float32(127.0)
        inverse = 1.0 / scale if scale > 0.0 else 0.0
        square = coded = error = row = 0.0
        for j in range(d):
            x = np.float64(X[i, j] - centre[j])
            code = min(max(np.rint(x * inverse), -127.0), 127.0)
            codes[block, j >> 2, 4 * lane + (j & 3)] = np.uint8(np.int64(code) + ZERO)
            row += np.float64(X[i, j]) ** 2
            square += x * x
            coded += code * code
            error += (x - code * scale) ** 2
        terms[block, 0, lane] = scale
        terms[block, 1, lane] = scale * np.sqrt(coded) * up
        if euclidean:
            terms[block, 2, lane] = np.sqrt(error) * up
            terms[block, 3, lane] = square * (1.0 - 4.0 * _slack(d))
        else:
            terms[block, 2, lane] = (np.sqrt(error) + _slack(d) * np.sqrt(row)) * up
            terms[block, 3, lane] = 0.0


# --- queries --------------------------------------------------------------------------


def query_size(d: int) -> int:
    """Return how many float32 a query's memory has; see ``_begin``."""
    return -(-d // 16) * 16 + width(d) + width(d) // 4 + 16 + 2 * BLOCK


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
    ``2 x 16``     scratch of a scan: a block's bounds, and its keys without what the
                   codes lost
    =============  =====================================================================
    """
    begin(store.exact, q, buffer)
    _encode(store, buffer, 0)


@begin_of(ListShadow)
def _begin_lists(store, q, buffer):
    """Write the query alone: its code waits for a list (``enter_list``)."""
    begin(store.exact, q, buffer)


@score_of(Shadow)
def _score(store, query, i):
    """Score row number ``i``, wherever its shadow lies."""
    return score(store.exact, query, i)


def enter_list(store, query, which):
    """Code a query about the centre of a list that is to be scanned."""
    _encode(store, query, which)


@kernel
def _encode(store, buffer, which):
    """Code the query that is in a buffer, about a centre."""
    d, size = store.centres.shape[1], 4 * store.codes.shape[1]
    rest, centre = (d + 15) // 16 * 16, which * d
    for j in range(d):
        buffer[rest + j] = simd.at(buffer, j) - simd.at(store.centres, centre + j)
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


# --- blocks ---------------------------------------------------------------------------


def estimates(level: str) -> Any:
    """Return the intrinsic that bounds the keys of a block, for a vector level.

    ``f(codes, block, groups, query, query_at, head, terms, out)``: the query's codes
    begin at float32 ``query_at``, its coefficients at ``head``; at float32 ``out`` of
    the query come 16 lower bounds, then 16 keys without what the codes lost. ``groups``
    is a multiple of 4.
    """
    multiply = multiply_add_bytes if level == "avx512" else multiply_add_words

    @intrinsic
    def estimate(typingctx, codes, block, groups, query, query_at, head, terms, out):
        def generate(context, builder, signature, args):
            kinds, v = signature.args, Lanes(builder, BLOCK)
            block, groups = args[1], args[2]
            bytes_ = builder.mul(builder.mul(block, groups), I64(4 * BLOCK))
            codes = pointer(context, builder, kinds[0], args[0], bytes_)
            query = pointer(context, builder, kinds[3], args[3], args[4])
            query = builder.bitcast(query, I32.as_pointer())
            wide = ir.VectorType(I8, 4 * BLOCK)

            def add(i, accs):
                out = []
                for step, acc in enumerate(accs):
                    group = builder.add(i, I64(step))
                    at = builder.gep(codes, [builder.mul(group, I64(4 * BLOCK))])
                    at = builder.bitcast(at, wide.as_pointer())
                    four = builder.load(builder.gep(query, [group]), align=4)
                    four = builder.bitcast(broadcast(builder, four, BLOCK), wide)
                    loaded = builder.load(at, align=1)
                    out.append(multiply(builder, acc, loaded, four))
                return out

            zeros = [splat(I32, BLOCK, 0)] * 4  # four hide the multiplier's latency
            a, b, c, d = loop(builder, I64(0), groups, 4, zeros, add)
            total = builder.add(builder.add(a, b), builder.add(c, d))

            first = pointer(context, builder, kinds[3], args[3], args[5])
            head = [
                broadcast(builder, builder.load(builder.gep(first, [I64(j)])), BLOCK)
                for j in range(6)
            ]
            at = builder.mul(block, I64(4 * BLOCK))
            terms = pointer(context, builder, kinds[6], args[6], at)
            scale, coded, error, square = (
                v.load(terms, I64(BLOCK * j)) for j in range(4)
            )
            excess = builder.fptosi(head[5], total.type)
            whole = builder.sitofp(builder.sub(total, excess), v.vector)
            key = v.fma(head[1], builder.fmul(scale, whole), head[0])
            key = v.fma(head[4], square, key)
            lost = v.fma(head[2], coded, builder.fmul(head[3], error))
            results = pointer(context, builder, kinds[3], args[3], args[7])
            for j, value in enumerate((builder.fsub(key, lost), key)):
                to = builder.gep(results, [I64(BLOCK * j)])
                to = builder.bitcast(to, v.vector.as_pointer())
                builder.store(value, to, align=4)
            return context.get_dummy_value()

        i64 = types.int64
        return types.void(codes, i64, i64, query, i64, i64, terms, i64), generate

    return estimate


_estimate16 = estimates(SIMD_LEVEL)


@kernel
def bound_block(store, query, block):
    """Bound the keys of a block's rows; return where in the query they lie.

    16 lower bounds, and behind them 16 keys without what the codes lost.
    """
    groups = store.codes.shape[1]
    codes = (store.centres.shape[1] + 15) // 16 * 16 + 4 * groups
    head = codes + groups
    out = head + 16
    _estimate16(store.codes, block, groups, query, codes, head, store.terms, out)
    return out


# --- the scan -------------------------------------------------------------------------


def scan_shadows(
    store, query, slot, first, count, then, bias, row_ids, keys, ids, allowed=None
):
    """Score rows whose bound is not above the present k-th key; see ``scan_range``.

    ``slot`` begins a block, and ``bias`` is 0: rows have no residual. What a filter
    does not let in is not read.
    """
    k, size = keys.size, LINE * store.codes.shape[1]
    for t in range(0, size, LINE):  # where the hardware does not expect the scan
        simd.prefetch(store.codes, then // BLOCK * size + t)
    for offset in range(0, count, BLOCK):
        at = bound_block(store, query, (slot + offset) // BLOCK)
        bits = simd.not_above16(query, at, count - offset, keys[k - 1])
        while bits != 0:
            i = first + offset + simd.trailing_zeros(bits)
            bits &= bits - np.uint32(1)
            if allowed is not None and not passes(allowed, name_of(row_ids, i)):
                continue
            key = score(store.exact, query, i)
            if key <= keys[k - 1]:
                insert(keys, ids, k, k, key, name_of(row_ids, i))


def nearest_by_shadow(store, query, n, bounds, keys, ids):
    """Find the best of the first ``n`` rows for a full pool; see ``scan.nearest_rows``.

    First those of the best estimates are scored, then whoever's bound is not above the
    worst of these, which is little more than what is sought; a scan with a limit that
    falls as it goes scores 4 to 6 times as many.
    """
    k = keys.size
    for start in range(0, n, BLOCK):
        at = bound_block(store, query, start // BLOCK)
        for j in range(min(BLOCK, n - start)):
            bounds[start + j] = simd.at(query, at + j)
        bits = simd.not_above16(query, at + BLOCK, n - start, keys[k - 1])
        while bits != 0:
            j = simd.trailing_zeros(bits)
            bits &= bits - np.uint32(1)
            key = simd.at(query, at + BLOCK + j)
            if key <= keys[k - 1]:
                insert(keys, ids, k, k, key, np.int32(start + j))
    for j in range(k):
        fetch(store.exact, ids[min(j + AHEAD, k - 1)])
        i = ids[j]  # the pool of exact keys grows in the place of those read
        bounds[i] = INFINITY
        insert(keys, ids, j, k, score(store.exact, query, i), i)
    for i in range(n):
        if bounds[i] <= keys[k - 1]:
            insert(keys, ids, k, k, score(store.exact, query, i), np.int32(i))
