"""Vector primitives written as LLVM IR.

A plain loop over numpy's indexing costs several times the same sum written as four
16-lane accumulators: LLVM does not vectorise it once it wraps negative indices and is
inlined in a search.

The IR is generic (``fma``, ``masked.load``, shuffles), and LLVM splits a vector of 16
lanes into the registers that the processor has: one of AVX-512, two of AVX2, four of
NEON. So products are rounded and added in one order at every vector level, and results
are the same bit for bit. (A processor without fused multiply-add rounds a product
before it is added: there a sum is within rounding of the others.)

Every length is allowed; the tail is one masked step. Arrays are C-contiguous; a vector
is named by (array, offset of its first element).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ann.kernels._jit import SIMD_LEVEL
from ann.kernels.emit import (
    F32,
    I1,
    I16,
    I32,
    I64,
    Lanes,
    broadcast,
    call,
    first_lanes,
    loop,
    move_masked,
    pointer,
    prefetch_line,
    splat,
)  # fmt: skip

LANES = 16


# --- sums over a vector's components --------------------------------------------------


def _summation(term: Callable[..., Any], widen: Callable[..., Any]) -> Any:
    """Return an intrinsic ``f(a, a_start, b, b_start, length) -> float32``.

    It is the sum over ``i < length`` of what ``term(v, a, b, acc)`` adds to ``acc``,
    ``a`` and ``b`` being 16 elements of each: float32, or float16 as uint16.
    """

    def generate(context, builder, signature, values):
        v, length, kinds = Lanes(builder, LANES), values[4], signature.args
        x = pointer(context, builder, kinds[0], values[0], values[1])
        y = pointer(context, builder, kinds[2], values[2], values[3])

        def load(kind, base, i, mask):
            if kind.dtype != types.uint16:
                return v.load(base, i, mask)
            return widen(v, v.load_half(base, i, mask))

        def add(i, acc, mask=None):
            return term(v, load(kinds[0], x, i, mask), load(kinds[2], y, i, mask), acc)

        def four(i, accs):  # four accumulators hide the adder's latency
            at = [builder.add(i, I64(LANES * step)) for step in range(4)]
            return [add(j, acc) for j, acc in zip(at, accs, strict=True)]

        by_four = builder.and_(length, I64(-4 * LANES))
        by_one = builder.and_(length, I64(-LANES))
        zeros = [splat(F32, LANES, 0.0)] * 4
        a, b, c, d = loop(builder, I64(0), by_four, 4 * LANES, zeros, four)
        acc = builder.fadd(builder.fadd(a, b), builder.fadd(c, d))
        (acc,) = loop(
            builder, by_four, by_one, LANES, [acc], lambda i, accs: [add(i, accs[0])]
        )
        rest, before = builder.sub(length, by_one), builder.block
        with builder.if_then(builder.icmp_signed(">", rest, I64(0))):
            tail, inside = add(by_one, acc, v.mask(rest)), builder.block
        total = builder.phi(acc.type)
        total.add_incoming(acc, before)
        total.add_incoming(tail, inside)
        return v.sum(total)

    @intrinsic
    def total(typingctx, a, i, b, j, length):
        i64 = types.int64
        return types.float32(a, i64, b, i64, i64), generate

    return total


def _l2sq(v, a, b, acc):
    return v.add_square(v.builder.fsub(a, b), acc)


def _dot(v, a, b, acc):
    return v.fma(a, b, acc)


def _l1(v, a, b, acc):
    return v.add_abs(v.builder.fsub(a, b), acc)


# --- the choice -----------------------------------------------------------------------


class Primitives(NamedTuple):
    """One variant of every sum: ``f(a, a_start, b, b_start, d) -> float32``."""

    l2sq: Any  #: Σ (a − b)²
    dot: Any  #: Σ a·b
    l1: Any  #: Σ |a − b|


def primitives(level: str) -> Primitives:
    """Return the variant of a vector level: ``avx512``, ``avx2`` or ``portable``.

    They differ in how float16 is widened, which a processor may have no instruction
    for. What is not finite is then widened to something finite.
    """
    widen = Lanes.widen_by_bits if level == "portable" else Lanes.widen
    return Primitives(*(_summation(term, widen) for term in (_l2sq, _dot, _l1)))


l2sq, dot, l1 = primitives(SIMD_LEVEL)


# --- memory and bits ------------------------------------------------------------------


@intrinsic
def at(typingctx, array, index):
    """``array.flat[index]``, without numpy's wrap-around of negative indices."""

    def generate(context, builder, signature, args):
        return builder.load(pointer(context, builder, signature.args[0], *args))

    return array.dtype(array, types.int64), generate


