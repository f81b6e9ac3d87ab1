import importlib.util

import numpy as np
import pytest

import ann
from experiments import indexes
from experiments.peers import levels
from experiments.recall import distances_of, recall

LEVELS = {"avx512", "avx512_vpopcnt", "avx512_spr", "avx2", "sse2", "portable"} | {
    levels.UNKNOWN,
    "none",  # faiss
}
PARAMS = {
    "Flat": ({}, {}),
    "HNSW": ({"M": 16, "ef_construction": 100}, {"ef_search": 100}),
    "QG": ({"ef_construction": 100}, {"ef_search": 200}),
    "IVF": ({"nlist": 8}, {"nprobe": 8}),
    "IVFFlat": ({"nlist": 8}, {"nprobe": 8}),
    "Vamana": ({}, {"window_size": 100}),
    "SymphonyQG": ({}, {"ef_search": 200}),
    "Factory": ({"factory": "IVF8,SQ8,RFlat"}, {"nprobe": 8, "k_factor": 10}),
    "IVFPQFastScan": ({"nlist": 8, "m": 32}, {"nprobe": 8, "k_factor": 20}),
    "Forest": ({"n_trees": 20}, {"search_k": 5000}),
    "Brute": ({}, {}),
}


@pytest.fixture(scope="module", name="data")
def _data():
    rng = np.random.default_rng(5)
    X = (rng.standard_normal((600, 64)) + 0.5).astype(np.float32)
    return X, X[:25] + rng.standard_normal((25, 64)).astype(np.float32) / 4


def truth(metric, X, Q):
    X, Q = X.astype(np.float64), Q.astype(np.float64)
    if metric in ("l2", "l1"):
        order = 2 if metric == "l2" else 1
        D = np.array([np.linalg.norm(X - q, ord=order, axis=1) for q in Q])
    else:
        D = -Q @ X.T / (np.linalg.norm(X, axis=1) if metric == "cosine" else 1)
    return np.argsort(D, axis=1)[:, :10]


CASES = [
    pytest.param(key, metric, id=f"{'-'.join(key)}-{metric}")
    for key, adapter in indexes.KINDS.items()
    for metric in adapter.metrics
    if key[0] not in ("pynndescent", "dummy")  # one compiles for more than a minute
    and (key[0] != "ann" or metric == "l2")  # its own tests see to the others
]


@pytest.mark.parametrize(("key", "metric"), CASES)
def test_finds_the_true_neighbours_under_each_metric(data, key, metric):
    adapter, (X, Q) = indexes.KINDS[key], data
    if importlib.util.find_spec(adapter.library) is None:
        pytest.skip(f"{adapter.library} is not installed")
    build, search = (dict(params) for params in PARAMS[adapter.kind])
    index = adapter(metric, adapter.Build(**build), seed=1)
    index.add(index.prepare(X), threads=2)
    Q_ = index.prepare(Q)
    params = adapter.Search(**search)
    neighbors = truth(metric, X, Q)
    floor = 0.9 if key[0] == "glass" else 0.97  # of four bits
    for threads in (1, 2):
        answer = index.searcher(params, 10, threads)(Q_)
        ids = index.ids(answer)
        assert ids.dtype == np.int64
        assert recall(ids, neighbors, X, Q, metric)[:, 2].mean() > floor
        given = index.distances(answer)
        if given is not None:
            true = distances_of(ids, X, Q, metric)
            np.testing.assert_allclose(given, true, rtol=1e-3, atol=1e-4)
    one = index.ids(index.searcher(params, 10, 1)(Q_[:1]))
    assert one.shape == (1, 10)
    assert index.nbytes >= X.nbytes
    assert levels.version(adapter) != levels.UNKNOWN or key[0] == "ann"
    assert levels.vector_level(index) in LEVELS
    counts = index.distance_computations(Q_, params, 10)
    if counts is not None:
        assert counts.shape == (len(Q),)
        assert (counts >= 10).all()
        if adapter.kind in ("Flat", "IVF", "IVFFlat"):
            assert (counts >= len(X)).all()


@pytest.mark.parametrize(
    ("key", "build", "search"),
    [
        *(
            (("rabitqlib", "SymphonyQG"), {"degree": degree, "bits": bits}, {})
            for degree, bits in ((32, 8), (64, 4))
        ),
        *(
            (("svs", "Vamana"), {"storage": storage}, {"window_size": 200})
            for storage in ("LVQ8", "LVQ4x4", "LVQ4x8", "LVQ8x8", "LeanVec8x8")
        ),
        (("glass", "HNSW"), {"codec": "FP32", "refine": None}, {}),
        (("glass", "HNSW"), {"codec": "SQ8U", "refine": "FP32"}, {}),
        *(
            (("faiss", "Factory"), {"factory": factory} | more, search)
            for factory, more, search in (
                ("HR,IVF8,RaBitQfs,RFlat", {}, {"nprobe": 8, "k_factor": 20}),
                ("PCA64,IVF8,FlatPanorama4_32", {}, {"nprobe": 8}),
                ("PCA64,HNSW16,FlatPanorama4", {"ef_construction": 100}, {}),
                ("PCA32,IVF8,Flat,RFlat", {}, {"nprobe": 8, "k_factor": 20}),
            )
        ),
    ],
)
def test_every_storage_finds_the_neighbours_under_cosine(data, key, build, search):
    adapter, (X, Q) = indexes.KINDS[key], data
    pytest.importorskip(adapter.module or adapter.library)
    index = adapter("cosine", adapter.Build(**build), seed=1)
    try:
        index.add(index.prepare(X), threads=1)
    except RuntimeError as error:
        if "non-Intel" in str(error):
            pytest.skip("svs compresses on Intel's processors alone")
        raise
    if "nprobe" not in search and key[0] != "svs":
        search = {"ef_search": 200}
    answer = index.searcher(adapter.Search(**search), 10, 1)(index.prepare(Q))
    ids = index.ids(answer)
    floor = 0.85 if build.get("bits") == 4 else 0.95
    assert recall(ids, truth("cosine", X, Q), X, Q, "cosine")[:, 2].mean() > floor
    given = index.distances(answer)
    assert (given is not None) == build.get("factory", "").endswith("RFlat")
    if given is not None:
        true = distances_of(ids, X, Q, "cosine")
        np.testing.assert_allclose(given, true, rtol=1e-3, atol=1e-4)
    panorama = "Panorama" in build.get("factory", "")
    assert (levels.vector_level(index) == "sse2") == panorama


