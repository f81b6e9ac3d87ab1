"""Quantized neighbourhoods: codes of a node's neighbours, seen from the node.

Gou et al., "SymphonyQG", SIGMOD 2025. For a node c and its neighbour y let r = y − c,
told as odd numbers o with ⟨r, v⟩ ≈ f ⟨o, v⟩ (see ``sketch``). Then all keys of c's
neighbours follow from the key of c and the ⟨o, q⟩, which FastScan finds for 32
neighbours at once:

    ‖q − y‖² = ‖q − c‖² + ‖r‖² − 2⟨r, q − c⟩ ≈ ‖q − c‖² + (‖r‖² + 2f⟨o, c⟩) − 2f⟨o, q⟩
    −⟨q, y⟩ = −⟨q, c⟩ − ⟨r, c⟩ − ⟨r, q − c⟩ ≈ −⟨q, c⟩ + (f⟨o, c⟩ − ⟨r, c⟩) − f⟨o, q⟩

What is in brackets, and the factor of ⟨o, q⟩, belong to the pair of nodes. So only what
is left of q at c is estimated. Under ``ip``, where q may be nowhere near, all of it is,
and nothing is in brackets. A row has

===============  ======================================================================
``4 degree``     neighbours, int32, −1 for none
``2 degree``     what is added, bfloat16: NaN for none, which is never near
``2 degree``     the factor, bfloat16
``degree * b/8``  codes of b bits, in blocks of FastScan
===============  ======================================================================

bytes. Components are those of vectors less a centre, so that ⟨o, q⟩ is not large.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ann.kernels import simd
from ann.kernels._jit import kernel
from ann.kernels.emit import I16, I32, I64, Lanes, broadcast, pointer, splat
from ann.kernels.fastscan import BLOCK, ROW
from ann.kernels.fastscan import block_sums as sums
from ann.kernels.pool import NO_ID, insert
from ann.kernels.rows import rotate_row
from ann.kernels.sketch import PER_ROW, Sketch, begin_tables, finer, put
from ann.kernels.stores import LINE, between, decode, fetch
from ann.kernels.tricks import on

FILLED = on("filled-rows")
_NONE = np.uint16(0x7FC0)  # NaN in bfloat16
_ZERO, _ONE, _TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)


class Frame(NamedTuple):
    """What differences of neighbours are told in: one for all rows."""

    sketch: Sketch
    centre: np.ndarray  #: (d,) float32; zeros under ip
    euclidean: bool  #: whether keys are squared distances, or negated products …
    anchored: bool  #: … and products are told from the node on, not from 0


class Neighborhoods(NamedTuple):
    """Rows of all nodes; three views of the same bytes."""

    rows: np.ndarray  #: (n, width) uint8
    links: np.ndarray  #: (n, width / 4) int32
    terms: np.ndarray  #: (n, width / 2) uint16
    degree: int  #: a multiple of 32
    bits: int  #: of a neighbour's code, a multiple of 16


class Around(NamedTuple):
    """Working memory of one thread that makes rows."""

    seen: np.ndarray  #: (n,) int32, the node that met a vector last; −1 at first
    keys: np.ndarray  #: (>= candidates,) float32, a pool
    ids: np.ndarray  #: (>= candidates,) int32
    apart: np.ndarray  #: (m,) float32, a neighbour's difference from a node, told
    odd: np.ndarray  #: (m,) float32
    vector: np.ndarray  #: (d,) float32, a node
    other: np.ndarray  #: (d,) float32, a neighbour


def width(degree: int, bits: int) -> int:
    """Return the bytes of a row."""
    return 8 * degree + degree * bits // 8


def of_rows(rows: Any, degree: int, bits: int) -> Neighborhoods:
    """Return neighbourhoods from rows (n, width) uint8."""
    return Neighborhoods(rows, rows.view(np.int32), rows.view(np.uint16), degree, bits)


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
        size, links = np.int64(0), taken if FILLED else 0
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
def tell(frame, store, nodes, axes, vector, out):
    """Write what nodes are along the axes, less the centre, to ``out`` (k, m) float32.

    ``store`` can tell what its vectors are; ``axes`` (m, d) float32 are those of the
    sketch; ``vector`` (d,) float32 is overwritten.
    """
    for t in range(nodes.size):
        decode(store, nodes[t], vector)
        for j in range(vector.size):
            vector[j] -= frame.centre[j]
        rotate_row(vector, axes, out[t])


@kernel
def encode(near, frame, store, nodes, told, place, around):
    """Write codes and terms of those who are in the rows of ``nodes``.

    Parameters
    ----------
    near : Neighborhoods        codes and terms of ``nodes`` are overwritten
    frame : Frame
    store : NamedTuple          can tell what its vectors are
    nodes : (m,) int32
    told : (k, m) float32       what ``tell`` wrote of the nodes and their neighbours
    place : (n,) int32          where a vector is in ``told``
    around : Around             overwritten
    """
    for node in nodes:
        decode(store, node, around.vector)
        own = told[place[node]]
        _encode_row(near, frame, store, node, own, told, place, around)


@kernel
def encode_roots(roots, frame, store, told, place, around):
    """``encode`` for the one row of ``roots``, who are seen from the centre.

    ``told[-1]`` must be zeros: the centre itself.
    """
    for t in range(frame.centre.size):
        around.vector[t] = frame.centre[t]
    own = told[told.shape[0] - 1]
    _encode_row(roots, frame, store, 0, own, told, place, around)


@kernel
def _encode_row(near, frame, store, node, own, told, place, around):
    d, degree, sketch = frame.centre.size, near.degree, frame.sketch
    apart, vector, other = around.apart, around.vector, around.other
    links, terms, row = near.links[node], near.terms[node], near.rows[node]
    for j in range(8 * degree, row.size):
        row[j] = 0
    for j in range(degree):
        if links[j] < 0:
            terms[2 * degree + j], terms[3 * degree + j] = _NONE, _NONE
            continue
        decode(store, links[j], other)
        square = simd.l2sq(other, 0, vector, 0, d)
        theirs = told[place[links[j]]]
        for t in range(apart.size):
            apart[t] = theirs[t] - own[t]
        scale = _ONE / np.sqrt(square) if square > _ZERO else _ZERO
        at = 8 * degree + (j // BLOCK) * (BLOCK * near.bits // 8) + 4 * (j % 16)
        put(sketch, apart, scale, at, 4 * ((j % BLOCK) // 16), around.odd, row)
        length = simd.dot(around.odd, 0, apart, 0, apart.size)
        factor = square / length if length > _ZERO else _ZERO
        along = simd.dot(around.odd, 0, own, 0, apart.size)
        added = _ZERO
        if frame.euclidean:
            factor *= _TWO
            added = square + factor * along
        elif frame.anchored:
            product = simd.dot(other, 0, vector, 0, d)
            added = factor * along + simd.dot(vector, 0, vector, 0, d) - product
        terms[2 * degree + j] = _rounded(added)
        terms[3 * degree + j] = _rounded(-factor)


# --- a query --------------------------------------------------------------------------


@kernel
def begin_query(frame, q, centred, told, tables):
    """Prepare a query: write its difference from the centre, and the tables of it.

    Parameters
    ----------
    frame : Frame
    q : (d,) float32
    centred : (d,) float32      overwritten
    told, tables                as ``sketch.begin_tables`` has it; overwritten

    Returns
    -------
    base, step : float32
    """
    for t in range(q.size):
        centred[t] = q[t] - frame.centre[t]
    return begin_tables(frame.sketch, centred, told, tables)


@kernel
def key_of_centre(frame, q, centred):
    """Return the key of the centre for a query that ``begin_query`` has prepared."""
    if frame.euclidean:
        return simd.dot(centred, 0, centred, 0, centred.size)
    return -simd.dot(q, 0, frame.centre, 0, q.size)


@kernel
def fetch_row(near, store, node):
    """Ask for all that a step at ``node`` reads."""
    _fetch(near, store, node, near.rows.shape[1])


@kernel
def fetch_head(near, store, node):
    """``fetch_row`` without the codes, which ``sum_bits`` asks for."""
    _fetch(near, store, node, 8 * near.degree)


@kernel
def _fetch(near, store, node, count):
    """Ask for the first bytes of a row, and for what scores the node."""
    row = np.int64(node) * near.rows.shape[1]
    for t in range(0, count, LINE):
        simd.prefetch(near.rows, row + t)
    fetch(store, node)


@kernel
def sum_bits(near, node, block, fine, tables, out, following):
    """Write the sums of entries for 32 neighbours of ``node`` to ``out[:32]``.

    ``fine`` is the sketch's: whether there are two sets of tables.

    Meanwhile the codes of ``following``, if it is not −1, are asked for, a line for
    each that is read: all at once they would wait for each other, which took 10 % of a
    search of 115,647 x 384. ``out`` (64,) int32 is overwritten.
    """
    wide = near.bits
    rows, stride = wide // PER_ROW, near.rows.shape[1]
    at = np.int64(node) * stride + 8 * near.degree + block * rows * ROW
    ahead = (np.int64(following) - node) * stride if following >= 0 else 0
    sums(near.rows, at, rows, tables, out, 0, ahead)
    if fine:
        sums(near.rows, at, rows, tables[4 * wide :], out, BLOCK, None)
        parts = np.int32(finer(wide))
        for t in range(BLOCK):
            out[t] = parts * out[t] + out[BLOCK + t]


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
