"""Our indexes under the interface of ann-benchmarks, driven as its runner does."""

import ast
import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import yaml

from experiments.interop.ann_benchmarks import module

HOME = Path(module.__file__)
N, D, K = 3000, 24, 10
CASES = [
    (module.Flat, {}, None),
    (module.Flat, {"codec": {"kind": "SQ", "bits": 8}, "refine": 4}, None),
    (module.Flat, {"transform": {"kind": "PCA", "d_out": 20}, "refine": 9}, None),
    (module.HNSW, {"M": 12, "ef_construction": 100}, 100),
    (module.HNSW, {"M": 12, "codec": {"kind": "SQ", "bits": 4}, "refine": 4}, 100),
    (module.IVF, {"nlist": 20}, 20),
    (module.IVFPQ, {"nlist": 20, "nbits": 4, "refine": 10}, 20),
    (module.IVFPQ, {"nlist": 20, "m": 6}, 20),
]


@pytest.fixture(scope="module", name="data")
def _data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D)).astype(np.float32)
    return X, X[:40] + rng.standard_normal((40, D)).astype(np.float32) / 5


def truth(metric, X, Q):
    if metric == "angular":
        X, Q = (A / np.linalg.norm(A, axis=1, keepdims=True) for A in (X, Q))
    D2 = np.square(X[None].astype(float) - Q[:, None]).sum(axis=2)
    return np.argsort(D2, axis=1)[:, :K]


@pytest.mark.parametrize("metric", ["euclidean", "angular"])
@pytest.mark.parametrize(("constructor", "build", "effort"), CASES)
def test_a_run_as_the_suite_does_it(data, metric, constructor, build, effort):
    X, Q = data
    algo = constructor(metric, D, build)
    before = algo.get_memory_usage()
    algo.fit(X)
    assert before == 0
    assert algo.get_memory_usage() * 1024 > 4 * N
    if effort is not None:
        algo.set_query_arguments(effort)
    ids = np.array([algo.query(q, K) for q in Q])
    assert all(len(set(row)) == K for row in ids.tolist())
    hits = [len(set(a) & set(b)) for a, b in zip(ids, truth(metric, X, Q), strict=True)]
    assert np.mean(hits) / K > (0.5 if "m" in build else 0.97)
    assert len(Q) * K < algo.get_additional()["dist_comps"] <= len(Q) * (N + 4000)
    assert algo.get_additional() == {"dist_comps": 0}  # those since then
    algo.batch_query(Q, K)
    assert np.array_equal(np.array(algo.get_batch_results()), ids)
    assert algo.get_additional()["dist_comps"] > len(Q) * K
    assert f"ann {constructor.__name__}(" in str(algo)
    algo.done()
    assert algo.get_memory_usage() == 0


def test_distance_computations_are_those_of_every_run(data):
    X, Q = data
    algo = module.Flat("euclidean", D, {})
    algo.fit(X)
    for _ in range(3):  # as --runs 3
        for q in Q:
            algo.query(q, K)
    assert algo.get_additional() == {"dist_comps": 3 * len(Q) * N}


def test_effort_fits_what_is_asked_and_the_name_says_so(data):
    X, Q = data
    graph = module.HNSW("euclidean", D, {"M": 8})
    graph.fit(X)
    graph.set_query_arguments(5)
    assert len(graph.query(Q[0], 20)) == 20
    assert str(graph) == "ann HNSW(M=8, ef_search=20)"
    lists = module.IVF("euclidean", D, {"nlist": 10})
    lists.fit(X)
    lists.set_query_arguments(500)
    assert len(lists.query(Q[0], 20)) == 20
    assert str(lists) == "ann IVF(nlist=10, nprobe=10)"


def test_missing_neighbours_are_left_out(data):
    algo = module.Flat("euclidean", D, {})
    algo.fit(data[0][:4])
    assert sorted(algo.query(data[1][0], K)) == [0, 1, 2, 3]
    algo.batch_query(data[1][:2], K)
    assert [sorted(ids) for ids in algo.get_batch_results()] == [[0, 1, 2, 3]] * 2


def test_vectors_without_a_direction_have_no_place_under_angular(data):
    X, Q = (A.copy() for A in data)
    X[[0, 7]] = 0
    Q[1] = 0
    algo = module.Flat("angular", D, {})
    algo.fit(X)
    ids = [algo.query(q, K) for q in Q]
    assert len(ids[1]) == 0
    assert set(truth("angular", X[8:], Q[:1])[0] + 8) >= {i for i in ids[0] if i > 7}
    assert not {0, 7} & set(np.concatenate(ids).tolist())
    algo.batch_query(Q, K)
    assert all(
        np.array_equal(a, b) for a, b in zip(algo.get_batch_results(), ids, strict=True)
    )
    euclidean = module.Flat("euclidean", D, {})
    euclidean.fit(X)
    assert 0 in euclidean.query(Q[1], K)


def test_other_errors_of_a_query_come_through(data):
    algo = module.Flat("euclidean", D, {})
    algo.fit(data[0])
    with pytest.raises(ValueError, match="must be finite"):
        algo.query(np.full(D, np.nan, np.float32), K)


def test_the_file_there_names_what_the_module_has():
    document = yaml.safe_load(HOME.with_name("config.yml").read_text())
    for algorithm in document["float"]["any"]:
        assert hasattr(module, algorithm["constructor"])
        assert algorithm["module"] == "ann_benchmarks.algorithms.ann"
        assert algorithm["base_args"] == ["@metric", "@dimension"]
        assert {"name", "docker_tag", "run_groups"} <= algorithm.keys()


def test_it_imports_nothing_of_ours_but_the_library():
    imported = {
        (node.module or "").split(".")[0]
        if isinstance(node, ast.ImportFrom)
        else node.names[0].name.split(".")[0]
        for node in ast.walk(ast.parse(HOME.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported == {"__future__", "typing", "numpy", "ann", "ann_benchmarks"}


def test_it_derives_from_their_base_where_there_is_one(monkeypatch):
    class BaseANN:
        def inherited(self):
            return "theirs"

    path = "ann_benchmarks"
    for part in ("", ".algorithms", ".algorithms.base", ".algorithms.base.module"):
        monkeypatch.setitem(sys.modules, path + part, types.ModuleType(path + part))
    sys.modules[f"{path}.algorithms.base.module"].BaseANN = BaseANN
    spec = importlib.util.spec_from_file_location("copied", HOME)
    copied = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copied)
    assert issubclass(copied.HNSW, BaseANN)
    assert not issubclass(module.HNSW, BaseANN)
