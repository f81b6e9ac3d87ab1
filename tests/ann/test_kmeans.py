import numpy as np
import pytest
from sklearn.cluster import KMeans

from ann import exact, kmeans
from ann.kernels import cluster, products
from ann.metrics import row_norms
from tests.ann import reference
from tests.ann.data import clustered, gaussian, integers


def run(X, k, *, seed=0, threads=2, **options):
    return kmeans.kmeans(X, k, np.random.default_rng(seed), threads, **options)


def inertia(X, centroids):
    return float(reference.keys("l2", X, centroids).min(axis=1).sum())


def distinct(n_points, n, d, seed=0):
    """``n`` vectors of which only ``n_points`` differ."""
    points = integers(10 * n_points, d, seed)
    points = np.unique(points, axis=0)[:n_points]
    assert len(points) == n_points
    return points[np.random.default_rng(seed).integers(n_points, size=n)], points


# --- kernels --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("d", [1, 2, 9])
def test_seeding_equals_the_oracle(seed, d):
    X = integers(120, d, seed)
    uniform = np.random.default_rng(seed).random(25)
    chosen, nearest = np.empty(25, np.int64), np.empty(120, np.float32)
    cluster.seed(X, uniform, nearest, chosen)
    np.testing.assert_array_equal(chosen, reference.k_means_plus_plus(X, uniform))


def test_seeding_draws_in_proportion_to_squared_distance():
    X = np.array([[0], [0], [1], [3]], np.float32)
    counts = np.zeros(4)
    for u in np.linspace(0, 1, 1000, endpoint=False):
        chosen = np.empty(2, np.int64)
        cluster.seed(X, np.array([0.0, u]), np.empty(4, np.float32), chosen)
        counts[chosen[1]] += 1
    np.testing.assert_array_equal(counts, [0, 0, 100, 900])


@pytest.mark.parametrize("uniform", [0.0, 0.5, np.nextafter(1.0, 0.0)])
def test_seeding_never_repeats_a_vector_while_others_are_left(uniform):
    X = gaussian(30, 3)
    chosen = np.empty(30, np.int64)
    cluster.seed(X, np.full(30, uniform), np.empty(30, np.float32), chosen)
    assert sorted(chosen) == list(range(30))


def test_seeding_repeats_rows_where_all_coincide():
    X = np.ones((5, 3), np.float32)
    chosen = np.empty(9, np.int64)
    cluster.seed(X, np.full(9, 0.7), np.empty(5, np.float32), chosen)
    assert ((chosen >= 0) & (chosen < 5)).all()


def test_sum_by_label():
    X = gaussian(500, 7)
    labels = np.random.default_rng(0).integers(9, size=500).astype(np.int32)
    labels[labels == 4] = 5  # an empty one
    sums, counts = np.full((10, 7), np.nan), np.full(10, -1)
    cluster.sum_by_label(X, labels, sums, counts)
    expected, expected_counts = reference.sum_by_label(X, labels, 10)
    np.testing.assert_array_equal(counts, expected_counts)
    np.testing.assert_allclose(sums, expected, rtol=1e-12)
    assert counts[4] == counts[9] == 0
    assert not sums[[4, 9]].any()


@pytest.mark.parametrize("ksub", [16, 256])
@pytest.mark.parametrize("dsub", [1, 4, 5])
def test_nearest_codeword_reads_its_columns_alone(ksub, dsub):
    X, codebook = integers(60, 3 * dsub, seed=1), integers(ksub, dsub, seed=2)
    words = np.ascontiguousarray(codebook.T)
    half_norms = np.square(codebook).sum(axis=1) / 2
    for first in (0, dsub, 2 * dsub):
        labels, keys = np.empty(60, np.int32), np.empty(60, np.float32)
        cluster.nearest_codeword(X, first, words, half_norms, labels, keys)
        table = reference.keys("l2", X[:, first : first + dsub], codebook)
        np.testing.assert_array_equal(labels, table.argmin(axis=1))
        np.testing.assert_allclose(keys, table.min(axis=1), atol=1e-6)


@pytest.mark.parametrize("data", [integers, gaussian, clustered])
def test_the_nearest_are_found_around_those_before_or_the_search_gives_up(data):
    X, centroids = data(400, 5, 1), data(60, 5, 2)
    centroids[7] = centroids[3]
    exactly, ids = exact.search("l2", centroids, X, 1, 1)
    around = exact.search("l2", centroids, centroids, 20, 1)
    rng = np.random.default_rng(0)
    given_up = 0
    for before in (ids[:, 0], rng.integers(60, size=400).astype(np.int32)):
        labels, keys = before.copy(), np.empty(400, np.float32)
        cluster.nearest_around(X, centroids, *around, labels, keys)
        found = labels >= 0
        np.testing.assert_array_equal(labels[found], ids[found, 0])
        np.testing.assert_array_equal(keys[found], exactly[found, 0])
        own = np.square(X - centroids[before]).sum(axis=1)
        far = 4 * own > 1.001 * around[0][before, -1]
        assert (labels[far] == -1).all()
        given_up += far.sum()
    assert 0 < given_up < 800


# --- Lloyd ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_objective_never_rises(seed):
    X = gaussian(600, 5, seed=seed)
    objective = [inertia(X, run(X, 30, seed=seed, iterations=i)) for i in range(12)]
    assert (np.diff(objective) <= 1e-6 * objective[0]).all()
    assert objective[-1] < 0.9 * objective[0]


