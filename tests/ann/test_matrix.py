"""Every metric with every structure and every codec, with and without refinement."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import ann
from tests.ann import reference
from tests.ann.data import clustered
from tests.ann.reference import METRICS

STRUCTURES = {
    "Flat": (ann.Flat, {}, {}),
    "IVF": (ann.IVF, {"nlist": 12}, {"nprobe": 6}),
    "HNSW": (ann.HNSW, {"M": 8, "ef_construction": 50}, {"ef_search": 60}),
}
CODECS = {  # and the least recall, without refinement; with it, 0.95
    "float32": (lambda: None, 0.95),
    "SQ8": (lambda: ann.SQ(), 0.93),
    "SQ4": (lambda: ann.SQ(bits=4), 0.55),
    "PQ8": (lambda: ann.PQ(m=8), 0.75),
    "PQ4": (lambda: ann.PQ(m=16, nbits=4), 0.55),
    "OPQ4": (lambda: ann.PQ(m=8, nbits=4, opq=True), 0.35),
    "RaBitQ1": (lambda: ann.RaBitQ(1), None),  # of 16 components: too few to tell
    "RaBitQ4": (lambda: ann.RaBitQ(4), 0.8),
}
ROTATED = ("OPQ4", "RaBitQ1", "RaBitQ4")  # not for l1
CASES = [
    (metric, structure, codec, refine)
    for metric in METRICS
    for structure in STRUCTURES
    for codec in CODECS
    for refine in (None, 4)
    if not (codec == "float32" and refine)
    and not (codec == "RaBitQ1" and not refine)
    and not (codec in ROTATED and metric == "l1")
]
X, Q = np.split(
    clustered(760, 16, seed=6)[np.random.default_rng(0).permutation(760)], [700]
)


@pytest.mark.parametrize(("metric", "structure", "codec", "refine"), CASES)
def test_matrix(metric, structure, codec, refine):
    cls, build, search = STRUCTURES[structure]
    make, floor = CODECS[codec]
    index = cls(metric, codec=make(), refine=refine, **build)
    index.add(X[:600]).add(X[600:])

    scored = np.zeros(len(Q), np.int64)
    ids, distances = index.search(Q, k=10, distance_computations=scored, **search)
    assert ids.shape == distances.shape == (len(Q), 10)
    assert (ids.dtype, distances.dtype) == (np.int64, np.float32)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert ((ids >= 0) & (ids < len(X))).all()
    assert all(len(set(row)) == 10 for row in ids)
    rescored = 10 * (refine or 0)
    assert ((scored >= 10) & (scored <= len(X) + 12 + rescored)).all()

    own = np.take_along_axis(reference.distances(metric, Q, X), ids, axis=1)
    if codec == "float32" or refine:  # true distances
        np.testing.assert_allclose(distances, own, rtol=1e-5, atol=1e-5)
    else:  # near them
        assert np.corrcoef(distances.ravel(), own.ravel())[0, 1] > 0.5

    true, _ = reference.exact(metric, Q, X, 10)
    assert reference.recall(ids, true) >= (0.95 if refine else floor)

    one_ids, one_distances = index.search(Q[7], k=10, **search)
    np.testing.assert_array_equal(one_ids, ids[7])
    np.testing.assert_array_equal(one_distances, distances[7])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_more_is_asked_for_than_there_is(metric, structure):
    cls, build, _ = STRUCTURES[structure]
    for codec in (ann.SQ(), ann.PQ(m=8, nbits=4)):
        index = cls(metric, codec=codec, refine=2.5, **build).add(X[:15])
        everything = {"nprobe": 12} if structure == "IVF" else {}
        ids, distances = index.search(Q, k=20, **everything)
        np.testing.assert_array_equal(
            np.sort(ids)[:, 5:], np.tile(np.arange(15), (60, 1))
        )
        assert (ids[:, 15:] == -1).all()
        assert np.isposinf(distances[:, 15:]).all()


@pytest.mark.parametrize("structure", STRUCTURES)
def test_refinement_scores_refine_times_k(structure):
    cls, build, search = STRUCTURES[structure]
    rough = cls(codec=ann.PQ(m=8, nbits=4), **build).add(X)
    fine = cls(codec=ann.PQ(m=8, nbits=4), refine=3, **build).add(X)
    candidates, _ = rough.search(Q, k=15, **search)
    ids, distances = fine.search(Q, k=5, **search)
    true = reference.distances("l2", Q, X)
    for row, c in enumerate(candidates):
        best = c[np.argsort(true[row, c], kind="stable")][:5]
        np.testing.assert_array_equal(ids[row], best)
        np.testing.assert_allclose(distances[row], true[row, best], rtol=1e-5)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_many_threads_search_at_once(structure):
    cls, build, search = STRUCTURES[structure]
    index = cls(codec=ann.PQ(m=8, nbits=4), refine=2, **build).add(X)
    expected = index.search(Q, threads=1, **search)

    def caller(threads):
        return np.array_equal(index.search(Q, threads=threads, **search), expected)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(caller, [1, 2, 3] * 20))


def test_hnsw_refines_no_more_than_its_pool_holds():
    options = {"M": 8, "ef_construction": 50}
    rough = ann.HNSW(codec=ann.PQ(m=8, nbits=4), refine=1, **options).add(X)
    fine = ann.HNSW(codec=ann.PQ(m=8, nbits=4), refine=100, **options).add(X)
    candidates, _ = rough.search(Q, k=12, ef_search=12)
    ids, _ = fine.search(Q, k=12, ef_search=12)
    np.testing.assert_array_equal(np.sort(ids), np.sort(candidates))


def test_codes_are_smaller_than_vectors():
    V = np.hstack([X, X])
    sizes = {
        name: ann.Flat(codec=make()).add(V).nbytes for name, (make, _) in CODECS.items()
    }
    assert sizes["SQ8"] < sizes["float32"] / 3
    assert sizes["SQ4"] < sizes["SQ8"] / 1.8
    refined = ann.Flat(codec=ann.SQ(), refine=2).add(V).nbytes
    assert refined == sizes["SQ8"] + V.nbytes
