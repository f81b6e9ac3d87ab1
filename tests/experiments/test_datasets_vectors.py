"""Sampling, holding out queries, and the cast to float32."""

import re

import numpy as np
import pytest

from experiments.datasets.vectors import (
    Vectors,
    canonical_metric,
    check_matrix,
    sample_rows,
    take,
)


def pool(size, d=2):
    return Vectors(np.arange(size * d).reshape(size, d), None, "l2", "a pool")


def with_queries(n, nq):
    vectors = pool(n)
    return Vectors(vectors.train, vectors.train[:nq], "l2", "with queries")


def test_held_out_queries_and_base_partition_the_pool():
    base, queries = sample_rows(pool(1000), None, 30, seed=3)
    assert len(queries) == 30
    assert np.array_equal(np.sort(np.concatenate([base, queries])), np.arange(1000))


@pytest.mark.parametrize(("size", "expected"), [(2, 1), (57, 5), (30_000, 2000)])
def test_default_number_of_held_out_queries(size, expected):
    base, queries = sample_rows(pool(size, 1), None, None, seed=0)
    assert (len(base), len(queries)) == (size - expected, expected)


def test_samples_of_one_seed_are_nested_and_in_the_order_of_the_source():
    for vectors in (pool(500), with_queries(500, 200)):
        small = sample_rows(vectors, 50, 10, seed=1)
        large = sample_rows(vectors, 300, 90, seed=1)
        for few, many in zip(small, large, strict=True):
            assert set(few) <= set(many)
            assert np.array_equal(few, np.sort(few))


def test_the_base_does_not_depend_on_the_number_of_queries():
    for vectors in (pool(500), with_queries(500, 200)):
        few = sample_rows(vectors, 100, 10, seed=1)[0]
        many = sample_rows(vectors, 100, 200, seed=1)[0]
        assert np.array_equal(few, many)


def test_another_seed_is_another_sample():
    for vectors in (pool(500), with_queries(500, 200)):
        one, other = (sample_rows(vectors, 100, 50, seed=s) for s in (0, 1))
        assert not np.array_equal(one[0], other[0])
        assert not np.array_equal(one[1], other[1])


def test_all_rows_are_no_sample():
    assert sample_rows(with_queries(50, 20), 50, 20, seed=0) == (None, None)
    assert sample_rows(with_queries(50, 20), None, None, seed=0) == (None, None)


@pytest.mark.parametrize(
    ("vectors", "n", "nq", "message"),
    [
        (with_queries(50, 20), 51, None, r"n must be in \[1, 50\], got 51"),
        (with_queries(50, 20), 0, None, r"n must be in \[1, 50\], got 0"),
        (with_queries(50, 20), None, 21, r"nq must be in \[1, 20\], got 21"),
        (pool(50), 41, 10, r"n must be in \[1, 40\], got 41"),
        (pool(50), None, 50, r"nq must be in \[1, 49\], got 50"),
        (pool(1), None, None, "a pool: holding out queries needs at least 2 .* got 1"),
    ],
)
def test_sizes_out_of_range(vectors, n, nq, message):
    with pytest.raises(ValueError, match=message):
        sample_rows(vectors, n, nq, seed=0)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "u1", "i4"])
@pytest.mark.parametrize("rows", [None, np.array([1, 4])])
@pytest.mark.parametrize("order", ["C", "F"])
def test_take_gives_writable_c_contiguous_float32(dtype, rows, order):
    array = np.arange(15).reshape(5, 3).astype(dtype, order=order)
    array.setflags(write=False)
    out = take(array, rows, "here")
    assert out.dtype == np.float32
    assert out.flags.c_contiguous
    assert out.flags.writeable
    assert np.array_equal(out, array if rows is None else array[rows])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_take_names_the_row_of_the_source_that_is_not_finite(bad):
    array = np.zeros((40_000, 2))
    array[30_001, 1] = bad
    message = re.escape(f"finite in float32, got {bad} in row 30001, column 1")
    with pytest.raises(ValueError, match=message):
        take(array, None, "here")
    rows = np.array([5, 30_001, 30_002])
    with pytest.raises(ValueError, match=message):
        take(array, rows, "here")
    take(array, np.array([5, 30_002]), "here")


def test_take_accepts_the_largest_float32():
    array = np.full((20_000, 3), np.finfo(np.float32).max)
    assert take(array, None, "here").min() == np.finfo(np.float32).max


def test_metric_spellings():
    spellings = ["euclidean", "angular", "normalized", "dot", "ip", "cityblock"]
    canonical = ["l2", "cosine", "cosine", "ip", "ip", "l1"]
    assert [canonical_metric(name, "") for name in spellings] == canonical
    with pytest.raises(ValueError, match=r"file: metric must be one .* 'hamming'"):
        canonical_metric("hamming", "file")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3,)), r"shape must be \(n, d\) with n, d >= 1, got \(3,\)"),
        (np.zeros((3, 0)), r"got \(3, 0\)"),
        (np.zeros((0, 3)), r"got \(0, 3\)"),
        (np.zeros((3, 3), dtype="c8"), "dtype must be float or integer, got complex64"),
        (np.zeros((3, 3), dtype=bool), "got bool"),
        (np.zeros((3, 3), dtype="U1"), "got <U1"),
    ],
)
def test_what_is_no_matrix_of_numbers(array, message):
    with pytest.raises(ValueError, match=message):
        check_matrix(array, "here")
