"""FastScan: tables of 16 entries held in vector registers and looked up by shuffles.

André, Kermarrec & Le Scouarnec, "Cache locality is not enough: high-performance nearest
neighbor search with product quantization fast scan", VLDB 2015, Sec. 4; with 4-bit
codes, as in FAISS, a whole table fits into a register. A shuffle looks up 16 bytes a
lane, so codes lie in blocks of 32, one subspace after the other; see ``pack_blocks``.

Tables are rounded to 8 bits with one step for all, so the sum of entries is a whole
number that orders codes: ``key = base + step * sum``. Sums are 16-bit and never
overflow (see ``_begin``). Whole numbers are the same on every processor.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ann.kernels import simd
from ann.kernels._jit import SIMD_LEVEL, kernel
from ann.kernels.emit import (
    F32,
    I8,
    I16,
    I32,
    I64,
    Lanes,
    broadcast,
    call,
    loop,
    pointer,
    splat,
)  # fmt: skip
from ann.kernels.pool import insert
from ann.kernels.stores import TABLE_DOT, TABLE_L2, begin_of

BLOCK = 32  # codes; a block of 64 would leave more of an IVF's short lists empty
ROW = 64  # bytes of a block's row: four subspaces
MOST_TABLES = 2**15  # of which no sum overflows 16 bits
_TOP = 255.0  # largest entry of a table
_LARGEST_SUM = 2.0**15  # of exact entries; rounding adds at most half a step a table


class FastScan(NamedTuple):
    """4-bit codes in blocks.

    Key of vector i: the sum of its table entries, plus ``cross[i]`` where there is one.
    """

    blocks: np.ndarray  #: (n_blocks, rows, 64) uint8
    codewords: np.ndarray  #: (m, dsub, 16) float32, the codebooks transposed
    kind: int  #: TABLE_L2, TABLE_DOT or TABLE_L1
    cross: Any  #: (n,) float32 or None


# --- blocks ---------------------------------------------------------------------------


def n_blocks(sizes: Any) -> Any:
    """Return how many blocks each list of ``sizes`` vectors takes."""
    return -(-np.asarray(sizes) // BLOCK)


def pack_blocks(codes: Any, sizes: Any) -> Any:
    """Return the codes of consecutive lists in blocks; each list begins a new one.

    A block's row is 4 x 16 bytes, for subspaces ``4 row`` to ``4 row + 3``. The low
    halves of its 16 bytes are vectors 0 8 1 9 … 7 15 of the block, the high halves the
    same of the other 16: even and odd bytes are then summed apart, in order.

    Parameters
    ----------
    codes : (n, m) uint8        below 16
    sizes : (nlist,) int        that add up to n

    Returns
    -------
    blocks : (n_blocks, ceil(m / 4), 64) uint8      what is empty is 0
    """
    m, each = codes.shape[1], n_blocks(sizes)
    rows, total = -(-m // 4), int(each.sum())
    slots = np.zeros((total * BLOCK, rows * 4), np.uint8)
    slots[_slots(sizes), :m] = codes
    # Axes: block, half, odd, vector, row, subspace.
    parts = slots.reshape(total, 2, 2, 8, rows, 4).transpose(0, 1, 4, 5, 3, 2)
    packed = parts[:, 0] | (parts[:, 1] << np.uint8(4))
    return packed.reshape(total, rows, ROW)


def unpack_blocks(blocks: Any, sizes: Any, m: int) -> Any:
    """Undo ``pack_blocks``."""
    total, rows, _ = blocks.shape
    parts = blocks.reshape(total, 1, rows, 4, 8, 2)
    parts = np.concatenate([parts & np.uint8(15), parts >> np.uint8(4)], axis=1)
    slots = parts.transpose(0, 1, 5, 4, 2, 3).reshape(total * BLOCK, rows * 4)
    return slots[_slots(sizes), :m]


def _slots(sizes):
    """Return where each vector of consecutive lists lies among the blocks' slots."""
    sizes = np.asarray(sizes)
    firsts = np.cumsum(n_blocks(sizes)) - n_blocks(sizes)
    starts = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) + np.repeat(firsts * BLOCK - starts, sizes)


# --- tables ---------------------------------------------------------------------------


