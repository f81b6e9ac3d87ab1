"""Exact search in batches: products that filter, direct scores that decide.

A product of many rows and queries costs a fraction of as many direct scores but gives
each key only up to an error. Whatever could be among the best ``k`` within a rigorous
bound of that error survives and is scored again directly, so pools hold direct keys and
no result depends on the filter. There are two:

*bytes* (``filter_rows``; ``select_rows`` for many neighbours among few rows)
    Products of 8-bit integers, four a lane and instruction (``vpdpbusd``), for
    processors that have it; the filter is fused to the product. Where vectors are far
    longer than neighbours are apart, their longest components, along a few ``axes``,
    are multiplied in float32 and only the rest is coded (``Parts``).
*floats* (``merge_block``)
    A block of a float32 matrix product that BLAS computed.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ann.kernels import simd
from ann.kernels._jit import SIMD_LEVEL, kernel
from ann.kernels.emit import (
    F32,
    I1,
    I8,
    I16,
    I32,
    I64,
    Lanes,
    broadcast,
    call,
    loop,
    multiply_add_bytes,
    pointer,
    splat,
)  # fmt: skip
from ann.kernels.pool import INFINITY, insert
from ann.kernels.stores import score
from ann.kernels.tricks import on

BYTES = SIMD_LEVEL == "avx512" and on("integer-products")
GROUP, PANELS = 64, 4  # rows whose codes lie interleaved: a panel is 16
BLOCK = 6  # queries: 24 sums, 4 loads and a broadcast fill the 32 registers
LARGEST = np.float32(127.0)
WIDEST = 2**24 // 127  # dimensions: a sum of codes is exact even in float32
# Vectors shorter than this are coded as coarsely as it: no scale leaves float32.
SHORTEST = np.float32(1e-30)
SHORTEST_REST = 2.0**-30  # of the whole: as short
FEW_ROUNDINGS = 2.0**-20  # relatively: sixteen of float32
HALVINGS = 30  # at most: as many as matter in float32
TOGETHER = 64  # queries that share a group of rows in the cache
TINY = 2.0**-120  # far above what underflow takes from a key


# --- quantization ---------------------------------------------------------------------


def _components(builder, x, center, t, d):
    """Return components ``t … t + 16`` of ``x − center``, 0 from ``d`` on."""
    v = Lanes(builder, 16)
    left = builder.sub(d, t)
    left = builder.select(builder.icmp_signed("<", left, I64(16)), left, I64(16))
    bits = builder.sub(builder.shl(I32(1), builder.trunc(left, I32)), I32(1))
    mask = builder.bitcast(builder.trunc(bits, I16), ir.VectorType(I1, 16))
    return builder.fsub(v.load(x, t, mask), v.load(center, t, mask))


@intrinsic
def _largest(typingctx, x, start, center, d):
    """``max |x[start + t] − center[t]|`` over ``t < d``."""

    def generate(context, builder, signature, args):
        x, center = (
            pointer(context, builder, signature.args[p], args[p], offset)
            for p, offset in ((0, args[1]), (2, I64(0)))
        )

        whole = ir.VectorType(I32, 16)

        def body(t, best):  # as integers: the order is the same, the latency shorter
            y = builder.bitcast(_components(builder, x, center, t, args[3]), whole)
            size = builder.and_(y, splat(I32, 16, 2**31 - 1))
            return [call(builder, "llvm.smax.v16i32", whole, [size, best[0]])]

        stop = builder.and_(builder.add(args[3], I64(15)), I64(-16))
        (best,) = loop(builder, I64(0), stop, 16, [splat(I32, 16, 0)], body)
        largest = call(builder, "llvm.vector.reduce.smax.v16i32", I32, [best])
        return builder.bitcast(largest, F32)

    return types.float32(x, types.int64, center, types.int64), generate


@intrinsic
def _encode(typingctx, x, start, center, d, scale, flip, codes, at, step):
    """Write ``v = round(z)``, ``z = (x − center)·scale``, as int8 with ``flip`` xored.

    Four codes go to each ``codes[at + step·i]``; the last ones are 0 up to a multiple
    of 16. Returns Σz², Σ(z − v)² and Σv.
    """

    def generate(context, builder, signature, args):
        v = Lanes(builder, 16)
        x, center, codes = (
            pointer(context, builder, signature.args[p], args[p], offset)
            for p, offset in ((0, args[1]), (2, I64(0)), (6, args[7]))
        )
        d, step = args[3], args[8]
        scale, flip = broadcast(builder, args[4], 16), broadcast(builder, args[5], 16)

        def body(t, sums):
            z = builder.fmul(_components(builder, x, center, t, d), scale)
            near = call(builder, "llvm.rint.v16f32", v.vector, [z])
            code = builder.fptosi(near, ir.VectorType(I8, 16))
            four = builder.bitcast(builder.xor(code, flip), ir.VectorType(I32, 4))
            for i in range(4):
                where = builder.mul(builder.add(builder.lshr(t, I64(2)), I64(i)), step)
                where = builder.gep(codes, [where])
                where = builder.bitcast(where, I32.as_pointer())
                builder.store(builder.extract_element(four, I32(i)), where, align=4)
            return [
                v.add_square(z, sums[0]),
                v.add_square(builder.fsub(z, near), sums[1]),
                builder.fadd(near, sums[2]),
            ]

        stop = builder.and_(builder.add(d, I64(15)), I64(-16))
        sums = loop(builder, I64(0), stop, 16, [splat(F32, 16, 0.0)] * 3, body)
        return context.make_tuple(
            builder, signature.return_type, [v.sum(s) for s in sums]
        )

    i64, f32, out = types.int64, types.float32, types.UniTuple(types.float32, 3)
    return out(x, i64, center, i64, f32, types.int8, codes, i64, i64), generate


class Parts(NamedTuple):
    """Vectors to code: ``x − center`` is ``top`` along orthonormal axes, and ``rest``.

    Without axes ``rest`` holds the vectors themselves, from which the kernels take the
    center. Coordinates and rest are rounded, once, from float64: the rest has next to
    nothing along the axes, so the product of two vectors is that of their tops and that
    of their rests.
    """

    first: int  #: the vector that the arrays begin with
    rest: np.ndarray  #: (n, d) float32
    top: np.ndarray  #: (n, axes) float32
    square: np.ndarray  #: (n,) float64, ‖x − center‖²; empty without axes


class Codes(NamedTuple):
    """Queries as 8-bit codes: ``rest ≈ v / scale``, each with a scale of its own.

    ``nq`` is padded to a multiple of ``BLOCK``.
    """

    center: np.ndarray  #: (d,) float32, to take off the rests of rows and queries
    v: np.ndarray  #: (nq, d padded to a multiple of 16) int8
    top: np.ndarray  #: (nq, axes) float32, scaled
    start: np.ndarray  #: (nq,) int32, −128 Σv: what unsigned codes of rows add
    scale: np.ndarray  #: (nq,) float32
    square: np.ndarray  #: (nq,) float64, at most ‖q − center‖²
    reach: np.ndarray  #: (3,) float64, most ‖rest‖·scale, ‖… − v‖, ‖q − center‖·scale


@kernel
def _scale(X, i, center):
    """Return what brings the largest component of a vector's rest to 127."""
    d = X.rest.shape[1]
    size = max(_largest(X.rest, i * d, center, d), SHORTEST)
    if X.square.size:
        size = max(size, np.float32(np.sqrt(X.square[i]) * SHORTEST_REST))
    return LARGEST / size


