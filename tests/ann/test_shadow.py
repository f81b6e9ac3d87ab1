"""Shadows: exact sums, bounds that hold, and the results of scoring every row."""

import numba
import numpy as np
import pytest

import ann
from ann import shadows
from ann.kernels import _jit, shadow
from ann.kernels.stores import begin, score
from ann.memory import aligned
from tests.ann import reference
from tests.ann.data import clustered, gaussian, integers

NEEDS = {"avx512": {"avx512"}, "avx2": {"avx512", "avx2"}, "portable": None}
LEVELS = [
    level for level, hosts in NEEDS.items() if not hosts or _jit.SIMD_LEVEL in hosts
]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("length", [64, 128, 192, 448, 65472])
def test_sums_of_products_are_exact(level, length):
    dot = shadow.dot_u8s8(level)

    @numba.njit
    def run(codes, a, query, b, length):
        return dot(codes, a, query, b, length)

    rng = np.random.default_rng(length)
    for codes, query in [
        (rng.integers(256, size=length + 3), rng.integers(-128, 128, size=length + 5)),
        (np.full(length + 3, 255), np.full(length + 5, -128)),
        (np.full(length + 3, 255), np.full(length + 5, 127)),
    ]:
        codes, query = codes.astype(np.uint8), query.astype(np.int8)
        expected = codes[3:].astype(np.int64) @ query[5:].astype(np.int64)
        assert run(codes, 3, query, 5, length) == expected


@numba.njit
def bounds(store, q, buffer, out):
    begin(store, q, buffer)
    for i in range(out.size):
        key, lost = shadow._estimate(store, buffer, i)
        out[i] = key - lost


@numba.njit
def keys(store, q, out):
    for i in range(out.size):
        out[i] = score(store, q, i)


SETS = {
    "gaussian": lambda d: gaussian(300, d),
    "far": lambda d: gaussian(300, d) + 100,
    "clustered": lambda d: clustered(300, d, spread=0.01),
    "whole": lambda d: integers(300, d),
    "equal": lambda d: np.ones((300, d), np.float32),
    "one": lambda d: np.eye(300, d, dtype=np.float32),
    "short": lambda d: gaussian(300, d) * np.float32(1e-21),
    "shortest": lambda d: gaussian(300, d) * np.float32(1e-41),
    "long": lambda d: gaussian(300, d) * np.float32(1e16),
    "mixed": lambda d: (
        gaussian(300, d) * np.float32(10) ** (np.arange(300) % 9)[:, None]
    ),
}


@pytest.mark.parametrize("key", ["l2", "dot"])
@pytest.mark.parametrize("d", [64, 100, 384])
@pytest.mark.parametrize("name", SETS)
def test_bounds_hold_and_are_near(name, d, key):
    X = SETS[name](d).astype(np.float32)
    Q = np.concatenate([X[:20], X[20:40] + X[40:60], gaussian(5, d, seed=2)])
    store = shadows.store(key, X, X.mean(axis=0), 1)
    assert store.codes.shape == (300, -(-d // 64) * 64)
    assert store.codes.min() >= 1
    buffer = aligned((shadow.query_size(d),), np.float32)
    buffer[:] = np.nan
    found, direct = np.empty((2, 300), np.float32)

    for q in Q:
        bounds(store, q, buffer, found)
        keys(store.exact, q, direct)
        true = reference.keys(key, q[None], X)[0]
        assert (found <= direct).all()
        if name == "gaussian":
            size = np.linalg.norm(q) * np.linalg.norm(X, axis=1)
            assert (true - found <= 0.15 * size + 0.01 * (key == "l2") * true).all()


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("d", [64, 90])
def test_probing_all_lists_is_exact_search(metric, d):
    X, Q = clustered(1500, d, seed=1), clustered(40, d, seed=2) + gaussian(40, d)
    flat = ann.Flat(metric).add(X)
    index = ann.IVF(metric, nlist=20).add(X[:900]).add(X[900:])
    assert isinstance(index._lists.store, shadow.Shadow)
    for k in (1, 10, 1600):
        expected = flat.search(Q, k=k)
        np.testing.assert_array_equal(index.search(Q, k=k, nprobe=20), expected)
        for r in (0, 7):
            one = index.search(Q[r], k=k, nprobe=20)
            np.testing.assert_array_equal(one, np.array(expected)[:, r])


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_ties_are_in_order_of_id(metric):
    X = integers(800, 64, seed=1, low=0, high=2)
    X[400:] = X[:400][::-1]
    index = ann.IVF(metric, nlist=9).add(X)
    ids, _ = reference.exact(metric, X[:30], X, 60)
    np.testing.assert_array_equal(index.search(X[:30], k=60, nprobe=9)[0], ids)
    np.testing.assert_array_equal(index.search(X[3], k=60, nprobe=9)[0], ids[3])


def test_memory_is_counted():
    X = gaussian(500, 64)
    index = ann.IVF(nlist=5).add(X)
    assert index.nbytes >= X.nbytes * 5 / 4
    assert ann.IVF("l1", nlist=5).add(X).nbytes < X.nbytes * 1.1