def _table_row(term):
    """Return an intrinsic that writes one table of float32 and returns its range.

    ``f(words, at, q, q_at, dsub, out, out_at) -> (least, largest)``: 16 entries
    ``Σ term(words[t, c], q[t])``.
    """

    @intrinsic
    def row(typingctx, words, at, q, q_at, dsub, out, out_at):
        i64 = types.int64

        def generate(context, builder, signature, args):
            v = Lanes(builder, 16)
            words, q, out = (
                pointer(context, builder, signature.args[p], args[p], args[p + 1])
                for p in (0, 2, 5)
            )

            def add(t, sums):
                word = v.load(words, builder.mul(t, I64(16)))
                qt = broadcast(builder, builder.load(builder.gep(q, [t])), 16)
                return [term(v, word, qt, sums[0])]

            (entries,) = loop(builder, I64(0), args[4], 1, [splat(F32, 16, 0.0)], add)
            where = builder.bitcast(out, entries.type.as_pointer())
            builder.store(entries, where, align=4)
            ends = [
                call(builder, f"llvm.vector.reduce.{end}.v16f32", F32, [entries])
                for end in ("fmin", "fmax")
            ]
            return context.make_tuple(builder, signature.return_type, ends)

        ends = types.UniTuple(types.float32, 2)
        return ends(words, i64, q, i64, i64, out, i64), generate

    return row


_l2_row = _table_row(lambda v, word, q, acc: v.add_square(v.builder.fsub(word, q), acc))
_dot_row = _table_row(lambda v, word, q, acc: v.fma(word, v.builder.fneg(q), acc))
_l1_row = _table_row(lambda v, word, q, acc: v.add_abs(v.builder.fsub(word, q), acc))


@intrinsic
def _round_row(typingctx, entries, at, least, inverse, out, byte):
    """Write 16 bytes ``round((entries - least) * inverse)`` to byte ``byte``."""

    def generate(context, builder, signature, args):
        v = Lanes(builder, 16)
        values = v.load(pointer(context, builder, signature.args[0], *args[:2]), I64(0))
        values = builder.fsub(values, broadcast(builder, args[2], 16))
        values = v.fma(values, broadcast(builder, args[3], 16), splat(F32, 16, 0.5))
        whole = builder.fptosi(values, ir.VectorType(I32, 16))
        whole = builder.trunc(whole, ir.VectorType(I8, 16))
        out = pointer(context, builder, signature.args[4], args[4], I64(0))
        out = builder.gep(builder.bitcast(out, I8.as_pointer()), [args[5]])
        builder.store(whole, builder.bitcast(out, whole.type.as_pointer()), align=1)
        return context.get_dummy_value()

    f32, i64 = types.float32, types.int64
    return types.void(entries, i64, f32, f32, out, i64), generate


