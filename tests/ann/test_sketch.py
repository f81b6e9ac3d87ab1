"""Differences told in a few bits, against numpy."""

import numba
import numpy as np
import pytest

from ann import sketches
from ann.kernels import sketch as kernels
from ann.kernels.fastscan import unpack_blocks
from ann.kernels.sketch import Sketch
from tests.ann.data import gaussian
from tests.ann.levels import WITH_AND_WITHOUT_VNNI

D = 40


def differences(n=4000, d=D, narrow=None, seed=1):
    """Return normal differences, of which the first components may be larger."""
    rows = gaussian(n, d, seed=seed)
    if narrow is not None:
        rows[:, narrow:] *= np.float32(0.05)
    return rows


def learned(bits=None, far=0.0, **of):
    return sketches.learned(differences(**of), far, bits, seed=0)


def told(sketch, rows):
    return rows @ sketches.axes_of(sketch, rows.shape[1]).T


def odd_numbers(sketch, rows):
    """Return what the formula says: (n, m)."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    u = told(sketch, rows) * sketch.inverse / norms
    return np.clip(2 * np.floor(u / 2) + 1, -sketch.tops, sketch.tops)


def put(sketch, rows):
    """Return the odd numbers that the kernel writes of up to 32 rows."""
    wide, odd = kernels.bits(sketch), np.empty(len(sketch.units), np.float32)
    block = np.zeros(4 * wide, np.uint8)
    for j, row in enumerate(rows):
        apart = told(sketch, row[None])[0].astype(np.float32)
        scale = np.float32(1 / np.linalg.norm(row))
        kernels.put(sketch, apart, scale, 4 * (j % 16), 4 * (j // 16), odd, block)
    nibbles = unpack_blocks(block.reshape(1, -1, 64), [32], wide // 4)[: len(rows)]
    bits = (nibbles[:, :, None] >> np.arange(4) & 1).reshape(len(rows), -1)
    found, at = [], 0
    for top in sketch.tops.astype(int):
        count = {15: 4, 3: 2, 1: 1}[top]
        code = bits[:, at : at + count] @ 2 ** np.arange(count)
        found.append(2 * code.astype(int) - top)
        at += count
    return np.stack(found, axis=1)


@pytest.mark.parametrize("bits", [16, 48, 64, 112, 192])
def test_the_bits_of_a_difference_are_the_odd_numbers_of_the_formula(bits):
    sketch = learned(bits, narrow=10)
    assert kernels.bits(sketch) == min(bits, 4 * 48)
    rows = differences(32, seed=7, narrow=10)
    u = told(sketch, rows) * sketch.inverse / np.linalg.norm(rows, axis=1)[:, None]
    clear = np.abs(u / 2 - np.rint(u / 2)) > 1e-4  # rounding may turn the others
    assert (put(sketch, rows) == odd_numbers(sketch, rows))[clear].all()
    assert clear.mean() > 0.99


@pytest.mark.parametrize(("fine", "error"), [(False, 0.04), (True, 1e-3)])
@pytest.mark.parametrize("bits", [64, 160])
def test_tables_give_the_products_of_a_query(bits, fine, error):
    sketch = learned(bits, far=100.0 if fine else 0.0, narrow=12)
    assert sketch.fine == fine
    m, wide = len(sketch.units), kernels.bits(sketch)
    room = np.empty(wide + 2 * m + sketch.codes.shape[1], np.float32)
    tables = np.empty(8 * wide, np.uint8)
    odd = odd_numbers(sketch, differences(200, seed=3, narrow=12))
    codes = np.zeros((200, wide), int)
    at = 0
    for j, top in enumerate(sketch.tops.astype(int)):
        for i in range({15: 4, 3: 2, 1: 1}[top]):
            codes[:, at] = (odd[:, j].astype(int) + top) // 2 >> i & 1
            at += 1
    nibbles = codes.reshape(200, -1, 4) @ 2 ** np.arange(4)
    for q in differences(5, seed=5, narrow=12):
        base, step = kernels.begin_tables(sketch, q, room, tables)
        entries = tables[: 4 * wide].reshape(-1, 16).astype(int)
        sums = entries[np.arange(wide // 4), nibbles].sum(axis=1)
        if fine:
            entries = tables[4 * wide :].reshape(-1, 16).astype(int)
            finer = entries[np.arange(wide // 4), nibbles].sum(axis=1)
            sums = kernels.finer(wide) * sums + finer
        true = odd @ told(sketch, q[None])[0]
        assert np.abs(base + step * sums - true).max() < error * np.abs(true).max()


def of_signs(m, d, seed):
    """Return a sketch of m one-bit axes, and the axes."""
    codes = np.random.default_rng(seed).integers(1, 256, size=(m, d), dtype=np.uint8)
    by_groups = codes.reshape(m // 16, 16, -1, 4).transpose(0, 2, 1, 3)
    ones = np.ones(m, np.float32)
    sketch = Sketch(np.ascontiguousarray(by_groups), ones, ones, ones, 0, 0, True)
    return sketch, codes.astype(np.int64) - 128


@pytest.mark.parametrize("m", [16, 1024, 1056, 4096, 2**15])
def test_no_sum_of_entries_overflows_16_bits(m):
    sketch, axes = of_signs(m, 32, seed=m)
    q = gaussian(1, 32, seed=m)[0]
    room, tables = np.empty(3 * m + 32, np.float32), np.empty(8 * m, np.uint8)
    base, step = kernels.begin_tables(sketch, q, room, tables)
    coarse, fine = tables.reshape(2, -1, 16).astype(int)
    assert coarse.max(axis=1).sum() < 2**16
    assert fine.max(axis=1).sum() < 2**16
    nibbles = np.random.default_rng(0).integers(16, size=m // 4)
    at = np.arange(m // 4)
    sums = kernels.finer(m) * coarse[at, nibbles].sum() + fine[at, nibbles].sum()
    odd = 2 * (nibbles[:, None] >> np.arange(4) & 1).ravel() - 1
    true = odd @ (axes @ q.astype(np.float64))
    # Each component is rounded to half a step, and a query to one of 127 · 254.
    rounding = np.linalg.norm(axes) * np.abs(q).max() / (127 * 254)
    assert abs(base + step * sums - true) < 5 / np.sqrt(12) * np.hypot(
        step / 2 * np.sqrt(m), rounding
    )


@pytest.fixture(scope="module", params=WITH_AND_WITHOUT_VNNI)
def products(request):
    multiply = kernels.products(request.param)

    @numba.njit
    def run(codes, array, integers, to):
        multiply(codes, array, integers, to)

    return run


@pytest.mark.parametrize("d", [16, 32, 48, 80, 128])
def test_products_of_axes_are_whole_numbers(products, d):
    rng = np.random.default_rng(d)
    for m, at in ((16, 0), (48, 3), (64, 5)):
        codes = rng.integers(256, size=(m, d), dtype=np.uint8)
        q = rng.integers(-128, 128, size=d).astype(np.int8)
        codes[0], codes[1] = 255, 0
        q[: d // 2] = (-128, 127)[at % 2]
        by_groups = codes.reshape(m // 16, 16, -1, 4).transpose(0, 2, 1, 3)
        room = np.zeros(at + d // 4 + m + 7, np.float32)
        room[at : at + d // 4] = q.view(np.float32)
        products(np.ascontiguousarray(by_groups), room, at, at + d // 4)
        found = room.view(np.int32)[at + d // 4 : at + d // 4 + m]
        np.testing.assert_array_equal(found, codes.astype(int) @ q.astype(int))
        assert not room[at + d // 4 + m :].any()


def test_alike_axes_have_a_bit_each_and_large_ones_more():
    alike = learned(d=128)
    assert (len(alike.units), alike.fours, alike.twos) == (128, 0, 0)
    few = learned(d=128, narrow=12)
    assert few.fours == 16
    assert kernels.bits(few) < 128


def test_axes_are_orthogonal_and_of_one_length_within_a_group():
    sketch = learned(128, d=64, narrow=16)
    axes = sketches.axes_of(sketch, 64)
    lengths = np.linalg.norm(axes, axis=1)
    cosines = axes @ axes.T / lengths[:, None] / lengths
    np.testing.assert_allclose(cosines, np.eye(len(axes)), atol=0.03)  # of one byte
    for first in range(0, len(axes), sketches.GROUP):
        group = lengths[first : first + sketches.GROUP]
        np.testing.assert_allclose(group, group[0], rtol=0.02)


@pytest.mark.parametrize("narrow", [None, 12])
def test_products_are_told_right_on_average_and_better_where_few_axes_matter(narrow):
    d, bits = 128, 128
    sketch = learned(bits, d=d, narrow=narrow)
    r, v = (differences(3000, d, narrow, seed) for seed in (11, 12))
    odd, along = odd_numbers(sketch, r), told(sketch, v)
    factor = (r**2).sum(axis=1) / (odd * told(sketch, r)).sum(axis=1)
    scale = np.linalg.norm(r, axis=1) * np.linalg.norm(v, axis=1)
    errors = (factor * (odd * along).sum(axis=1) - (r * v).sum(axis=1)) / scale
    signs = np.sqrt((np.pi / 2 - 1) / bits)  # of random ones
    assert abs(errors.mean()) < 0.1 * signs
    if narrow is None:
        assert 0.9 * signs < errors.std() < 1.1 * signs
    else:
        assert errors.std() < 0.6 * signs
    same = factor * (odd * told(sketch, r)).sum(axis=1)
    np.testing.assert_allclose(same, (r**2).sum(axis=1), rtol=1e-5)  # v = r: exact


@pytest.mark.parametrize("n", [0, 1, 3])
def test_little_to_learn_from_still_gives_a_sketch(n):
    sketch = sketches.learned(np.zeros((n, 5), np.float32), 1.0, None, 0)
    assert kernels.bits(sketch) >= 16
    assert np.isfinite(sketch.inverse).all()


def test_it_is_the_same_for_the_same_seed():
    for one, other in zip(learned(96), learned(96), strict=True):
        np.testing.assert_array_equal(one, other)
