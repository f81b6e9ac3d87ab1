"""An offset that all vectors share, and their unit, must change no answer."""

from itertools import product

import numpy as np
import pytest

import ann
from ann import exact, kmeans
from tests.ann import reference
from tests.ann.data import clustered, gaussian

FAR = 1e5  # where float32 tells no less than 1/128
OFFSET = 2.0**17  # … and where it tells what is a multiple of 1/64
N, D, NQ, K = 1500, 20, 150, 10
CODECS = {
    "float32": lambda: None,
    "SQ8": lambda: ann.SQ(8),
    "SQ4": lambda: ann.SQ(4),
    "PQ8": lambda: ann.PQ(m=10),
    "PQ4": lambda: ann.PQ(m=10, nbits=4),
    "OPQ8": lambda: ann.PQ(m=10, opq=True),
    "OPQ4": lambda: ann.PQ(m=10, nbits=4, opq=True),
    "RaBitQ1": lambda: ann.RaBitQ(1),
    "RaBitQ4": lambda: ann.RaBitQ(4),
}
STRUCTURES = {
    "Flat": (ann.Flat, {}),
    "IVF": (lambda *a, **k: ann.IVF(*a, nlist=12, **k), {"nprobe": 12}),
    "HNSW": (lambda *a, **k: ann.HNSW(*a, M=8, **k), {"ef_search": 100}),
    "QG": (lambda *a, **k: ann.QG(*a, M=8, **k), {"ef_search": 100}),
}


def whole(X):
    """Return multiples of 1/64, which are the same around ``OFFSET``."""
    return (np.rint(X * 64) / 64).astype(np.float32)


X = whole(clustered(N, D, seed=1, spread=0.7))
Q = whole(clustered(N + NQ, D, seed=1, spread=0.7)[::-10][:NQ] + gaussian(NQ, D) / 8)


def allowed(structure, codec, metric):
    if metric == "l1":
        return structure != "QG" and not codec.startswith(("OPQ", "RaBitQ"))
    return structure != "QG" or codec in ("float32", "SQ8", "SQ4")


def recall(structure, codec, metric, offset):
    make, effort = STRUCTURES[structure]
    moved, queries = (A + np.float32(offset) for A in (X, Q))
    index = make(metric, codec=CODECS[codec](), norm_check="off").add(moved)
    apart = reference.distances(metric, queries, moved)
    truth = np.argsort(apart, axis=1, kind="stable")[:, :K]
    ids, distances = index.search(queries, K, **effort)
    alone, _ = index.search(queries[0], K, **effort)
    np.testing.assert_array_equal(alone, ids[0])
    if codec == "float32":
        best = np.take_along_axis(apart, truth, 1)
        np.testing.assert_allclose(distances, best, rtol=1e-5)
    return np.mean([len(set(a) & set(b)) / K for a, b in zip(ids, truth, strict=True)])


@pytest.mark.parametrize(
    ("structure", "codec", "metric"),
    [all_ for all_ in product(STRUCTURES, CODECS, ("l2", "l1")) if allowed(*all_)],
)
def test_recall_is_the_same_far_from_0(structure, codec, metric):
    near, far = (recall(structure, codec, metric, offset) for offset in (0, OFFSET))
    assert far > near - 0.02


@pytest.mark.parametrize("name", ["PQ8", "PQ4", "OPQ8", "OPQ4"])
def test_products_are_coded_about_their_middle(name):
    near, far = CODECS[name]().train(X), CODECS[name]().train(X + np.float32(OFFSET))
    np.testing.assert_allclose(
        far.codebooks_.astype(np.float64) - far._parts(np.full(D, OFFSET)),
        near.codebooks_,
        atol=1 / 16,
    )
    codes = near.encode(Q)
    assert np.mean(far.encode(Q + np.float32(OFFSET)) == codes) > 0.95
    apart = far.decode(codes).astype(np.float64) - OFFSET - near.decode(codes)
    assert np.abs(apart).max() <= 1 / 16
    sums = far.adc_table(Q[0] + np.float32(OFFSET))
    np.testing.assert_allclose(sums, near.adc_table(Q[0]), rtol=0.02, atol=0.1)


@pytest.mark.parametrize("metric", ["ip", "cosine"])
@pytest.mark.parametrize("name", ["PQ8", "PQ4", "OPQ8"])
def test_inner_products_with_what_is_far_from_0_are_whole(name, metric):
    index = ann.Flat(metric, codec=CODECS[name](), norm_check="off").add(X + 100)
    ids, distances = index.search(Q, 3)
    rows, queries = X + 100, Q
    if metric == "cosine":
        rows, queries = reference.unit(rows), reference.unit(Q)
    decoded = index._codec.decode(index._codec.encode(rows))
    products = np.take_along_axis(queries @ decoded.T, ids, axis=1)
    expected = (metric == "cosine") - products
    atol = 0.02 * np.abs(products).max()
    np.testing.assert_allclose(distances, expected, rtol=0, atol=atol)


def test_a_middle_is_0_where_means_are_small_and_near_them_elsewhere():
    assert not kmeans.middle(X).any()
    spread = (X * 3.0 ** np.arange(-4, 16, dtype=np.float32)).astype(np.float64)
    moved = (spread + 1e6 * np.arange(D)).astype(np.float32)
    left = np.abs(moved.mean(axis=0, dtype=np.float64) - kmeans.middle(moved))
    assert (left <= moved.std(axis=0, dtype=np.float64)).all()
    alike = np.full((7, 3), 0.1, np.float32)
    np.testing.assert_array_equal(kmeans.middle(alike), alike[0])


def test_centroids_move_with_the_vectors():
    near = kmeans.kmeans(X, 15, np.random.default_rng(0), 1)
    far = kmeans.kmeans(X + np.float32(OFFSET), 15, np.random.default_rng(0), 1)
    np.testing.assert_allclose(far - OFFSET, near, atol=1 / 64)


@pytest.mark.parametrize("d", [3, 20, 70])
@pytest.mark.parametrize("search", ["bytes", "floats"])
def test_exact_search_far_from_0_is_that_by_direct_distances(search, d, monkeypatch):
    if search == "floats":
        monkeypatch.setattr(exact.products, "BYTES", False)
    rows, queries = (A.astype(np.float32) + np.float32(FAR) for A in (
        gaussian(700, d, seed=1), gaussian(60, d, seed=2)))  # fmt: skip
    keys, ids = exact.search("l2", rows, queries, 10, 2)
    apart = reference.distances("l2", queries, rows) ** 2
    best = np.sort(apart, axis=1)[:, :10]
    np.testing.assert_allclose(keys, best, rtol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(apart, ids, 1), best, rtol=1e-5)


@pytest.mark.parametrize(
    ("structure", "codec", "metric"),
    [all_ for all_ in product(STRUCTURES, CODECS, ("l2", "l1")) if allowed(*all_)],
)
def test_the_unit_changes_nothing(structure, codec, metric):
    make, effort = STRUCTURES[structure]
    found = []
    for unit in (1, 2.0**-40, 2.0**30):
        rows, queries = (np.float32(unit) * A for A in (X[:500], Q))
        index = make(metric, codec=CODECS[codec](), norm_check="off").add(rows)
        found.append(index.search(queries, K, **effort)[0])
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])