@kernel
def encode_queries(Q, codes):
    """Fill ``codes``, all but its center, from ``Q``, the Parts of nq vectors."""
    nq, d = Q.rest.shape
    width, axes = codes.v.shape[1], codes.top.shape[1]
    gamma = rounding(d)
    codes.reach[:] = 0.0
    for r in range(codes.start.size):
        codes.start[r], codes.scale[r], codes.square[r] = 0, 0.0, 0.0
        codes.top[r] = 0.0
        if r >= nq:
            continue
        codes.scale[r] = _scale(Q, r, codes.center)
        scale = np.float64(codes.scale[r])
        square, error, total = _encode(
            Q.rest, r * d, codes.center, d, codes.scale[r], 0, codes.v, r * width, 4
        )
        codes.start[r] = -128 * np.int32(total)
        codes.square[r] = square * (1 - gamma) / scale**2
        norm = np.sqrt(square * (1 + gamma))
        own = np.sqrt(error) * (1 + gamma) + gamma * norm
        codes.reach[0] = max(codes.reach[0], norm)
        codes.reach[1] = max(codes.reach[1], own)
        if axes:
            codes.square[r] = Q.square[r] * (1 - FEW_ROUNDINGS)
            codes.reach[2] = max(codes.reach[2], np.sqrt(Q.square[r]) * scale)
            for a in range(axes):
                codes.top[r, a] = Q.top[r, a] * scale


