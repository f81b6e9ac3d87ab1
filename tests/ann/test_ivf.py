import numpy as np
import pytest

import ann
from tests.ann import reference
from tests.ann.data import clustered, gaussian, integers
from tests.ann.reference import METRICS

X, Q = clustered(1200, 10, seed=1), clustered(40, 10, seed=2) + gaussian(40, 10)


def members(index):
    """Return for each list the positions in it."""
    return np.split(index._held.row_ids, index._held.offsets[1:-1])


def partition_metric(metric):
    """Return by what a vector joins a list."""
    return "l2" if metric == "ip" else metric


@pytest.fixture(scope="module", params=METRICS)
def index(request):
    return ann.IVF(request.param, nlist=20).add(X[:900]).add(X[900:])


def test_every_vector_is_in_exactly_one_list(index):
    assert index._held.offsets[0] == 0
    assert index._held.offsets[-1] == index.ntotal == len(X)
    assert (np.diff(index._held.offsets) >= 0).all()
    np.testing.assert_array_equal(np.sort(index._held.row_ids), np.arange(len(X)))


def test_lists_are_in_order_of_arrival(index):
    for positions in members(index):
        assert (np.diff(positions) > 0).all()


def test_every_vector_is_in_the_list_of_its_nearest_centroid(index):
    table = reference.distances(
        partition_metric(index.metric), X, index._held.centroids
    )
    own = np.empty(len(X))
    for number, positions in enumerate(members(index)):
        own[positions] = table[positions, number]
    np.testing.assert_allclose(own, table.min(axis=1), rtol=1e-6, atol=1e-6)


def test_probing_all_lists_is_exact_search(index):
    flat = ann.Flat(index.metric).add(X)
    for k in (1, 10, 1300):
        got = index.search(Q, k=k, nprobe=20)
        np.testing.assert_array_equal(got, flat.search(Q, k=k))
    np.testing.assert_array_equal(
        index.search(Q[0], k=5, nprobe=20), flat.search(Q[0], k=5)
    )


