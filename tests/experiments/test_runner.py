import contextlib
import csv
import io
import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import fakes
import numpy as np
import psutil
import pytest
from pyarrow import parquet
from rich.console import Console

from experiments import (
    config,
    datasets,
    indexes,
    plan,
    provenance,
    results,
    runner,
    store,
)
from experiments.plots.rows import read_run
from experiments.recall import recall

QUICK = {"rounds": 2, "threads": 1}


@pytest.fixture(name="measure")
def _measure(tmp_path, monkeypatch):
    for adapter in (fakes.Brute, fakes.Elsewhere, fakes.Faulty, fakes.Planted):
        monkeypatch.setitem(indexes.KINDS, (adapter.library, adapter.kind), adapter)
    monkeypatch.setenv("ANN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "load", made)

    def measure(index, out="out", dataset=None, budget_s=None, **settings):
        table = {
            "name": "try",
            "dataset": dataset or [{"name": "synthetic-cube-4d-4i-1k", "nq": 30}],
            "index": [{"library": "fakes", "kind": "Brute"} | entry for entry in index],
        }
        loaded = config.check(config.Config, table | QUICK | settings)
        results.claim(tmp_path / out, provenance.config_table(loaded))
        console = Console(file=io.StringIO())
        made_plan = plan.make(loaded)
        runner.run(made_plan, tmp_path / out, console, "ann run", budget_s)
        return Results(tmp_path / out)

    return measure


def made(name, *, n=None, nq=None, metric=None, seed=0, progress=None):
    rng = np.random.default_rng((seed, len(name)))
    X = rng.standard_normal((n or 400, 4)).astype(np.float32)
    Q = rng.standard_normal((nq or 30, 4)).astype(np.float32)
    D = np.linalg.norm(X[None] - Q[:, None], axis=2)
    truth = np.argsort(D, axis=1)[:, :100]
    if metric == "ip":
        truth = truth[:, ::-1]
    near = np.take_along_axis(D, truth, axis=1)
    source = f"made of {name}"
    return datasets.Dataset(name, metric or "l2", X, Q, truth, near, source, "f00d")


class Results:
    def __init__(self, out):
        self.out = out
        with (out / "rows.csv").open(newline="") as file:
            self.rows = list(csv.DictReader(file))
        self.stamp = json.loads((out / "provenance.json").read_text())
        table = parquet.read_table(out / "per_query.parquet").to_pydict()
        self.per_query = {name: np.array(column) for name, column in table.items()}


SHARES = {"search": {"share": [0.25, 1.0]}}


def test_a_run_leaves_rows_queries_and_provenance(measure):
    got = measure([SHARES], seed=3)
    quarter, whole = got.rows
    assert [row["status"] for row in got.rows] == ["ok", "ok"]
    assert [float(whole[f"recall_at_{k}"]) for k in (1, 5, 10)] == [1, 1, 1]
    assert 0.1 < float(quarter["recall_at_10"]) < 0.4
    assert json.loads(quarter["search_params"]) == {"share": 0.25}
    assert json.loads(quarter["build_params"]) == {"M": 4}
    assert (quarter["n"], quarter["d"], quarter["nq"]) == ("400", "4", "30")
    assert (quarter["seed"], quarter["rounds"], quarter["threads"]) == ("3", "2", "1")
    assert float(quarter["distance_computations"]) == 100
    assert quarter["index_bytes"] == str(400 * 4 * 4)
    assert 0 < float(whole["p50_us_low"]) <= float(whole["p50_us_high"])
    assert float(whole["p50_us"]) <= float(whole["mean_us"]) * 2
    assert float(whole["qps"]) > 0
    assert whole["p95_us"] == whole["p99_us"] == ""  # 30 queries cannot tell
    assert whole["schema"] == "2"
    assert got.stamp["status"] == "finished"
    assert got.stamp["seed"] == 3
    assert got.stamp["config"]["index"][0]["search"] == {"share": [0.25, 1.0]}
    assert got.stamp["datasets"][0]["fingerprint"] == "f00d"
    assert got.stamp["libraries"]["numpy"] == np.__version__


def test_per_query_numbers_average_to_the_rows(measure):
    got = measure([SHARES])
    for row in got.rows:
        chosen = got.per_query["row_id"] == row["row_id"]
        mine = {name: column[chosen] for name, column in got.per_query.items()}
        assert mine["query"].tolist() == list(range(30))
        for column in ("recall_at_1", "recall_at_5", "recall_at_10"):
            assert mine[column].mean() == pytest.approx(float(row[column]), abs=1e-5)
        assert np.median(mine["latency_us"]) == pytest.approx(
            float(row["query_median_p50_us"]), rel=1e-5
        )


def test_every_single_latency_is_kept_and_the_rows_are_of_all(measure):
    got = measure([SHARES], rounds=3)
    kept = parquet.read_table(got.out / "latencies.parquet").to_pydict()
    columns = {name: np.array(values) for name, values in kept.items()}
    assert len(columns["latency_us"]) == 2 * 3 * 30
    medians = got.per_query
    for row in got.rows:
        own = {
            name: values[columns["row_id"] == row["row_id"]]
            for name, values in columns.items()
        }
        assert (np.bincount(own["query"]) == 3).all()
        assert (np.bincount(own["round"]) == 30).all()
        us = own["latency_us"]
        assert np.median(us) == pytest.approx(float(row["p50_us"]), rel=1e-5)
        assert us.mean() == pytest.approx(float(row["mean_us"]), rel=1e-5)
        of_query_7 = us[own["query"] == 7]
        mine = (medians["row_id"] == row["row_id"]) & (medians["query"] == 7)
        assert np.median(of_query_7) == pytest.approx(medians["latency_us"][mine][0])


def test_recall_is_that_of_the_answers(measure):
    data = made("synthetic-cube-4d-4i-1k", nq=30)
    near = np.linalg.norm(data.train[None, :100] - data.test[:, None], axis=2)
    ids = np.argsort(near, axis=1)[:, :10]
    expected = recall(ids, data.neighbors, data.train, data.test, "l2")
    got = measure([{"search": {"share": 0.25}}]).per_query
    for j, k in enumerate((1, 5, 10)):
        np.testing.assert_allclose(got[f"recall_at_{k}"], expected[:, j], rtol=1e-6)


def test_a_run_is_the_same_at_every_seed_but_for_the_clock(measure):
    first, second = (measure([SHARES], seed=seed).rows for seed in (1, 1))
    for a, b in zip(first, second, strict=True):
        for column in ("row_id", "build_id", "recall_at_10", "distance_computations"):
            assert a[column] == b[column]


def test_failures_are_rows_and_the_run_goes_on(measure):
    got = measure(
        [
            {"label": "raises", "build": {"fault": "raise"}} | SHARES,
            {"label": "dies", "build": {"fault": "die"}},
            {"label": "dies later", "build": {"M": 9}, "search": {"fault": "die"}},
            {"label": "nonsense", "kind": "Faulty", "search": {"fault": ["ids"]}},
            {"label": "absent", "library": "no_such_library"},
            {"label": "fine"},
        ]
    )
    status = {row["label"]: row["status"] for row in got.rows}
    assert status["raises"] == "failed: RuntimeError: asked to fail"
    assert status["dies"].startswith("out of memory: the worker died (SIGKILL")
    assert status["dies later"].startswith("out of memory: the worker died (SIGKILL")
    assert "ids of answers must be in [-1, n=400), got 400" in status["nonsense"]
    assert "pip install no_such_library" in status["absent"]
    assert status["absent"].startswith("skipped")
    assert status["fine"] == "ok"
    assert len(got.rows) == 7
    assert "asked to" in (got.out / "failures.log").read_text()
    died = next(row for row in got.rows if row["label"] == "dies later")
    assert (died["p50_us"], died["rounds"]) == ("", "0")
    assert died["build_s"] != ""


def test_a_failing_setting_leaves_the_others_of_its_build(measure):
    got = measure(
        [
            {"search": {"share": [0.5, 1.0], "fault": ["raise"]}},
            SHARES | {"build": {"M": 5}},
        ]
    )
    assert [row["status"] for row in got.rows] == [
        "failed: RuntimeError: asked to fail",
        "failed: RuntimeError: asked to fail",
        "ok",
        "ok",
    ]


def test_an_unanswerable_metric_is_skipped_and_a_false_truth_is_refused(measure):
    one, two = {"name": "synthetic-cube-4d-4i-1k"}, {"name": "digits-64-euclidean"}
    got = measure([{}], dataset=[one | {"metric": "ip"}, two])
    assert got.rows[0]["status"].startswith("failed: the exact neighbours must be")
    assert got.rows[1]["status"] == "ok"
    assert [each["name"] for each in got.stamp["datasets"]] == ["digits-64-euclidean"]


def test_provenance_leaves_the_machine_s_folders_out(measure, tmp_path):
    file = tmp_path / "mine.npy"
    file.touch()
    got = measure([{}], dataset=[{"name": str(file)}]).stamp
    assert got["config"]["dataset"] == [{"name": "mine.npy"}]
    assert got["datasets"][0]["source"] == "made of mine.npy"


def test_points_are_measured_in_turns(measure, monkeypatch):
    seen = []
    original = runner.Trial._measure

    def spy(self, record, data, seed):
        seen.append((record.build.label, record.point.search.share))
        original(self, record, data, seed)

    monkeypatch.setattr(runner.Trial, "_measure", spy)
    entries = [
        {"label": name, "build": {"M": i}} | SHARES for i, name in enumerate("abc", 1)
    ]
    got = measure(entries, rounds=3)
    with (got.out / "rounds.csv").open(newline="") as file:
        lines = sorted(csv.DictReader(file), key=lambda line: int(line["turn"]))
    shares = [json.loads(line["search_params"])["share"] for line in lines]
    measured = [line["label"] for line in lines]
    assert list(zip(measured, shares, strict=True)) == seen
    assert [int(line["turn"]) for line in lines] == list(range(18))
    assert [int(line["round"]) for line in lines] == [0] * 6 + [1] * 6 + [2] * 6
    rounds = [seen[i : i + 6] for i in (0, 6, 12)]
    assert all(sorted(each) == sorted(rounds[0]) for each in rounds)
    assert len({tuple(each) for each in rounds}) == 3


def test_points_of_like_recall_follow_each_other():
    recalls = [0.951, 0.802, 0.955, 1.0, 0.958, 0.809]
    orders = [runner._turns(recalls, np.random.default_rng(seed)) for seed in range(20)]
    for order in orders:
        assert sorted(order) == list(range(6))
        kinds = [int(100 * recalls[i]) for i in order]
        assert sum(a != b for a, b in itertools.pairwise(kinds)) == 2
    assert len(set(map(tuple, orders))) > 5


def test_nothing_is_left_behind(measure, monkeypatch, tmp_path):
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    got = measure([SHARES, {"build": {"fault": "die"}}])
    assert list(folder.iterdir()) == []
    assert not (got.out / "pieces").exists()
    assert multiprocessing.active_children() == []


def test_an_interrupt_keeps_what_was_measured(measure, monkeypatch, tmp_path):
    original = runner.Trial.measure

    def interrupted(self, data, number):
        if number == 1:
            raise KeyboardInterrupt
        original(self, data, number)

    monkeypatch.setattr(runner.Trial, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure([SHARES], rounds=3)
    got = Results(tmp_path / "out")
    assert [(row["rounds"], row["status"]) for row in got.rows] == [("1", "ok")] * 2
    assert len(got.per_query["query"]) == 60
    assert got.stamp["status"] == "unfinished"
    assert multiprocessing.active_children() == []


def test_an_earlier_run_is_moved_aside(measure, tmp_path):
    first = measure([SHARES]).stamp
    second = measure([SHARES]).stamp
    assert Results(tmp_path / "out" / "previous").stamp == first
    measure([SHARES])
    assert Results(tmp_path / "out" / "previous").stamp == second


def test_a_foreign_directory_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    (tmp_path / ".my.own.csv").touch()
    with pytest.raises(FileExistsError, match="files of another kind"):
        results.claim(tmp_path, {"name": "try"})
    results.claim(tmp_path, {"name": "try"}, force=True)
    assert (tmp_path / "thesis.tex").exists()
    assert (tmp_path / ".my.own.csv").exists()


def test_another_config_s_run_is_refused_and_with_force_moved(measure, tmp_path):
    table = measure([SHARES]).stamp["config"]
    with pytest.raises(FileExistsError, match="it holds a run of 'try'"):
        results.claim(tmp_path / "out", table | {"name": "other"})
    results.claim(tmp_path / "out", table | {"name": "other"}, force=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["previous"]
    assert (tmp_path / "out" / "previous" / "rows.csv").exists()


def test_two_configs_of_one_name_do_not_mix(measure):
    measure([SHARES])
    with pytest.raises(FileExistsError) as caught:
        measure([SHARES | {"build": {"M": 5}}])
    text = "a run of another config named 'try', which differs in index[0].build.M"
    assert text in str(caught.value)
    with pytest.raises(FileExistsError, match=r"differs in seed: choose"):
        measure([SHARES], seed=7)


# --- going on with a run that was killed ----------------------------------------------


def columns(rows, *names):
    return [[row[name] for name in names] for row in rows]


SAME = ("row_id", "status", "recall_at_10", "recall_at_10_low", "recall_at_10_strict",
        "distance_computations", "rounds")  # fmt: skip


def test_a_run_goes_on_where_it_was(measure, monkeypatch, tmp_path):
    entries = [SHARES, SHARES | {"build": {"M": 5}, "label": "other"}]
    whole = measure(entries, rounds=3, out="whole")
    original, seen = runner.Trial._measure, []

    def killed(self, record, data, seed):
        if len(seen) == 7:
            raise KeyboardInterrupt
        seen.append(record.point.row_id)
        original(self, record, data, seed)

    monkeypatch.setattr(runner.Trial, "_measure", killed)
    with pytest.raises(KeyboardInterrupt):
        measure(entries, rounds=3)
    before = Results(tmp_path / "out").rows
    monkeypatch.setattr(runner.Trial, "_measure", original)
    again = []
    monkeypatch.setattr(
        runner.Trial,
        "_measure",
        lambda *a: (again.append(a[1].point.row_id), original(*a)),
    )
    got = measure(entries, rounds=3)
    assert len(seen) + len(again) == 12
    assert columns(got.rows, *SAME) == columns(whole.rows, *SAME)
    assert columns(got.rows, "build_s") == columns(before, "build_s")
    assert {row["builds"] for row in got.rows} <= {"1", "2"}
    assert "2" in {row["builds"] for row in got.rows}
    assert got.stamp["status"] == "finished"
    assert not (got.out / "pieces").exists()
    with (got.out / "rounds.csv").open(newline="") as file:
        turns = [int(line["turn"]) for line in csv.DictReader(file)]
    assert sorted(turns) == list(range(12))


def test_what_was_measured_is_not_built_again(measure, monkeypatch):
    entries = [{"label": "first"}, {"build": {"M": 5}, "label": "second"}]
    measured = []

    def second_fails(self, record, data, seed):
        if record.build.label == "second":
            raise KeyboardInterrupt
        original(self, record, data, seed)

    original = runner.Trial._measure
    monkeypatch.setattr(runner.Trial, "_measure", second_fails)
    monkeypatch.setattr(runner, "_turns", lambda recalls, rng: range(len(recalls)))
    with pytest.raises(KeyboardInterrupt):
        measure(entries, rounds=1)
    monkeypatch.setattr(runner.Trial, "_measure", original)
    build = runner.Trial._build
    monkeypatch.setattr(
        runner.Trial,
        "_build",
        lambda *a: (measured.append(a[1].label), build(*a)),
    )
    got = measure(entries, rounds=1)
    assert measured == ["second"]
    assert [row["status"] for row in got.rows] == ["ok", "ok"]


@pytest.mark.parametrize("damage", ["truncate", "empty", "garbage"])
def test_a_damaged_piece_is_measured_again(measure, monkeypatch, tmp_path, damage):
    original = runner.Trial.measure

    def interrupted(self, data, number):
        if number == 1:
            raise KeyboardInterrupt
        original(self, data, number)

    monkeypatch.setattr(runner.Trial, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure([SHARES], rounds=2)
    pieces = sorted((tmp_path / "out" / "pieces").rglob("*.*"))
    assert len(pieces) >= 5
    for piece in pieces:
        whole = piece.read_bytes()
        spoilt = {"truncate": whole[: len(whole) // 2], "empty": b""}
        piece.write_bytes(spoilt.get(damage, b"\xff" * len(whole)))
    monkeypatch.setattr(runner.Trial, "measure", original)
    got = measure([SHARES], rounds=2)
    assert columns(got.rows, "status", "rounds") == [["ok", "2"]] * 2


def test_other_circumstances_begin_anew(measure, monkeypatch, tmp_path):
    original, calls = runner.Trial._measure, []

    def counted(self, record, data, seed):
        calls.append(record)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(self, record, data, seed)

    monkeypatch.setattr(runner.Trial, "_measure", counted)
    with pytest.raises(KeyboardInterrupt):
        measure([SHARES])
    monkeypatch.setattr(store, "code_hash", lambda: "other code")
    got = measure([SHARES])
    assert len(calls) == 2 + 4
    assert {row["builds"] for row in got.rows} == {"1"}


def test_a_budget_leaves_rows_and_can_be_lifted(measure, monkeypatch):
    clock = iter([0.0] * 2 + [100.0] * 100)
    fake = types.SimpleNamespace(monotonic=lambda: next(clock))
    entries = [{"label": "first"}, {"build": {"M": 5}, "label": "second"}]
    with monkeypatch.context() as patch:
        patch.setattr(runner, "time", fake)
        cut = measure(entries, budget_s=60)
    assert {row["status"] for row in cut.rows} == {"over budget: 60 s were spent"}
    assert [row["build_s"] != "" for row in cut.rows] == [True, False]
    assert cut.stamp["status"] == "unfinished"
    whole = measure(entries)
    assert [row["status"] for row in whole.rows] == ["ok", "ok"]
    assert whole.stamp["status"] == "finished"


def test_seeds_build_the_same_index_anew(measure):
    got = measure([SHARES], seeds=3, seed=5)
    assert [row["seed"] for row in got.rows] == ["5", "5", "6", "6", "7", "7"]
    assert len({row["build_id"] for row in got.rows}) == 3
    assert len({row["row_id"] for row in got.rows}) == 6
    assert len({row["label"] for row in got.rows}) == 1
    points = read_run(got.out).points
    assert len(points) == 2
    assert [len(point.row_ids) for point in points] == [3, 3]
    (low, high), recall = points[0].recall_seeds, points[0].recall[10]
    assert low <= recall <= high


def test_tables_that_were_cut_short_are_not_read(measure):
    got = measure([SHARES])
    rows = got.out / "rows.csv"
    lines = rows.read_text().splitlines(keepends=True)
    rows.write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"rows\.csv must have the sha256 that"):
        read_run(got.out)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("two threads", "latency must be of one thread, it used"),
        ("duplicates", "ids of an answer must differ, 30 of 30 repeat one: query 0"),
        ("wrong distances", "distances must be those of the vectors: query 0 and"),
        ("ids out of range", "ids of answers must be in [-1, n=400), got"),
        ("compiles", "nothing may compile while timed, Numba did"),
        ("changes queries", "the search must not change the queries"),
    ],
)
def test_planted_faults_are_refused(measure, fault, reason):
    entry = {"label": "at fault", "kind": "Planted", "search": {"fault": fault}}
    got = measure([entry, {"label": "fine"}])
    status = {row["label"]: row["status"] for row in got.rows}
    assert reason in status["at fault"]
    assert status["at fault"].startswith(("refused", "failed"))
    assert status["fine"] == "ok"
    assert not got.rows[0]["p50_us"]


def test_ctrl_c_ends_the_workers_and_keeps_the_rows(tmp_path):
    script = Path(__file__).with_name("fakes_cli.py")
    (tmp_path / "c.toml").write_text(
        "name = 'try'\nthreads = 1\nrounds = 100000\n"
        "[[dataset]]\nname = 'synthetic-cube-4d-4i-1k'\n"
        "[[index]]\nlibrary = 'fakes'\nkind = 'Brute'\n"
    )
    command = [sys.executable, script, "run", "c.toml", "--out", "out"]
    environment = os.environ | {
        "TMPDIR": str(tmp_path / "tmp"),
        "ANN_CACHE": str(tmp_path / "cache"),
    }
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background jobs, and what they start, ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        rows = tmp_path / "out" / "rows.csv"
        deadline = time.monotonic() + 300  # it hangs
        while not (rows.exists() and ",ok," in rows.read_text()):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everyone
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "interrupted; what was measured is in out" in err
        assert "Traceback" not in out + err
        assert Results(tmp_path / "out").rows[0]["status"] == "ok"
        assert list((tmp_path / "tmp").iterdir()) == []
        assert list((tmp_path / "out" / "pieces").glob("work-*")) == []
        assert psutil.wait_procs(children, timeout=60)[1] == []
    finally:  # whatever failed, nothing goes on running
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
