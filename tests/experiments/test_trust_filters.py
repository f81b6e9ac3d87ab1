import csv
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments import config, datasets
from experiments.cli import app
from experiments.peers.common import GraphBuild, GraphSearch
from experiments.trust import filtering, filters

CONFIG = """
name = "filters"
rounds = 2
threads = 1
[filters]
shares = [0.5, 0.02]
shapes = ["random", "far"]
forms = ["ids"]
[[dataset]]
name = "digits-64-euclidean"
n = 1000
nq = 40
[[index]]
kind = "HNSW"
build = { M = 8, ef_construction = 60 }
search.ef_search = 64
[[index]]
kind = "IVF"
build.nlist = 8
search.nprobe = 8
[[index]]
library = "hnswlib"
kind = "HNSW"
build.M = 8
search.ef_search = 64
[[index]]
library = "faiss"
kind = "HNSW"
build.M = 8
search.ef_search = 64
[[index]]
library = "faiss"
kind = "IVFFlat"
build.nlist = 8
search.nprobe = 8
"""


@pytest.fixture(name="ann")
def _ann(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "filters.toml").write_text(CONFIG)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_filters_run_end_to_end_beside_the_yardstick(ann, tmp_path):
    pytest.importorskip("hnswlib")
    pytest.importorskip("faiss")
    done = ann("trust", "filters.toml")
    assert done.exit_code == 0, done.output
    out = tmp_path / "results" / "filters"
    with (out / "filters.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["rounds"] for row in rows} == {"2"}
    masks = [row for row in rows if row["form"] == "prepared"]
    assert len(masks) == 6 * 4
    assert {row["passing"] for row in masks if row["share"] == "0.5"} == {"500"}
    assert {row["passing"] for row in masks if row["share"] == "0.02"} == {"20"}
    exact = [row for row in masks if row["label"] == filters.EXACT]
    assert {row["recall_at_10"] for row in exact} == {"1"}
    assert {row["times"] for row in exact} == {"1"}
    assert {row["resolve_us"] for row in exact} == {""}
    for row in masks:
        times = float(row["times"])
        assert float(row["times_low"]) <= times <= float(row["times_high"])
        assert float(row["p50_us_low"]) <= float(row["p50_us_high"])
        assert row["p99_us"] == ""  # 40 queries do not support it
        assert row["resolve_us"] == ""
    everything = [row for row in masks if row["label"] == "IVF nlist=8"]
    assert {row["recall_at_10"] for row in everything} == {"1"}  # all lists
    ours = [float(r["recall_at_10"]) for r in masks if r["label"].startswith("HNSW")]
    assert min(ours) > 0.95
    others = [row for row in rows if row["form"] != "prepared"]
    assert all(float(row["resolve_us"]) > 0 for row in others)
    assert len(others) == 2 * 2  # indexes, shares; the first setting
    assert {row["shape"] for row in others} == {"random"}
    assert "forms of a filter" in done.stdout
    figures = {path.name for path in (out / "figures").glob("*.svg")}
    stem = "digits-64-euclidean-l2-filters"
    assert figures == {f"{stem}-random.svg", f"{stem}-far.svg"}
    assert ann("trust", str(out)).exit_code == 0


@pytest.fixture(name="data", scope="module")
def _data(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return datasets.load("digits-64-euclidean", n=900, nq=40, truth_k=10, cache=cache)


def test_what_passes_is_as_many_as_asked_for_and_has_its_own_truth(data):
    asked = config.Filters(shares=[0.3, 0.001], shapes=["near", "random", "far"])
    cases = list(filters.make_cases(data, asked, seed=0))
    assert [case.number for case in cases] == list(range(6))
    assert [int(case.mask.sum()) for case in cases] == [270, 10] * 3  # at least k
    for case in cases:
        rows = np.flatnonzero(case.mask)
        D = np.linalg.norm(data.train[rows][None] - data.test[:, None], axis=2)
        got = np.take_along_axis(D, np.searchsorted(rows, case.neighbors), axis=1)
        np.testing.assert_allclose(got, np.sort(D, axis=1)[:, :10], rtol=1e-5)
    near, anywhere, far = (cases[i].mask for i in (0, 2, 4))
    middle = data.test.mean(axis=0)
    away = [
        np.linalg.norm(data.train[mask] - middle, axis=1).mean()
        for mask in (near, anywhere, far)
    ]
    assert away[0] < away[1] < away[2]
    assert not (near & far).any()


def test_an_answer_that_does_not_pass_is_refused(data):
    (case,) = filters.make_cases(
        data, config.Filters(shares=[0.5], shapes=["random"]), seed=0
    )
    ids = case.neighbors.copy()
    sample = SimpleNamespace(
        ids=ids, cores=1.0, compiled=0, changed=False, distances=None
    )
    trial, record = SimpleNamespace(data=data), SimpleNamespace(case=case)
    filters._require_fair(trial, record, sample)
    ids[3, 2] = np.flatnonzero(~case.mask)[0]
    with pytest.raises(ValueError, match=rf"1 of 40 do not: query 3 has {ids[3, 2]}"):
        filters._require_fair(trial, record, sample)


def test_hnswlib_answers_nothing_where_it_finds_too_few(data):
    pytest.importorskip("hnswlib")
    index = filtering.Hnswlib("l2", GraphBuild(), 0)
    index.add(data.train, 1)
    mask = np.zeros(len(data.train), bool)
    mask[:4] = True
    index.among(mask, "mask")
    answer = index.searcher(GraphSearch(), 10, 2)(data.test[:3])
    assert (index.ids(answer) == -1).all()
    assert answer[0].shape == answer[1].shape == (3, 10)
    mask[:400] = True
    index.among(mask, "mask")
    found = index.ids(index.searcher(GraphSearch(), 10, 2)(data.test[:3]))
    assert mask[found].all()


@pytest.mark.parametrize("form", ["mask", "ids", "function"])
def test_each_form_lets_the_same_pass(form):
    from ann.filters import resolve

    mask = np.random.default_rng(0).random(50) < 0.3
    found = resolve(filtering.given(mask, form), 50).positions
    np.testing.assert_array_equal(found, np.flatnonzero(mask))
