"""Shadows: exact sums, bounds that hold, and the results of scoring every row."""

import numba
import numpy as np
import pytest

import ann
from ann import shadows
from ann.kernels import shadow
from ann.kernels.scan import enter
from ann.kernels.stores import begin, score
from ann.memory import aligned
from tests.ann import reference
from tests.ann.data import clustered, gaussian, integers
from tests.ann.levels import WITH_AND_WITHOUT_VNNI


def bounds_of(level):
    """Return a function that writes a query's bounds on all rows of a store."""
    estimate = shadow.estimates(level)

    @numba.njit
    def bounds(store, q, buffer, out):
        begin(store, q, buffer)
        groups = store.codes.shape[1]
        codes = (q.size + 15) // 16 * 16 + 4 * groups
        head = codes + groups
        for block in range(store.codes.shape[0]):
            estimate(
                store.codes, block, groups, buffer, codes, head, store.terms, head + 16
            )
            for j in range(16):
                out[0, 16 * block + j] = buffer[head + 16 + j]
                out[1, 16 * block + j] = buffer[head + 32 + j]

    return bounds


@pytest.fixture(scope="module", params=WITH_AND_WITHOUT_VNNI)
def bounds(request):
    return bounds_of(request.param)


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
def test_bounds_hold_and_are_near(bounds, name, d, key):
    X = SETS[name](d).astype(np.float32)
    Q = np.concatenate([X[:20], X[20:40] + X[40:60], gaussian(5, d, seed=2)])
    slots = np.arange(300) + 3 * (np.arange(300) // 50)  # some are empty
    store = shadows.store(key, X, slots, X.mean(axis=0, keepdims=True), 1)
    assert store.codes.shape == (20, -(-d // 16) * 4, 64)
    assert store.codes.min() >= 1
    buffer = aligned((shadow.query_size(d),), np.float32)
    buffer[:] = np.nan
    found, direct = np.empty((2, 320), np.float32), np.empty(300, np.float32)
    empty = np.setdiff1d(np.arange(320), slots)

    for q in Q:
        bounds(store, q, buffer, found)
        keys(store.exact, q, direct)
        true = reference.keys(key, q[None], X)[0]
        assert np.isnan(found[:, empty]).all()
        low, estimate = found[:, slots]
        assert (low <= direct).all()
        assert (low <= estimate).all()
        if name == "gaussian":
            size = np.linalg.norm(q) * np.linalg.norm(X, axis=1)
            assert (true - low <= 0.15 * size + 0.01 * (key == "l2") * true).all()
            assert (abs(true - estimate) <= abs(true - low)).all()


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("d", [64, 90])
def test_probing_all_lists_is_exact_search(metric, d):
    X, Q = clustered(1500, d, seed=1), clustered(40, d, seed=2) + gaussian(40, d)
    flat = ann.Flat(metric).add(X)
    index = ann.IVF(metric, nlist=20).add(X[:900]).add(X[900:])
    assert isinstance(index._state.structure.store, shadow.Shadow)
    for k in (1, 10, 1600):
        expected = flat.search(Q, k=k)
        np.testing.assert_array_equal(index.search(Q, k=k, nprobe=20), expected)
        for r in (0, 7):
            one = index.search(Q[r], k=k, nprobe=20)
            np.testing.assert_array_equal(one, np.array(expected)[:, r])


def far_apart(n, d, seed):
    """Vectors whose lists lie far apart for what they span."""
    X = clustered(n, d, seed, spread=0.01)
    return np.random.default_rng(seed).permutation(X)


@pytest.mark.parametrize("d", [64, 90])
def test_lists_far_apart_have_shadows_of_their_own(d):
    X = far_apart(3000, d, seed=1)
    X, Q = X[:2900], X[2900:]
    flat = ann.Flat("l2").add(X)
    index = ann.IVF("l2", nlist=60).add(X[:900]).add(X[900:])
    assert isinstance(index._state.structure.store, shadow.ListShadow)
    for k in (1, 10, 3000):
        expected = flat.search(Q, k=k)
        np.testing.assert_array_equal(index.search(Q, k=k, nprobe=60), expected)
        for r in (0, 7):
            one = index.search(Q[r], k=k, nprobe=60)
            np.testing.assert_array_equal(one, np.array(expected)[:, r])
    other = ann.IVF("l2", nlist=20).add(gaussian(2000, d))
    assert not isinstance(other._state.structure.store, shadow.ListShadow)
    assert isinstance(other._state.structure.store, shadow.Shadow)


@numba.njit
def list_bounds(lists, which, q, buffer, out):
    begin(lists.store, q, buffer)
    enter(lists.store, buffer, which)
    for block in range(out.size // 16):
        at = shadow.bound_block(lists.store, buffer, lists.slots[which] // 16 + block)
        for j in range(16):
            out[16 * block + j] = buffer[at + j]


@pytest.mark.parametrize("far", [1, 100])
def test_bounds_about_a_list_s_centre_hold_and_are_nearer(far):
    X = far_apart(3000, 64, seed=1) + np.float32(far)
    X, Q = X[:2900], X[2900:]
    lists = ann.IVF("l2", nlist=60).add(X)._state.structure
    rows = lists.store.exact.rows
    centre = rows.mean(axis=0, keepdims=True)
    slots = np.arange(len(rows))
    plain = shadows.store("l2", rows, slots, centre, 1)
    estimate = bounds_of("portable")
    buffer = aligned((shadow.query_size(64),), np.float32)
    together = np.empty((2, 16 * len(plain.codes)), np.float32)
    nearer = []
    for q in Q[:20]:
        direct = np.empty(len(rows), np.float32)
        keys(plain.exact, q, direct)
        estimate(plain, q, buffer, together)
        for which in range(60):
            first, last = lists.offsets[which : which + 2]
            apart = np.empty(-(-(last - first) // 16) * 16, np.float32)
            list_bounds(lists, which, q, buffer, apart)
            apart = apart[: last - first]
            assert (apart <= direct[first:last]).all()
            nearer.append(apart > together[0, first:last])
    assert np.concatenate(nearer).mean() > 0.95


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
