"""Every primitive at every length, against float64 and plain loops."""

import itertools

import numba
import numpy as np
import pytest

from ann.kernels import simd
from ann.kernels._jit import LEVELS
from tests.ann.data import gaussian, integers

LONGEST = 300
ROOM = 512  # of one part of a sum, what surrounds it included
STARTS = [(0, 0), (1, 3), (16, 2), (13, 16), (30, 15)]


@numba.njit
def _run(parts, starts, out):
    # Each part lies in a row of NaN and grows by one element a step, so a lane that
    # reads outside shows.
    x = np.full((2, ROOM), np.nan, np.float32)
    a, b = starts[0], ROOM + starts[1]
    for d in range(LONGEST + 1):
        if d:
            for p in range(2):
                x[p, starts[p] + d - 1] = parts[p, d - 1]
        out[0, d] = simd.l2sq(x, a, x, b, d)
        out[1, d] = simd.dot(x, a, x, b, d)
        out[2, d] = simd.l1(x, a, x, b, d)


def sums(parts, starts):
    """Return the three sums over the first 0 to 300 components."""
    out = np.full((3, LONGEST + 1), np.nan, np.float32)
    _run(parts, np.array(starts), out)
    return out


def terms(parts):
    """Return what each primitive sums up: (3, 300) float64."""
    a, b = parts.astype(np.float64)
    return np.array([np.square(a - b), a * b, np.abs(a - b)])


def totals(each):
    """Return sums of the first 0, 1, 2, … of each row."""
    return np.cumsum(np.pad(each, ((0, 0), (1, 0))), axis=1)


def in_order(each):
    """Return the sum of float32 in the order that the module states."""
    tail = len(each) // 16 * 16
    by_four = len(each) // 64 * 64
    accs = each[:by_four].reshape(-1, 4, 16)
    acc = np.zeros((4, 16), np.float32)
    for part in accs:
        acc += part
    acc = (acc[0] + acc[1]) + (acc[2] + acc[3])
    for first in range(by_four, tail, 16):
        acc += each[first : first + 16]
    acc[: len(each) - tail] += each[tail:]
    while len(acc) > 1:
        acc = acc[: len(acc) // 2] + acc[len(acc) // 2 :]
    return acc[0]


@pytest.mark.parametrize("starts", STARTS)
def test_sums_of_whole_numbers_are_exact(starts):
    parts = integers(2, LONGEST, seed=sum(starts), low=-99, high=100)
    expected = totals(terms(parts))
    assert expected.max() < 2**24
    np.testing.assert_array_equal(sums(parts, starts), expected)


@pytest.mark.parametrize("starts", STARTS)
def test_sums_of_real_numbers_are_within_rounding(starts):
    parts = gaussian(2, LONGEST, seed=sum(starts))
    each = terms(parts)
    expected = totals(each)
    # Each addition rounds once, and each term a few times, relative to what it holds.
    size = totals(np.abs(each)) + 16 * np.abs(parts).max() ** 2
    bound = (np.arange(LONGEST + 1) + 16) * 2.0**-24 * size
    assert (np.abs(sums(parts, starts) - expected) <= bound).all()


def test_sums_are_added_in_the_stated_order_bit_for_bit():
    """What makes levels and processors agree; where no product is rounded, at least."""
    parts = gaussian(2, LONGEST, seed=3)
    each = np.abs(parts[0] - parts[1])
    found = sums(parts, (5, 2))[2]
    for d in range(LONGEST + 1):
        assert found[d] == in_order(each[:d])


def test_sums_of_infinities():
    parts = np.ones((2, LONGEST), np.float32)
    parts[0, 40], parts[0, 70] = np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        expected = totals(terms(parts))
    np.testing.assert_array_equal(sums(parts, (3, 0)), expected)


@pytest.mark.parametrize("level", LEVELS)
def test_float16_counts_as_the_float32_that_it_is(level):
    l2sq, dot, l1 = simd.primitives(level)

    @numba.njit
    def run(a, b, d):
        return l2sq(a, 1, b, 0, d), dot(a, 1, b, 0, d), l1(a, 1, b, 0, d)

    finite = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = finite[np.isfinite(finite)]  # tiny ones too
    zeros = np.zeros(1, np.float32)
    for half in finite[:: 1 if level == LEVELS[-1] else 97]:
        pair = np.array([0, half], np.float16)
        assert run(pair.view(np.uint16), zeros, 1)[2] == abs(np.float32(half))
    for d in range(131):
        a = gaussian(1, d + 1, seed=d)[0].astype(np.float16)
        b = gaussian(1, d, seed=d + 1)[0]
        whole = np.array(run(a.astype(np.float32), b, d))
        np.testing.assert_array_equal(run(a.view(np.uint16), b, d), whole)


# --- bits and memory ------------------------------------------------------------------


@numba.njit
def _below16(a, i, b, j, scale, limit):
    return simd.below16(a, i, b, j, scale, limit)


@pytest.mark.parametrize("scale", [-2.0, -1.0])
@pytest.mark.parametrize("limit", [-np.inf, -3.0, 0.0, 2.0, np.inf, np.nan])
def test_below16(scale, limit):
    rng = np.random.default_rng(0)
    a, b = rng.integers(-4, 5, size=(2, 64)).astype(np.float32)
    a[10], b[20], a[12] = np.nan, np.inf, -np.inf
    scale, limit = np.float32(scale), np.float32(limit)
    for i, j in [(0, 0), (1, 3), (7, 15), (48, 48), (5, 16)]:
        below = scale * a[i : i + 16] + b[j : j + 16] < limit
        expected = sum(1 << lane for lane in np.flatnonzero(below))
        assert _below16(a, i, b, j, scale, limit) == expected


@numba.njit
def _trailing_zeros(bits):
    return simd.trailing_zeros(bits)


def test_trailing_zeros():
    for lane in range(32):
        assert _trailing_zeros(np.uint32(1 << lane)) == lane
        assert _trailing_zeros(np.uint32(0xFFFFFFFF << lane & 0xFFFFFFFF)) == lane


@numba.njit
def _shift_right(x, y, start, stop):
    simd.shift_right(x, y, start, stop)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_shift_right(dtype):
    for start, count in itertools.product((0, 1, 7, 16), range(131)):
        stop = start + count
        arrays = np.arange(150, dtype=np.float32), np.arange(150, dtype=dtype) + 7
        expected = [array.copy() for array in arrays]
        for array in expected:
            array[start + 1 : stop + 1] = array[start:stop].copy()
        _shift_right(*arrays, start, stop)
        np.testing.assert_array_equal(arrays, expected)


@numba.njit
def _count_below(x, start, count, limit):
    return simd.count_below(x, start, count, limit)


def test_count_below():
    x = integers(1, 150, seed=3)[0]
    x[50], x[60] = np.inf, -np.inf
    for start, count in itertools.product((0, 1, 17), range(131)):
        for limit in np.array([-np.inf, -3, 0, 4, np.inf], np.float32):
            expected = (x[start : start + count] < limit).sum()
            assert _count_below(x, start, count, limit) == expected


@numba.njit
def _ends(x, start, count):
    return simd.ends(x, start, count)


def test_ends():
    x = gaussian(1, 150, seed=3)[0]
    x[70], x[90] = np.inf, -np.inf
    for start, count in itertools.product((0, 1, 17), range(1, 131)):
        part = x[start : start + count]
        assert _ends(x, start, count) == (part.min(), part.max())


@numba.njit
def _not_above16(x, start, count, limit):
    return simd.not_above16(x, start, count, limit)


def test_not_above16():
    x = integers(1, 60, seed=3)[0]
    x[20], x[25], x[30] = np.inf, -np.inf, np.nan
    for start, count in itertools.product((0, 1, 17, 44), (0, 1, 7, 15, 16, 17, 10**6)):
        for limit in np.array([-np.inf, -3, 0, 4, np.inf, np.nan], np.float32):
            within = np.flatnonzero((x[start : start + 16] <= limit)[:count])
            expected = sum(1 << lane for lane in within)
            assert _not_above16(x, start, count, limit) == expected


@numba.njit
def _at(array, index):
    return simd.at(array, index)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8])