@kernel
def rounding(d):
    """Return γ: the relative error of any float32 sum of ``d`` products, twice over."""
    return (d + 16) * 2.0**-22


class Panel(NamedTuple):
    """Scratch: the codes of ``GROUP`` rows, and what each adds to the test.

    With ``q − center ≈ v / scale_q`` and ``x − center ≈ u / scale_x``, ⟨q, x⟩ is
    Σ(v·u) / (scale_q·scale_x) up to an error; with axes, the product of the tops comes
    to the sum. So ‖q‖² + ‖x‖² − 2⟨q, x⟩ can be at most ``key`` only where, in the units
    of the sum,

        Σ(v·u) >= scale_q·(scale_x ‖x‖²/2) + scale_x·(scale_q (‖q‖² − key)/2) − error

    and −⟨q, x⟩ likewise without the squares and halves.
    """

    u: np.ndarray  #: (padded d · GROUP,) uint8, 128 above the codes: four
    #: components of each row, then the next four
    top: np.ndarray  #: (axes · GROUP,) float32, scaled: one coordinate of each row, …
    square: np.ndarray  #: (GROUP,) float32, scale_x ‖x‖² / 2, 0 under dot
    scale: np.ndarray  #: (GROUP,) float32
    minus_error: np.ndarray  #: (GROUP,) float32
    survivors: np.ndarray  #: (BLOCK,) uint64, a bit a row


@kernel
def _encode_rows(X, start, count, squared, codes, panel):
    """Fill ``panel``, in loops that leave no step waiting for the one before."""
    d, axes = X.rest.shape[1], X.top.shape[1]
    gamma, of_tops = rounding(d), rounding(axes)
    reach, query_error, whole_reach = codes.reach
    first = start - X.first
    for j in range(count):
        panel.scale[j] = _scale(X, first + j, codes.center)
    for j in range(count):
        panel.square[j], panel.minus_error[j], _ = _encode(
            X.rest, (first + j) * d, codes.center, d, panel.scale[j], -128, panel.u,
            4 * j, 4 * GROUP,
        )  # fmt: skip
    for j in range(count):
        square, error = np.float64(panel.square[j]), np.float64(panel.minus_error[j])
        norm = np.sqrt(square * (1 + gamma))
        own = np.sqrt(error) * (1 + gamma) + gamma * norm
        # |⟨zq, zx⟩ − ⟨v, u⟩| <= ‖zq‖·‖zx − u‖ + ‖zq − v‖·‖u‖, and all roundings.
        bound = reach * own + query_error * (norm + own)
        bound += gamma * (reach + query_error) * (norm + own)
        half = 0.5 * square * (1 - 2 * gamma) / panel.scale[j]
        if axes:
            scale = np.float64(panel.scale[j])
            square = X.square[first + j]
            bound += of_tops * whole_reach * np.sqrt(square) * scale
            half = 0.5 * square * (1 - FEW_ROUNDINGS) * scale
            for a in range(axes):
                panel.top[a * GROUP + j] = X.top[first + j, a] * scale
        panel.minus_error[j] = -bound * (1 + gamma)
        panel.square[j] = half if squared else 0.0