@pytest.mark.parametrize("factory", ["PCA8,IVF4,Flat", "HNSW8,FlatPanorama"])
def test_what_keeps_l2_alone_is_refused_under_ip(factory):
    pytest.importorskip("faiss")
    adapter = indexes.KINDS["faiss", "Factory"]
    with pytest.raises(ValueError, match="keep l2 alone"):
        adapter("ip", adapter.Build(factory=factory), 0)


def test_a_degree_that_the_vectors_do_not_allow_is_refused(data):
    pytest.importorskip("rabitqlib")
    adapter = indexes.KINDS["rabitqlib", "SymphonyQG"]
    index = adapter("l2", adapter.Build(degree=64), 0)
    with pytest.raises(ValueError, match=r"less than n = 60, got 64"):
        index.add(data[0][:60], 1)


@pytest.mark.parametrize(
    ("kind", "params"),
    [("HNSW", {}), ("HNSW", {"epsilon": 0.2}), ("IVF", {}), ("IVF", {"patience": 3})],
)
def test_ours_left_at_its_defaults_is_searched_as_the_library_does(data, kind, params):
    (X, Q), adapter = data, indexes.KINDS["ann", kind]
    build = PARAMS[kind][0]
    index = adapter("l2", adapter.Build(**build), seed=1)
    index.add(X, threads=1)
    search, k = adapter.Search(**params), 80  # more than an ef_search of 64 allows
    found = index.ids(index.searcher(search, k, 1)(Q))
    plain = getattr(ann, kind)(metric="l2", seed=1, **build).add(X)
    np.testing.assert_array_equal(found, plain.search(Q, k=k, **params)[0])


def test_faiss_gets_vectors_of_norm_one_for_cosine_only(data):
    pytest.importorskip("faiss")
    X, _ = data
    adapter = indexes.KINDS["faiss", "Flat"]
    cosine = adapter("cosine", adapter.Build(), 0).prepare(X)
    np.testing.assert_allclose(np.linalg.norm(cosine, axis=1), 1, rtol=1e-6)
    assert cosine.dtype == np.float32
    assert adapter("ip", adapter.Build(), 0).prepare(X) is X


def test_search_settings_do_not_stick(data):
    pytest.importorskip("faiss")
    X, Q = data
    adapter = indexes.KINDS["faiss", "IVFFlat"]
    index = adapter("l2", adapter.Build(nlist=16), 0)
    index.add(X, 1)
    few, many = adapter.Search(nprobe=1), adapter.Search(nprobe=16)
    first = index.distance_computations(Q, few, 10)
    assert (index.distance_computations(Q, many, 10) == len(X)).all()
    np.testing.assert_array_equal(index.distance_computations(Q, few, 10), first)


def test_what_cannot_be_measured_says_why(monkeypatch):
    hnswlib = indexes.KINDS["hnswlib", "HNSW"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert indexes.why_not(hnswlib, "l2").endswith("pip install hnswlib")
    svs = indexes.KINDS["svs", "Vamana"]
    assert indexes.why_not(svs, "l2").endswith("pip install scalable-vs")
    faiss = indexes.KINDS["faiss", "Flat"]
    assert indexes.why_not(faiss, "l2").endswith("pip install faiss-cpu")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert indexes.why_not(hnswlib, "l2") is None
    assert indexes.why_not(hnswlib, "l1") == (
        "hnswlib HNSW cannot answer l1, only l2, ip, cosine"
    )


@pytest.mark.parametrize("refine", [None, 2])
@pytest.mark.parametrize("transform", [{"kind": "PCA"}, {"kind": "Truncate"}], ids=str)
def test_our_transforms_reach_the_library(transform, refine, data):
    adapter = indexes.KINDS["ann", "Flat"]
    build = adapter.Build(transform=transform | {"d_out": 32}, refine=refine)
    index = adapter("l2", build, seed=3)
    X, Q = data
    index.add(X, threads=1)
    seed = {"seed": 3} if transform["kind"] == "PCA" else {}
    own = {**transform, "d_out": 32, **seed}
    assert index._index.params["transform"] == own
    answer = index.searcher(adapter.Search(), 10, 1)(Q)
    given = index.distances(answer)
    assert (given is None) == (refine is None)  # what is narrower is an estimate
    if refine:
        np.testing.assert_allclose(
            given, distances_of(index.ids(answer), X, Q, "l2"), rtol=1e-4
        )
