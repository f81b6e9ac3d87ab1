"""Both filters of exact batch search: no neighbour may be lost, whatever the data."""

import numba
import numpy as np
import pytest

from ann import exact
from ann.kernels import products
from ann.kernels.stores import ROWS
from ann.memory import aligned
from tests.ann.data import clustered, gaussian, integers

needs_bytes = pytest.mark.skipif(not products.BYTES, reason="no 8-bit products here")
FILTERS = [
    pytest.param("bytes", marks=needs_bytes),
    pytest.param("choice", marks=needs_bytes),
    pytest.param("axes", marks=needs_bytes),
    pytest.param("choice by axes", marks=needs_bytes),
    "floats",
]


def outlier_dimension(n, d, seed):
    X = gaussian(n, d, seed)
    X[:, d // 2] *= 1e4
    return X


def outlier_rows(n, d, seed):
    X = gaussian(n, d, seed)
    X[::97] *= np.float32(1e6)
    return X


def heavy_tail(n, d, seed):
    norms = np.random.default_rng(seed).lognormal(sigma=3, size=(n, 1))
    return gaussian(n, d, seed) * norms.astype(np.float32)


def duplicates(n, d, seed):
    return np.repeat(integers(-(-n // 5), d, seed), 5, axis=0)[:n]


def far_from_the_origin(n, d, seed):
    return gaussian(n, d, seed) + np.float32(1e4)


def all_magnitudes(n, d, seed):
    powers = np.random.default_rng(seed).uniform(-44, 17, size=(n, 1))
    return (gaussian(n, d, seed) * 10.0**powers).astype(np.float32)


def scaled(factor):
    def data(n, d, seed):
        return (gaussian(n, d, seed) * factor).astype(np.float32)

    data.__name__ = f"times {factor:g}"
    return data


def sparse(n, d, seed):
    X = gaussian(n, d, seed)
    X[np.random.default_rng(seed).random(X.shape) < 0.9] = 0
    return X  # some rows are zero


def signs(n, d, seed):
    return np.sign(gaussian(n, d, seed))


def drawn_out(n, d, seed):
    """Small clusters along a few directions, far apart."""
    X = clustered(n, d, seed) * np.float32(0.05)
    rng = np.random.default_rng(7)
    centers = rng.standard_normal((4, 3)) @ rng.standard_normal((3, d)) * 5
    return X + centers[np.arange(n) % 4].astype(np.float32)


HARD = [
    gaussian, clustered, integers, outlier_dimension, outlier_rows, heavy_tail,
    duplicates, far_from_the_origin, all_magnitudes, sparse, signs, drawn_out,
    *map(scaled, (1e-42, 1e-30, 1e-19, 1e-10, 1e10, 1e16)),
]  # fmt: skip


def force(monkeypatch, way):
    monkeypatch.setattr(products, "BYTES", way != "floats")
    monkeypatch.setattr(exact, "MOST_ROWS", 10_000 if "choice" in way else 0)
    monkeypatch.setattr(exact, "MOST_ROWS_EACH", 10_000)
    if "axes" in way:
        only_by_axes(monkeypatch, 4)


def only_by_axes(monkeypatch, axes):
    original = exact._search_by_bytes

    def search(*arguments):
        if arguments[-1] == 0:
            raise exact._Undecided
        return original(*arguments)

    monkeypatch.setattr(exact, "AXES", axes)
    monkeypatch.setattr(exact, "_search_by_bytes", search)


def check(key, X, Q, k, threads=1):
    expected = exact.scan_rows(ROWS[key](X), len(X), Q, k, 1, X.shape[1])
    np.testing.assert_array_equal(exact.search(key, X, Q, k, threads), expected)
    return expected


@pytest.mark.parametrize("way", FILTERS)
@pytest.mark.parametrize("key", ["l2", "dot"])
@pytest.mark.parametrize("data", HARD, ids=lambda data: data.__name__)
def test_equals_a_direct_scan(monkeypatch, data, key, way):
    force(monkeypatch, way)
    for d in (3, 24, 65):
        X, Q = data(2000, d, seed=d), data(50, d, seed=99)
        Q[:5] = X[:5]
        for k in (1, 10):
            check(key, X, Q, k)


@pytest.mark.parametrize("way", FILTERS)
@pytest.mark.parametrize("key", ["l2", "dot"])
def test_queries_unlike_the_rows(monkeypatch, key, way):
    force(monkeypatch, way)
    for rows, queries in [(gaussian, all_magnitudes), (all_magnitudes, gaussian)]:
        check(key, rows(1500, 20, seed=0), queries(60, 20, seed=1), 5)
    X = gaussian(1500, 20)
    check(key, X, np.zeros((30, 20), np.float32), 5)
    check(key, np.zeros_like(X), X[:30], 5)


@pytest.mark.parametrize("way", FILTERS)
@pytest.mark.parametrize("key", ["l2", "dot"])
@pytest.mark.parametrize("n", [1, 5, 16, 63, 64, 65, 200])
def test_any_shape(monkeypatch, key, n, way):
    force(monkeypatch, way)
    for d in (1, 2, 4, 15, 16, 17, 48, 129):
        for nq in (12, 24, 29, 31):
            X, Q = gaussian(n, d, seed=n), gaussian(nq, d, seed=d)
            check(key, X, Q, min(n, 70))


@pytest.mark.parametrize("way", FILTERS)
@pytest.mark.parametrize("key", ["l2", "dot"])
@pytest.mark.parametrize("batch", [32, 10_000])
def test_neither_threads_nor_batches_show(monkeypatch, key, batch, way):
    force(monkeypatch, way)
    monkeypatch.setattr(exact, "BATCH", batch)  # by queries, and by rows
    monkeypatch.setattr(exact, "PAIRS", 2**14)
    X = np.concatenate([clustered(3000, 9), integers(500, 9)])
    Q = np.concatenate([clustered(150, 9, seed=1), integers(51, 9, seed=1)])
    for threads in (1, 2, 4):
        keys, ids = check(key, X, Q, 7, threads)
    few = exact.search(key, X, Q[150:180], 7, 2)
    np.testing.assert_array_equal(few, (keys[150:180], ids[150:180]))


@pytest.mark.parametrize("way", FILTERS)
@pytest.mark.parametrize("key", ["l2", "dot"])
@pytest.mark.parametrize("batch", [32, 10_000])
def test_no_guess_changes_the_result(monkeypatch, key, batch, way):
    force(monkeypatch, way)
    monkeypatch.setattr(exact, "BATCH", batch)
    X, Q = integers(300, 4), integers(200, 4, seed=1)  # with many ties
    keys, ids = check(key, X, Q, 1)
    for guess in (ids[:, 0], np.full(200, 299, np.int32), ids[::-1, 0].copy()):
        got = exact.search(key, X, Q, 1, 2, guess=guess)
        np.testing.assert_array_equal(got, (keys, ids))


# --- 8-bit products alone -------------------------------------------------------------


@numba.njit
def _filter(panel, codes, limits, q, d):
    return products._filter(panel, codes, limits, q, d, codes.top.shape[1])


@needs_bytes
@pytest.mark.parametrize("axes", [0, 1, 16])
@pytest.mark.parametrize("d", [1, 3, 4, 5, 16, 50, 128])
def test_products_are_exact(d, axes):
    rng = np.random.default_rng(d)
    width, nq = d + -d % 16, 2 * products.BLOCK
    v = np.zeros((nq, width), np.int8)
    v[:, :d] = rng.integers(-127, 128, size=(nq, d))
    rows = np.zeros((products.GROUP, width), np.int64)
    rows[:, :d] = rng.integers(-127, 128, size=(products.GROUP, d))
    u = aligned((width * products.GROUP,), np.uint8)
    u[:] = (rows + 128).reshape(products.GROUP, -1, 4).transpose(1, 0, 2).ravel()
    ones, zeros = np.ones(products.GROUP, np.float32), np.zeros(64, np.float32)
    bits = np.zeros(products.BLOCK, np.uint64)
    coordinates = rng.integers(-50, 50, size=(axes, products.GROUP))
    top = aligned((axes * products.GROUP,), np.float32)
    top[:] = coordinates.ravel()
    panel = products.Panel(u, top, zeros, ones, zeros, bits)
    start = (-128 * v.sum(axis=1, dtype=np.int64)).astype(np.int32)
    tops = rng.integers(-50, 50, size=(nq, axes))
    codes = products.Codes(
        zeros, v, tops.astype(np.float32), start, ones, np.zeros(nq), np.zeros(3)
    )
    expected = v.astype(np.int64) @ rows.T + tops @ coordinates
    for row in range(products.GROUP):
        limits = expected[:, row].astype(np.float32)
        for q in (0, products.BLOCK):
            own = slice(q, q + products.BLOCK)
            passed = expected[own] >= limits[own, None]
            assert _filter(panel, codes, limits, q, d) == passed.any()
            found = (bits[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
            np.testing.assert_array_equal(found, passed)
    assert not _filter(panel, codes, np.full(nq, np.inf, np.float32), 0, d)


@needs_bytes
def test_queries_are_coded_within_half_a_step():
    Q = heavy_tail(40, 21, seed=0)
    rows = exact._Rows("l2", ROWS["l2"](gaussian(9, 21)), 0, keep=False)
    center = rows.center
    codes = exact._Batch(rows, Q)._codes
    z = (Q.astype(np.float64) - center) * codes.scale[:40, None]
    v = codes.v[:40, :21]
    assert np.abs(z).max(axis=1) == pytest.approx(127)
    assert np.abs(z - v).max() <= 0.5 + 1e-4
    assert not codes.v[:40, 21:].any()
    np.testing.assert_array_equal(codes.start[:40], -128 * v.sum(axis=1, dtype=int))
    norms = np.linalg.norm(Q.astype(np.float64) - center, axis=1)
    assert (codes.square[:40] <= norms**2).all()
    np.testing.assert_allclose(codes.square[:40], norms**2, rtol=1e-4)
    reach, error, _ = codes.reach
    assert reach >= np.linalg.norm(z, axis=1).max()
    assert error >= np.linalg.norm(z - v, axis=1).max()
    assert error <= 1.01 * np.linalg.norm(z - v, axis=1).max() + 0.01 * reach


@pytest.fixture
def survivors(monkeypatch):
    """Count what is scored directly."""
    counts, original = [], products.filter_rows

    def counted(*arguments):
        counts.append(original(*arguments))
        return counts[-1]

    monkeypatch.setattr(products, "filter_rows", counted)
    return counts


@needs_bytes
@pytest.mark.parametrize("key", ["l2", "dot"])
def test_hardly_more_rows_are_scored_than_sought(monkeypatch, key):
    counts, original = [], products.select_rows

    def counted(*arguments):
        counts.append(original(*arguments))
        return counts[-1]

    monkeypatch.setattr(products, "select_rows", counted)
    exact.search(key, gaussian(3000, 64), gaussian(100, 64, seed=1), 40, 1)
    assert sum(counts) / 100 < 60


@needs_bytes
@pytest.mark.parametrize("key", ["l2", "dot"])
@pytest.mark.parametrize("data", [gaussian, clustered, far_from_the_origin])
def test_few_rows_survive(survivors, data, key):
    if data is far_from_the_origin and key == "dot":
        pytest.skip("products are nearly equal")
    X, Q = data(20_000, 64, seed=0), data(100, 64, seed=1)
    np.random.default_rng(0).shuffle(X)
    exact.search(key, X, Q, 10, 1)
    assert sum(survivors) / 100 < 600  # of 20,000


@needs_bytes
@pytest.mark.parametrize("key", ["l2", "dot"])
def test_parts_add_up_to_the_vectors(key):
    X = far_from_the_origin(300, 70, seed=0)
    rows = exact._Rows(key, ROWS[key](X), 16, keep=False)
    parts = rows.parts(X, 100, 200)
    whole = X[100:200].astype(np.float64) - rows._center
    assert (rows.center == 0).all()
    assert parts.first == 100
    np.testing.assert_allclose(rows.axes @ rows.axes.T, np.eye(16), atol=1e-12)
    sums = parts.top.astype(np.float64) @ rows.axes + parts.rest
    norms = np.linalg.norm(whole, axis=1)
    np.testing.assert_allclose(parts.square, norms**2)
    assert (np.linalg.norm(sums - whole, axis=1) <= 2.0**-22 * norms).all()
    across = np.abs(parts.rest @ rows.axes.T).max(axis=1)
    assert (across <= 2.0**-22 * norms).all()


@needs_bytes
@pytest.mark.parametrize("few", [False, True])
def test_axes_decide_what_bytes_alone_do_not(monkeypatch, few):
    monkeypatch.setattr(exact, "MOST_ROWS", 10_000 if few else 0)
    monkeypatch.setattr(exact, "_search_by_floats", None)  # not called
    X = np.random.default_rng(0).permutation(drawn_out(6500, 80, seed=0))
    X, Q = X[:6000], X[6000:]
    store = ROWS["l2"](X)
    with pytest.raises(exact._Undecided):
        exact._search_by_bytes("l2", store, Q, 20, 2, None, 0)
    check("l2", X, Q, 20, 2)


@needs_bytes
def test_a_filter_that_does_not_filter_is_left(survivors):
    X, Q = np.tile(gaussian(4, 16), (10_000, 1)), gaussian(200, 16, seed=1)
    check("l2", X, Q, 5)
    assert sum(survivors) < 0.3 * len(X) * len(Q)