# --- the product and the test ---------------------------------------------------------


class _Product:
    """Products of a panel with queries ``q … q + BLOCK``, as IR."""

    def __init__(self, context, builder, kinds, args):
        self._context, self._builder, self._kinds, self._args = (
            context, builder, kinds, args,
        )  # fmt: skip

    def field(self, which, name, offset):
        """Return the address of an element of a field of panel (0) or codes (1)."""
        kind = self._kinds[which]
        index = kind.fields.index(name)
        array = self._builder.extract_value(self._args[which], index)
        return pointer(self._context, self._builder, kind.types[index], array, offset)

    def each(self, array, r):
        """Return element ``r`` in 16 lanes."""
        builder = self._builder
        return broadcast(builder, builder.load(builder.gep(array, [I64(r)])), 16)

    def panel(self, p):
        """Return what 16 rows add to the test."""
        v = Lanes(self._builder, 16)
        return [
            v.load(self.field(0, name, I64(16 * p)), I64(0))
            for name in ("square", "scale", "minus_error")
        ]

    def totals(self, q, d, axes):
        """Return as float32 the products of query r and panel p at [r][p]."""
        totals = self._coded(q, d)
        builder, v = self._builder, Lanes(self._builder, 16)
        totals = [builder.sitofp(total, v.vector) for total in totals]
        panels = [self.field(0, "top", I64(16 * p)) for p in range(PANELS)]
        queries = [
            self.field(1, "top", builder.mul(builder.add(q, I64(r)), axes))
            for r in range(BLOCK)
        ]

        def multiply(a, totals):
            parts = [v.load(top, builder.mul(a, I64(GROUP))) for top in panels]
            out = []
            for r, query in enumerate(queries):
                one = broadcast(builder, builder.load(builder.gep(query, [a])), 16)
                for p, part in enumerate(parts):
                    out.append(v.fma(part, one, totals[r * PANELS + p]))
            return out

        totals = loop(builder, I64(0), axes, 1, totals, multiply)
        return [totals[r * PANELS : (r + 1) * PANELS] for r in range(BLOCK)]

    def _coded(self, q, d):
        """Return the products of the codes, one after another."""
        builder, four_a_lane = self._builder, ir.VectorType(I8, 64)
        width = builder.and_(builder.add(d, I64(15)), I64(-16))
        u = self.field(0, "u", I64(0))
        queries = [
            self.field(1, "v", builder.mul(builder.add(q, I64(r)), width))
            for r in range(BLOCK)
        ]

        def load(t, p):
            where = builder.add(builder.mul(t, I64(GROUP)), I64(64 * p))
            where = builder.bitcast(builder.gep(u, [where]), four_a_lane.as_pointer())
            return builder.load(where, align=64)

        def multiply(t, totals):
            panels = [load(t, p) for p in range(PANELS)]
            out = []
            for r, query in enumerate(queries):
                four = builder.bitcast(builder.gep(query, [t]), I32.as_pointer())
                four = broadcast(builder, builder.load(four, align=4), 16)
                four = builder.bitcast(four, four_a_lane)
                for p, part in enumerate(panels):
                    total = totals[r * PANELS + p]
                    out.append(multiply_add_bytes(builder, total, part, four))
            return out

        start = self.field(1, "start", q)
        starts = [self.each(start, r) for r in range(BLOCK) for _ in range(PANELS)]
        stop = builder.and_(builder.add(d, I64(3)), I64(-4))
        return loop(builder, I64(0), stop, 4, starts, multiply)