def test_objective_never_rises_through_repairs():
    X, _ = distinct(12, 300, 2)
    X += np.float32(1e-3) * gaussian(300, 2)
    start = np.repeat(X[:1], 20, axis=0)  # one centroid wins all

    def assign(centroids):
        keys, labels = exact.search("l2", centroids, X, 1, 1)
        return keys[:, 0], labels[:, 0]

    objective = [inertia(X, kmeans.lloyd(X, start, assign, i)) for i in range(10)]
    assert (np.diff(objective) <= 1e-6 * objective[0]).all()
    assert objective[-1] < 0.2 * objective[0]


def test_looking_around_changes_nothing_but_the_time(monkeypatch):
    X, calls = clustered(6000, 8, seed=3), []
    original = cluster.nearest_around

    def counted(*arguments):
        calls.append(len(arguments[0]))
        original(*arguments)

    monkeypatch.setattr(cluster, "nearest_around", counted)
    centroids = run(X, 200)
    assert sum(calls) >= 8 * len(X)
    monkeypatch.setattr(kmeans._Nearest, "_near", lambda *_: False)
    np.testing.assert_array_equal(run(X, 200), centroids)
    calls.clear()
    monkeypatch.undo()
    monkeypatch.setattr(cluster, "nearest_around", counted)
    run(gaussian(3000, 60), 200)  # all equally far
    assert not calls


@pytest.mark.parametrize("k", [10, 12, 40])
def test_few_distinct_vectors_are_all_found(k):
    X, points = distinct(10, 500, 4)
    centroids = run(X, k)
    assert centroids.shape == (k, 4)
    assert np.isfinite(centroids).all()
    found = reference.distances("l2", points, centroids).min(axis=1)
    np.testing.assert_array_equal(found, 0)


def test_no_cell_stays_empty():
    X = clustered(1000, 6, seed=4)
    for seed in range(5):
        centroids = run(X, 100, seed=seed)
        labels = reference.distances("l2", X, centroids).argmin(axis=1)
        assert (np.bincount(labels, minlength=100) > 0).mean() > 0.98


def test_as_many_centroids_as_vectors():
    X = gaussian(40, 3)
    assert inertia(X, run(X, 40)) == 0
    np.testing.assert_array_equal(run(X[:1], 1), X[:1])


@pytest.mark.parametrize("spherical", [False, True])
def test_threads_change_nothing(spherical):
    X = gaussian(3000, 8)
    X = reference.unit(X).astype(np.float32) if spherical else X
    expected = run(X, 50, threads=1, spherical=spherical)
    for threads in (2, 4):
        got = run(X, 50, threads=threads, spherical=spherical)
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("spherical", [False, True])
def test_filters_change_nothing(monkeypatch, spherical):
    X = reference.unit(clustered(4000, 33, spread=1.0)).astype(np.float32)
    results = []
    for by_bytes in {products.BYTES, False}:
        monkeypatch.setattr(products, "BYTES", by_bytes)
        results.append(run(X, 80, spherical=spherical))
    np.testing.assert_array_equal(results[0], results[-1])


def test_labels_are_the_nearest_centroids():
    X = gaussian(3000, 40)
    centroids = run(X, 100, iterations=3)
    _, labels = exact.search("l2", centroids, X, 1, 2)
    expected = reference.distances("l2", X, centroids).argmin(axis=1)
    np.testing.assert_array_equal(labels[:, 0], expected)


def test_seed_decides():
    X = gaussian(500, 4)
    np.testing.assert_array_equal(run(X, 9, seed=3), run(X, 9, seed=3))
    assert not np.array_equal(run(X, 9, seed=3), run(X, 9, seed=4))


@pytest.mark.parametrize("data", [gaussian, clustered])
@pytest.mark.parametrize("k", [8, 64])
def test_inertia_is_near_scikit_learns(data, k):
    X = data(2000, 8, seed=7)
    peer = KMeans(k, n_init=1, random_state=0).fit(X)
    assert inertia(X, run(X, k)) < 1.08 * peer.inertia_


def test_trains_on_a_sample_of_256_vectors_a_centroid():
    X = gaussian(2000, 3)
    rng = np.random.default_rng(0)
    sample = X[np.sort(rng.choice(2000, 4 * 256, replace=False))]
    centroids = run(X, 4, iterations=100)
    labels = reference.distances("l2", sample, centroids).argmin(axis=1)
    sums, counts = reference.sum_by_label(sample, labels, 4)
    np.testing.assert_allclose(centroids, sums / counts[:, None], atol=1e-6)


# --- spherical ------------------------------------------------------------------------


def test_spherical_centroids_are_mean_directions_of_norm_one():
    X = reference.unit(clustered(1500, 10, seed=2)).astype(np.float32)
    centroids = run(X, 12, spherical=True, iterations=100)
    np.testing.assert_allclose(row_norms(centroids), 1, rtol=1e-6)
    labels = reference.distances("ip", X, centroids).argmin(axis=1)
    sums, _ = reference.sum_by_label(X, labels, 12)
    np.testing.assert_allclose(centroids, reference.unit(sums), atol=1e-5)


def test_spherical_objective_never_falls():
    X = reference.unit(gaussian(800, 6)).astype(np.float32)
    cosines = [
        -reference.distances("ip", X, run(X, 20, spherical=True, iterations=i))
        .min(axis=1)
        .sum()
        for i in range(10)
    ]
    assert (np.diff(cosines) >= -1e-5).all()


def test_spherical_survives_directions_that_cancel():
    X = np.array([[1, 0], [-1, 0]] * 20, np.float32)
    assert np.isfinite(run(X, 1, spherical=True)).all()
