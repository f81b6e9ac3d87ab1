"""RaBitQ: inner products from codes of 1 to 8 bits, with a bound of their error.

Gao & Long, "RaBitQ", SIGMOD 2024 (one bit); Gao et al., "Practical and asymptotically
optimal quantization of high-dimensional vectors in Euclidean space for approximate
nearest neighbor search", SIGMOD 2025 (more). docs/rabitq.md derives what is used here.

A vector is ``x = c + r``, c a centre; its code is the vector s of half-odd numbers that
points most nearly to R r, with R a random rotation. ``⟨r, v⟩ ≈ f ⟨s, R v⟩`` for any v,
with ``f = ‖r‖² / ⟨s, R r⟩``; over rotations that has no bias, and what it is off by is
within ``e ‖v‖`` with the probability that e was chosen for. The first bit of each
component alone, its sign, is such a code as well, with an f and an e of its own.

A component ``s = u − (2**bits − 1) / 2`` has the whole number u in ``bits`` planes:
64 components are ``bits`` words of 64 bits, from the lowest bit to the highest. In
scans 32 codes lie in a block: their signs as FastScan wants them (four of them are a
4-bit code, whose table has the sums of four components), so that only vectors whose
lower bound is not above the present k-th key have their other planes read.

Keys are ``constant + N + a + w f ⟨s, R q⟩`` with a factor w; a vector's terms, float32:

=====  ===============================================================================
N      ‖r‖², which counts under ``l2``
a1     what the sign's code leaves to be added: under ``dot`` −⟨r, c⟩, and for lists
       what the difference between their centroid and the queries' origin makes
f1     of the sign's code
e1     of the sign's code; from here on only where there are more bits
a2 f2  of the whole code
=====  ===============================================================================

A bound that holds only with some probability could make results depend on the order of
a scan. So a vector counts as no nearer than its lower bound, and results are those of
scoring all vectors by ``max(lower bound, key)``.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ann.kernels import fastscan, simd
from ann.kernels._jit import SIMD_LEVEL, kernel, reduction
from ann.kernels.emit import (
    F32,
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
)  # fmt: skip
from ann.kernels.fastscan import BLOCK, ROW, block_sums, write_tables
from ann.kernels.pool import insert, name_of, passes
from ann.kernels.rotation import Rotation, rotate
from ann.kernels.stores import (
    LINE,
    TABLE_DOT,
    begin_of,
    fetch_codes,
    fetch_of,
    lines_of,
    lines_of_codes,
    score_of,
)  # fmt: skip

WORD = 64  # components whose bits of one plane are a word
EPSILON = 1.9  # of the bound: in standard deviations of a random direction's component
_PARTS = 128  # a query's component is two signed bytes: this times the first, + second
_LARGEST = 127 * _PARTS + 63
_TINY = np.float32(1e-30)  # a smaller step is not inverted
_TRIED, _REFINED, _NARROWEST = 24, 24, 0.1  # steps of the grid, of the widest that fits
# Codewords whose inner product with −q are the sums of four components, by their bits.
_SIGNS = np.array([[-((c >> t) & 1) for c in range(16)] for t in range(4)], np.float32)

# Where things are in the head of a prepared query.
_HEAD = 16
_CONSTANT, _OF_NORM, _OF_CROSS, _OF_SUM, _OF_CENTRE = 0, 1, 2, 3, 4
_OF_SIGNS, _SIGNS_LEFT, _OF_ERROR = 5, 6, 7
_OF_BIAS, _SQUARE, _OF_LIST = 8, 9, 10


class Planes(NamedTuple):
    """Codes in rows: for random access."""

    codes: np.ndarray  #: (n, w) uint8: a vector's terms, then its planes
    rotation: Rotation
    centre: np.ndarray  #: (d,) float32
    bits: int
    euclidean: bool


class Blocks(NamedTuple):
    """Codes in blocks of 32, for scans; ``residual`` ones lie around their list's.

    A block has its codes' signs, in rows as of ``fastscan``; 32 of each term; and each
    code's planes but the highest.
    """

    blocks: np.ndarray  #: (n_blocks, size) uint8
    rotation: Rotation
    centre: np.ndarray  #: (d,) float32; 0 for residuals
    bits: int
    euclidean: bool
    residual: bool
    squares: np.ndarray  #: (nlist,) float32, centroids' squared norms for residuals


@kernel
def n_words(d):
    """Return how many words a plane of ``d`` components takes."""
    return -(-d // WORD)


@kernel
def n_terms(bits):
    """Return how many terms a vector has."""
    return 3 if bits == 1 else 6


def query_size(d: int) -> int:
    """Return how many float32 a query of rows has; see ``_prepare``."""
    return _HEAD + (WORD // 2 + WORD) * n_words(d)


def scan_query_size(d: int) -> int:
    """Return how many float32 a query of blocks has: tables, then that of rows."""
    return fastscan.query_size(WORD // 4 * n_words(d)) + query_size(d)


# --- single numbers among bytes -------------------------------------------------------


@intrinsic
def _term(typingctx, codes, byte):
    """Return the float32 at byte ``byte`` of an array."""

    def generate(context, builder, signature, args):
        where = pointer(context, builder, signature.args[0], *args)
        return builder.load(builder.bitcast(where, F32.as_pointer()), align=1)

    return types.float32(codes, types.int64), generate


# --- sums over planes -----------------------------------------------------------------


def _top_word(builder, base, word, high):
    """Return 64 signs of a block's code as a word, from four rows of 4 bytes.

    ``base`` is at the code's bytes in the block's first row; its halves of them are the
    high ones if ``high`` is 4, the low ones if it is 0.
    """
    total = I64(0)
    for part in range(WORD // 16):
        row = builder.add(builder.mul(word, I64(WORD // 16)), I64(part))
        where = builder.gep(base, [builder.mul(row, I64(ROW))])
        four = builder.load(builder.bitcast(where, I32.as_pointer()), align=1)
        four = builder.and_(builder.lshr(four, high), I32(0x0F0F0F0F))
        for shift, mask in ((4, 0x00FF00FF), (8, 0x0000FFFF)):
            both = builder.or_(four, builder.lshr(four, I32(shift)))
            four = builder.and_(both, I32(mask))
        wide = builder.shl(builder.zext(four, I64), I64(16 * part))
        total = builder.or_(total, wide)
    return total


def planes_sum(level: str) -> Any:
    """Return an intrinsic that sums u times a query's whole numbers, for a level.

    ``f(codes, at, planes, words, query, bytes_at, top, high)``: the planes begin at
    byte ``at``, a query's bytes at float32 ``bytes_at``. If ``top`` >= 0, one plane
    more is a block's signs, whose first bytes are there; see ``_top_word``. A loop for
    each number of planes, with all of them in a row, was no faster.
    """
    multiply = multiply_add_bytes if level == "avx512" else multiply_add_words
    wide, bits = ir.VectorType(I8, WORD), ir.VectorType(I1, WORD)

    @intrinsic
    def total(typingctx, codes, at, planes, words, query, bytes_at, top, high):
        def generate(context, builder, signature, args):
            kinds = signature.args
            planes, words, high = args[2], args[3], builder.trunc(args[7], I32)
            has_top = builder.icmp_signed(">=", args[6], I64(0))
            first, signs = (
                pointer(context, builder, kinds[0], args[0], args[i]) for i in (1, 6)
            )
            parts = pointer(context, builder, kinds[4], args[4], args[5])
            parts = builder.bitcast(parts, I8.as_pointer())
            behind = builder.mul(words, I64(WORD))

            def take(word, u, weight):
                mask = builder.bitcast(word, bits)
                return builder.or_(u, builder.select(mask, weight, splat(I8, WORD, 0)))

            def chunk(i, sums):
                start = builder.mul(builder.mul(i, planes), I64(8))

                def plane(p, carried):
                    byte = builder.add(start, builder.mul(p, I64(8)))
                    where = builder.gep(first, [byte])
                    where = builder.bitcast(where, I64.as_pointer())
                    u = take(builder.load(where, align=1), *carried)
                    return [u, builder.add(carried[1], carried[1])]

                u, weight = loop(
                    builder, I64(0), planes, 1,
                    [splat(I8, WORD, 0), splat(I8, WORD, 1)], plane,
                )  # fmt: skip
                before = builder.block
                with builder.if_then(has_top):
                    word = _top_word(builder, signs, i, high)
                    more, inside = take(word, u, weight), builder.block
                codes = builder.phi(wide)
                codes.add_incoming(u, before)
                codes.add_incoming(more, inside)
                at = builder.mul(i, I64(WORD))
                out = []
                for acc, byte in zip(sums, (at, builder.add(at, behind)), strict=True):
                    where = builder.gep(parts, [byte])
                    where = builder.bitcast(where, wide.as_pointer())
                    values = builder.load(where, align=1)
                    out.append(multiply(builder, acc, codes, values))
                return out

            both = loop(builder, I64(0), words, 1, [splat(I32, 16, 0)] * 2, chunk)
            coarse, fine = (
                builder.sitofp(
                    call(builder, "llvm.vector.reduce.add.v16i32", I32, [acc]), F32
                )
                for acc in both
            )
            return builder.fadd(builder.fmul(coarse, F32(_PARTS)), fine)

        i64 = types.int64
        signature = types.float32(codes, i64, i64, i64, query, i64, i64, i64)
        return signature, generate

    return total


_planes_sum = planes_sum(SIMD_LEVEL)


# --- queries --------------------------------------------------------------------------


@intrinsic
def _split16(typingctx, x, at, inverse, coarse, fine):
    """Write ``round(x * inverse)`` of x[at:at+16] as bytes: of 128 each, and the rest.

    They go to bytes ``coarse`` and ``fine`` of the array.
    """

    def generate(context, builder, signature, args):
        v, whole = Lanes(builder, 16), ir.VectorType(I32, 16)
        base = pointer(context, builder, signature.args[0], args[0], I64(0))
        value = builder.fmul(v.load(base, args[1]), broadcast(builder, args[2], 16))
        value = call(builder, "llvm.rint.v16f32", v.vector, [value])
        value = builder.fptosi(value, whole)
        seven = splat(I32, 16, 7)
        high = builder.ashr(builder.add(value, splat(I32, 16, _PARTS // 2)), seven)
        low = builder.sub(value, builder.shl(high, seven))
        base = builder.bitcast(base, I8.as_pointer())
        for part, byte in ((high, args[3]), (low, args[4])):
            part = builder.trunc(part, ir.VectorType(I8, 16))
            where = builder.gep(base, [byte])
            where = builder.bitcast(where, part.type.as_pointer())
            builder.store(part, where, align=1)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(x, i64, types.float32, i64, i64), generate


@reduction
def _sum(x, start, count):
    total = np.float32(0.0)
    for j in range(start, start + count):
        total += simd.at(x, j)
    return total


@kernel
def _prepare(store, q, buffer, head):
    """Write what planes are scored by; from ``head`` on, in float32.

    ============  ======================================================================
    ``16``        a constant; the factors of N, of a, of f times the planes' sum, of f;
                  and for blocks those of f1 times the tables' sum, of f1, of e1, and
                  the bias, a constant and a list's share in ‖q − c‖²
    ``32 words``  the query's bytes (see ``_PARTS``)
    ``64 words``  the query about the centre, rotated; zeros behind it
    ============  ======================================================================
    """
    d, words = q.size, n_words(q.size)
    parts = head + _HEAD
    start = parts + WORD // 2 * words
    for j in range(d):
        buffer[start + j] = q[j] - store.centre[j]
    for j in range(start + d, start + WORD * words):
        buffer[j] = np.float32(0.0)
    square = simd.dot(buffer, start, buffer, start, d)
    constant = square if store.euclidean else -simd.dot(q, 0, store.centre, 0, d)
    rotate(store.rotation, buffer[start : start + d])
    least, largest = simd.ends(buffer, start, d)
    step = max(-least, largest) / np.float32(_LARGEST)
    inverse = np.float32(1.0) / step if step > _TINY else np.float32(0.0)
    for j in range(0, WORD * words, 16):
        coarse = 4 * parts + j
        _split16(buffer, start + j, inverse, coarse, coarse + WORD * words)
    weight = np.float32(-2.0 if store.euclidean else -1.0)
    middle = np.float32((2**store.bits - 1) / 2) * _sum(buffer, start, d)
    buffer[head + _CONSTANT] = constant
    buffer[head + _OF_NORM] = np.float32(1.0 if store.euclidean else 0.0)
    buffer[head + _OF_CROSS] = np.float32(0.0 if store.euclidean else 1.0)
    buffer[head + _OF_SUM] = weight * step
    buffer[head + _OF_CENTRE] = -weight * middle
    buffer[head + _OF_BIAS] = np.float32(0.0)
    buffer[head + _SQUARE] = square
    buffer[head + _OF_LIST] = np.float32(0.0)


@kernel
def _key(query, head, norm, cross, factor, total):
    """Return a key but for its constant, of terms and the sum over planes."""
    product = factor * (query[head + _OF_SUM] * total + query[head + _OF_CENTRE])
    return query[head + _OF_NORM] * norm + query[head + _OF_CROSS] * cross + product


# --- rows -----------------------------------------------------------------------------


@begin_of(Planes)
def _begin_planes(store, q, buffer):
    _prepare(store, q, buffer, 0)


@score_of(Planes)
def _score_planes(store, query, i):
    bits, at = store.bits, i * store.codes.shape[1]
    terms, words = n_terms(bits), n_words(store.centre.size)
    total = _planes_sum(
        store.codes, at + 4 * terms, bits, words, query, _HEAD, -1, 0
    )  # fmt: skip
    last = at + 4 * terms
    a, f = (at + 4, at + 8) if bits == 1 else (last - 8, last - 4)
    key = _key(
        query, 0, _term(store.codes, at), _term(store.codes, a), _term(store.codes, f),
        total,
    )  # fmt: skip
    return query[_CONSTANT] + key


fetch_of(Planes)(fetch_codes)
lines_of(Planes)(lines_of_codes)


# --- blocks ---------------------------------------------------------------------------


@kernel
def _head_of(words):
    """Return where the head of a query of blocks is: behind the tables."""
    tables = WORD // 4 * words
    return 4 * tables + 16 + max(2 * BLOCK, tables)


@begin_of(Blocks)
def _begin_blocks(store, q, buffer):
    """Write the tables of ``fastscan``, and behind them what ``_prepare`` writes.

    The tables' rounding moves a sum by ``step √(tables / 12)`` in standard deviation,
    which the bound allows for.
    """
    d, words = q.size, n_words(q.size)
    head, tables = _head_of(words), WORD // 4 * words
    start = head + _HEAD + WORD // 2 * words
    _prepare(store, q, buffer, head)
    write_tables(_SIGNS, 0, tables, 4, TABLE_DOT, tables, buffer, start, buffer)
    step, base = buffer[4 * tables], buffer[4 * tables + 1]
    several = store.bits > 1
    slack = np.float32(EPSILON * np.sqrt(d / 48.0) if several else 0.0) * step
    weight = np.float32(-2.0 if store.euclidean else -1.0)
    half = np.float32(0.5) * _sum(buffer, start, d)
    buffer[head + _OF_SIGNS] = weight * step
    buffer[head + _SIGNS_LEFT] = weight * (base - half + slack)
    buffer[head + _OF_ERROR] = -weight if several else np.float32(0.0)
    if store.residual:
        buffer[head + _CONSTANT] = np.float32(0.0)
        buffer[head + _OF_CROSS] = np.float32(1.0)
        buffer[head + _OF_BIAS] = np.float32(1.0 if store.euclidean else 2.0)
        if store.euclidean:
            buffer[head + _SQUARE] = np.float32(0.0)


def enter_residuals(store, query, which):
    """Note a list's share in ‖q − c‖², which is ‖q‖² + ‖c‖² − 2⟨q, c⟩ under ``dot``.

    Under ``l2`` the bias is all of it.
    """
    if store.residual and not store.euclidean:
        query[_head_of(n_words(store.centre.size)) + _OF_LIST] = store.squares[which]


@intrinsic
def _bounds(
    typingctx, blocks, terms, sums, head, query, base, reach, error, count, limit
):
    """Write 32 lower bounds and return which of the first ``count`` are ``<= limit``.

    ``blocks`` has the terms from byte ``terms`` on, and those that are multiplied by
    ``-reach`` at byte ``error``; ``query`` the tables' sums from float32 ``sums`` on,
    behind which the bounds go. Bits of vectors, the lowest first.
    """

    def generate(context, builder, signature, args):
        v, kinds = Lanes(builder, BLOCK), signature.args

        def term(byte):
            where = pointer(context, builder, kinds[0], args[0], byte)
            where = builder.bitcast(where, v.vector.as_pointer())
            return builder.load(where, align=4)

        def of_query(at):
            where = pointer(context, builder, kinds[4], args[4], at)
            return broadcast(builder, builder.load(where), BLOCK)

        norm, cross, factor = (
            term(builder.add(args[1], I64(4 * BLOCK * i))) for i in range(3)
        )
        of_norm, of_cross, of_signs, left = (
            of_query(builder.add(args[3], I64(i)))
            for i in (_OF_NORM, _OF_CROSS, _OF_SIGNS, _SIGNS_LEFT)
        )
        base, reach, limit = (broadcast(builder, args[i], BLOCK) for i in (5, 6, 9))
        where = pointer(context, builder, kinds[4], args[4], args[2])
        whole = ir.VectorType(I32, BLOCK).as_pointer()
        total = builder.load(builder.bitcast(where, whole), align=4)
        total = v.fma(of_signs, builder.sitofp(total, v.vector), left)
        key = v.fma(of_norm, norm, base)
        key = v.fma(of_cross, cross, key)
        key = v.fma(factor, total, key)
        key = v.fma(builder.fneg(reach), term(args[7]), key)
        to = builder.gep(where, [I64(BLOCK)])
        builder.store(key, builder.bitcast(to, v.vector.as_pointer()), align=4)
        rest = builder.sub(I64(BLOCK), args[8])
        rest = builder.select(builder.icmp_signed(">", rest, I64(0)), rest, I64(0))
        used = builder.lshr(I32(-1), builder.trunc(rest, I32))
        within = builder.bitcast(builder.fcmp_ordered("<=", key, limit), I32)
        return builder.and_(within, used)

    i64, f32 = types.int64, types.float32
    signature = types.uint32(
        blocks, i64, i64, i64, query, f32, f32, i64, i64, f32
    )  # fmt: skip
    return signature, generate


def scan_codes(
    store, query, slot, first, count, then, bias, row_ids, keys, ids, allowed=None
):
    """Score codes by their signs, and by all bits where that may matter.

    As ``scan.scan_range``; ``slot`` begins a block. What a filter does not let in is
    not read further.
    """
    k, size, words = keys.size, store.blocks.shape[1], n_words(store.centre.size)
    head, rows = _head_of(words), WORD // 16 * words
    sums, terms = 4 * (WORD // 4) * words + 16, ROW * rows
    ahead = terms + 4 * BLOCK * 4  # bytes that every block of a scan has read
    error = terms + 4 * BLOCK * (2 if store.bits == 1 else 3)
    base = query[head + _CONSTANT] + bias
    square = query[head + _OF_BIAS] * bias + query[head + _SQUARE]
    square = max(square + query[head + _OF_LIST], np.float32(0.0))
    reach = query[head + _OF_ERROR] * np.sqrt(square)
    block = slot // BLOCK * size
    for offset in range(0, count, BLOCK):
        following = block + size if offset + BLOCK < count else then // BLOCK * size
        if store.bits > 1:  # the hardware does not expect a scan to skip
            for t in range(0, ahead, LINE):
                simd.prefetch(store.blocks, following + t)
        block_sums(store.blocks, block, rows, query, query, sums, None)
        bits = _bounds(
            store.blocks, block + terms, sums, head, query, base, reach, block + error,
            count - offset, keys[k - 1],
        )  # fmt: skip
        if store.bits > 1:
            _fetch_planes(store, block, bits, words)
        while bits != 0:
            lane = simd.trailing_zeros(bits)
            bits &= bits - np.uint32(1)
            key = query[sums + BLOCK + lane]
            if key > keys[k - 1]:
                continue
            i = first + offset + lane
            name = name_of(row_ids, i)
            if allowed is not None and not passes(allowed, name):
                continue
            if store.bits > 1:
                key = max(key, base + _whole(store, query, block, lane, head, words))
            if key <= keys[k - 1]:
                insert(keys, ids, k, k, key, name)
        block = following


@kernel
def _planes_at(store, block, lane, words):
    """Return the byte at which a code's planes but the highest begin."""
    row = (store.bits - 1) * words * 8
    terms = 4 * BLOCK * n_terms(store.bits)
    return block + words * (WORD // 16) * ROW + terms + lane * row


@kernel
def _fetch_planes(store, block, bits, words):
    """Ask for the planes of a block's codes that have a bit set."""
    row = (store.bits - 1) * words * 8
    while bits != 0:
        at = _planes_at(store, block, simd.trailing_zeros(bits), words)
        bits &= bits - np.uint32(1)
        for t in range(0, row + LINE - 1, LINE):
            simd.prefetch(store.blocks, at + min(t, row - 1))


@kernel
def _whole(store, query, block, lane, head, words):
    """Return a code's key by all its bits, but for the constant."""
    top, high = block + 4 * (lane % 16), 4 * (lane // 16)
    total = _planes_sum(
        store.blocks, _planes_at(store, block, lane, words), store.bits - 1, words,
        query, head + _HEAD, top, high,
    )  # fmt: skip
    terms = block + words * (WORD // 16) * ROW + 4 * lane
    norm, cross, factor = (
        _term(store.blocks, terms), _term(store.blocks, terms + 4 * BLOCK * 4),
        _term(store.blocks, terms + 4 * BLOCK * 5),
    )  # fmt: skip
    return _key(query, head, norm, cross, factor, total)


# --- coding ---------------------------------------------------------------------------


@reduction
def _fit(x, inverse, top):
    """Return ⟨s, x⟩ and ‖s‖² of a grid's point s for x (d,) of magnitudes."""
    product = square = np.float32(0.0)
    for j in range(x.size):
        value = simd.at(x, j)
        s = min(np.floor(value * inverse), top) + np.float32(0.5)
        product += s * value
        square += s * s
    return product, square


@kernel
def _best_step(x, top):
    """Return the grid's step whose point has the smallest angle with magnitudes x.

    The paper walks through every step at which a component changes. Here it is the best
    of 24 between a tenth of the widest and the widest, and of 25 about that: 1 − cosine
    is 1.001 times the paper's for 384 components and 6 bits, 1.02 times for 100.
    """
    widest = np.float32(0.0)
    for j in range(x.size):
        widest = max(widest, x[j])
    widest /= top + np.float32(1.0)
    if not widest > _TINY:
        return np.float32(1.0)
    apart = (1.0 - _NARROWEST) / (_TRIED - 1)
    best, share = np.float32(-1.0), 1.0
    for t in range(_TRIED):
        found = _cosine(x, widest, 1.0 - t * apart, top)
        if found > best:
            best, share = found, 1.0 - t * apart
    middle = share
    for t in range(-_REFINED // 2, _REFINED // 2 + 1):
        tried = middle + t * apart / (_REFINED // 2 + 1)
        found = _cosine(x, widest, tried, top)
        if found > best:
            best, share = found, tried
    return np.float32(widest * share)


@kernel
def _cosine(x, widest, share, top):
    """Return ⟨s, x⟩² / ‖s‖² at a step, scaled lest it overflow."""
    inverse = np.float32(1.0) / np.float32(widest * share)
    product, square = _fit(x, inverse, top)
    scaled = product * inverse
    return scaled * scaled / square * np.float32(share * share)


@kernel
def encode(X, rotation, centre, bits, room, codes, terms):
    """Write the codes of rows, and their terms.

    Parameters
    ----------
    X : (n, d) float32          read-only
    rotation : Rotation
    centre : (d,) float32
    bits : int
    room : (2, d) float32       scratch
    codes : (n, d) uint8        overwritten with u
    terms : (n, 3 or 6) float32     overwritten; a1 and a2 are −⟨r, c⟩
    """
    n, d = X.shape
    o, size = room[0], room[1]
    half = 1 << (bits - 1)
    top = np.float32(half - 1)
    for i in range(n):
        norm = with_centre = 0.0
        for j in range(d):
            o[j] = X[i, j] - centre[j]
            norm += np.float64(o[j]) ** 2
            with_centre += np.float64(o[j]) * np.float64(centre[j])
        rotate(rotation, o)
        total = 0.0
        for j in range(d):
            size[j] = abs(o[j])
            total += np.float64(size[j])
        step = np.float32(1.0) if bits == 1 else _best_step(size, top)
        inverse, product = np.float32(1.0) / step, 0.0
        for j in range(d):
            level = np.int64(min(np.floor(size[j] * inverse), top))
            product += (level + 0.5) * np.float64(size[j])
            codes[i, j] = half + level if o[j] >= 0.0 else half - 1 - level
        some = total > 0.0
        terms[i, 0] = norm
        terms[i, 1] = -with_centre
        terms[i, 2] = norm / (0.5 * total) if some else 0.0
        if bits > 1:
            # cos² of the angle between the signs and o, whose squared norm is norm.
            cosine = total * total / (d * norm) if some else 1.0
            terms[i, 3] = error(norm, cosine, d)
            terms[i, 4] = -with_centre
            terms[i, 5] = norm / product if some else 0.0


@kernel
def error(norm, cosine, d):
    """Return e: the estimate of ⟨r, v⟩ is off by at most e ‖v‖, as probable as it is.

    ``norm`` is ‖r‖², ``cosine`` the square of that between code and vector.
    """
    beyond = max(1.0 / cosine - 1.0, 0.0) if cosine > 0.0 else 0.0
    return EPSILON * np.sqrt(norm * beyond / max(1, d - 1))


@kernel
def relate(codes, bits, residuals, owners, centroids, turned, euclidean, terms):
    """Write a1 and a2 of residuals of lists, whose codes queries know by one origin.

    With c a centroid from that origin, ⟨s, R(q − c)⟩ = ⟨s, R q⟩ − ⟨s, R c⟩, and under
    ``dot`` there is −⟨r, c⟩ besides.

    Parameters
    ----------
    codes : (n, d) uint8
    residuals : (n, d) float32
    owners : (n,) int32         which list each is in
    centroids, turned : (nlist, d) float32      from the queries' origin, and rotated
    terms : (n, 3 or 6) float32     a1 and a2 are overwritten
    """
    n, d = codes.shape
    top, middle = bits - 1, 0.5 * ((1 << bits) - 1)
    for i in range(n):
        r, c, rc = residuals[i], centroids[owners[i]], turned[owners[i]]
        direct = first = whole = 0.0
        for j in range(d):
            u, t = np.float64(codes[i, j]), np.float64(rc[j])
            direct += np.float64(r[j]) * np.float64(c[j])
            first += (np.float64(codes[i, j] >> top) - 0.5) * t
            whole += (u - middle) * t
        weight, left = (2.0, 0.0) if euclidean else (1.0, -direct)
        terms[i, 1] = left + weight * terms[i, 2] * first
        if bits > 1:
            terms[i, 4] = left + weight * terms[i, 5] * whole