@intrinsic
def _filter(typingctx, panel, codes, limits, q, d, axes):
    """Multiply a panel with queries ``q … q + BLOCK`` and test the products.

    Bit j of ``panel.survivors[r]`` tells whether row j may be within ``limits[q + r]``.
    Returns whether any may.
    """

    def generate(context, builder, signature, args):
        v, product = (
            Lanes(builder, 16),
            _Product(context, builder, signature.args, args),
        )
        q = args[3]
        totals = product.totals(q, *args[4:])
        scale = product.field(1, "scale", q)
        limits = pointer(context, builder, signature.args[2], args[2], q)
        any_ = I64(0)
        for r in range(BLOCK):
            query_scale, limit = product.each(scale, r), product.each(limits, r)
            bits = I64(0)
            for p in range(PANELS):
                square, row_scale, minus_error = product.panel(p)
                least = v.fma(row_scale, limit, minus_error)
                least = v.fma(square, query_scale, least)
                # Unordered: an overflow that leaves NaN is no reason to drop a row.
                passed = builder.fcmp_unordered(">=", totals[r][p], least)
                passed = builder.zext(builder.bitcast(passed, I16), I64)
                bits = builder.or_(bits, builder.shl(passed, I64(16 * p)))
            builder.store(bits, product.field(0, "survivors", I64(r)))
            any_ = builder.or_(any_, bits)
        return builder.icmp_unsigned("!=", any_, I64(0))

    i64 = types.int64
    return types.boolean(panel, codes, limits, i64, i64, i64), generate


@intrinsic
def _bound(typingctx, panel, codes, q, d, axes, bounds, at, stride):
    """Multiply a panel with queries ``q … q + BLOCK`` and write what the test leaves.

    Row j may be within a limit only if ``bounds.flat[at + r * stride + j]`` is at most
    its negative: the test of ``_filter``, solved for the limit. An overflow gives −inf.
    """

    def generate(context, builder, signature, args):
        v, product = (
            Lanes(builder, 16),
            _Product(context, builder, signature.args, args),
        )
        q, (bounds, at, stride) = args[2], args[5:]
        totals = product.totals(q, *args[3:5])
        scale = product.field(1, "scale", q)
        rows = [product.panel(p) for p in range(PANELS)]
        inverses = [builder.fdiv(splat(F32, 16, 1.0), row[1]) for row in rows]
        for r in range(BLOCK):
            query_scale = product.each(scale, r)
            for p, (square, _, minus_error) in enumerate(rows):
                bound = v.fma(square, query_scale, minus_error)
                bound = builder.fsub(bound, totals[r][p])
                bound = builder.fmul(bound, inverses[p])
                lowest = splat(F32, 16, float("-inf"))
                bound = call(builder, "llvm.maxnum.v16f32", v.vector, [bound, lowest])
                where = builder.add(at, builder.mul(stride, I64(r)))
                where = builder.add(where, I64(16 * p))
                where = pointer(context, builder, signature.args[5], bounds, where)
                where = builder.bitcast(where, v.vector.as_pointer())
                builder.store(bound, where, align=4)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(panel, codes, i64, i64, i64, bounds, i64, i64), generate


@kernel
def _limit(key, squared, codes, r):
    """Return the least ⟨q, x⟩·scale of a row whose direct key is at most ``key``."""
    twice = -2.0 * np.float64(key)
    if squared:
        twice = codes.square[r] - key * (1 + rounding(codes.center.size))
    product = 0.5 * twice - TINY
    return np.float32((product - 2.0**-20 * abs(product)) * codes.scale[r] - TINY)


@kernel
def _offer(store, q, i, keys, ids):
    key = score(store, q, i)
    if key <= keys[keys.size - 1]:
        insert(keys, ids, keys.size, keys.size, key, np.int32(i))