@intrinsic
def prefetch(typingctx, array, index):
    """Ask for the cache line of ``array.flat[index]``; harmless out of bounds.

    Into L2, not L1: on an AMD Zen 4 that alone took a graph search (384 dimensions,
    115k vectors, 8 vectors ahead) from 185 to 90 ns a vector scored. L1 keeps fewer
    misses in flight than the lines of a few vectors.
    """

    def generate(context, builder, signature, args):
        prefetch_line(builder, pointer(context, builder, signature.args[0], *args))
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@intrinsic
def shift_right(typingctx, x, y, start, stop):
    """``x[start+1:stop+1], y[start+1:stop+1] = x[start:stop], y[start:stop]``.

    From the end, 16 elements at a time: as two calls of memmove, whose branches depend
    on the length, insertions took a quarter of the time of a search.
    """

    def generate(context, builder, signature, args):
        first, last = args[2], args[3]

        def move(t, _):
            at = builder.sub(last, builder.add(t, I64(16)))
            before = builder.sub(first, at)
            some = builder.icmp_signed(">", before, I64(0))
            before = builder.select(some, before, I64(0))
            mask = builder.not_(first_lanes(builder, before))
            for array, kind in zip(args[:2], signature.args[:2], strict=True):
                source = pointer(context, builder, kind, array, at)
                move_masked(builder, source, builder.gep(source, [I64(1)]), mask)
            return []

        count = builder.add(builder.sub(last, first), I64(15))
        loop(builder, I64(0), builder.and_(count, I64(-16)), 16, [], move)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(x, y, i64, i64), generate


@intrinsic
def count_below(typingctx, x, start, count, limit):
    """Return how many of ``x.flat[start:start+count]``, float32, are below a limit."""

    def generate(context, builder, signature, args):
        v = Lanes(builder, 16)
        x = pointer(context, builder, signature.args[0], args[0], args[1])
        limit = broadcast(builder, args[3], 16)

        def below(i, total, mask=None):
            less = builder.fcmp_ordered("<", v.load(x, i, mask), limit)
            less = less if mask is None else builder.and_(less, mask)
            less = builder.zext(builder.bitcast(less, I16), I64)
            return builder.add(total, call(builder, "llvm.ctpop.i64", I64, [less]))

        whole = builder.and_(args[2], I64(-16))
        (total,) = loop(
            builder, I64(0), whole, 16, [I64(0)], lambda i, sums: [below(i, *sums)]
        )
        return below(whole, total, first_lanes(builder, builder.sub(args[2], whole)))

    i64 = types.int64
    return i64(x, i64, i64, types.float32), generate


@intrinsic
def ends(typingctx, x, start, count):
    """Return the least and the largest of ``x.flat[start:start+count]``, no NaN."""

    def generate(context, builder, signature, args):
        v = Lanes(builder, 16)
        x = pointer(context, builder, signature.args[0], args[0], args[1])
        one = broadcast(builder, builder.load(x), 16)

        def extend(a, ends):
            less = builder.fcmp_ordered("<", a, ends[0])
            more = builder.fcmp_ordered(">", a, ends[1])
            return [builder.select(less, a, ends[0]), builder.select(more, a, ends[1])]

        whole = builder.and_(args[2], I64(-16))
        both = loop(
            builder, I64(0), whole, 16, [one, one],
            lambda i, ends: extend(v.load(x, i), ends),
        )  # fmt: skip
        mask = v.mask(builder.sub(args[2], whole))
        both = extend(builder.select(mask, v.load(x, whole, mask), one), both)
        both = [
            call(
                builder, f"llvm.vector.reduce.{end}.v16f32", F32, [a],
                fastmath=("nnan",),
            )
            for end, a in zip(("fmin", "fmax"), both, strict=True)
        ]  # fmt: skip
        return context.make_tuple(builder, signature.return_type, both)

    i64 = types.int64
    return types.UniTuple(types.float32, 2)(x, i64, i64), generate