def query_size(m: int) -> int:
    """Return how many float32 a query's memory has; see ``_begin``."""
    tables = -(-m // 4) * 4
    return 4 * tables + 16 + 16 + BLOCK + 17 * tables


@begin_of(FastScan)
def _begin(store, q, buffer):
    """Write a query's 8-bit tables: ``buffer`` is what follows, in float32.

    ====================  ==============================================================
    ``4 tables``          tables of 16 bytes each; ``tables`` is m, or the multiple of 4
                          above it with tables of 0
    ``16``                step and base: ``key = base + step * sum``
    ``16``, ``32``        scratch of a scan: 32 sums of 16 bits, 32 keys
    ``17 tables``         scratch: the tables as float32, their least entries
    ====================  ==============================================================

    The step is the least for which an entry fits into 8 bits and a sum into 16: with
    up to 128 tables of one range the former decides.
    """
    m, dsub, _ = store.codewords.shape
    tables = store.blocks.shape[1] * 4
    exact = 4 * tables + 32 + BLOCK
    lows = exact + 16 * tables
    base = widest = total = np.float32(0.0)
    for j in range(m):
        words, entries = j * dsub * 16, exact + 16 * j
        if store.kind == TABLE_L2:
            low, high = _l2_row(
                store.codewords, words, q, j * dsub, dsub, buffer, entries
            )
        elif store.kind == TABLE_DOT:
            low, high = _dot_row(
                store.codewords, words, q, j * dsub, dsub, buffer, entries
            )
        else:
            low, high = _l1_row(
                store.codewords, words, q, j * dsub, dsub, buffer, entries
            )
        buffer[lows + j] = low
        base += low
        widest = max(widest, high - low)
        total += high - low
    step = max(widest / np.float32(_TOP), total / np.float32(_LARGEST_SUM))
    inverse = np.float32(1.0) / step if step > np.float32(0.0) else np.float32(0.0)
    for j in range(m):
        _round_row(buffer, exact + 16 * j, buffer[lows + j], inverse, buffer, 16 * j)
    for j in range(4 * m, 4 * tables):
        buffer[j] = np.float32(0.0)
    buffer[4 * tables] = step
    buffer[4 * tables + 1] = base


# --- sums -----------------------------------------------------------------------------


def _bytes(context, builder, array_type, array, byte, lanes):
    """Return ``<lanes x i8>`` at a byte of an array, whatever its elements are."""
    where = pointer(context, builder, array_type, array, I64(0))
    where = builder.gep(builder.bitcast(where, I8.as_pointer()), [byte])
    wide = ir.VectorType(I8, lanes).as_pointer()
    return builder.load(builder.bitcast(where, wide), align=1)


def _shuffled_sums(shuffle, width):
    """Return ``sums`` in steps of ``width`` bytes, ``shuffle`` by lanes of 16."""

    @intrinsic
    def sums(typingctx, blocks, start, rows, tables, out, at):
        def generate(context, builder, signature, args):
            words, byte = ir.VectorType(I16, width // 2), ir.VectorType(I8, width)
            low_half, eight = splat(I8, width, 15), splat(I16, width // 2, 8)
            four = splat(I16, width // 2, 4)

            def look_up(table, codes):
                codes = builder.and_(codes, low_half)
                found = call(builder, shuffle, byte, [table, codes])
                return builder.bitcast(found, words)

            def add(i, sums):
                codes = _bytes(
                    context, builder, signature.args[0], args[0],
                    builder.add(args[1], i), width,
                )  # fmt: skip
                table = _bytes(context, builder, signature.args[3], args[3], i, width)
                shifted = builder.lshr(builder.bitcast(codes, words), four)
                both, odd, both_high, odd_high = sums
                low = look_up(table, codes)
                high = look_up(table, builder.bitcast(shifted, byte))
                return [
                    builder.add(both, low),
                    builder.add(odd, builder.lshr(low, eight)),
                    builder.add(both_high, high),
                    builder.add(odd_high, builder.lshr(high, eight)),
                ]

            size = builder.mul(args[2], I64(ROW))
            zeros = [splat(I16, width // 2, 0)] * 4
            low, low_odd, high, high_odd = loop(
                builder, I64(0), size, width, zeros, add
            )
            parts = []
            for both, odd in ((low, low_odd), (high, high_odd)):
                parts += [builder.sub(both, builder.shl(odd, eight)), odd]
            while parts[0].type.count > 8:
                parts = [_folded(builder, part) for part in parts]
            whole = _joined(
                builder,
                _joined(builder, *parts[:2]),
                _joined(builder, *parts[2:]),
            )
            where = pointer(context, builder, signature.args[4], args[4], args[5])
            where = builder.bitcast(where, whole.type.as_pointer())
            builder.store(whole, where, align=4)
            return context.get_dummy_value()

        i64 = types.int64
        return types.void(blocks, i64, i64, tables, out, i64), generate

    return sums


def _part(builder, a, b, first, count):
    mask = ir.Constant(ir.VectorType(I32, count), list(range(first, first + count)))
    return builder.shuffle_vector(a, b, mask)


def _folded(builder, a):
    """Add the upper half of a vector to the lower."""
    half = a.type.count // 2
    return builder.add(_part(builder, a, a, 0, half), _part(builder, a, a, half, half))


def _joined(builder, a, b):
    return _part(builder, a, b, 0, 2 * a.type.count)


@intrinsic
def _byte(typingctx, array, byte):
    """Byte ``byte`` of an array, whatever its elements are."""

    def generate(context, builder, signature, args):
        where = pointer(context, builder, signature.args[0], args[0], I64(0))
        return builder.load(
            builder.gep(builder.bitcast(where, I8.as_pointer()), [args[1]])
        )

    return types.uint8(array, types.int64), generate


@intrinsic
def _put16(typingctx, array, at, lane, value):
    """Write a uint16 to the ``lane``-th pair of bytes behind ``array.flat[at]``."""

    def generate(context, builder, signature, args):
        where = pointer(context, builder, signature.args[0], *args[:2])
        where = builder.gep(builder.bitcast(where, I16.as_pointer()), [args[2]])
        builder.store(args[3], where)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(array, i64, i64, types.uint16), generate


@kernel
def _plain_sums(blocks, start, rows, tables, out, at):
    for i in range(16):
        byte = (i >> 3) + 2 * (i & 7)  # of vectors i and 16 + i; see ``pack_blocks``
        low = high = 0
        for subspace in range(4 * rows):
            code = np.int64(_byte(blocks, start + 16 * subspace + byte))
            low += np.int64(_byte(tables, 16 * subspace + (code & 15)))
            high += np.int64(_byte(tables, 16 * subspace + (code >> 4)))
        _put16(out, at, i, np.uint16(low))
        _put16(out, at, 16 + i, np.uint16(high))


def sums(level: str) -> Any:
    """Return ``f(blocks, start, rows, tables, out, at)`` of a vector level.

    It sums up the table entries of a block's 32 codes. The block begins at byte
    ``start`` and has ``rows`` of 64 bytes; the tables are the bytes of ``tables``, 64 a
    row. 32 uint16, in order of vectors, are written to the 64 bytes at ``out[at]``.
    """
    if level == "avx512":
        return _shuffled_sums("llvm.x86.avx512.pshuf.b.512", 64)
    if level == "avx2":
        return _shuffled_sums("llvm.x86.avx2.pshuf.b", 32)
    return _plain_sums


_sums = sums(SIMD_LEVEL)


# --- the scan -------------------------------------------------------------------------


@intrinsic
def _keys(typingctx, sums, at, step, base, cross, first, count, limit, keys, to):
    """Write a block's keys and return which of the first ``count`` are ``<= limit``.

    ``key[i] = base + step * sum[i]``, ``+ cross[first + i]`` unless that is None, from
    the 32 uint16 at ``sums[at]`` to ``keys[to:to+32]``. Bits of vectors, the lowest
    first. Products are rounded before they are added, as plain code would.
    """

    def generate(context, builder, signature, args):
        v = Lanes(builder, BLOCK)
        where = pointer(context, builder, signature.args[0], args[0], args[1])
        whole = ir.VectorType(I16, BLOCK)
        sums = builder.load(builder.bitcast(where, whole.as_pointer()), align=4)
        step, base, limit = (broadcast(builder, args[p], BLOCK) for p in (2, 3, 7))
        key = builder.fadd(base, builder.fmul(step, builder.uitofp(sums, v.vector)))
        rest = builder.sub(I64(BLOCK), args[6])
        rest = builder.select(builder.icmp_signed(">", rest, I64(0)), rest, I64(0))
        used = builder.lshr(I32(-1), builder.trunc(rest, I32))
        if not isinstance(signature.args[4], types.NoneType):
            mask = builder.bitcast(used, ir.VectorType(ir.IntType(1), BLOCK))
            where = pointer(context, builder, signature.args[4], args[4], args[5])
            key = builder.fadd(key, v.load(where, I64(0), mask))
        out = pointer(context, builder, signature.args[8], args[8], args[9])
        builder.store(key, builder.bitcast(out, v.vector.as_pointer()), align=4)
        within = builder.bitcast(builder.fcmp_ordered("<=", key, limit), I32)
        return builder.and_(within, used)

    i64, f32 = types.int64, types.float32
    signature = types.uint32(sums, i64, f32, f32, cross, i64, i64, f32, keys, i64)
    return signature, generate


def scan_blocks(store, query, slot, first, count, then, bias, row_ids, keys, ids):
    """Score the ``count`` codes from slot ``slot`` on into a pool; see ``scan_range``.

    ``slot`` is a multiple of 32. Survivors of the present k-th key come as bits, so
    there is no branch for the others. The hardware fetches a list's blocks by itself:
    asking for the next list's while one is scanned made a search of 160 lists (384
    dimensions in 192 subspaces) 1.4 times as long.
    """
    rows, k = store.blocks.shape[1], keys.size
    scratch = 16 * rows
    step, base = query[scratch], query[scratch + 1] + bias
    at = (slot // BLOCK) * rows * ROW
    for offset in range(0, count, BLOCK):
        _sums(store.blocks, at, rows, query, query, scratch + 16)
        bits = _keys(
            query, scratch + 16, step, base, store.cross, first + offset,
            count - offset, keys[k - 1], query, scratch + 32,
        )  # fmt: skip
        while bits != 0:
            lane = simd.trailing_zeros(bits)
            bits &= bits - np.uint32(1)
            i, key = first + offset + lane, query[scratch + 32 + lane]
            if key <= keys[k - 1]:
                name = np.int32(i) if row_ids is None else row_ids[i]
                insert(keys, ids, k, k, key, name)
        at += rows * ROW