@kernel
def _take_group(store, first, start, stop, squared, Q, codes, panel, limits, keys, ids):
    """Take rows ``start <= j < stop`` of the group that begins with ``first``."""
    (nq, d), axes = Q.shape, codes.top.shape[1]
    last, survivors, every = keys.shape[1] - 1, 0, np.uint64(0xFFFFFFFFFFFFFFFF)
    window = (every << np.uint64(start)) & (every >> np.uint64(GROUP - stop))
    for q in range(0, nq, BLOCK):
        if not _filter(panel, codes, limits, q, d, axes):
            continue
        for r in range(q, min(q + BLOCK, nq)):
            bits = panel.survivors[r - q] & window
            if bits == 0:
                continue
            while bits != 0:
                _offer(store, Q[r], first + simd.trailing_zeros(bits), keys[r], ids[r])
                bits &= bits - np.uint64(1)
                survivors += 1
            limits[r] = _limit(keys[r, last], squared, codes, r)
    return survivors


@kernel
def filter_rows(store, X, first, last, squared, Q, codes, panel, limits, keys, ids):
    """Take rows ``first <= i < last`` into each query's pool, exactly, by bytes.

    Parameters
    ----------
    store : rows                read-only
    X : Parts                   of these rows at least
    squared : bool              whether keys are squared distances, or negated products
    Q : (nq, d) float32
    codes : Codes               of ``Q``
    panel : Panel               scratch
    limits : (padded nq,) float32   scratch
    keys, ids : (nq, k)         full pools (``clear``), updated

    Returns
    -------
    survivors : int             rows that were scored directly, for all queries
    """
    nq, k = ids.shape
    fresh, survivors = keys[0, k - 1] == INFINITY, 0
    for r in range(limits.size):
        limits[r] = INFINITY  # of the padding, which nothing can pass
    for r in range(nq):
        limits[r] = _limit(keys[r, k - 1], squared, codes, r)
    for start in range(first, last, GROUP):
        count, done = min(GROUP, last - start), 0
        _encode_rows(X, start, count, squared, codes, panel)
        while done < count:
            # An empty pool refuses nothing: the first rows go to it a few at a time.
            few = fresh and start == first
            stop = min(count, max(k, 4 * done)) if few else count
            survivors += _take_group(
                store, start, done, stop, squared, Q, codes, panel, limits, keys, ids
            )
            done = stop
    return survivors


@kernel
def _threshold(bounds, start, n, k):
    """Return what at least ``k`` of ``n`` bounds are at most, and not many more."""
    low, high = simd.ends(bounds, start, n)
    for _ in range(HALVINGS):
        middle = np.float32(0.5) * (low + high)
        below = simd.count_below(bounds, start, n, middle)
        if below < k:
            low = middle
        else:
            high = middle
            if below <= k + (k >> 3):
                break
    return high


@intrinsic
def _between(typingctx, bounds, at, above, limit):
    """Bits of ``GROUP`` bounds that are at most a limit but not at most ``above``."""

    def generate(context, builder, signature, args):
        v, bits = Lanes(builder, 16), I64(0)
        bounds = pointer(context, builder, signature.args[0], args[0], args[1])
        above, limit = (broadcast(builder, args[p], 16) for p in (2, 3))
        for p in range(PANELS):
            bound = v.load(bounds, I64(16 * p))
            within = builder.fcmp_ordered("<=", bound, limit)
            further = builder.fcmp_unordered(">", bound, above)
            part = builder.bitcast(builder.and_(within, further), I16)
            part = builder.shl(builder.zext(part, I64), I64(16 * p))
            bits = builder.or_(bits, part)
        return bits

    f32 = types.float32
    return types.uint64(bounds, types.int64, f32, f32), generate


@kernel
def _offer_between(store, Q, first, last, above, limits, bounds, n, keys, ids):
    """Score rows with a bound in ``limits`` but not in ``above``; return how many.

    Rows change slowest: a group of them stays in the cache for all queries.
    """
    scored, every = 0, np.uint64(0xFFFFFFFFFFFFFFFF)
    for start in range(0, n, GROUP):
        window = every >> np.uint64(max(0, start + GROUP - n))
        for r in range(first, last):
            at = r * bounds.shape[1] + start
            bits = _between(bounds, at, above[r], limits[r]) & window
            while bits != 0:
                _offer(store, Q[r], start + simd.trailing_zeros(bits), keys[r], ids[r])
                bits &= bits - np.uint64(1)
                scored += 1
    return scored


