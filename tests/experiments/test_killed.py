"""A run that is killed again and again ends with the rows of one that never was.

``ANN_KILLS=100 python -m pytest tests/experiments/test_killed.py`` kills it a hundred
times, and measures indexes of ours beside the fakes.
"""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import psutil
import pytest
from pyarrow import parquet

from experiments import datasets
from experiments.results import Row

KILLS = int(os.environ.get("ANN_KILLS", "5"))
THOROUGH = "ANN_KILLS" in os.environ
DATASET = {"name": "synthetic-cube-8d-8i-1k", "nq": 50}
FAKES = """
[[index]]
library = "fakes"
kind = "Brute"
build.M = [4, 5]
search.share = [0.25, 0.5, 1.0]
"""
OURS = """
[[index]]
kind = "HNSW"
build.M = 4
search.ef_search = [10, 40]
[[index]]
kind = "IVF"
build = { nlist = 20, codec = { kind = "PQ", m = 4 } }
search.nprobe = [1, 5]
"""
CONFIG = f"""
name = "killed"
rounds = 3
threads = 1
dataset = [{{ name = "{DATASET["name"]}", nq = {DATASET["nq"]} }}]
{FAKES}{OURS if THOROUGH else ""}
"""
# Columns that a clock, the system or the number of restarts has a say in.
CLOCKED = {
    "sway", "qps", "qps_1thread", "build_s", "compile_s", "peak_rss_bytes", "cores",
    "builds", *(column.name for column in fields(Row) if "_us" in column.name),
}  # fmt: skip


@pytest.fixture(name="run")
def _run(tmp_path, monkeypatch):
    """Start the command in a process group of its own."""
    monkeypatch.setenv("ANN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "c.toml").write_text(CONFIG)
    datasets.load(DATASET["name"], nq=DATASET["nq"])  # the truth, kept in the cache
    script = Path(__file__).with_name("fakes_cli.py")
    started = []

    def run(out):
        started.append(
            subprocess.Popen(
                [sys.executable, script, "run", "c.toml", "--out", out],
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def finished(process, seconds=300.0):
    """Return whether a run ends by itself, and well, within so many seconds."""
    try:
        _, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    assert process.returncode == 0, err
    return True


def kill(process):
    """Kill a run and all of its workers, as a machine that is switched off does."""
    members = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    psutil.wait_procs(members, timeout=60)


def found(out):
    """Return everything that a run has found but for times."""
    with (out / "rows.csv").open(newline="") as file:
        rows = [
            {name: cell for name, cell in row.items() if name not in CLOCKED}
            for row in csv.DictReader(file)
        ]
    with (out / "rounds.csv").open(newline="") as file:
        rounds = [(row["row_id"], row["round"]) for row in csv.DictReader(file)]
    queries = parquet.read_table(out / "per_query.parquet").drop(["latency_us"])
    answers = parquet.read_table(out / "answers.parquet")
    status = json.loads((out / "provenance.json").read_text())["status"]
    return rows, rounds, queries.to_pylist(), answers.to_pylist(), status


def test_a_run_killed_at_random_moments_ends_as_if_it_never_was(run, tmp_path):
    begin = time.monotonic()
    assert finished(run("whole"))
    length = time.monotonic() - begin
    whole = found(tmp_path / "whole")
    assert [row["status"] for row in whole[0]] == ["ok"] * (10 if THOROUGH else 6)
    assert min(float(row["recall_at_10"]) for row in whole[0]) < 0.9
    assert whole[-1] == "finished"
    moments, kills, runs = random.Random(0), 0, 0
    out = tmp_path / "out-0"
    while True:
        process = run(out.name)
        last = kills >= KILLS
        if finished(process, 300 if last else moments.uniform(0, length)):
            assert found(out) == whole, f"run {runs}, after {kills} kills"
            left = {path.name for path in out.iterdir()} - {"previous"}
            assert left == {path.name for path in (tmp_path / "whole").iterdir()}
            if last:
                break
            runs += 1
            out = tmp_path / f"out-{runs}"
        else:
            kill(process)
            kills += 1
    assert list((tmp_path / "tmp").iterdir()) == []
