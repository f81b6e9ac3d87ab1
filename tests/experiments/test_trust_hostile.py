import csv
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments import config, datasets
from experiments.cli import app
from experiments.trust import hostile

CONFIG = """
name = "hostile"
threads = 2
[hostile]
troubles = ["twice", "copies", "outliers"]
copies = 300
[[dataset]]
name = "digits-64-euclidean"
n = 1000
nq = 60
[[index]]
kind = "Flat"
[[index]]
kind = "HNSW"
build = { M = 8, ef_construction = 60 }
search.ef_search = [10, 40]
"""


@pytest.fixture(name="ann")
def _ann(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "hostile.toml").write_text(CONFIG)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_hostile_data_is_built_on_end_to_end(ann, tmp_path):
    done = ann("trust", "hostile.toml")
    assert done.exit_code == 0, done.output
    out = tmp_path / "results" / "hostile"
    with (out / "hostile.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = ["shuffled", "twice", "copies", "outliers"]
    assert [row["data"] for row in rows] == [kind for kind in kinds for _ in range(3)]
    assert {(row["status"], row["problems"]) for row in rows} == {("ok", "")}
    flat = [row for row in rows if row["label"] == "Flat"]
    assert {row["recall_at_10"] for row in flat} == {"1"}
    assert {row["change"] for row in flat} == {"0"}
    graph = [row for row in rows if row["search_params"].startswith('{"ef_search":40')]
    usual = float(graph[0]["recall_at_10"])
    for row in graph:
        change = float(row["recall_at_10"]) - usual
        assert float(row["change"]) == pytest.approx(change, abs=1e-5)
        assert abs(change) < 0.05
    assert {path.suffix for path in (out / "figures").iterdir()} == {".png", ".svg"}
    again = ann("trust", str(out))
    assert again.exit_code == 0
    assert "outliers" in again.stdout


@pytest.fixture(name="data", scope="module")
def _data(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return datasets.load("digits-64-euclidean", n=800, nq=20, truth_k=10, cache=cache)


def made(data, **settings):
    return dict(hostile.variants(data, config.Hostile(**settings), seed=0))


def rows_of(X):
    return np.unique(X, axis=0, return_counts=True)


def test_each_kind_of_data_is_what_it_says(data):
    found = made(data, copies=100, outliers=0.01)
    assert list(found) == [
        *("shuffled", "twice", "copies", "sorted", "constant", "outliers")
    ]
    known, counts = rows_of(data.train)
    for name in ("shuffled", "sorted"):
        np.testing.assert_array_equal(rows_of(found[name].train)[0], known)
        np.testing.assert_array_equal(rows_of(found[name].train)[1], counts)
        assert not np.array_equal(found[name].train, data.train)
    steps = [
        np.linalg.norm(np.diff(found[name].train, axis=0), axis=1).mean()
        for name in ("sorted", "shuffled")
    ]
    assert steps[0] < 0.8 * steps[1]
    assert len(found["twice"].train) == 800
    assert (rows_of(found["twice"].train)[1] % 2 == 0).all()
    assert rows_of(found["copies"].train)[1].max() >= 100
    constant = found["constant"]
    assert constant.train.shape == (800, 80)
    assert constant.test.shape == (20, 80)
    assert (constant.train[:, 64:] == 0.5).all()
    lengths = np.linalg.norm(found["outliers"].train, axis=1)
    assert (lengths > 100 * np.median(lengths)).sum() == 8
    assert np.linalg.norm(data.train, axis=1).max() < 10 * np.median(lengths)


def test_the_truth_is_that_of_the_changed_data(data):
    for variant in made(data).values():
        D = np.linalg.norm(
            variant.train[None].astype(float) - variant.test[:, None], axis=2
        )
        got = np.take_along_axis(D, variant.neighbors, axis=1)
        np.testing.assert_allclose(got, np.sort(D, axis=1)[:, :10], rtol=1e-5)


def test_angles_are_left_as_they_are(data):
    cosine = replace(data, metric="cosine", train=data.train + 1)
    found = made(cosine)
    assert "outliers" not in found
    assert (found["constant"].train[:, 64:] == 0).all()
