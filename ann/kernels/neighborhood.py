"""Quantized neighbourhoods: 1-bit codes of a node's neighbours, seen from the node.

Gou et al., "SymphonyQG", SIGMOD 2025, on the estimator of Gao & Long, "RaBitQ", SIGMOD
2024. For a node c, its neighbour y and a random rotation, let r = y − c and s the signs
of its components. Then s points nearly where r does, and what it misses is random:

    ⟨r, v⟩ ≈ f ⟨s, v⟩   with f = ‖r‖² / ‖r‖₁, exact for v = r and unbiased for others.

So all keys of c's neighbours follow from the key of c and the ⟨s, q⟩, which FastScan
finds for 32 neighbours at once, by one table for each four components of q:

    ‖q − y‖² = ‖q − c‖² + ‖r‖² − 2⟨r, q − c⟩ ≈ ‖q − c‖² + (‖r‖² + 2f⟨s, c⟩) − 2f⟨s, q⟩
    −⟨q, y⟩ = −⟨q, c⟩ − ⟨r, q⟩ ≈ −⟨q, c⟩ − f⟨s, q⟩

What is in brackets, and the factor of ⟨s, q⟩, belong to the pair of nodes. A row has

=============  ========================================================================
``4 degree``   neighbours, int32, −1 for none
``2 degree``   what is added, bfloat16: NaN for none, which is never near
``2 degree``   the factor, bfloat16
``degree * D/8``  the signs, in blocks of FastScan, D being d up to a multiple of 16
=============  ========================================================================

bytes. Components are those of vectors less a centre, so that for ``l2`` neither ⟨s, c⟩
nor ⟨s, q⟩ are large.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ann.kernels import simd
from ann.kernels._jit import kernel, reduction
from ann.kernels.emit import (
    I1,
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
)
from ann.kernels.fastscan import BLOCK, ROW
from ann.kernels.fastscan import block_sums as sums
from ann.kernels.pool import NO_ID, insert
from ann.kernels.rotation import Rotation, rotate
from ann.kernels.stores import LINE, between, decode, fetch

PER_ROW = 16  # components that a row of a block tells the signs of
_NONE = np.uint16(0x7FC0)  # NaN in bfloat16
_ZERO, _ONE, _TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)
_TOP = 63.0  # of a rounded component: an entry, the sum of four, fits into 8 bits …
_LARGEST_SUM = 2.0**15  # … and a sum of entries into 16


class Neighborhoods(NamedTuple):
    """Rows of all nodes; three views of the same bytes."""

    rows: np.ndarray  #: (n, width) uint8
    links: np.ndarray  #: (n, width / 4) int32
    terms: np.ndarray  #: (n, width / 2) uint16
    degree: int  #: a multiple of 32
    rotation: Rotation
    centre: np.ndarray  #: (d,) float32; zeros but for l2
    euclidean: bool  #: whether keys are squared distances, or negated products


class Around(NamedTuple):
    """Working memory of one thread that makes rows."""

    seen: np.ndarray  #: (n,) int32, the node that met a vector last; −1 at first
    keys: np.ndarray  #: (>= candidates,) float32, a pool
    ids: np.ndarray  #: (>= candidates,) int32
    node: np.ndarray  #: (D,) float32, a node, rotated
    apart: np.ndarray  #: (D,) float32, a neighbour's difference from it, rotated
    vector: np.ndarray  #: (d,) float32


def padded(d: int) -> int:
    """Return how many components codes have."""
    return -(-d // PER_ROW) * PER_ROW


def width(degree: int, d: int) -> int:
    """Return the bytes of a row."""
    return 8 * degree + degree * padded(d) // 8


def of_rows(
    rows: Any, degree: int, rotation: Rotation, centre: Any, euclidean: bool
) -> Neighborhoods:
    """Return neighbourhoods from rows (n, width) uint8."""
    links, terms = rows.view(np.int32), rows.view(np.uint16)
    return Neighborhoods(rows, links, terms, degree, rotation, centre, euclidean)


# --- who is in a row ------------------------------------------------------------------


@kernel
def outdated(near, base, lead, nodes, out):
    """Find nodes whose rows do not begin with their links, or lead to the removed.

    Parameters
    ----------
    near : Neighborhoods
    base : (n, M0) int32        links of the graph
    lead : (n,) uint8           0 for what has no place in the graph
    nodes : (m,) int32
    out : (m,) bool             overwritten
    """
    stride, degree = near.links.shape[1], near.degree
    for t in range(nodes.size):
        node, stale = np.int64(nodes[t]), False
        for j in range(min(base.shape[1], degree)):
            link = base[node, j]
            if link < 0:
                break
            stale |= link != simd.at(near.links, node * stride + j)
        for j in range(degree):
            link = simd.at(near.links, node * stride + j)
            gone = np.uint32(link) >= np.uint32(lead.size) or lead[link] == 0
            stale |= link >= 0 and gone
        out[t] = stale


@kernel
def choose(near, base, store, lead, nodes, stretch, shift, around):
    """Write who is in the rows of ``nodes``: their links, then neighbours of these.

    A row is scanned whole, so that an empty place would cost what a neighbour does. Of
    the neighbours' neighbours, first those are taken that lie in other directions than
    those taken before (as ``select_neighbors`` has it, but less strictly: Subramanya et
    al., "DiskANN", NeurIPS 2019), then the nearest.

    Parameters
    ----------
    near : Neighborhoods        rows of ``nodes`` are overwritten
    base : (n, M0) int32
    store : NamedTuple          of all vectors, that can compare two of them
    lead : (n,) uint8           see ``outdated``
    nodes : (m,) int32
    stretch, shift : float32    key + shift is what grows by ``stretch``
    around : Around             overwritten
    """
    degree, keys, ids, seen = near.degree, around.keys, around.ids, around.seen
    for node in nodes:
        row, taken = near.links[node], 0
        seen[node] = node
        for j in range(min(base.shape[1], degree)):
            link = base[node, j]
            if np.uint32(link) >= np.uint32(seen.size):
                break
            row[taken] = link
            seen[link] = node
            taken += 1
        size, links = np.int64(0), taken
        for j in range(links):
            for t in range(base.shape[1]):
                other = base[row[j], t]
                if np.uint32(other) >= np.uint32(seen.size):
                    break
                if seen[other] != node and lead[other] != 0:
                    seen[other] = node
                    key = between(store, node, other)
                    size, _ = insert(keys, ids, size, keys.size, key, other)
        for c in range(size):
            if taken == degree:
                break
            apart = keys[c] + shift
            for t in range(taken):
                key = between(store, ids[c], row[t]) + shift
                if key * stretch < apart:
                    break
            else:
                row[taken] = ids[c]
                ids[c] = NO_ID
                taken += 1
        for c in range(size):
            if taken == degree:
                break
            if ids[c] >= 0:
                row[taken] = ids[c]
                taken += 1
        for j in range(taken, degree):
            row[j] = NO_ID


# --- what a row knows of them ---------------------------------------------------------


@kernel
def _rounded(value):
    """Return a float32 as bfloat16, its upper half, rounded."""
    bits = np.float32(value).view(np.uint32)
    return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16)


@kernel
def encode(near, store, nodes, around):
    """Write codes and terms of those who are in the rows of ``nodes``.

    ``store`` can tell what its vectors are; ``around`` is overwritten.
    """
    for node in nodes:
        decode(store, node, around.vector)
        _encode_row(near, store, node, around)


@kernel
def encode_roots(roots, store, around):
    """``encode`` for the one row of ``roots``, who are seen from the centre."""
    for t in range(roots.centre.size):
        around.vector[t] = roots.centre[t]
    _encode_row(roots, store, 0, around)


@kernel
def _encode_row(near, store, node, around):
    d, degree = near.centre.size, near.degree
    node_at, apart, vector = around.node, around.apart, around.vector
    links, terms, row = near.links[node], near.terms[node], near.rows[node]
    codes, wide = 8 * degree, apart.size
    for j in range(codes, row.size):
        row[j] = 0
    for t in range(d):
        node_at[t] = vector[t] - near.centre[t]
    rotate(near.rotation, node_at[:d])
    for t in range(d, wide):
        node_at[t] = apart[t] = _ZERO
    for j in range(degree):
        if links[j] < 0:
            terms[2 * degree + j], terms[3 * degree + j] = _NONE, _NONE
            continue
        decode(store, links[j], apart)
        for t in range(d):
            apart[t] -= vector[t]
        rotate(near.rotation, apart[:d])
        at = codes + (j // BLOCK) * (BLOCK * wide // 8) + 4 * (j % 16)
        _put_signs(apart, row, at, 4 * ((j % BLOCK) // 16))
        square, length, along = _measure(apart, node_at, wide)
        factor = square / length if length > _ZERO else _ZERO
        added = _ZERO
        if near.euclidean:
            factor *= _TWO
            added = square + factor * along
        terms[2 * degree + j] = _rounded(added)
        terms[3 * degree + j] = _rounded(-factor)


@reduction
def _measure(apart, node, wide):
    """Return ‖apart‖², ‖apart‖₁ and ⟨signs of apart, node⟩."""
    square = length = along = _ZERO
    for t in range(wide):
        r, c = simd.at(apart, t), simd.at(node, t)
        square += r * r
        length += abs(r)
        along += c if r > _ZERO else -c
    return square, length, along


@kernel
def _put_signs(apart, row, at, shift):
    """Write the signs of ``apart``: four in a byte, shifted, four bytes in 64."""
    for first in range(0, apart.size, PER_ROW):
        bits = ~simd.not_above16(apart, first, PER_ROW, _ZERO)
        for group in range(4):
            row[at + group] |= np.uint8((bits >> (4 * group) & 15) << shift)
        at += ROW


# --- a query --------------------------------------------------------------------------


@kernel
def begin_tables(near, q, rotated, tables):
    """Write the tables of ⟨signs, q⟩, of 16 bytes for each four components.

    Components are rounded to whole numbers of one step for all, so that entries, sums
    of four, need no rounding of their own.

    Parameters
    ----------
    near : Neighborhoods
    q : (d,) float32
    rotated : (D,) float32      overwritten
    tables : (4 D,) uint8       overwritten

    Returns
    -------
    base, step : float32        ⟨signs, q⟩ ≈ base + step * sum of entries
    """
    d, wide = q.size, rotated.size
    for t in range(d):
        rotated[t] = q[t] - near.centre[t]
    rotate(near.rotation, rotated[:d])
    for t in range(d, wide):
        rotated[t] = _ZERO
    low, high = simd.ends(rotated, 0, wide)
    largest = max(-low, high)
    half = largest * max(np.float32(1.0 / _TOP), np.float32(wide / _LARGEST_SUM))
    inverse = _ONE / half if half > np.float32(1e-30) else _ZERO
    total, lowest = _write_tables(rotated, wide, inverse, tables)
    return -half * np.float32(total + 2 * lowest), _TWO * half


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


@kernel
def key_of_centre(near, rotated):
    """Return the key of the centre for a query that ``begin_tables`` has rotated."""
    if near.euclidean:
        return simd.dot(rotated, 0, rotated, 0, rotated.size)
    return _ZERO


@kernel
def fetch_row(near, store, node):
    """Ask for all that a step at ``node`` reads."""
    row = np.int64(node) * near.rows.shape[1]
    for t in range(0, near.rows.shape[1], LINE):
        simd.prefetch(near.rows, row + t)
    fetch(store, node)


@kernel
def sum_signs(near, node, block, tables, out):
    """Write the sums of entries for 32 neighbours of ``node``: (32,) int32."""
    rows = (near.centre.size + PER_ROW - 1) // PER_ROW
    at = np.int64(node) * near.rows.shape[1] + 8 * near.degree + block * rows * ROW
    sums(near.rows, at, rows, tables, out, 0)


@intrinsic
def estimate16(
    typingctx, counts, first, terms, added, factors, key, base, step, limit, out
):
    """Write 16 estimated keys, and return the bits of those not above a limit.

    ``key + added + factor * (base + step * counts[first + i])`` to ``out[:16]``; the
    bfloat16 are ``terms[added:]`` and ``terms[factors:]``.
    """

    def generate(context, builder, signature, args):
        v, kinds = Lanes(builder, 16), signature.args
        whole, half = ir.VectorType(I32, 16), ir.VectorType(I16, 16)

        def widened(at):
            where = pointer(context, builder, kinds[2], args[2], at)
            bits = builder.load(builder.bitcast(where, half.as_pointer()), align=2)
            bits = builder.shl(builder.zext(bits, whole), splat(I32, 16, 16))
            return builder.bitcast(bits, v.vector)

        where = pointer(context, builder, kinds[0], args[0], args[1])
        count = builder.load(builder.bitcast(where, whole.as_pointer()), align=4)
        key, base, step, limit = (broadcast(builder, args[p], 16) for p in range(5, 9))
        along = v.fma(builder.sitofp(count, v.vector), step, base)
        keys = v.fma(widened(args[4]), along, builder.fadd(key, widened(args[3])))
        where = pointer(context, builder, kinds[9], args[9], I64(0))
        builder.store(keys, builder.bitcast(where, v.vector.as_pointer()), align=4)
        bits = builder.fcmp_ordered("<=", keys, limit)
        return builder.zext(builder.bitcast(bits, I16), I32)

    i64, f32 = types.int64, types.float32
    floats = f32, f32, f32, f32
    signature = types.uint32(counts, i64, terms, i64, i64, *floats, out)
    return signature, generate
