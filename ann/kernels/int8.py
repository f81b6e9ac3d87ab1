"""Sums over 8- and 4-bit codes, in integers, written as LLVM IR.

A code is a point ``u`` of a grid of 256: a byte, or for 4 bits the 16 points that are
multiples of 16, two to a byte. Integer sums are exact, so all levels give the same:

=========  ============================================================================
avx512     64 bytes a step; ``vpdpbusd`` multiplies and adds four of them a lane (VNNI)
avx2       32 bytes a step, widened to 16 bits for ``vpmaddwd``
portable   a plain loop for any processor; the twin that the others are tested with
=========  ============================================================================

Lengths are multiples of ``STEP`` bytes: rows and queries are padded with zeros. Vectors
are named by (array, offset of the first element), and an array of any type will do.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ann.kernels._jit import SIMD_LEVEL, reduction
from ann.kernels.emit import (
    I8,
    I16,
    I32,
    I64,
    call,
    loop,
    multiply_add_bytes,
    pointer,
    splat,
)

STEP = 16  # bytes
_WIDTH = {"avx512": 64, "avx2": 32}  # bytes of a vector


class _Bytes:
    """Steps of ``width`` bytes; an operand comes as one or two vectors of them."""

    def __init__(self, builder, width, vnni):
        self.builder, self.width, self.vnni = builder, width, vnni

    def load(self, base, index, kind=I8):
        """``width`` elements from ``base[index]``, of the given kind."""
        b, wide = self.builder, ir.VectorType(kind, self.width)
        typed = b.bitcast(base, kind.as_pointer())
        where = b.bitcast(b.gep(typed, [index]), wide.as_pointer())
        return b.load(where, align=kind.width // 8)

    def nibbles(self, base, index):
        """Grid points of the codes in the low halves, and in the high halves."""
        codes, b = self.load(base, index), self.builder
        high = splat(I8, self.width, 0xF0)
        return [
            b.and_(b.shl(codes, splat(I8, self.width, 4)), high),
            b.and_(codes, high),
        ]

    def nibble_words(self, base, index):
        """Return the same points as 16 bits, which unlike bytes can be shifted."""
        codes, b = self.words(self.load(base, index)), self.builder
        high = splat(I16, self.width, 0xF0)
        return [
            b.and_(b.shl(codes, splat(I16, self.width, 4)), high),
            b.and_(codes, high),
        ]

    def words(self, vector):
        """Unsigned bytes as 16 bits."""
        return self.builder.zext(vector, ir.VectorType(I16, self.width))

    def zeros(self):
        return splat(I32, self.width // 4, 0)

    def multiply_add(self, a, b, acc):
        """``acc`` + the products of 16-bit elements, summed in pairs."""
        builder, lanes = self.builder, self.width // 4
        n = 2 * lanes  # of 16 bits in a register of `width` bytes
        name = {16: "sse2.pmadd.wd", 32: "avx2.pmadd.wd", 64: "avx512.pmaddw.d.512"}
        for start in (0, n):
            pick = ir.Constant(ir.VectorType(I32, n), list(range(start, start + n)))
            half = [builder.shuffle_vector(x, x, pick) for x in (a, b)]
            total = call(builder, f"llvm.x86.{name[self.width]}", acc.type, half)
            acc = builder.add(acc, total)
        return acc

    def dot(self, a, b, acc):
        """``acc`` + products of unsigned bytes ``a`` and signed bytes ``b``."""
        builder = self.builder
        if not self.vnni:
            wide = ir.VectorType(I16, self.width)
            return self.multiply_add(builder.zext(a, wide), builder.sext(b, wide), acc)
        return multiply_add_bytes(builder, acc, a, b)

    def square(self, a, b, acc):
        """``acc`` + squared differences of 16-bit elements."""
        difference = self.builder.sub(a, b)
        return self.multiply_add(difference, difference, acc)

    def absolute(self, a, b, acc):
        """``acc`` + differences of unsigned bytes, as they are without sign."""
        name = {16: "sse2.psad.bw", 32: "avx2.psad.bw", 64: "avx512.psad.bw.512"}
        sums = ir.VectorType(I64, self.width // 8)
        total = call(self.builder, f"llvm.x86.{name[self.width]}", sums, [a, b])
        return self.builder.add(acc, self.builder.bitcast(total, acc.type))

    def sum(self, acc):
        name = f"llvm.vector.reduce.add.v{self.width // 4}i32"
        return call(self.builder, name, I32, [acc])


# --- a term: what one step of two operands adds ---------------------------------------


def _dot_bytes(v, a, b, i, length, acc):
    return v.dot(v.load(a, i), v.load(b, i), acc)


def _dot_nibbles(v, a, b, i, length, acc):
    low, high = v.nibbles(a, i)
    acc = v.dot(low, v.load(b, i), acc)
    return v.dot(high, v.load(b, v.builder.add(i, length)), acc)


def _square_bytes(v, a, b, i, length, acc):
    return v.square(v.words(v.load(a, i)), v.load(b, i, I16), acc)


def _square_nibbles(v, a, b, i, length, acc):
    low, high = v.nibble_words(a, i)
    acc = v.square(low, v.load(b, i, I16), acc)
    return v.square(high, v.load(b, v.builder.add(i, length), I16), acc)


def _absolute_bytes(v, a, b, i, length, acc):
    return v.absolute(v.load(a, i), v.load(b, i), acc)


def _absolute_nibbles(v, a, b, i, length, acc):
    low, high = v.nibbles(a, i)
    acc = v.absolute(low, v.load(b, i), acc)
    return v.absolute(high, v.load(b, v.builder.add(i, length)), acc)


def _square_two_bytes(v, a, b, i, length, acc):
    return v.square(v.words(v.load(a, i)), v.words(v.load(b, i)), acc)


def _square_two_nibbles(v, a, b, i, length, acc):
    for x, y in zip(v.nibble_words(a, i), v.nibble_words(b, i), strict=True):
        acc = v.square(x, y, acc)
    return acc


def _absolute_two_nibbles(v, a, b, i, length, acc):
    for x, y in zip(v.nibbles(a, i), v.nibbles(b, i), strict=True):
        acc = v.absolute(x, y, acc)
    return acc


def _summation(level: str, term: Callable[..., Any]) -> Any:
    """Return an intrinsic ``f(a, a_start, b, b_start, length) -> int32``."""
    width, vnni = _WIDTH[level], level == "avx512"

    def generate(context, builder, signature, values):
        kinds, length = signature.args, values[4]
        a = pointer(context, builder, kinds[0], values[0], values[1])
        b = pointer(context, builder, kinds[2], values[2], values[3])

        def steps(v, count):
            def body(i, accs):
                at = [builder.add(i, I64(v.width * step)) for step in range(count)]
                return [
                    term(v, a, b, j, length, acc)
                    for j, acc in zip(at, accs, strict=True)
                ]

            return body

        wide, narrow = _Bytes(builder, width, vnni), _Bytes(builder, STEP, vnni)
        by_two = builder.and_(length, I64(-2 * width))
        by_one = builder.and_(length, I64(-width))
        zeros = [wide.zeros(), wide.zeros()]
        accs = loop(builder, I64(0), by_two, 2 * width, zeros, steps(wide, 2))
        acc = builder.add(*accs)
        (acc,) = loop(builder, by_two, by_one, width, [acc], steps(wide, 1))
        (rest,) = loop(
            builder, by_one, length, STEP, [narrow.zeros()], steps(narrow, 1)
        )
        return builder.add(wide.sum(acc), narrow.sum(rest))

    @intrinsic
    def total(typingctx, a, i, b, j, length):
        i64 = types.int64
        return types.int32(a, i64, b, i64, i64), generate

    return total


# --- single elements, of arrays that hold them under another type ---------------------


def _reader(kind: ir.IntType, result: types.Integer, signed: bool) -> Any:
    """Return ``f(array, start, i)``, element ``i`` of the bytes from ``start`` on."""

    def generate(context, builder, signature, args):
        base = pointer(context, builder, signature.args[0], args[0], args[1])
        where = builder.gep(builder.bitcast(base, kind.as_pointer()), [args[2]])
        widen = builder.sext if signed else builder.zext
        return widen(builder.load(where, align=1), I32)

    @intrinsic
    def read(typingctx, array, start, i):
        return result(array, types.int64, types.int64), generate

    return read


u8, s8, s16 = (
    _reader(kind, types.int32, signed)
    for kind, signed in ((I8, False), (I8, True), (I16, True))
)


@intrinsic
def put(typingctx, array, start, i, value):
    """Write ``value`` as element ``i`` of its own type, counted from ``start``."""

    def generate(context, builder, signature, args):
        base = pointer(context, builder, signature.args[0], args[0], args[1])
        kind = args[3].type.as_pointer()
        where = builder.gep(builder.bitcast(base, kind), [args[2]])
        builder.store(args[3], where, align=1)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64, value), generate


# --- the portable twins: the same sums as plain loops ---------------------------------


@reduction
def _byte(a, i, t, length):
    return u8(a, i, t)


@reduction
def _signed_byte(a, i, t, length):
    return s8(a, i, t)


@reduction
def _word(a, i, t, length):
    return s16(a, i, t)


@reduction
def _nibble(a, i, t, length):
    if t < length:
        return (u8(a, i, t) << 4) & 0xF0
    return u8(a, i, t - length) & 0xF0


@reduction
def _product(x, y):
    return x * y


@reduction
def _squared(x, y):
    return (x - y) * (x - y)


@reduction
def _absolute(x, y):
    return abs(x - y)


def _plain(per_byte: int, left: Any, right: Any, term: Any) -> Any:
    @reduction
    def total(a, i, b, j, length):
        total = np.int32(0)
        for t in range(per_byte * length):
            total += np.int32(term(left(a, i, t, length), right(b, j, t, length)))
        return total

    return total


class Sums(NamedTuple):
    """One variant of every sum: ``f(a, a_start, b, b_start, length in bytes of a)``.

    A query has one element per code: for 4 bits those of the low halves, then those of
    the high ones.
    """

    dot_u8: Any  #: Σ u·q, q signed bytes
    dot_u4: Any
    square_u8: Any  #: Σ (u − q)², q 16-bit
    square_u4: Any
    absolute_u8: Any  #: Σ |u − q|, q bytes; and between two rows of codes
    absolute_u4: Any
    square_u8_u8: Any  #: between two rows of codes
    square_u4_u4: Any
    absolute_u4_u4: Any


def sums(level: str) -> Sums:
    """Return the variant of a vector level: ``avx512``, ``avx2`` or ``portable``."""
    if level == "portable":
        return Sums(
            _plain(1, _byte, _signed_byte, _product),
            _plain(2, _nibble, _signed_byte, _product),
            _plain(1, _byte, _word, _squared),
            _plain(2, _nibble, _word, _squared),
            _plain(1, _byte, _byte, _absolute),
            _plain(2, _nibble, _byte, _absolute),
            _plain(1, _byte, _byte, _squared),
            _plain(2, _nibble, _nibble, _squared),
            _plain(2, _nibble, _nibble, _absolute),
        )
    terms = (
        _dot_bytes,
        _dot_nibbles,
        _square_bytes,
        _square_nibbles,
        _absolute_bytes,
        _absolute_nibbles,
        _square_two_bytes,
        _square_two_nibbles,
        _absolute_two_nibbles,
    )
    return Sums(*(_summation(level, term) for term in terms))


(
    dot_u8,
    dot_u4,
    square_u8,
    square_u4,
    absolute_u8,
    absolute_u4,
    square_u8_u8,
    square_u4_u4,
    absolute_u4_u4,
) = sums(SIMD_LEVEL)
