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
from ann.kernels._jit import SIMD_LEVEL, VBMI, kernel
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
    multiply_add_bytes,
    pointer,
    prefetch_line,
    splat,
)  # fmt: skip
from ann.kernels.pool import insert, name_of, passes
from ann.kernels.stores import TABLE_DOT, TABLE_L1, begin_of

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
    kind: int  #: TABLE_L2, TABLE_DOT or TABLE_L1 of ``stores``
    cross: Any  #: (n,) float32 or None


# --- blocks ---------------------------------------------------------------------------


def n_blocks(sizes: Any) -> Any:
    """Return how many blocks each list of ``sizes`` vectors takes."""
    return -(-np.asarray(sizes) // BLOCK)


def pack_blocks(codes: Any, sizes: Any) -> Any:
    """Return the codes of consecutive lists in blocks; each list begins a new one.

    A block's row is 16 x 4 bytes: vector after vector, subspaces ``4 row`` to
    ``4 row + 3`` of each. Low halves of bytes are the block's first 16 vectors, high
    halves the others.

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
    filled = np.zeros((total * BLOCK, rows * 4), np.uint8)
    filled[slots(sizes), :m] = codes
    # Axes: block, half, row, vector, subspace.
    parts = filled.reshape(total, 2, 16, rows, 4).transpose(0, 1, 3, 2, 4)
    return (parts[:, 0] | (parts[:, 1] << np.uint8(4))).reshape(total, rows, ROW)


def unpack_blocks(blocks: Any, sizes: Any, m: int) -> Any:
    """Undo ``pack_blocks``."""
    total, rows, _ = blocks.shape
    parts = blocks.reshape(total, 1, rows, 16, 4)
    parts = np.concatenate([parts & np.uint8(15), parts >> np.uint8(4)], axis=1)
    filled = parts.transpose(0, 1, 3, 2, 4).reshape(total * BLOCK, rows * 4)
    return filled[slots(sizes), :m]


def slots(sizes: Any) -> Any:
    """Return where each vector of consecutive lists lies among the blocks' slots."""
    sizes = np.asarray(sizes)
    firsts = np.cumsum(n_blocks(sizes)) - n_blocks(sizes)
    starts = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) + np.repeat(firsts * BLOCK - starts, sizes)


# --- tables ---------------------------------------------------------------------------


def _entries(context, builder, kinds, words, at, q, q_at, dsub, kind):
    """Return 16 float32 entries ``Σ term(words[t, c], q[t])`` of a table."""
    v = Lanes(builder, 16)
    words = pointer(context, builder, kinds[0], words, at)
    q = pointer(context, builder, kinds[2], q, q_at)
    is_dot, is_l1 = (
        builder.icmp_signed("==", kind, I64(which)) for which in (TABLE_DOT, TABLE_L1)
    )

    def add(t, sums):
        word = v.load(words, builder.mul(t, I64(16)))
        qt = broadcast(builder, builder.load(builder.gep(q, [t])), 16)
        apart = builder.fsub(word, qt)
        total = builder.select(
            is_l1, v.add_abs(apart, sums[0]), v.add_square(apart, sums[0])
        )
        dot = v.fma(word, builder.fneg(qt), sums[0])
        return [builder.select(is_dot, dot, total)]

    return loop(builder, I64(0), dsub, 1, [splat(F32, 16, 0.0)], add)[0]


@intrinsic
def _ends(typingctx, words, at, q, q_at, dsub, kind):
    """Return the least and the largest entry of a table."""

    def generate(context, builder, signature, args):
        entries = _entries(context, builder, signature.args, *args)
        ends = [
            call(
                builder, f"llvm.vector.reduce.{end}.v16f32", F32, [entries],
                fastmath=("nnan",),
            )
            for end in ("fmin", "fmax")
        ]  # fmt: skip
        return context.make_tuple(builder, signature.return_type, ends)

    i64 = types.int64
    ends = types.UniTuple(types.float32, 2)
    return ends(words, i64, q, i64, i64, i64), generate


