"""Integer sums over codes: every level that this host has, against numpy's int64."""

from itertools import product

import numba
import numpy as np
import pytest

from ann.kernels import int8
from ann.kernels._jit import LEVELS

LENGTHS = range(0, 401, 16)  # bytes of a row
NAMES = int8.Sums._fields
rng = np.random.default_rng(0)


def compiled(sums):
    """Return a function that computes all nine into ``out``."""
    dot_u8, dot_u4, square_u8, square_u4, absolute_u8, absolute_u4 = sums[:6]
    square_u8_u8, square_u4_u4, absolute_u4_u4 = sums[6:]

    @numba.njit
    def run(a, i, b, j, signed, s, word, w, point, p, length, out):
        out[0] = dot_u8(a, i, signed, s, length)
        out[1] = dot_u4(a, i, signed, s, length)
        out[2] = square_u8(a, i, word, w, length)
        out[3] = square_u4(a, i, word, w, length)
        out[4] = absolute_u8(a, i, point, p, length)
        out[5] = absolute_u4(a, i, point, p, length)
        out[6] = square_u8_u8(a, i, b, j, length)
        out[7] = square_u4_u4(a, i, b, j, length)
        out[8] = absolute_u4_u4(a, i, b, j, length)

    return run


@pytest.fixture(scope="module", params=LEVELS)
def run(request):
    return compiled(int8.sums(request.param))


def grid(codes):
    """Return the points of 4-bit codes: those in low halves, then those in high."""
    codes = codes.astype(np.int64)
    return np.concatenate([codes % 16 * 16, codes // 16 * 16])


def expected(a, b, signed, words, points):
    n, wide = len(a), np.int64
    u, v, low, other = a.astype(wide), b.astype(wide), grid(a), grid(b)
    s, w, p = signed.astype(wide), words.astype(wide), points.astype(wide)
    return [
        (u * s[:n]).sum(),
        (low * s).sum(),
        np.square(u - w[:n]).sum(),
        np.square(low - w).sum(),
        np.abs(u - p[:n]).sum(),
        np.abs(low - p).sum(),
        np.square(u - v).sum(),
        np.square(low - other).sum(),
        np.abs(low - other).sum(),
    ]


def amid_garbage(part, start, dtype=np.uint8):
    """Return an array of any type that holds ``part``'s bytes from ``start`` on."""
    size = np.dtype(dtype).itemsize
    room = rng.integers(256, size=part.nbytes + size * (start + 16)).astype(np.uint8)
    room[size * start : size * start + part.nbytes] = part.view(np.uint8)
    return room.view(dtype)


def operands(length, codes, signed, words, points):
    """Draw codes and queries of a row of ``length`` bytes between given bounds."""
    kinds = (codes, np.uint8), (codes, np.uint8), (signed, np.int8)
    kinds += (words, np.int16), (points, np.uint8)
    counts = [length] * 2 + [2 * length] * 3
    return [
        rng.integers(*bounds, size=count, endpoint=True).astype(dtype)
        for count, (bounds, dtype) in zip(counts, kinds, strict=True)
    ]


def found(run, parts, starts, dtype=np.uint8):
    codes = [amid_garbage(p, s) for p, s in zip(parts[:2], starts[:2], strict=True)]
    queries = [
        amid_garbage(p, s, dtype) for p, s in zip(parts[2:], starts[2:], strict=True)
    ]
    out = np.empty(9, np.int32)
    where = zip([*codes, *queries], starts, strict=True)
    run(*(value for pair in where for value in pair), len(parts[0]), out)
    return dict(zip(NAMES, out, strict=True))


ANY = (0, 255), (-128, 127), (-255, 510), (0, 255)


@pytest.mark.parametrize("starts", [(0,) * 5, (1, 3, 5, 2, 7), (16, 31, 33, 6, 9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_sums_at_any_length_and_place(run, starts, dtype):
    for length in LENGTHS:
        parts = operands(length, *ANY)
        true = dict(zip(NAMES, expected(*parts), strict=True))
        assert found(run, parts, starts, dtype) == true, length


def test_sums_of_the_largest_and_the_smallest(run):
    bounds = [[(low, low), (high, high)] for low, high in ANY]
    for length, corner in product((16, 48, 400), product(*bounds)):
        parts = operands(length, *corner)
        parts[1] = ~parts[0]  # as far apart as two codes can be
        true = dict(zip(NAMES, expected(*parts), strict=True))
        assert found(run, parts, (0,) * 5) == true, (length, corner)


@pytest.mark.parametrize("length", [2**15, 2**14])
def test_sums_of_the_widest_rows_fit(run, length):
    four = length == 2**14  # bytes, of two components each
    parts = operands(length, (255, 255), (-128, -128), (0, 0), (0, 0))
    parts[1][:] = 0
    true = dict(zip(NAMES, expected(*parts), strict=True))
    got = found(run, parts, (0,) * 5)
    for name in NAMES:
        if four or "u4" not in name:
            assert got[name] == true[name]


def test_what_surrounds_a_row_does_not_matter(run):
    parts = operands(80, *ANY)
    first = found(run, parts, (3, 5, 1, 2, 7))
    assert all(found(run, parts, (3, 5, 1, 2, 7)) == first for _ in range(20))


def test_the_library_uses_the_level_in_force():
    assert all(hasattr(int8, name) for name in NAMES)
    parts = operands(112, *ANY)
    run = compiled([getattr(int8, name) for name in NAMES])
    assert list(found(run, parts, (0,) * 5).values()) == expected(*parts)


# --- single elements ------------------------------------------------------------------


@numba.njit
def _read(array, start, i):
    return (
        int8.u8(array, start, i),
        int8.s8(array, start, i),
        int8.s16(array, start, i),
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_readers_see_bytes_whatever_the_array_holds(dtype):
    raw = np.arange(256).astype(np.uint8)
    array, size = raw.view(dtype), np.dtype(dtype).itemsize
    for start, i in product((0, 2), range(60)):
        at, word = size * start + i, size * start + 2 * i
        true = raw[at], raw.view(np.int8)[at], raw[word:].view(np.int16)[0]
        assert _read(array, start, i) == true
    top = (~raw).view(dtype)
    assert _read(top, 0, 0) == (255, -1, np.array([255, 254], np.uint8).view("i2")[0])


@numba.njit
def _put(array, start, i, value):
    int8.put(array, start, i, value)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.float32])
def test_put_writes_one_element_of_its_own_type(kind):
    limits = np.finfo(kind) if kind == np.float32 else np.iinfo(kind)
    for start, i, value in product((0, 1, 3), (0, 1, 7), (limits.min, 0, limits.max)):
        array = amid_garbage(np.zeros(0, np.uint8), 16, np.float32)
        true = array.view(np.uint8).copy()
        true[4 * start :].view(kind)[i] = value
        _put(array, start, i, kind(value))
        np.testing.assert_array_equal(array.view(np.uint8), true)