@kernel
def select_rows(store, X, squared, Q, codes, panel, bounds, limits, keys, ids):
    """Find each query's best rows, exactly, by bytes; for many neighbours of few rows.

    Rows of about the k best bounds are scored directly first, then those whose bound
    is within the worst of these: hardly more than are sought, where a limit that falls
    row after row lets k ln(n / k) pass.

    Parameters
    ----------
    bounds : (padded nq, n padded to a multiple of ``GROUP``) float32     scratch
    limits : (2, padded nq) float32     scratch
    store, X, squared, Q, codes, panel, keys, ids
        As ``filter_rows`` has them.

    Returns
    -------
    scored : int                rows that were scored directly, for all queries
    """
    (nq, d), n, k = Q.shape, store.rows.shape[0], ids.shape[1]
    axes = codes.top.shape[1]
    for start in range(0, n, GROUP):
        _encode_rows(X, start, min(GROUP, n - start), squared, codes, panel)
        for q in range(0, nq, BLOCK):
            at = q * bounds.shape[1] + start
            _bound(panel, codes, q, d, axes, bounds, at, bounds.shape[1])
    near, far = limits[0], limits[1]
    scored = 0
    for first in range(0, nq, TOGETHER):
        last = min(nq, first + TOGETHER)
        for r in range(first, last):
            near[r] = _threshold(bounds, r * bounds.shape[1], n, k)
            far[r] = np.nan  # nothing is below, not even −inf
        scored += _offer_between(store, Q, first, last, far, near, bounds, n, keys, ids)
        for r in range(first, last):
            far[r] = -_limit(keys[r, k - 1], squared, codes, r)
        scored += _offer_between(store, Q, first, last, near, far, bounds, n, keys, ids)
    return scored


@kernel
def merge_pools(keys, ids, into_keys, into_ids):
    """Take pools (nq, k) of other rows into pools of as many queries."""
    nq, k = ids.shape
    for r in range(nq):
        for j in range(k):
            if ids[r, j] < 0 or keys[r, j] > into_keys[r, k - 1]:
                break
            insert(into_keys[r], into_ids[r], k, k, keys[r, j], ids[r, j])


# --- the filter by a float32 product --------------------------------------------------


@kernel
def merge_block(store, first, Q, dots, offset, scale, shift, slack, keys, ids):
    """Take a block of a matrix product into each query's pool, exactly.

    The product gives each key only up to rounding. Whatever could be among the best
    ``k`` within the error bound is scored again directly, so the pools hold direct
    keys, and no cancellation in ``‖q‖² + ‖x‖² − 2⟨q, x⟩`` can change the result.

    Parameters
    ----------
    store : rows                read-only
    first : int                 stored vector that the block begins with
    Q : (nq, d) float32
    dots : (nq, count) float32  ⟨q, x⟩
    offset : (nq,) float32      key ≈ offset[r] + scale·dot + shift[i]
    shift : (n,) float32        already lowered by the vector's share of the error
    slack : (nq,) float32       the query's share of the error
    keys, ids : (nq, k)         full pools (``clear``), updated
    """
    count, last = dots.shape[1], keys.shape[1] - 1
    whole = count - count % 16
    for r in range(Q.shape[0]):
        below = keys[r, last] - offset[r] + slack[r]
        for j in range(0, whole, 16):
            bits = simd.below16(dots, r * count + j, shift, first + j, scale, below)
            while bits != 0:
                i = first + j + simd.trailing_zeros(bits)
                bits &= bits - np.uint32(1)
                _offer(store, Q[r], i, keys[r], ids[r])
                below = keys[r, last] - offset[r] + slack[r]
        for j in range(whole, count):
            if scale * dots[r, j] + shift[first + j] < below:
                _offer(store, Q[r], first + j, keys[r], ids[r])
                below = keys[r, last] - offset[r] + slack[r]