@intrinsic
def _round(typingctx, words, at, q, q_at, dsub, kind, least, inverse, out, byte):
    """Write 16 bytes ``round((entries - least) * inverse)`` to byte ``byte``."""

    def generate(context, builder, signature, args):
        v = Lanes(builder, 16)
        entries = _entries(context, builder, signature.args, *args[:6])
        values = builder.fsub(entries, broadcast(builder, args[6], 16))
        values = v.fma(values, broadcast(builder, args[7], 16), splat(F32, 16, 0.5))
        whole = builder.fptosi(values, ir.VectorType(I32, 16))
        whole = builder.trunc(whole, ir.VectorType(I8, 16))
        out = pointer(context, builder, signature.args[8], args[8], I64(0))
        out = builder.gep(builder.bitcast(out, I8.as_pointer()), [args[9]])
        builder.store(whole, builder.bitcast(out, whole.type.as_pointer()), align=1)
        return context.get_dummy_value()

    f32, i64 = types.float32, types.int64
    signature = types.void(words, i64, q, i64, i64, i64, f32, f32, out, i64)
    return signature, generate


def query_size(m: int) -> int:
    """Return how many float32 a query's memory has; see ``_begin``."""
    tables = -(-m // 4) * 4
    return 4 * tables + 16 + max(2 * BLOCK, tables)


@begin_of(FastScan)
def _begin(store, q, buffer):
    """Write a query's 8-bit tables: ``buffer`` is what follows, in float32.

    =============  =====================================================================
    ``4 tables``   tables of 16 bytes each; ``tables`` is m, or the multiple of 4 above
                   it with tables of 0
    ``16``         step and base: ``key = base + step * sum``
    ``tables``     scratch of at least 64: here the least entries of the tables, in a
                   scan 32 sums of 32 bits and 32 keys
    =============  =====================================================================

    The step is the least for which an entry fits into 8 bits and a sum into 16: with
    up to 128 tables of one range the former decides. Entries are computed twice, for
    the step and to be rounded: kept in between, they would make a query's memory four
    times as large, and in a batch that is what has to stay in the cache.
    """
    m, dsub, ksub = store.codewords.shape
    tables = store.blocks.shape[1] * 4
    write_tables(
        store.codewords, dsub * ksub, m, dsub, store.kind, tables, q, 0, buffer
    )


@kernel
def write_tables(words, stride, m, dsub, kind, tables, q, start, buffer):
    """Write the tables of ``m`` subspaces to a query's memory, as ``_begin`` describes.

    Codewords (dsub, 16) of subspace j begin at ``words.flat[j * stride]``, the query's
    part at ``q[start + j * dsub]``.
    """
    lows = 4 * tables + 16
    base = widest = total = np.float32(0.0)
    for j in range(m):
        low, high = _ends(words, j * stride, q, start + j * dsub, dsub, kind)
        buffer[lows + j] = low
        base += low
        widest = max(widest, high - low)
        total += high - low
    step = max(widest / np.float32(_TOP), total / np.float32(_LARGEST_SUM))
    inverse = np.float32(1.0) / step if step > np.float32(0.0) else np.float32(0.0)
    for j in range(m):
        _round(
            words, j * stride, q, start + j * dsub, dsub, kind, buffer[lows + j],
            inverse, buffer, 16 * j,
        )  # fmt: skip
    for j in range(4 * m, 4 * tables):
        buffer[j] = np.float32(0.0)
    buffer[4 * tables] = step
    buffer[4 * tables + 1] = base


# --- sums -----------------------------------------------------------------------------


def _row_loop(context, builder, kinds, args, zeros, add):
    """Carry sums through ``add(codes, table, sums)`` for each row of a block."""

    def load(which, byte):
        where = pointer(context, builder, kinds[which], args[which], I64(0))
        where = builder.gep(builder.bitcast(where, I8.as_pointer()), [byte])
        wide = ir.VectorType(I8, ROW).as_pointer()
        return builder.load(builder.bitcast(where, wide), align=1)

    def row(i, sums):
        at = builder.add(args[1], i)
        if not isinstance(kinds[6], types.NoneType):
            later = builder.add(at, args[6])
            where = pointer(context, builder, kinds[0], args[0], later)
            prefetch_line(builder, where)
        return add(load(0, at), load(3, i), sums)

    return loop(builder, I64(0), builder.mul(args[2], I64(ROW)), ROW, zeros, row)


def _store_sums(context, builder, kinds, args, sums):
    where = pointer(context, builder, kinds[4], args[4], args[5])
    builder.store(sums, builder.bitcast(where, sums.type.as_pointer()), align=4)
    return context.get_dummy_value()


@intrinsic
def _permuted_sums(typingctx, blocks, start, rows, tables, out, at, ahead):
    """Look up a whole row in 64 entries, then add four subspaces a lane (VBMI, VNNI).

    A row takes 7 instructions; by shuffles of 16 bytes, which leave the sums of
    subspaces apart and bytes to be widened, it takes 11.
    """

    def generate(context, builder, signature, args):
        row = ir.VectorType(I8, ROW)
        # The table within the row goes above a code; bits 6 and 7 are ignored.
        low_half, ones = splat(I8, ROW, 15), splat(I8, ROW, 1)
        which = ir.Constant(row, [16 * (i % 4) for i in range(ROW)])

        def look_up(table, codes, total):
            codes = builder.or_(builder.and_(codes, low_half), which)
            entries = call(
                builder, "llvm.x86.avx512.permvar.qi.512", row, [table, codes]
            )
            return multiply_add_bytes(builder, total, entries, ones)

        def add(codes, table, sums):
            shifted = builder.lshr(
                builder.bitcast(codes, ir.VectorType(I16, 32)), splat(I16, 32, 4)
            )
            low, high, *others = sums  # rows take turns, to hide the adder's latency
            low = look_up(table, codes, low)
            return [*others, low, look_up(table, builder.bitcast(shifted, row), high)]

        zeros = [splat(I32, 16, 0)] * 4
        kinds = signature.args
        sums = _row_loop(context, builder, kinds, args, zeros, add)
        low, high = (builder.add(sums[i], sums[i + 2]) for i in (0, 1))
        sums = _part(builder, low, high, 0, BLOCK)
        return _store_sums(context, builder, kinds, args, sums)

    i64 = types.int64
    return types.void(blocks, i64, i64, tables, out, i64, ahead), generate


@intrinsic
def _shuffled_sums(typingctx, blocks, start, rows, tables, out, at, ahead):
    """Look up 16 codes of two subspaces at a time, in sums of 16 bits (AVX2)."""

    def generate(context, builder, signature, args):
        words, half = ir.VectorType(I16, 16), ir.VectorType(I8, 32)
        low_half = splat(I8, 32, 15)
        four, eight = splat(I16, 16, 4), splat(I16, 16, 8)
        # By subspace, vectors 0 8 1 9 … 7 15: then even and odd bytes, which are summed
        # apart, are in order.
        order = [
            4 * (i // 2 + 8 * (i % 2)) + subspace
            for subspace in range(4)
            for i in range(16)
        ]
        order = ir.Constant(ir.VectorType(I32, ROW), order)

        def look_up(table, codes):
            codes = builder.and_(codes, low_half)
            found = call(builder, "llvm.x86.avx2.pshuf.b", half, [table, codes])
            return builder.bitcast(found, words)

        def add(codes, table, sums):
            codes = builder.shuffle_vector(codes, codes, order)
            both, odd, both_high, odd_high = sums
            for first in (0, 32):
                code, entries = (
                    _part(builder, a, a, first, 32) for a in (codes, table)
                )
                shifted = builder.lshr(builder.bitcast(code, words), four)
                low = look_up(entries, code)
                high = look_up(entries, builder.bitcast(shifted, half))
                both, odd = (
                    builder.add(both, low),
                    builder.add(odd, builder.lshr(low, eight)),
                )
                both_high, odd_high = (
                    builder.add(both_high, high),
                    builder.add(odd_high, builder.lshr(high, eight)),
                )
            return [both, odd, both_high, odd_high]

        zeros, kinds = [splat(I16, 16, 0)] * 4, signature.args
        low, low_odd, high, high_odd = _row_loop(
            context, builder, kinds, args, zeros, add
        )
        parts = []
        for both, odd in ((low, low_odd), (high, high_odd)):
            for part in (builder.sub(both, builder.shl(odd, eight)), odd):
                lanes = (_part(builder, part, part, first, 8) for first in (0, 8))
                parts.append(builder.add(*lanes))
        pairs = [_part(builder, *parts[i : i + 2], 0, 16) for i in (0, 2)]
        sums = builder.zext(_part(builder, *pairs, 0, 32), ir.VectorType(I32, BLOCK))
        return _store_sums(context, builder, kinds, args, sums)

    i64 = types.int64
    return types.void(blocks, i64, i64, tables, out, i64, ahead), generate


def _part(builder, a, b, first, count):
    mask = ir.Constant(ir.VectorType(I32, count), list(range(first, first + count)))
    return builder.shuffle_vector(a, b, mask)


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
def _put32(typingctx, array, at, value):
    """Write an int32 to ``array.flat[at]``, whose elements are of 32 bits."""

    def generate(context, builder, signature, args):
        where = pointer(context, builder, signature.args[0], *args[:2])
        builder.store(args[2], builder.bitcast(where, I32.as_pointer()))
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int32), generate


@kernel
def _plain_sums(blocks, start, rows, tables, out, at, ahead):
    for i in range(16):
        low = high = 0
        for row in range(rows):
            for j in range(4):
                code = np.int64(_byte(blocks, start + ROW * row + 4 * i + j))
                low += np.int64(_byte(tables, ROW * row + 16 * j + (code & 15)))
                high += np.int64(_byte(tables, ROW * row + 16 * j + (code >> 4)))
        _put32(out, at + i, np.int32(low))
        _put32(out, at + 16 + i, np.int32(high))


def sums(level: str, vbmi: bool = VBMI) -> Any:
    """Return ``f(blocks, start, rows, tables, out, at, ahead)`` of a vector level.

    All variants write the same numbers. AVX-512 has a variant of its own with VBMI.

    It sums up the table entries of a block's 32 codes. The block begins at byte
    ``start`` and has ``rows`` of 64 bytes; the tables are the bytes of ``tables``, 64 a
    row. 32 int32, in order of vectors, are written to ``out[at:]``. Unless ``ahead`` is
    None, the line so many bytes behind each row that is read is asked for.
    """
    if level == "avx512" and vbmi:
        return _permuted_sums
    return _plain_sums if level == "portable" else _shuffled_sums


block_sums = sums(SIMD_LEVEL)


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
        whole = ir.VectorType(I32, BLOCK)
        sums = builder.load(builder.bitcast(where, whole.as_pointer()), align=4)
        step, base, limit = (broadcast(builder, args[p], BLOCK) for p in (2, 3, 7))
        key = builder.fadd(base, builder.fmul(step, builder.sitofp(sums, v.vector)))
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


def scan_blocks(
    store, query, slot, first, count, then, bias, row_ids, keys, ids, allowed=None
):
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
        block_sums(store.blocks, at, rows, query, query, scratch + 16, None)
        bits = _keys(
            query, scratch + 16, step, base, store.cross, first + offset,
            count - offset, keys[k - 1], query, scratch + 16 + BLOCK,
        )  # fmt: skip
        while bits != 0:
            lane = simd.trailing_zeros(bits)
            bits &= bits - np.uint32(1)
            i, key = first + offset + lane, query[scratch + 16 + BLOCK + lane]
            if key <= keys[k - 1]:
                name = name_of(row_ids, i)
                if allowed is None or passes(allowed, name):
                    insert(keys, ids, k, k, key, name)
        at += rows * ROW
