import tracemalloc

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

import ann
from tests.ann import reference
from tests.ann.data import gaussian, integers
from tests.ann.reference import METRICS

SKLEARN = {"l2": "euclidean", "cosine": "cosine", "l1": "manhattan"}


def tied(metric, n, d, seed):
    """Vectors with many equal distances, all exact in float32 under the metric."""
    if metric != "cosine":
        return integers(n, d, seed)
    signs = integers(n, d, seed, 0, 2) * 2 - 1  # a norm of 4, exactly
    return signs * np.random.default_rng(seed).choice([0.5, 1, 2], (n, 1)).astype("f4")


@pytest.mark.parametrize("metric", SKLEARN)
@pytest.mark.parametrize("d", [1, 3, 16, 50])
def test_equals_scikit_learn(metric, d):
    X, Q = gaussian(3000, d), gaussian(40, d, seed=1)
    X, Q = (X + 2, Q + 2) if d == 1 else (X, Q)
    brute = NearestNeighbors(algorithm="brute", metric=SKLEARN[metric]).fit(X)
    ids, distances = ann.Flat(metric).add(X).search(Q, k=10)
    assert ids.dtype == np.int64
    assert distances.dtype == np.float32
    if d > 1 or metric != "cosine":  # on a line, all cosines are 1
        expected, expected_ids = brute.kneighbors(Q, 10)
        np.testing.assert_allclose(distances, expected, rtol=1e-5, atol=1e-6)
        assert (ids == expected_ids).mean() > 0.999  # but for distances that close


