"""A random rotation in O(d log d): flips of signs and Hadamard transforms.

Ailon & Chazelle, "The fast Johnson–Lindenstrauss transform", SIAM J. Comput. 2009. Each
of four rounds flips signs at random and takes the Walsh–Hadamard transform of P
components, with P the largest power of two that fits into d: the first P in even
rounds, the last P in odd ones, so nothing is padded. Where P < d, halfway the first
half of all components is mixed with the second: without that, those on either side of
the overlap ``2 P − d`` would hardly meet where it is small.

Each step is one addition or product of two float32, so a rotation is the same on every
processor, and for a lone query as in a batch.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ann.kernels._jit import kernel
from ann.kernels.emit import I32, I64, Lanes, broadcast, loop, pointer

ROUNDS = 4
LANES = 16
_HALF = np.float32(np.sqrt(0.5))


class Rotation(NamedTuple):
    """An orthogonal matrix (d, d), as the signs that its rounds flip."""

    signs: np.ndarray  #: (ROUNDS, d) float32, 1 or −1


def drawn(d: int, rng: np.random.Generator) -> Rotation:
    """Return a random rotation of ``d`` components."""
    signs = 2 * rng.integers(2, size=(ROUNDS, d), dtype=np.int8) - 1
    return Rotation(signs.astype(np.float32))


# --- butterflies, 16 lanes at a time --------------------------------------------------


def _at(builder, v, base, index):
    return builder.bitcast(builder.gep(base, [index]), v.vector.as_pointer())


def _within(builder, v, a):
    """Return the Hadamard transform of 16 lanes."""
    for h in (1, 2, 4, 8):
        other = ir.Constant(ir.VectorType(I32, LANES), [i ^ h for i in range(LANES)])
        signs = [-1.0 if i & h else 1.0 for i in range(LANES)]
        a = v.fma(ir.Constant(v.vector, signs), a, builder.shuffle_vector(a, a, other))
    return a


def _crossed(builder, values, apart):
    """Return sums and differences of values that are ``apart`` in a list."""
    return [
        builder.fsub(values[i - apart], value)
        if i & apart
        else builder.fadd(value, values[i + apart])
        for i, value in enumerate(values)
    ]


def _of_blocks(ways):
    """Return ``f(x, start, size, scale)``: scale, and transform every ``16 ways``.

    A block is in registers from first to last: for 256 components one pass instead of
    three took 0.6 of the time.
    """

    def generate(context, builder, signature, args):
        v = Lanes(builder, LANES)
        x = pointer(context, builder, signature.args[0], args[0], args[1])
        scale = broadcast(builder, args[3], LANES)

        def block(start, _):
            at = [builder.add(start, I64(LANES * way)) for way in range(ways)]
            values = [builder.fmul(v.load(x, where), scale) for where in at]
            values = [_within(builder, v, value) for value in values]
            apart = 1
            while apart < ways:
                values = _crossed(builder, values, apart)
                apart *= 2
            for where, value in zip(at, values, strict=True):
                builder.store(value, _at(builder, v, x, where), align=4)
            return []

        loop(builder, I64(0), args[2], LANES * ways, [], block)
        return context.get_dummy_value()

    @intrinsic
    def transform(typingctx, x, start, size, scale):
        i64 = types.int64
        return types.void(x, i64, i64, types.float32), generate

    return transform


_of16, _of32, _of64, _of128, _of256 = (_of_blocks(ways) for ways in (1, 2, 4, 8, 16))


@intrinsic
def _apart(typingctx, x, start, h):
    """Cross x[start:start+h] with x[start+h:start+2h]; 16 divides ``h``."""

    def generate(context, builder, signature, args):
        v = Lanes(builder, LANES)
        x = pointer(context, builder, signature.args[0], args[0], args[1])

        def step(i, _):
            at = [i, builder.add(i, args[2])]
            values = _crossed(builder, [v.load(x, where) for where in at], 1)
            for where, value in zip(at, values, strict=True):
                builder.store(value, _at(builder, v, x, where), align=4)
            return []

        loop(builder, I64(0), args[2], LANES, [], step)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(x, i64, i64), generate


@intrinsic
def _flip(typingctx, x, signs, start, size):
    """Multiply x[:size] by signs.flat[start:start+size]."""

    def generate(context, builder, signature, args):
        v = Lanes(builder, LANES)
        x = pointer(context, builder, signature.args[0], args[0], I64(0))
        signs = pointer(context, builder, signature.args[1], args[1], args[2])

        def step(i, _):
            flipped = builder.fmul(v.load(x, i), v.load(signs, i))
            builder.store(flipped, _at(builder, v, x, i), align=4)
            return []

        loop(builder, I64(0), args[3], LANES, [], step)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(x, signs, i64, i64), generate


@intrinsic
def _mix16(typingctx, x, half, size, scale):
    """Write ``(a + b) scale`` and ``(a − b) scale`` for ``a, b = x[i], x[half + i]``.

    For i below ``size``, a multiple of 16.
    """

    def generate(context, builder, signature, args):
        v = Lanes(builder, LANES)
        x = pointer(context, builder, signature.args[0], args[0], I64(0))
        scale = broadcast(builder, args[3], LANES)

        def step(i, _):
            j = builder.add(args[1], i)
            a, b = v.load(x, i), v.load(x, j)
            for where, total in ((i, builder.fadd(a, b)), (j, builder.fsub(a, b))):
                scaled = builder.fmul(total, scale)
                builder.store(scaled, _at(builder, v, x, where), align=4)
            return []

        loop(builder, I64(0), args[2], LANES, [], step)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(x, i64, i64, types.float32), generate


# --- rounds ---------------------------------------------------------------------------


@kernel
def hadamard(x, start, size):
    """Replace x[start:start+size] by its orthonormal Hadamard transform.

    ``size`` is a power of two.
    """
    scale = np.float32(1.0 / np.sqrt(np.float64(size)))
    if size < LANES:
        _few(x, start, size, scale)
    elif size == 16:
        _of16(x, start, size, scale)
    elif size == 32:
        _of32(x, start, size, scale)
    elif size == 64:
        _of64(x, start, size, scale)
    elif size == 128:
        _of128(x, start, size, scale)
    else:
        _of256(x, start, size, scale)
        h = 256
        while h < size:
            for block in range(start, start + size, 2 * h):
                _apart(x, block, h)
            h *= 2


@kernel
def _few(x, start, size, scale):
    for i in range(start, start + size):
        x[i] *= scale
    h = 1
    while h < size:
        for i in range(size):
            if not i & h:
                a, b = x[start + i], x[start + i + h]
                x[start + i], x[start + i + h] = a + b, a - b
        h *= 2


@kernel
def flip(x, signs, which):
    """Multiply ``x`` (d,) by row ``which`` of the signs."""
    d = x.size
    whole = d // LANES * LANES
    _flip(x, signs, which * d, whole)
    for i in range(whole, d):
        x[i] *= signs[which, i]


@kernel
def mix(x):
    """Replace the halves of ``x`` by their sum and difference, over √2."""
    pairs, half = x.size // 2, (x.size + 1) // 2
    whole = pairs // LANES * LANES
    _mix16(x, half, whole, _HALF)
    for i in range(whole, pairs):
        a, b = x[i], x[half + i]
        x[i], x[half + i] = (a + b) * _HALF, (a - b) * _HALF


@kernel
def power_within(d):
    """Return the largest power of two that is at most ``d``."""
    power = 1
    while 2 * power <= d:
        power *= 2
    return power


@kernel
def rotate(rotation, x):
    """Rotate ``x`` (d,) float32 in place."""
    d = x.size
    power = power_within(d)
    for which in range(ROUNDS):
        if which == ROUNDS // 2 and power < d:
            mix(x)
        flip(x, rotation.signs, which)
        hadamard(x, (d - power) * (which & 1), power)


@kernel
def rotate_back(rotation, x):
    """Undo ``rotate``: every step is its own inverse."""
    d = x.size
    power = power_within(d)
    for back in range(ROUNDS):
        which = ROUNDS - 1 - back
        hadamard(x, (d - power) * (which & 1), power)
        flip(x, rotation.signs, which)
        if which == ROUNDS // 2 and power < d:
            mix(x)


@kernel
def rotate_rows(rotation, X):
    """``rotate`` for each row of ``X`` (n, d) float32, in place."""
    for i in range(X.shape[0]):
        rotate(rotation, X[i])


@kernel
def rotate_rows_back(rotation, X):
    """``rotate_back`` for each row of ``X`` (n, d) float32, in place."""
    for i in range(X.shape[0]):
        rotate_back(rotation, X[i])
