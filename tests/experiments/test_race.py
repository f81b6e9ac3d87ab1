import csv
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from test_planted import CONFIG
from typer.testing import CliRunner

import ann
from experiments import race
from experiments.cli import app


def rounds_of(runs):
    """Let threads act in turns, each so many times; return who acted, in order."""
    pipes, acted = [os.pipe() for _ in runs], []

    def ride(i):
        mine = race.Turns("race", pipes[i][0], pipes[(i + 1) % len(runs)][1])
        mine.wait()
        for _ in range(runs[i] - 1):
            acted.append(i)
            mine.hand_over()
        acted.append(i)
        for end in (pipes[i][0], pipes[(i + 1) % len(runs)][1]):
            os.close(end)

    threads = [threading.Thread(target=ride, args=(i,)) for i in range(len(runs))]
    for thread in threads:
        thread.start()
    os.write(pipes[0][1], b".")
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return acted


@pytest.mark.parametrize("sides", [1, 2, 3])
def test_runs_take_turns(sides):
    assert rounds_of([4] * sides) == list(range(sides)) * 4


@pytest.mark.parametrize("runs", [[1, 5], [5, 1], [2, 6, 4]])
def test_the_others_go_on_when_one_ends_early(runs):
    acted = rounds_of(runs)
    assert [acted.count(i) for i in range(len(runs))] == runs
    together = (min(runs) - 1) * len(runs)
    assert acted[:together] == list(range(len(runs))) * (min(runs) - 1)


def found_by(environment):
    """Return where a process of a race finds the library and the harness."""
    code = "import ann, experiments; print(ann.__file__); print(experiments.__file__)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [Path(line).resolve().parents[1] for line in done.stdout.splitlines()]


def test_only_the_library_is_another(tmp_path):
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "__init__.py").write_text("")
    harness = Path(race.__file__).parents[1]
    with race.library(str(tmp_path)) as environment:
        assert found_by(environment) == [tmp_path, harness]


def test_a_commit_is_taken_out_of_the_repository_which_stays_as_it_was():
    repository = Path(race.__file__).parents[1]

    def git(*words):
        done = subprocess.run(
            ["git", "-C", str(repository), *words], capture_output=True, text=True
        )
        return done.stdout

    if not git("rev-parse", "HEAD"):
        pytest.skip("this is no clone")
    before = git("status", "--porcelain"), git("worktree", "list")
    with race.library("HEAD") as environment:
        library, harness = found_by(environment)
        assert harness == repository
        assert library != repository
        assert (library / "ann" / "hnsw.py").is_file()
    assert not library.exists()
    assert before == (git("status", "--porcelain"), git("worktree", "list"))


def test_what_is_neither_a_folder_nor_a_commit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'no-such' must be a folder or a commit"):
        race.library("no-such").__enter__()
    with pytest.raises(ValueError, match="must hold a package ann"):
        race.library(str(tmp_path)).__enter__()


@pytest.fixture(name="config")
def _config(tmp_path, monkeypatch):
    monkeypatch.setenv("ANN_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "tiny.toml"
    path.write_text(CONFIG)
    return path


def test_a_race_leaves_two_runs_that_are_compared_in_pairs(config, tmp_path):
    other, out = tmp_path / "other", tmp_path / "out"
    shutil.copytree(Path(ann.__file__).parent, other / "ann")
    command = ["race", str(config), str(other), "--out", str(out), "--threshold", "1e9"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "p50" in done.stdout
    stamps = [
        json.loads((out / side / "provenance.json").read_text())
        for side in ("before", "after")
    ]
    assert [stamp["status"] for stamp in stamps] == ["finished"] * 2
    assert stamps[0]["race"] == stamps[1]["race"]
    assert stamps[0]["commit"] is None  # a copy, of no repository
    for side in ("before", "after"):
        with (out / side / "rounds.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == 3


def test_a_side_that_fails_is_told_and_the_other_ends(config, tmp_path):
    sides = [
        race.Side(tmp_path / "broken", "raise SystemExit(3)"),
        race.Side(tmp_path / "whole"),
    ]
    with pytest.raises(RuntimeError, match="broken ended with exit code 3"):
        race.run(config, sides)
    stamp = json.loads((tmp_path / "whole" / "provenance.json").read_text())
    assert stamp["status"] == "finished"


def test_a_race_against_nothing_is_a_mistake(config, tmp_path):
    done = CliRunner().invoke(app, ["race", str(config), "no-such"])
    assert done.exit_code == 2