@pytest.mark.parametrize("nprobe", [1, 3, 7])
def test_search_equals_a_scan_of_the_nearest_lists(index, nprobe):
    probes, _ = reference.exact(index.metric, Q, index._held.centroids, nprobe)
    true = reference.distances(index.metric, Q, X)
    for row, lists in enumerate(probes):
        positions = np.concatenate([members(index)[number] for number in lists])
        table = np.full((1, len(X)), np.inf)
        table[0, positions] = true[row, positions]
        ids, distances = index.search(Q[row], k=10, nprobe=nprobe)
        expected_ids, expected = reference.nearest(table, 10)
        np.testing.assert_allclose(distances, expected[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(ids[np.isfinite(distances)], ids[ids >= 0])
        assert set(ids) - {-1} <= set(positions)
        np.testing.assert_array_equal(
            ids, np.where(np.isinf(expected), -1, expected_ids)[0]
        )


@pytest.mark.parametrize("metric", ["l2", "ip", "l1"])
def test_equal_distances_are_ordered_by_id(metric):
    V = integers(600, 4, seed=1)
    index = ann.IVF(metric, nlist=9).add(V)
    ids, distances = reference.exact(metric, V[:50], V, 80)
    got = index.search(V[:50], k=80, nprobe=9)
    np.testing.assert_array_equal(got[0], ids)
    np.testing.assert_allclose(got[1], distances, rtol=1e-7)


def test_distance_computations_are_centroids_and_scanned_vectors(index):
    scored = np.full(len(Q), -1)
    for nprobe in (1, 4, 20):
        index.search(Q, nprobe=nprobe, distance_computations=scored)
        probes, _ = reference.exact(index.metric, Q, index._held.centroids, nprobe)
        sizes = np.diff(index._held.offsets)
        np.testing.assert_array_equal(scored, 20 + sizes[probes].sum(axis=1))


def test_short_lists_are_padded(index):
    ids, distances = index.search(Q, k=1000, nprobe=1)
    sizes = (ids >= 0).sum(axis=1)
    assert sizes.max() < 1000
    for row, size in enumerate(sizes):
        assert (ids[row, size:] == -1).all()
        assert np.isposinf(distances[row, size:]).all()
        assert len(set(ids[row, :size])) == size


def test_more_lists_never_find_less(index):
    _, true = ann.Flat(index.metric).add(X).search(Q, k=10)
    worse = np.full(len(Q), np.inf)
    for nprobe in (1, 2, 4, 8, 20):
        distances = index.search(Q, k=10, nprobe=nprobe)[1].astype(np.float64).sum(1)
        assert (distances <= worse).all()
        worse = distances
    np.testing.assert_array_equal(worse, true.astype(np.float64).sum(axis=1))


@pytest.mark.parametrize("metric", METRICS)
def test_recall_floor(metric):
    V, queries = clustered(4000, 16, seed=5), clustered(100, 16, seed=5)
    true, _ = reference.exact(metric, queries, V, 10)
    index = ann.IVF(metric, nlist=64).add(V)
    found = [index.search(queries, nprobe=p)[0] for p in (1, 8)]
    assert reference.recall(found[0], true) >= 0.5
    assert reference.recall(found[1], true) >= 0.99


def test_later_vectors_train_nothing_anew(index):
    first = ann.IVF(index.metric, nlist=20).add(X[:900])
    np.testing.assert_array_equal(first._held.centroids, index._held.centroids)


@pytest.mark.filterwarnings("ignore::ann.fit.CodecWarning")  # clusters one by one
@pytest.mark.parametrize("metric", METRICS)
def test_parts_after_the_first_make_the_same_index(metric):
    steps = [(0, 500), (500, 501), (501, 1200)]
    index = ann.IVF(metric, nlist=12, codec=ann.PQ(m=5, nbits=4))
    for a, b in steps:
        index.add(X[a:b])
    other = ann.IVF(metric, nlist=12, codec=ann.PQ(m=5, nbits=4))
    other.add(X[:500]).add(X[500:])
    np.testing.assert_array_equal(index.search(Q, k=9), other.search(Q, k=9))


# --- patience -------------------------------------------------------------------------


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_patience_stops_after_lists_that_changed_nothing(index, patience):
    k, stopped = 5, 0
    scored, one = np.zeros(len(Q), np.int64), np.zeros(1, np.int64)
    ids, distances = index.search(
        Q, k=k, nprobe=20, patience=patience, distance_computations=scored
    )
    probes, _ = reference.exact(index.metric, Q, index._held.centroids, 20)
    sizes = np.diff(index._held.offsets)
    for row in range(len(Q)):
        quiet, before, nprobe = 0, None, 0
        while nprobe < 20 and quiet < patience:
            nprobe += 1
            found = index.search(Q[row], k=k, nprobe=nprobe)[0]
            same = before is not None and np.array_equal(found, before)
            quiet = quiet + 1 if same and before[-1] >= 0 else 0
            before = found
        stopped += nprobe < 20
        np.testing.assert_array_equal(ids[row], before)
        assert scored[row] == 20 + sizes[probes[row, :nprobe]].sum()
        alone = index.search(
            Q[row], k=k, nprobe=20, patience=patience, distance_computations=one
        )
        np.testing.assert_array_equal(alone, (ids[row], distances[row]))
        assert one == scored[row]
    assert stopped > 0


def test_patience_beyond_nprobe_changes_nothing(index):
    got = index.search(Q, nprobe=7, patience=8)
    np.testing.assert_array_equal(got, index.search(Q, nprobe=7))


@pytest.mark.parametrize("patience", [0, -1])
def test_patience_is_checked(index, patience):
    with pytest.raises(ValueError, match=f"patience must be >= 1, got {patience}"):
        index.search(Q, patience=patience)


# --- residual codes -------------------------------------------------------------------


@pytest.mark.parametrize("nbits", [4, 8])
@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_residual_scores_are_distances_to_decoded_vectors(metric, nbits):
    index = ann.IVF(metric, nlist=6, codec=ann.PQ(m=5, nbits=nbits)).add(X)
    decoded = np.empty_like(X)
    packed = index._codec.disarrange(index._held.packed, np.diff(index._held.offsets))
    for number, positions in enumerate(members(index)):
        codes = packed[index._held.offsets[number] : index._held.offsets[number + 1]]
        residuals = index._codec.decode(index._codec.unpack(codes))
        decoded[positions] = index._held.centroids[number] + residuals
    if metric == "cosine":  # the decoded vector's norm is not 1, and not used
        true = 1 + reference.distances("ip", reference.unit(Q), decoded)
        true = np.maximum(true, 0)
    else:
        true = reference.distances(metric, Q, decoded)
    ids, distances = index.search(Q, k=len(X), nprobe=6)
    atol = 0.15 if nbits == 4 else 1e-4  # tables rounded to 8 bits
    np.testing.assert_allclose(distances, np.sort(true), rtol=1e-4, atol=atol)
    own = np.take_along_axis(true, ids, axis=1)
    np.testing.assert_allclose(distances, own, rtol=1e-4, atol=atol)


def test_residual_codes_lose_less_than_codes_of_the_vectors():
    pq, (_, true) = ann.PQ(m=5, nbits=4), reference.exact("l2", Q, X, 1)
    _, flat = ann.Flat(codec=pq).add(X).search(Q, k=1)
    _, residual = ann.IVF(nlist=20, codec=pq).add(X).search(Q, k=1, nprobe=20)
    assert np.abs(residual - true).mean() < 0.9 * np.abs(flat - true).mean()


def test_a_vector_that_is_coded_exactly_has_a_distance_not_below_zero():
    V = (gaussian(12, 6, seed=3) * 10)[np.random.default_rng(0).integers(12, size=400)]
    for nbits, atol in ((8, 0.02), (4, 4.0)):  # the root of a table's step of 1
        index = ann.IVF(nlist=2, codec=ann.PQ(m=3, nbits=nbits)).add(V)
        _, distances = index.search(V, k=5, nprobe=2)
        assert not np.isnan(distances).any()
        np.testing.assert_allclose(distances[:, 0], 0, atol=atol)


@pytest.mark.parametrize(
    "offset",
    [
        0,
        100,
        10_000,
    ],
)
def test_residual_scores_survive_an_offset(offset):
    V, queries = X + np.float32(offset), Q[:20] + np.float32(offset)
    true, _ = reference.exact("l2", queries, V, 10)
    index = ann.IVF(nlist=10, codec=ann.PQ(m=10)).add(V)
    ids, _ = index.search(queries, k=10, nprobe=10)
    assert reference.recall(ids, true) > 0.8


# --- parameters -----------------------------------------------------------------------


@pytest.mark.parametrize("nprobe", [0, 21, 1.5, "2"])
def test_nprobe_is_checked(index, nprobe):
    rule = r"in \[1, nlist=20\]" if isinstance(nprobe, int) else "an integer"
    with pytest.raises(ValueError, match=f"nprobe must be {rule}, got {nprobe!r}"):
        index.search(Q, nprobe=nprobe)


def test_nprobe_is_16_or_all_by_default(index):
    np.testing.assert_array_equal(index.search(Q), index.search(Q, nprobe=16))
    small = ann.IVF(index.metric, nlist=3).add(X)
    np.testing.assert_array_equal(small.search(Q), small.search(Q, nprobe=3))


@pytest.mark.parametrize(
    ("n", "nlist"), [(1, 1), (38, 1), (78, 2), (500, 12), (1600, 41), (40_000, 800)]
)
def test_default_nlist(n, nlist):
    # 4 sqrt(n), but 39 vectors a list at least: the latter counts up to 24,336
    index = ann.IVF().add(gaussian(n, 2))
    assert index.nlist == index.params["nlist"] == nlist
    assert nlist == max(1, min(round(4 * n**0.5), n // 39))


def test_default_nlist_waits_for_vectors():
    index = ann.IVF()
    assert index.nlist is None
    assert index.params == {
        "metric": "l2",
        "codec": None,
        "refine": None,
        "transform": None,
        "nlist": None,
        "seed": 0,
    }
    assert index.search(Q[0], nprobe=3)[0].shape == (10,)


def test_more_lists_than_vectors_are_refused():
    index = ann.IVF(nlist=41)
    with pytest.raises(ValueError, match=r"nlist must be <= 40, .* got 41"):
        index.add(X[:40])
    assert (index.ntotal, index.d) == (0, None)
    index.add(X[:41])
    np.testing.assert_array_equal(
        index.search(X[:41], k=1, nprobe=41)[0][:, 0], range(41)
    )


@pytest.mark.parametrize("metric", METRICS)
def test_identical_vectors(metric):
    index = ann.IVF(metric, nlist=5).add(np.repeat(X[:1], 50, axis=0))
    ids, _ = index.search(X[0], k=50, nprobe=5)
    np.testing.assert_array_equal(ids, np.arange(50))


def test_seed_decides_the_lists():
    first, second, same = (ann.IVF(nlist=20, seed=s).add(X) for s in (0, 1, 0))
    np.testing.assert_array_equal(first._held.centroids, same._held.centroids)
    assert not np.array_equal(first._held.centroids, second._held.centroids)
