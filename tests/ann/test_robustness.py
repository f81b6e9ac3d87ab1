"""What must not crash, mislead or be left half done."""

import numpy as np
import pytest

import ann
from ann import parallel
from tests.ann import reference
from tests.ann.data import gaussian

G = gaussian(500, 8)
STRUCTURES = {
    "Flat": lambda metric, codec=None: ann.Flat(metric, codec=codec),
    "IVF": lambda metric, codec=None: ann.IVF(metric, nlist=20, codec=codec),
    "HNSW": lambda metric, codec=None: ann.HNSW(metric, M=4, codec=codec),
}


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("metric", ["l2", "ip", "l1"])
def test_vectors_whose_keys_could_overflow_are_refused(name, metric):
    index = STRUCTURES[name](metric).add(G)
    rule = r"must have norms <= 1e\+18, .* got .* in row 3"
    bad = G.copy()
    bad[3] *= np.float32(1e25)
    with pytest.raises(ValueError, match="X " + rule):
        index.add(bad)
    with pytest.raises(ValueError, match="Q " + rule):
        index.search(bad[:20])
    assert index.ntotal == 500
    large = STRUCTURES[name](metric).add(G * np.float32(1e17))
    assert np.isfinite(large.search(G[:20] * np.float32(1e17), k=3)[1]).all()


@pytest.mark.parametrize("codec", [lambda: ann.SQ(8), lambda: ann.SQ(4)])
@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e17])
def test_scalar_quantization_of_tiny_and_huge_ranges(codec, scale):
    X = G * np.float32(scale)
    sq = codec().train(X)
    decoded = sq.decode(sq.encode(X))
    assert np.isfinite(decoded).all()
    assert np.abs(decoded - X).max() <= np.ptp(X, axis=0).max()


@pytest.mark.parametrize("codec", [ann.SQ(8), ann.SQ(4), ann.PQ(4, nbits=4)])
def test_a_codec_is_as_fine_as_before_beside_outliers(codec):
    far = G.copy()
    far[[3, 77]] *= 1000
    found = []
    for X in (G, far):
        index = ann.Flat(codec=codec, refine=2).add(X)
        truth = ann.Flat().add(X).search(G[:100] + 0.1)[0]
        found.append(reference.recall(index.search(G[:100] + 0.1)[0], truth))
        assert index.search(X[3], k=1)[0] == [3]
    assert found[1] > found[0] - 0.02


def test_what_many_rows_have_is_no_outlier():
    X = np.concatenate([np.zeros((300, 8), np.float32), G[:3]])
    sq = ann.SQ(8).train(X)  # the others are all there is to tell apart
    assert np.abs(sq.decode(sq.encode(X)) - X).max() <= np.ptp(X) / 255


def test_parameters_may_be_numpy_numbers():
    index = ann.HNSW("l2", M=np.uint8(200), ef_construction=np.int16(50)).add(G)
    assert index._held.graph.base.shape[1] == 400
    small = ann.Flat("l2", codec=ann.SQ(np.int64(8)), refine=np.float32(2)).add(G)
    assert small.params["refine"] == 2
    ids, _ = index.search(G[:5], k=np.int32(3), ef_search=np.int32(64))
    np.testing.assert_array_equal(ids[:, 0], np.arange(5))
    for wrong in (True, "2", 0.5, np.inf, np.nan):
        with pytest.raises(ValueError, match="refine must be"):
            ann.Flat(codec=ann.SQ(), refine=wrong)
    for wrong in (8.0, 6, True):
        with pytest.raises(ValueError, match="bits must be"):
            ann.SQ(bits=wrong)


def test_ids_given_as_they_come_by_default_change_nothing():
    # Distances of 1e3 merge keys of 1e6 that differ in their last bits.
    P = np.random.default_rng(0).integers(-1000, 1000, (3000, 8)).astype(np.float32)
    q = np.zeros(8, np.float32)
    ids, distances = ann.Flat().add(P).search(q, k=3000)
    own, same = ann.Flat().add(P, ids=np.arange(3000)).search(q, k=3000)
    np.testing.assert_array_equal(ids, own)
    np.testing.assert_array_equal(distances, same)
    ties = distances[1:] == distances[:-1]
    assert ties.any()
    assert (np.diff(ids)[ties] > 0).all()


def test_threads_are_kept_to_in_codecs(monkeypatch):
    seen = []
    run = parallel.run

    def spy(work, n, chunk, threads):
        seen.append(threads)
        run(work, n, chunk, threads)

    monkeypatch.setattr(parallel, "run", spy)
    ann.IVF("l2", nlist=4, codec=ann.PQ(4, opq=True)).add(G, threads=1)
    assert set(seen) == {1}


def test_a_rotation_gives_a_lone_query_what_it_gives_a_batch():
    X = gaussian(2000, 192)
    index = ann.Flat("l2", codec=ann.PQ(24, nbits=4, opq=True)).add(X)
    ids, distances = index.search(X[:20], k=5)
    for i in range(20):
        one_ids, one = index.search(X[i], k=5)
        np.testing.assert_array_equal(one_ids, ids[i])
        np.testing.assert_array_equal(one, distances[i])


def test_a_quantizer_that_came_trained_codes_vectors_not_residuals():
    trained = ann.PQ(4).train(G)
    index = ann.IVF("l2", nlist=10, codec=trained).add(G)
    _, distances = index.search(G[:30], k=1, nprobe=10)
    flat = ann.Flat("l2", codec=trained).add(G)
    np.testing.assert_array_equal(distances, flat.search(G[:30], k=1)[1])


def test_the_default_pool_has_room_for_what_is_refined():
    index = ann.HNSW("l2", M=8, codec=ann.PQ(4, nbits=4), refine=20).add(G)
    ids, _ = index.search(G[:50], k=10)
    wide, _ = index.search(G[:50], k=10, ef_search=200)
    np.testing.assert_array_equal(ids, wide)


def test_what_is_refined_is_counted():
    plain, refined = np.zeros(5, np.int64), np.zeros(5, np.int64)
    ann.Flat(codec=ann.SQ()).add(G).search(G[:5], distance_computations=plain)
    index = ann.Flat(codec=ann.SQ(), refine=3).add(G)
    index.search(G[:5], k=10, distance_computations=refined)
    assert (plain == 500).all()
    assert (refined == 530).all()


@pytest.mark.parametrize("make", [lambda: np.zeros(10, np.int64)[::2], lambda: [0] * 5])
def test_counts_go_into_a_plain_array_only(make):
    index = ann.Flat().add(G)
    with pytest.raises(ValueError, match="contiguous, writable int64 array"):
        index.search(G[:5], distance_computations=make())


def test_an_empty_index_checks_queries_too():
    with pytest.raises(ValueError, match="no zero vector"):
        ann.Flat("cosine").search(np.zeros(3))


def test_a_hub_is_pruned_by_all_its_candidates_whatever_was_searched_before():
    rng = np.random.default_rng(0)
    A = 10 * rng.standard_normal((3000, 8)).astype(np.float32)
    A[17] = 60
    B = (A[17] + np.eye(8)[0] + 0.01 * rng.standard_normal((800, 8))).astype(np.float32)
    graphs = []
    for busy in (False, True):
        index = ann.HNSW(M=4, ef_construction=10).add(A)
        if busy:
            index.search(A[:20], ef_search=2000)
        index.add(B)
        graphs.append(index._held.graph.base[: index.ntotal].copy())
    np.testing.assert_array_equal(*graphs)
