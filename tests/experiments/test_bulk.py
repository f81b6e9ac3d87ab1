import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments import bulk, config
from experiments.bulk import Contest, measure, objective
from experiments.cli import app
from experiments.strict import ConfigError, check

CONFIG = """
name = "bulk"
rounds = 2
threads = 2
queries = 50
metrics = ["l2", "cosine"]
clusters = [8]
iterations = 4
[[dataset]]
name = "digits-64-euclidean"
n = 600
"""


@pytest.fixture(name="ann")
def _ann(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "bulk.toml").write_text(CONFIG)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_all_libraries_do_the_same_work_end_to_end(ann, tmp_path):
    pytest.importorskip("faiss")
    done = ann("bulk", "bulk.toml")
    assert done.exit_code == 0, done.output
    assert "scikit-learn" in done.stdout
    out = tmp_path / "results" / "bulk"
    with (out / "bulk.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    libraries = ["ann", "faiss", "scikit-learn"]
    assert [row["library"] for row in rows] == libraries * 3
    assert [(row["task"], row["metric"]) for row in rows[::3]] == [
        ("exact search", "l2"),
        ("exact search", "cosine"),
        ("k-means", "l2"),
    ]
    assert {float(row["value"]) for row in rows[:6]} == {1.0}
    means = [float(row["value"]) for row in rows[6:]]
    assert max(means) < 1.2 * min(means)
    assert json.loads(rows[0]["setting"]) == {"k": 10, "nq": 50}
    assert json.loads(rows[6]["setting"])["sample"] == 600
    stamp = json.loads((out / "provenance.json").read_text())
    assert stamp["status"] == "finished"
    assert stamp["config"]["clusters"] == [8]


def test_without_faiss_the_others_are_measured(ann, monkeypatch, tmp_path):
    monkeypatch.setattr(bulk, "_has", lambda module: False)
    text = CONFIG.replace("clusters = [8]", "").replace(', "cosine"', "")
    (tmp_path / "bulk.toml").write_text(text)
    done = ann("bulk", "bulk.toml")
    assert done.exit_code == 0, done.output
    assert "faiss" not in done.stdout.split("Rounds in turns")[0]


def test_libraries_take_turns_in_an_order_of_each_round_s_own(monkeypatch):
    calls, clock = [], iter(range(10**6))
    monkeypatch.setattr(bulk, "perf_counter", lambda: next(clock))

    class Data:
        name, metric, train = "x", "l2", np.zeros((4, 2), np.float32)

    def call(name):
        return lambda: calls.append(name) or name

    names = ["ann", "faiss", "scikit-learn"]
    contest = Contest(
        Data, "work", {"k": 1}, {name: call(name) for name in names}, "length", len
    )
    lines = list(measure(contest, rounds=4, threads=1, seed=0))
    assert calls[:3] == names  # the untimed call
    rounds = [tuple(calls[i : i + 3]) for i in range(3, len(calls), 3)]
    assert len(rounds) == 4
    assert all(sorted(each) == names for each in rounds)
    assert len(set(rounds)) > 1
    assert [line.value for line in lines] == [3, 5, 12]
    assert lines[1].median_s == 1
    assert lines[1].ours == (1, 1, 1)
    assert [line.rounds for line in lines] == [4, 4, 4]


def test_the_objective_is_the_mean_square_to_the_nearest(monkeypatch):
    monkeypatch.setattr(bulk, "_BLOCK", 7)
    rng = np.random.default_rng(0)
    X, C = rng.standard_normal((30, 3)), rng.standard_normal((4, 3))
    expected = np.square(X[:, None] - C[None]).sum(axis=2).min(axis=1).mean()
    got = objective(X.astype(np.float32), C.astype(np.float32))
    assert got == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"metrics": ["l3"]}, "'l2' or 'cosine'|unknown value 'l3'"),
        ({"clusters": [1]}, "greater than or equal to 2"),
        ({"clusterz": [4]}, "did you mean 'clusters'"),
        ({"per_cluster": 300}, "less than or equal to 256"),
    ],
)
def test_errors_say_what(change, says):
    table = {"name": "b", "dataset": [{"name": "digits-64-euclidean"}]} | change
    with pytest.raises(ConfigError, match=says):
        check(config.Bulk, table)
