"""Runbooks end to end: lines, truth of each step, failures, provenance."""

import csv
import json
import re
from pathlib import Path

import fakes
import numpy as np
import pytest
from typer.testing import CliRunner

from experiments import datasets, indexes
from experiments.cli import app
from experiments.streaming import choice, updatable

BOOK = """
digits-64-euclidean:
  max_pts: 700
  1: {operation: insert, start: 0, end: 600}
  2: {operation: search}
  3: {operation: delete, start: 100, end: 500}
  4: {operation: search}
  5: {operation: replace, tags_start: 0, tags_end: 50, ids_start: 600, ids_end: 650}
  6: {operation: search}
"""
CONFIG = """
name = "stream"
rounds = 2
threads = 1
[[dataset]]
name = "digits-64-euclidean"
nq = 80
"""
GROWING = '[[index]]\nlibrary = "fakes"\nkind = "Growing"\n'


@pytest.fixture(name="ann")
def _ann(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(indexes.KINDS, ("fakes", "Growing"), fakes.Growing)
    monkeypatch.setattr(updatable, "_CLASSES", (*updatable._CLASSES, fakes.Growing))
    (tmp_path / "book.yaml").write_text(BOOK)

    def invoke(config, *arguments, timeout_s=1000):
        text = f"timeout_s = {timeout_s}{CONFIG}{config}"
        (tmp_path / "stream.toml").write_text(text)
        command = ["runbook", "book.yaml", "--config", "stream.toml", *arguments]
        return CliRunner().invoke(app, command)

    return invoke


def lines(folder="results/stream"):
    with Path(folder, "steps.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_ours_and_a_peer_end_to_end(ann):
    pytest.importorskip("hnswlib")
    done = ann(
        """
[[index]]
kind = "Flat"
[[index]]
kind = "HNSW"
build.M = 8
search.ef_search = [10, 80]
[[index]]
library = "hnswlib"
kind = "HNSW"
label = "hnswlib"
search.ef_search = 80
"""
    )
    assert done.exit_code == 0, done.output
    found = lines()
    of = {
        label: [x for x in found if x["label"] == label]
        for label in dict.fromkeys(x["label"] for x in found)
    }
    assert [len(each) for each in of.values()] == [6, 9, 6]
    assert {line["status"] for line in found} == {"ok"}
    flat = of["Flat"]
    operations = ["insert", "search", "delete", "search", "replace", "search"]
    assert [line["operation"] for line in flat] == operations
    assert [line["points"] for line in flat] == ["600", "0", "400", "0", "50", "0"]
    assert [line["live"] for line in flat] == ["600", "600", "200", "200", "200", "200"]
    for line in flat[1::2]:
        recalls = [line[f"recall_at_{k}"] for k in (1, 5, 10)]
        assert recalls == ["1", "1", "1"]
        assert float(line["p50_us"]) > 0
        assert float(line["p95_us"]) >= float(line["p50_us"])
        assert line["p99_us"] == ""  # 80 queries do not support it
        assert line["rounds"] == "2"
    for line in flat[::2]:
        assert (line["recall_at_10"], line["p50_us"], line["rounds"]) == ("", "", "0")
    assert all(float(line["step_s"]) >= 0 for line in found)
    assert all(int(line["index_bytes"]) >= 200 * 64 * 4 for line in found)
    graph = [float(x["recall_at_10"]) for x in of["HNSW M=8"] if x["recall_at_10"]]
    assert min(graph) > 0.8
    assert all(a <= b for a, b in zip(graph[::2], graph[1::2], strict=True))
    assert {line["deletes"] for line in of["hnswlib"]} == {"removed"}
    assert "deleted vectors: removed" in done.stdout
    stamp = json.loads(Path("results/stream/provenance.json").read_text())
    assert stamp["status"] == "finished"
    book = stamp["runbooks"]["digits-64-euclidean"]
    assert book["max_pts"] == 700
    assert book["steps"][4] == ["replace", 0, 50, 600, 650]
    assert stamp["datasets"][0]["name"] == "digits-64-euclidean"


def test_recall_is_against_what_lives_at_the_step(ann):
    """An index that loses nothing, searched by hand with the truth of the last step."""
    assert ann(GROWING + "search.share = 0.3").exit_code == 0
    data = datasets.load("digits-64-euclidean", nq=80)
    rows = np.r_[50:100, 500:600, 600:650]  # as the index holds them in the end
    X = data.train[rows]
    D = np.linalg.norm(X[None] - data.test[:, None], axis=2)
    limit = np.sort(D, axis=1)[:, 9:10]
    reachable = D[:, : int(0.3 * len(X))]
    hits = np.minimum((reachable <= limit * (1 + 1e-6)).sum(axis=1), 10)
    last = lines()[-1]
    assert float(last["recall_at_10"]) == pytest.approx(hits.mean() / 10, abs=1e-5)
    assert 0.1 < float(last["recall_at_10"]) < 0.9


def test_an_index_that_answers_with_the_dead_is_refused(ann):
    done = ann(GROWING + 'build.fault = "forgets to remove"')
    assert done.exit_code == 1
    found = lines()
    assert [line["status"] for line in found[:3]] == ["ok"] * 3
    assert found[3]["status"].startswith("refused: answers must live, 80 of 80 hold")
    assert len(found) == 4  # what follows would mean nothing


def test_a_step_that_fails_ends_its_index_and_no_other(ann):
    book = BOOK.replace(
        "3: {operation: delete, start: 100, end: 500}",
        "3: {operation: insert, start: 600, end: 610}",
    )
    book = book.replace("ids_start: 600, ids_end: 650", "ids_start: 0, ids_end: 50")
    Path("book.yaml").write_text(book)
    done = ann(GROWING + 'build = { fault = ["raise", "die"], M = 5 }\n' + GROWING)
    assert done.exit_code == 1
    statuses = {}
    for line in lines():
        statuses.setdefault(line["label"], []).append(line["status"])
    failed, died, fine = statuses.values()
    assert failed == ["ok", "ok", "failed: RuntimeError: asked to fail"]
    assert died[2].startswith("out of memory: the worker died (SIGKILL)")
    assert fine == ["ok"] * 6
    told = Path("results/stream/failures.log").read_text()
    assert "step 3: failed: RuntimeError: asked to fail\nTraceback" in told
    assert "last words" in told


def test_a_search_that_hangs_ends_its_index_and_no_other(ann, monkeypatch):
    fakes.give_up_on_what_hangs(monkeypatch)
    hangs = 'label = "hangs"\nbuild.M = 5\nsearch.fault = ["hang", "raise"]\n'
    done = ann(GROWING + hangs + GROWING, timeout_s=10)
    assert done.exit_code == 1
    first, second, *fine = [(line["label"], line["status"]) for line in lines()]
    assert first == ("hangs", "ok")
    assert second == ("hangs", "timed out: no answer within 10 s")
    assert [status for _, status in fine] == ["ok"] * 6


def test_what_cannot_be_driven_is_skipped(ann):
    done = ann(GROWING + '[[index]]\nlibrary = "usearch"\n')
    assert done.exit_code == 0
    last = lines()[-1]
    assert last["status"] == "skipped: usearch HNSW is driven by no runbook"


def test_without_a_config_ours_play_on_the_data_that_the_file_names(ann, tmp_path):
    small = BOOK.split("  3:")[0].replace("600}", "400}")
    (tmp_path / "book.yaml").write_text(small)
    done = CliRunner().invoke(app, ["runbook", "book.yaml"])
    assert done.exit_code == 0, done.output
    labels = {line["label"] for line in lines("results/runbook-book")}
    assert labels == {"HNSW", "IVF"}


@pytest.mark.parametrize(
    ("book", "arguments", "message"),
    [
        (BOOK.replace("start: 100", "start: 900"), [], "end must be above start=900"),
        (BOOK.replace("end: 650", "end: 9999"), [], "as many tags as there are ids"),
        (
            BOOK.replace("end: 600}", "end: 1750}").replace("700", "9000"),
            [],
            "needs 1750 vectors, got 1717",
        ),
        (BOOK, ["--section", "x"], "must have steps for 'x'"),
        ("a: {}\nb: {}", [], "'digits-64-euclidean', it has them for .* --section"),
    ],
)
def test_errors_of_a_runbook_are_one_line(ann, tmp_path, book, arguments, message):
    (tmp_path / "book.yaml").write_text(book)
    done = ann(GROWING, *arguments)
    assert done.exit_code == 2, done.output
    assert re.search(message, done.stderr)


def test_the_section_is_the_dataset_s_the_chosen_or_the_only_one(ann, tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text(BOOK.replace("digits-64-euclidean", "random-xs"))
    (tmp_path / "stream.toml").write_text(CONFIG + GROWING)
    config = choice.config(path, tmp_path / "stream.toml", None)
    (found,) = choice.runbooks(path, config, None).values()
    assert found.section == "random-xs"
    path.write_text(path.read_text() + BOOK)
    (found,) = choice.runbooks(path, config, None).values()
    assert found.section == "digits-64-euclidean"
    (found,) = choice.runbooks(path, config, "random-xs").values()
    assert found.section == "random-xs"
