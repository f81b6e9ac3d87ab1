import json

import numpy as np
import pytest
from typer.testing import CliRunner

import ann
from ann.tuning import candidates
from ann.tuning.candidates import FAST
from experiments.cli import app
from tests.ann import known_latencies
from tests.ann.populations import sentences


@pytest.fixture(name="run")
def _run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(candidates, "FAST", FAST[4:])
    known_latencies.replace(monkeypatch)
    return lambda *arguments: CliRunner().invoke(app, ["tune", *arguments])


def test_a_file_is_tuned_for_told_and_its_index_saved(run, tmp_path):
    X, Q = sentences(5)
    np.savez("x.npz", train=X, test=Q, distance="angular")
    done = run("x.npz", "--use", "rag", "--save", "x.ann", "--budget", "10m")
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())
    assert "x: 2,400 × 64, cosine, tuned for latency" in text
    assert "for rag" in text
    out = tmp_path / "tunings"
    told = json.loads((out / "x-tune.json").read_text(encoding="utf-8"))
    assert told["use"] == "rag"
    assert told["target_recall"] == 0.9
    assert told["lower_bound"] >= 0.9
    assert told["queries"] == {"chose": 100, "judged": 200}
    assert told["tried"][0]["fate"] == "chosen"
    letter = (out / "x-tune.txt").read_text(encoding="utf-8")
    assert letter.startswith("Tuned for latency: 2,400 vectors of 64 dimensions")
    index = ann.load("x.ann")
    assert index.params == told["params"]
    ids, _ = index.search(Q, told["k"], **told["search_params"])
    true, _ = ann.Flat("cosine").add(X).search(Q, told["k"])
    assert (ids[:, :, None] == true[:, None, :]).any(axis=2).mean() >= 0.9


def test_queries_may_come_from_another_file_or_from_the_rows(run):
    X, Q = sentences(5)
    np.save("x.npy", X)
    np.save("q.npy", Q)
    done = run("x.npy", "--queries", "q.npy", "--metric", "ip", "--target", "0.8")
    assert done.exit_code == 0, done.output
    assert "2,400 × 64, ip" in done.stdout
    assert "100 queries chose, 200 others judged" in " ".join(done.stdout.split())
    alone = run("x.npy", "-n", "2000", "--target", "0.8")
    assert alone.exit_code == 0, alone.output
    assert "2,000 × 64, l2" in alone.stdout
    assert "80 queries chose, 160 others judged" in " ".join(alone.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.npy"], 2, "none.npy: no such file"),
        (["x.npy", "--use", "games"], 2, "use must be one of rag, "),
        (["x.npy", "--budget", "soon"], 2, "--budget must be a time above 0"),
        (["x.npy", "--target", "0.999"], 2, "queries must be at least"),
        (["x.npy", "--max-bytes", "3", "--target", "0.8"], 1, "max_bytes_per_vector=3"),
    ],
)
def test_what_cannot_be_is_one_line(run, arguments, code, message):
    np.save("x.npy", sentences(5)[0])
    done = run(*arguments)
    assert done.exit_code == code
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