def test_at_reads_the_flat_element(dtype):
    array = np.arange(12, dtype=dtype).reshape(3, 4)
    assert [_at(array, i) for i in range(12)] == list(range(12))


@numba.njit
def _prefetch(array, index):
    simd.prefetch(array, index)


def test_prefetch_is_harmless_out_of_bounds():
    array = np.arange(4, dtype=np.float32)
    _prefetch(array, -(10**9))
    _prefetch(array, 10**12)
    np.testing.assert_array_equal(array, np.arange(4))


@numba.njit
def _nearest_word(x, start, words, bias, labels, keys, i):
    simd.nearest_word(x, start, words, bias, labels, keys, i)


@pytest.mark.parametrize("ksub", [16, 32, 64, 80, 256])
@pytest.mark.parametrize("dsub", [1, 2, 3, 8, 17])
def test_nearest_word_is_the_lowest_of_the_least(ksub, dsub):
    rng = np.random.default_rng(ksub + dsub)
    x = rng.integers(-2, 3, size=(8, dsub)).astype(np.float32)
    words = rng.integers(-2, 3, size=(dsub, ksub)).astype(np.float32)
    bias = rng.integers(0, 4, size=ksub).astype(np.float32)
    labels, keys = np.full(10, -7, np.int32), np.full(10, -7, np.float32)
    for i in range(8):
        _nearest_word(x, i * dsub, words, bias, labels, keys, i + 1)
    values = bias - x @ words
    np.testing.assert_array_equal(labels[1:9], values.argmin(axis=1))
    np.testing.assert_array_equal(keys[1:9], values.min(axis=1))
    assert labels[0] == labels[9] == keys[0] == keys[9] == -7


def test_nearest_word_finds_each_column():
    words = np.eye(256, dtype=np.float32)
    label, key = np.empty(1, np.int32), np.empty(1, np.float32)
    for c in range(256):
        _nearest_word(words, c * 256, words, np.zeros(256, np.float32), label, key, 0)
        assert label[0] == c
