import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments import config, ours
from experiments.cli import app
from experiments.measure import Job
from experiments.peers.common import GraphBuild
from experiments.strict import ConfigError, check
from experiments.trust import changing, churn

CONFIG = """
name = "churn"
threads = 2
[churn]
rounds = 3
[[dataset]]
name = "digits-64-euclidean"
n = 1000
nq = 40
[[index]]
kind = "HNSW"
build = { M = 8, ef_construction = 60 }
search.ef_search = [10, 40]
[[index]]
kind = "IVF"
build.nlist = 8
search.nprobe = [1, 8]
[[index]]
library = "hnswlib"
kind = "HNSW"
build.M = 8
search.ef_search = 40
[[index]]
library = "faiss"
kind = "IVFFlat"
build.nlist = 8
search.nprobe = 8
[[index]]
library = "faiss"
kind = "HNSW"
"""
STAGES = ["built", "churned", "churned", "churned", "fresh"]


@pytest.fixture(name="ann")
def _ann(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "churn.toml").write_text(CONFIG)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_churn_runs_end_to_end_and_is_shown_again(ann, tmp_path):
    pytest.importorskip("hnswlib")
    pytest.importorskip("faiss")
    done = ann("trust", "churn.toml")
    assert done.exit_code == 0, done.output
    out = tmp_path / "results" / "churn"
    with (out / "churn.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    of = {}
    for row in rows:
        of.setdefault((row["label"], row["search_params"]), []).append(row)
    assert [len(own) for own in of.values()] == [5] * 6 + [1]
    *measured, (left_out,) = of.values()
    assert left_out["status"] == "skipped: faiss HNSW cannot remove vectors"
    for own in measured:
        assert [row["stage"] for row in own] == STAGES
        assert [row["round"] for row in own] == ["0", "1", "2", "3", "3"]
        assert [row["removed"] for row in own] == ["0", "200", "200", "200", "0"]
        recalls = [float(row["recall_at_10"]) for row in own]
        assert min(recalls[:-1]) > recalls[0] - 0.03
        assert all(int(row["index_bytes"]) >= 1000 * 64 * 4 for row in own)
        sizes = [int(row["index_bytes"]) for row in own]
        assert max(sizes) < 2 * sizes[0]
        assert all(float(row["remove_s"]) >= 0 for row in own if row["remove_s"])
    audits = [{row["problems"] for row in own} for own in measured]
    assert audits == [{""}] * 4 + [{"–"}] * 2
    assert [row["recall_at_10"] for row in measured[3]] == ["1"] * 5  # all lists
    stamp = json.loads((out / "provenance.json").read_text())
    assert stamp["status"] == "finished"
    figures = {path.name for path in (out / "figures").iterdir()}
    assert figures == {f"digits-64-euclidean-l2-churn.{end}" for end in ("png", "svg")}
    again = ann("trust", str(out))
    assert again.exit_code == 0
    shown = done.stdout.split("figures in")[0].rsplit("\n", 1)[0]
    assert again.stdout.split("figures in")[0].rsplit("\n", 1)[0] == shown
    assert "audits found nothing wrong: HNSW M=8 efc=60, IVF nlist=8" in shown


class Forgetful(changing.Flat):
    """Says that it has removed, and has not."""

    def take(self, ids, threads):
        self._forgotten = ids

    def put(self, X, ids, threads):
        if not hasattr(self, "_forgotten"):
            super().put(X, ids, threads)


def bench(adapter, tmp_path, params, n=300):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 8), dtype=np.float32)
    np.save(tmp_path / "train.npy", X)
    np.save(tmp_path / "test.npy", X[:20] + np.float32(0.01))
    job = churn.ChurnJob(
        adapter, "l2", params, 0, tmp_path / "train.npy", tmp_path / "test.npy", 10, 1
    )
    assert isinstance(job, Job)
    return job.open()


def test_an_index_that_still_finds_what_was_removed_is_told(tmp_path):
    made = bench(Forgetful, tmp_path, ours.Flat.Build())
    made.start()
    with pytest.raises(ValueError, match="nothing that was removed, 20 of 20 hold one"):
        made.turn(np.arange(60), ours.Flat.Search())


def test_a_round_leaves_the_same_vectors_under_the_same_ids(tmp_path):
    made, search = bench(changing.HNSW, tmp_path, ours.HNSW.Build()), ours.HNSW.Search()
    built = made.start()
    before = made.find(search).ids
    turn = made.turn(np.arange(0, 300, 3), search)
    assert (turn.removed, turn.problems) == (100, "")
    np.testing.assert_array_equal(made.find(search).ids, before)
    fresh = made.fresh(np.arange(300)[::-1].copy())
    np.testing.assert_array_equal(made.find(search).ids, before)
    assert fresh.remove_s is None
    assert built.index_bytes <= turn.index_bytes


def test_hnswlib_puts_what_comes_in_the_places_of_what_went():
    pytest.importorskip("hnswlib")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 8), dtype=np.float32)
    index = changing.Hnswlib("l2", GraphBuild(), 0)
    index.add(X, 1)
    for start in range(0, 200, 50):
        ids = np.arange(start, start + 50)
        index.take(ids, 1)
        assert not np.isin(index.ids(index._index.knn_query(X, k=10)), ids).any()
        index.put(X[ids], ids, 1)
    assert index._index.get_current_count() == 200
    found = index.ids(index._index.knn_query(X, k=1))[:, 0]
    assert (found == np.arange(200)).mean() > 0.98


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"churn": None}, "one of .churn., .filters. and .hostile. must be there"),
        ({"hostile": {}}, "one of .churn., .filters. and .hostile. must be there"),
        ({"churn": {"share": 1.0}}, "less than 1"),
        ({"churn": {"round": 3}}, "did you mean 'rounds'"),
    ],
)
def test_errors_say_what(change, says):
    table = {
        "name": "c",
        "churn": {},
        "dataset": [{"name": "digits-64-euclidean"}],
        "index": [{"kind": "Flat"}],
    }
    with pytest.raises(ConfigError, match=says):
        check(config.Trust, table | change)
