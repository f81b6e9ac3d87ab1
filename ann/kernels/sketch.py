"""Differences told in a few bits, the most of them where neighbours differ most.

An axis is told in 4, 2 or 1 bits: a number u in units of its own is rounded to one of
the odd numbers ±1, ±3, …, ±(2^bits − 1). So a difference r becomes a vector of odd
numbers o, of which the bits are signs: 2^i stands in it as plus or minus. In the axes'
units o points nearly where r does, and what it misses is random:

    ⟨r, v⟩ ≈ f ⟨o, v⟩   with f = ‖r‖² / ⟨o, r⟩, exact for v = r.

With one bit an axis this is RaBitQ (Gao & Long, SIGMOD 2024). A query's part is laid
out bit by bit, ``v 2^i``, so that whatever the bits of an axis, ⟨o, v⟩ is a sum of
signed numbers: four of them have 16 sums, a table for FastScan.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ann.kernels import int8, simd
from ann.kernels._jit import SIMD_LEVEL, kernel
from ann.kernels.emit import (
    I1,
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
)
from ann.kernels.fastscan import ROW

PER_ROW = 16  # bits that a row of a block has of each difference
_ZERO, _ONE, _TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)
_HALF = np.float32(0.5)
_TOP = 63.0  # of a rounded component: an entry, the sum of four, fits into 8 bits …
_LARGEST_SUM = 2.0**15  # … and a sum of entries into 16


class Sketch(NamedTuple):
    """Axes, those of 4 bits first, then those of 2, then those of 1."""

    codes: np.ndarray  #: (m / 16, w / 4, 16, 4) uint8, axes: 128 for 0; w >= d
    units: np.ndarray  #: (m,) float32, what a step of each code comes to
    inverse: np.ndarray  #: (m,) float32, from ⟨axis, r⟩ to the numbers that are rounded
    tops: np.ndarray  #: (m,) float32, 2^bits − 1
    fours: int  #: axes of 4 bits, a multiple of 4
    twos: int  #: axes of 2 bits, a multiple of 8; of 1 bit a multiple of 16
    fine: bool  #: whether queries are told in two bytes a component, not in one


@kernel
def bits(sketch):
    """Return how many bits a difference is told in: a multiple of 16."""
    return sketch.units.size + sketch.twos + 3 * sketch.fours


@kernel
def finer(wide):
    """Return how many of a query's finer steps are one of the coarser.

    What rounding to a coarser step leaves is at most half of it, so that the sum of
    ``wide`` such parts fits into 16 bits, as FastScan has them at AVX2.
    """
    return 2 * min(np.int64(_TOP), 65535 // wide)


# --- a difference ---------------------------------------------------------------------


@kernel
def put(sketch, apart, scale, at, shift, odd, row):
    """Write the bits of a difference, four in a byte, shifted, four bytes in 64.

    Parameters
    ----------
    sketch : Sketch
    apart : (m,) float32        along the axes
    scale : float32             what it is multiplied by to have norm 1
    at, shift : int             where its bits are in the block: byte, and 0 or 4
    odd : (m,) float32          overwritten with the odd numbers
    row : (...,) uint8          bits are added
    """
    fours, twos, m = sketch.fours, sketch.twos, apart.size
    _round_odd(apart, sketch.inverse, sketch.tops, scale, odd)
    for nibble in range(fours + twos // 2 + (m - fours - twos) // 4):
        if nibble < fours:
            code = _bits_of(odd[nibble], 15)
        elif nibble < fours + twos // 2:
            first = fours + 2 * (nibble - fours)
            code = _bits_of(odd[first], 3) | _bits_of(odd[first + 1], 3) << 2
        else:
            first, code = fours + twos + 4 * (nibble - fours - twos // 2), 0
            for t in range(4):
                code |= _bits_of(odd[first + t], 1) << t
        row[at + ROW * (nibble >> 2) + (nibble & 3)] |= np.uint8(code << shift)


@kernel
def _bits_of(odd, top):
    return (np.int64(odd) + top) >> 1


@kernel
def _round_odd(apart, inverse, tops, scale, odd):
    for t in range(apart.size):
        u = apart[t] * inverse[t] * scale
        u = _TWO * np.floor(u * _HALF) + _ONE
        odd[t] = min(max(u, -tops[t]), tops[t])


# --- a query --------------------------------------------------------------------------


@kernel
def begin_tables(sketch, q, told, tables):
    """Write the tables of ⟨o, q⟩, of 16 bytes for each four bits.

    Components are rounded to whole numbers of one step for all, so that entries, sums
    of four, need no rounding of their own.

    Parameters
    ----------
    sketch : Sketch
    q : (d,) float32
    told : (>= 2 m + bits + w / 4,) float32     overwritten
    tables : (>= 8 bits,) uint8     overwritten; the second half where ``fine``

    Returns
    -------
    base, step : float32        ⟨o, q⟩ ≈ base + step * sum of entries
    """
    m, wide = sketch.units.size, bits(sketch)
    _tell_query(sketch, q, told, wide + m, wide)
    _lay_out(sketch, told, wide)
    low, high = simd.ends(told, 0, wide)
    largest = max(-low, high)
    half = largest * max(np.float32(1.0 / _TOP), np.float32(wide / _LARGEST_SUM))
    inverse = _ONE / half if half > np.float32(1e-30) else _ZERO
    total, lowest = _write_tables(told, wide, inverse, tables)
    base = -half * np.float32(total + 2 * lowest)
    if not sketch.fine:
        return base, _TWO * half
    for t in range(wide):  # what rounding left, in steps of its own
        scaled = told[t] * inverse
        told[t] = scaled - np.rint(scaled)
    parts = np.float32(finer(wide))
    half /= parts
    total, lowest = _write_tables(told, wide, parts, tables[4 * wide :])
    return base - half * np.float32(total + 2 * lowest), _TWO * half


@kernel
def _tell_query(sketch, q, told, room, to):
    """Write the products of a query and the axes to ``told[to:]``.

    From element ``room`` on the query is written as signed bytes, and before that the
    products of these.
    """
    d, m, quads = q.size, sketch.units.size, sketch.codes.shape[1]
    low, high = simd.ends(q, 0, d)
    step = max(-low, high) / np.float32(127.0)
    inverse = _ONE / step if step > np.float32(1e-30) else _ZERO
    integers = room + m
    for t in range(quads):
        told[integers + t] = _ZERO
    for j in range(m):
        told[to + j] = _ZERO
    total = _put_bytes(q, inverse, _ONE, _ZERO, told, integers)
    _add_products(sketch, told, room, to, step, total)
    if sketch.fine:
        finer = np.float32(254.0)
        total = _put_bytes(q, inverse, finer, _ONE, told, integers)
        _add_products(sketch, told, room, to, step / finer, total)


@kernel
def _add_products(sketch, told, room, to, step, total):
    """Add the products of the axes and signed bytes, whose sum is ``total``."""
    m = sketch.units.size
    _multiply(sketch.codes, told, room + m, room)
    products, out = told[room : room + m], told[to : to + m]
    for j in range(m):
        product = np.float32(_whole(products, j) - 128 * total)
        out[j] += sketch.units[j] * step * product


def products(level: str) -> Any:
    """Return ``f(codes, array, integers, to)`` of a vector level.

    It writes the products of all axes and the signed bytes at ``array[integers:]``, as
    whole numbers, where ``array[to:]`` has float32; all levels write the same. Four
    components of 16 axes are multiplied at a time, so nothing is summed across lanes:
    for 256 axes of 384 components, what is around it included, that takes 1.0 instead
    of 1.4 us.
    """
    add = multiply_add_bytes if level == "avx512" else multiply_add_words

    def generate(context, builder, signature, args):
        kinds, whole = signature.args, ir.VectorType(I32, 16)
        shape = context.make_array(kinds[0])(context, builder, args[0]).shape
        groups, quads = (builder.extract_value(shape, axis) for axis in (0, 1))
        source = pointer(context, builder, kinds[0], args[0], I64(0))
        query = pointer(context, builder, kinds[1], args[1], args[2])
        query = builder.bitcast(query, I32.as_pointer())
        target = pointer(context, builder, kinds[1], args[1], args[3])
        bytes_ = ir.VectorType(I8, ROW)

        def group(g, _):
            first = builder.mul(g, builder.mul(quads, I64(ROW)))

            def some(t, sums):
                out = []
                for part, total in enumerate(sums):  # in turns, to hide the latency
                    at = builder.add(t, I64(part))
                    where = builder.add(first, builder.mul(at, I64(ROW)))
                    where = builder.gep(source, [where])
                    where = builder.bitcast(where, bytes_.as_pointer())
                    four = builder.load(builder.gep(query, [at]), align=4)
                    four = builder.bitcast(broadcast(builder, four, 16), bytes_)
                    axes = builder.load(where, align=1)
                    out.append(add(builder, total, axes, four))
                return out

            a, b, c, d = loop(builder, I64(0), quads, 4, [splat(I32, 16, 0)] * 4, some)
            total = builder.add(builder.add(a, b), builder.add(c, d))
            where = builder.gep(target, [builder.mul(g, I64(16))])
            builder.store(total, builder.bitcast(where, whole.as_pointer()), align=4)
            return []

        loop(builder, I64(0), groups, 1, [], group)
        return context.get_dummy_value()

    @intrinsic
    def multiply(typingctx, codes, array, integers, to):
        i64 = types.int64
        return types.void(codes, array, i64, i64), generate

    return multiply


_multiply = products(SIMD_LEVEL)


@intrinsic
def _whole(typingctx, array, index):
    """Return the whole number where ``array.flat[index]`` has a float32."""

    def generate(context, builder, signature, args):
        where = pointer(context, builder, signature.args[0], *args)
        return builder.load(builder.bitcast(where, I32.as_pointer()))

    return types.int32(array, types.int64), generate


@kernel
def _put_bytes(q, inverse, finer, less, told, at):
    """Write signed bytes; return their sum.

    They are ``q * inverse``, less so much of it rounded, times ``finer``.
    """
    total = np.int64(0)
    for t in range(q.size):
        scaled = q[t] * inverse
        code = np.int8(np.rint((scaled - less * np.rint(scaled)) * finer))
        total += code
        int8.put(told, at, t, code)
    return total


@kernel
def _lay_out(sketch, told, first):
    """Write components bit by bit: each as often as it has bits, doubled each time.

    From ``told[first:]`` to ``told[:first]``.
    """
    fours, twos, m = sketch.fours, sketch.twos, sketch.units.size
    source = told[first : first + m]  # slices: LLVM sees that it can use vectors
    for j in range(fours):
        value = source[j]
        for t in range(4):
            told[4 * j + t] = value
            value += value
    two, out = source[fours : fours + twos], told[4 * fours :]
    for j in range(twos):
        out[2 * j], out[2 * j + 1] = two[j], two[j] + two[j]
    one, out = source[fours + twos :], out[2 * twos :]
    for j in range(one.size):
        out[j] = one[j]


@intrinsic
def _write_tables(typingctx, rotated, count, inverse, tables):
    """Write 16 sums of subsets for each four of ``count`` numbers, less the least sum.

    Numbers are ``round(rotated * inverse)``, which must be within ±63. Returns their
    sum, and the sum of what those below 0 lack.
    """

    def generate(context, builder, signature, args):
        v, kinds = Lanes(builder, 16), signature.args
        whole, small = ir.VectorType(I32, 16), ir.VectorType(I8, 16)
        source = pointer(context, builder, kinds[0], args[0], I64(0))
        target = pointer(context, builder, kinds[3], args[3], I64(0))
        inverse, zeros = broadcast(builder, args[2], 16), ir.Constant(small, None)

        def spread(bytes_, which):
            """Return component ``which`` of each four, 16 times."""
            lanes = [4 * (lane // 16) + which for lane in range(ROW)]
            lanes = ir.Constant(ir.VectorType(I32, ROW), lanes)
            return builder.shuffle_vector(bytes_, bytes_, lanes)

        def write(i, sums):
            values = builder.fmul(v.load(source, i), inverse)
            values = call(builder, "llvm.rint.v16f32", v.vector, [values])
            values = builder.fptosi(values, whole)
            numbers = builder.trunc(values, small)
            negative = builder.icmp_signed("<", numbers, zeros)
            least = builder.select(negative, builder.neg(numbers), zeros)
            above = builder.select(negative, zeros, numbers)
            entries = None
            for which in range(4):
                taken = [lane >> which & 1 for lane in range(16)] * 4
                taken = ir.Constant(ir.VectorType(I1, ROW), taken)
                part = builder.select(taken, spread(above, which), spread(least, which))
                entries = part if entries is None else builder.add(entries, part)
            where = builder.gep(target, [builder.mul(i, I64(4))])
            where = builder.bitcast(where, entries.type.as_pointer())
            builder.store(entries, where, align=1)
            lacking = builder.zext(least, whole)
            return [builder.add(sums[0], values), builder.add(sums[1], lacking)]

        sums = loop(builder, I64(0), args[1], 16, [splat(I32, 16, 0)] * 2, write)
        totals = [
            builder.sext(call(builder, "llvm.vector.reduce.add.v16i32", I32, [a]), I64)
            for a in sums
        ]
        return context.make_tuple(builder, signature.return_type, totals)

    i64 = types.int64
    returned = types.UniTuple(i64, 2)
    return returned(rotated, i64, types.float32, tables), generate