@intrinsic
def not_above16(typingctx, x, start, count, limit):
    """Bits of ``x.flat[start + i] <= limit`` for 16 elements, lowest bit first.

    Bits from ``count`` on are 0, but all 16 elements must exist.
    """

    def generate(context, builder, signature, args):
        v, limit = Lanes(builder, 16), broadcast(builder, args[3], 16)
        x = pointer(context, builder, signature.args[0], args[0], args[1])
        bits = builder.fcmp_ordered("<=", v.load(x, I64(0)), limit)
        bits = builder.and_(bits, v.mask(args[2]))
        return builder.zext(builder.bitcast(bits, I16), I32)

    i64 = types.int64
    return types.uint32(x, i64, i64, types.float32), generate


@intrinsic
def below16(typingctx, a, a_start, b, b_start, scale, limit):
    """Bits of ``scale * a[i] + b[i] < limit`` for 16 elements, lowest bit first."""

    def generate(context, builder, signature, args):
        v = Lanes(builder, 16)
        parts = zip(signature.args[0:4:2], args[0:4:2], args[1:4:2], strict=True)
        a, b = (v.load(pointer(context, builder, *p), I64(0)) for p in parts)
        key = v.fma(a, broadcast(builder, args[4], 16), b)
        bits = builder.fcmp_ordered("<", key, broadcast(builder, args[5], 16))
        return builder.zext(builder.bitcast(bits, I16), I32)

    floats = types.float32, types.float32
    return types.uint32(a, types.int64, b, types.int64, *floats), generate


@intrinsic
def nearest_word(typingctx, x, start, words, bias, labels, keys, i):
    """Find the column of ``words`` with the least ``bias[c] − Σ x[t]·words[t, c]``.

    ``words`` (dsub, ksub) float32, ksub a multiple of 16; ``bias`` (ksub,) float32. The
    column, the lowest among equals, goes to ``labels[i]`` int32, the value to
    ``keys[i]`` float32. Columns lie along the lanes, so short vectors fill them too.
    """

    def generate(context, builder, signature, args):
        v = Lanes(builder, 16)
        indices = ir.VectorType(I32, 16)
        iota = ir.Constant(indices, list(range(16)))
        x, bias = (
            pointer(context, builder, signature.args[p], args[p], offset)
            for p, offset in ((0, args[1]), (3, I64(0)))
        )
        shape = context.make_array(signature.args[2])(context, builder, args[2]).shape
        dsub, ksub = (builder.extract_value(shape, axis) for axis in (0, 1))
        words = pointer(context, builder, signature.args[2], args[2], I64(0))

        def columns(n_blocks):
            def body(c, best):
                at = [builder.add(c, I64(16 * block)) for block in range(n_blocks)]

                def add(t, sums):
                    xt = builder.load(builder.gep(x, [t]))
                    xt = broadcast(builder, builder.fneg(xt), 16)
                    row = builder.gep(words, [builder.mul(t, ksub)])
                    return [
                        v.fma(xt, v.load(row, where), total)
                        for where, total in zip(at, sums, strict=True)
                    ]

                sums = loop(
                    builder, I64(0), dsub, 1, [v.load(bias, w) for w in at], add
                )
                key, label = best
                for where, total in zip(at, sums, strict=True):
                    less = builder.fcmp_ordered("<", total, key)
                    lane = broadcast(builder, builder.trunc(where, I32), 16)
                    key = builder.select(less, total, key)
                    label = builder.select(less, builder.add(lane, iota), label)
                return [key, label]

            return body

        by_four = builder.and_(ksub, I64(-64))
        worst = [splat(F32, 16, float("inf")), splat(I32, 16, 0)]
        best = loop(builder, I64(0), by_four, 64, worst, columns(4))
        key, label = loop(builder, by_four, ksub, 16, best, columns(1))
        least = call(builder, "llvm.vector.reduce.fmin.v16f32", F32, [key])
        ties = builder.fcmp_ordered("==", key, broadcast(builder, least, 16))
        label = builder.select(ties, label, splat(I32, 16, 2**31 - 1))
        label = call(builder, "llvm.vector.reduce.smin.v16i32", I32, [label])
        for array, value in ((4, label), (5, least)):
            where = pointer(
                context, builder, signature.args[array], args[array], args[6]
            )
            builder.store(value, where)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(x, i64, words, bias, labels, keys, i64), generate


@intrinsic
def trailing_zeros(typingctx, bits):
    """Index of the lowest set bit of a uint32 or uint64 that is not 0."""

    def generate(context, builder, signature, args):
        kind = args[0].type
        found = call(builder, f"llvm.cttz.i{kind.width}", kind, [args[0], I1(1)])
        return found if kind == I64 else builder.zext(found, I64)

    return types.int64(bits), generate