@pytest.mark.parametrize("d", [1, 3, 16, 50])
def test_inner_product_equals_numpy(d):
    X, Q = gaussian(3000, d), gaussian(40, d, seed=1)
    ids, distances = ann.Flat("ip").add(X).search(Q, k=10)
    product = Q.astype(np.float64) @ X.T.astype(np.float64)
    expected = np.argsort(-product, axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(ids, expected)
    best = np.take_along_axis(product, expected, axis=1)
    np.testing.assert_allclose(distances, -best, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n", [1, 7, 16, 300, 2048, 2065, 4500])
def test_ties_are_broken_by_id(metric, n):
    X, Q = tied(metric, n, 16, seed=n), tied(metric, 20, 16, seed=0)
    X[n // 2 :] = X[: n - n // 2]  # duplicates
    Q[:3] = X[0]
    k = min(n, 60)
    ids, distances = reference.exact(metric, Q, X, k)
    index = ann.Flat(metric).add(X)
    for queries in (slice(0, 20), slice(0, 5)):  # by products, and by scanning
        got = index.search(Q[queries], k=k)
        np.testing.assert_array_equal(got[0], ids[queries])
        np.testing.assert_allclose(got[1], distances[queries], rtol=1e-7)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("d", [2, 33])
def test_batch_single_and_threads_agree_bit_for_bit(metric, d):
    X, Q = gaussian(2500, d), gaussian(300, d, seed=1)  # more than one block of each
    index = ann.Flat(metric).add(X)
    expected = index.search(Q, k=10, threads=1)
    for threads in (2, 4):
        np.testing.assert_array_equal(index.search(Q, k=10, threads=threads), expected)
    few = index.search(Q[:7], k=10)
    np.testing.assert_array_equal(few, np.array(expected)[:, :7])
    for r in range(0, 300, 11):
        single = index.search(Q[r], k=10)
        np.testing.assert_array_equal(single, np.array(expected)[:, r])


@pytest.mark.parametrize("offset", [100.0, 1e4, 1e6])
@pytest.mark.parametrize("metric", ["l2", "l1"])
def test_no_cancellation_far_from_the_origin(metric, offset):
    X, Q = (gaussian(3000, 12, seed=s) + np.float32(offset) for s in (0, 1))
    Q = Q[:50]
    ids, distances = ann.Flat(metric).add(X).search(Q, k=10)
    true = reference.distances(metric, Q, X)
    np.testing.assert_allclose(distances, np.sort(true, axis=1)[:, :10], rtol=1e-5)
    own = np.take_along_axis(true, ids, axis=1)
    np.testing.assert_allclose(distances, own, rtol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_very_long_and_very_short_vectors(metric, scale):
    X, Q = gaussian(500, 6) * np.float32(scale), gaussian(12, 6, seed=1)
    Q = Q * np.float32(scale)
    ids, distances = ann.Flat(metric).add(X).search(Q, k=10)
    expected_ids, expected = reference.exact(metric, Q, X, 10)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_allclose(distances, expected, rtol=1e-5, atol=1e-7 * (scale < 1))


@pytest.mark.parametrize(
    ("metric", "nq"),
    [
        ("l1", 3),
        ("l1", 20),
        ("cosine", 3),
        ("cosine", 20),
        ("l2", 3),
        ("l2", 20),
        ("ip", 3),
        ("ip", 20),
    ],
)
def test_keys_that_overflow_float32_are_refused_or_leave_no_garbage(metric, nq):
    X, Q = (gaussian(n, 6, seed=n) * np.float32(1e25) for n in (100, nq))
    try:
        ids, distances = ann.Flat(metric).add(X).search(Q, k=10)
    except ValueError:
        return
    assert ((ids >= -1) & (ids < 100)).all()
    assert not np.isnan(distances).any()
    for row in ids:
        known = row[row >= 0]
        assert len(set(known)) == len(known)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("nq", [1, 20])
@pytest.mark.parametrize("n", [1, 5])
def test_too_few_vectors_are_padded(metric, n, nq):
    X, Q = gaussian(n, 4), gaussian(nq, 4, seed=1)
    ids, distances = ann.Flat(metric).add(X).search(Q, k=9)
    assert ids.shape == distances.shape == (nq, 9)
    np.testing.assert_array_equal(np.sort(ids[:, :n]), np.tile(np.arange(n), (nq, 1)))
    assert np.isfinite(distances[:, :n]).all()
    assert (ids[:, n:] == -1).all()
    assert np.isposinf(distances[:, n:]).all()


def test_one_query_gives_one_row():
    X = gaussian(30, 4)
    index = ann.Flat().add(X)
    ids, distances = index.search(X[3], k=2)
    assert ids.shape == distances.shape == (2,)
    assert (ids[0], distances[0]) == (3, 0)
    ids, distances = index.search(X[3:4], k=1)
    assert (ids.tolist(), distances.tolist()) == ([[3]], [[0.0]])
    assert index.search(X[3])[0].shape == (10,)


@pytest.mark.parametrize("metric", METRICS)
def test_parts_make_the_same_index(metric):
    X, Q = gaussian(400, 5), gaussian(30, 5, seed=1)
    whole, parts = ann.Flat(metric).add(X), ann.Flat(metric)
    for a, b in [(0, 1), (1, 3), (3, 200), (200, 201), (201, 400)]:
        assert parts.add(X[a:b]) is parts
        assert parts.ntotal == len(parts) == b
    np.testing.assert_array_equal(parts.search(Q, k=7), whole.search(Q, k=7))


@pytest.mark.parametrize("nq", [1, 20])
def test_distance_computations_are_all_vectors(nq):
    scored = np.full(nq, -5)
    index = ann.Flat().add(gaussian(77, 4))
    index.search(gaussian(nq, 4), k=2, distance_computations=scored)
    assert (scored == 77).all()
    one = np.zeros(1, np.int64)
    index.search(np.zeros(4), k=2, distance_computations=one)
    assert one == 77


@pytest.mark.parametrize("metric", METRICS)
def test_memory_is_bounded(metric):
    n, nq = (50_000, 2000) if metric != "l1" else (20_000, 500)
    index = ann.Flat(metric).add(gaussian(n, 3))
    Q = gaussian(nq, 3, seed=1)
    index.search(Q[:20], k=10)
    tracemalloc.start()
    try:
        index.search(Q, k=10, threads=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < nq * n * 4 / 20


def test_what_an_index_says_of_itself():
    index = ann.Flat("euclidean")
    assert (index.metric, index.d, index.ntotal) == ("l2", None, 0)
    index.add(gaussian(30, 4))
    assert (index.d, index.ntotal) == (4, 30)
    assert index.nbytes >= 30 * 4 * 4
    nothing = dict.fromkeys(("transform", "codec", "refine"))
    assert index.params == {"metric": "l2", **nothing}
    assert repr(index).startswith("Flat(metric='l2') <ntotal=30, d=4, nbytes=")
    refined = ann.Flat("l1", codec=ann.SQ(bits=4), refine=3).add(gaussian(30, 4))
    assert refined.params["codec"] == {"kind": "SQ", "bits": 4}
    assert "Flat(metric='l1', codec=SQ(bits=4), refine=3)" in repr(refined)
