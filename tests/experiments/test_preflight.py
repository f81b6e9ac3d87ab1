"""What a dry run foresees, and that it is what a run would meet."""

import importlib.util
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments import (
    cli,
    config,
    datasets,
    encoding,
    indexes,
    plan,
    preflight,
    results,
)
from experiments.cli import app

PQ3 = {"codec": {"kind": "PQ", "m": 3}}
SIXTY = {"transform": {"kind": "PCA", "d_out": 60}}
X = np.random.default_rng(0).standard_normal((120, 64)).astype(np.float32)


def foreseen(index, dataset=(), **settings):
    table = {
        "name": "try",
        "dataset": [{"name": "digits-64-euclidean", "n": 500} | dict(dataset)],
        "index": [index],
    }
    loaded = config.check(config.Config, table | settings)
    return preflight.outlook(plan.make(loaded))


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (PQ3, "m must divide d=64: one of .*, got 3"),
        ({"codec": PQ3["codec"] | {"opq": True}}, "m must divide d=64"),
        (PQ3 | {"refine": 4}, "m must divide d=64"),
        ({"codec": {"kind": "PQ", "m": 8}} | SIXTY, "m must divide d=60"),
        (
            {"codec": {"kind": "PQ", "m": 8}}
            | {"transform": {"kind": "Truncate", "d_out": 60}},
            "m must divide d=60",
        ),
        ({"transform": {"kind": "PCA", "d_out": 65}}, "d_out must be <= d=64"),
    ],
)
def test_what_does_not_fit_the_width_is_foreseen_in_the_library_s_words(build, says):
    for kind in ("Flat", "IVF", "HNSW"):
        found = foreseen({"kind": kind, "build": build})
        assert not found.measured
        [problem] = found.problems
        assert problem.startswith(f"digits-64-euclidean: {kind}")
        adapter = indexes.KINDS["ann", kind]
        params = config.check(adapter.Build, build)
        with pytest.raises(ValueError, match=says) as refused:
            adapter("l2", params, 0).add(X, 1)
        assert problem.endswith(str(refused.value))


def test_what_fits_is_let_through():
    codec = {"kind": "PQ", "m": 3}
    for build in (SIXTY | {"codec": codec}, {"codec": codec | {"m": 16}}):
        found = foreseen({"kind": "IVF", "build": build | {"nlist": 500}})
        assert found == ([], [], True)
    assert foreseen({"kind": "HNSW", "search": {"ef_search": [10, 20]}}).measured


@pytest.mark.parametrize(
    ("index", "dataset", "settings", "says"),
    [
        ({"kind": "Flat"}, {"n": 60}, {"k": 61}, "k must be at most n=60, got 61"),
        ({"kind": "Flat"}, {"n": 60}, {}, "n must be at least 100, .* got 60"),
        ({"kind": "Flat"}, {"n": 1798}, {}, r"n must be in \[1, 1618\], got 1798"),
        ({"kind": "Flat"}, {"nq": 1797}, {}, r"nq must be in \[1, 1796\], got 1797"),
        ({"kind": "IVF", "build": {"nlist": 501}}, {}, {}, "at most n=500, got 501"),
        (
            {"kind": "IVF", "build": {"nlist": 9}, "search": {"nprobe": [9, 10]}},
            *({}, {}, r'"nprobe":10}: nprobe must be at most nlist=9, got 10'),
        ),
        (
            {"kind": "HNSW", "search": {"ef_search": [19, 20]}},
            *({}, {"k": 20}, r'"ef_search":19}: ef_search must be at least k=20'),
        ),
        (
            {"kind": "IVF", "build": {"codec": {"kind": "RaBitQ"}}},
            *({"metric": "l1"}, {}, "metric must be l2, ip or cosine with RaBitQ"),
        ),
    ],
)
def test_what_the_data_does_not_allow_is_foreseen(index, dataset, settings, says):
    [problem] = foreseen(index, dataset, **settings).problems
    assert problem.startswith("digits-64-euclidean: ")
    assert re.search(says, problem)


def test_files_are_looked_into(tmp_path):
    np.save(tmp_path / "x.npy", X)
    name = str(tmp_path / "x.npy")
    [problem] = foreseen({"kind": "Flat"}, {"name": name, "n": 100}).problems
    assert "metric must be given" in problem
    (tmp_path / "x.npy").write_bytes(b"no numpy")
    [problem] = foreseen({"kind": "Flat"}, {"name": name, "n": 100}).problems
    assert "must be a readable npy file" in problem


def test_peers_that_are_missing_are_named_with_what_installs_them(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = foreseen(
        {"library": "hnswlib", "label": "old [/x]", "build": {"M": [8, 16]}}
    )
    assert found == (
        [],
        [
            "hnswlib is not installed: pip install hnswlib; "
            "skipped: old [/x] M=8, old [/x] M=16"
        ],
        False,
    )


def test_faiss_says_itself_what_it_cannot_make():
    pytest.importorskip("faiss")
    factory = {"library": "faiss-factory", "build": {"factory": "OPQ3_6,IVF4,PQ4"}}
    [problem] = foreseen(factory).problems
    assert "multiple of the number of subquantizers" in problem
    lists = {"library": "faiss-factory", "build": {"factory": "PCA6,IVF501,Flat"}}
    [problem] = foreseen(lists).problems
    assert problem.endswith("nlist must be at most n=500, got 501")


# --- the folder


@pytest.mark.parametrize("out", ["file", "file/deep/er"])
def test_a_file_in_the_place_of_the_folder_is_foreseen(tmp_path, out):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=rf"{out} cannot be .*file is a file"):
        results.check_claim(tmp_path / out, {})


@pytest.mark.parametrize("out", ["", "new/deep"])
def test_a_folder_that_cannot_be_written_is_foreseen(tmp_path, monkeypatch, out):
    def refuse(dir):
        assert dir == tmp_path
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OSError, match=r"cannot be written.*: Permission denied"):
        results.check_claim(tmp_path / out, {})
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_the_system_cannot_write_is_foreseen(monkeypatch):
    monkeypatch.setattr(encoding.os, "fsencode", lambda path: str(path).encode("ascii"))
    with pytest.raises(OSError, match="names are in ascii: set PYTHONUTF8=1"):
        results.check_claim(Path("results/é"), {})
    with pytest.raises(ValueError, match="names are in ascii: set PYTHONUTF8=1"):
        datasets.locate("é")


def test_a_folder_that_is_fine_stays_as_it_is(tmp_path):
    results.check_claim(tmp_path / "new" / "deep", {})
    assert list(tmp_path.iterdir()) == []


# --- the command


CONFIG = """
name = "tiny"
[[dataset]]
name = "digits-64-euclidean"
n = 300
[[index]]
kind = "Flat"
"""


@pytest.fixture(name="dry_run")
def _dry_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def dry_run(more="", *arguments):
        Path("tiny.toml").write_text(CONFIG + more)
        return CliRunner().invoke(app, ["run", "tiny.toml", "--dry-run", *arguments])

    return dry_run


def test_a_dry_run_ends_as_the_run_would(dry_run):
    assert dry_run().exit_code == 0
    done = dry_run("build.codec = { kind = 'PQ', m = 63 }")
    assert (done.exit_code, "tiny: 1 points" in done.stdout) == (1, True)
    assert "Flat PQ63x8: m must divide d=64" in done.stderr
    Path("taken").touch()
    done = dry_run("", "--out", "taken")
    assert done.exit_code == 2
    assert "taken cannot be a directory" in done.stderr


def test_a_dry_run_tells_what_would_be_left_out(dry_run, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = dry_run("[[index]]\nlibrary = 'hnswlib'\nlabel = 'old [/x]'\n")
    told = "hnswlib is not installed: pip install hnswlib; skipped: old [/x]\n"
    assert told in done.stdout
    assert done.exit_code == 1  # ours are not there, either
    assert "nothing would be measured" in done.stderr


# --- what is said at the end


def test_an_interrupt_promises_what_is_there_alone(tmp_path, capsys):
    (tmp_path / "rounds.csv").write_text("row_id,round\n")
    for out in (None, tmp_path / "absent", tmp_path):
        with pytest.raises(SystemExit):
            cli._interrupted(out)
        assert "interrupted before anything was measured" in capsys.readouterr().err
    (tmp_path / "rounds.csv").write_text("row_id,round\na,0\n")
    with pytest.raises(SystemExit):
        cli._interrupted(tmp_path)
    assert f"what was measured is in {tmp_path}" in capsys.readouterr().err


def test_nothing_is_drawn_of_nothing(capsys):
    with pytest.raises(SystemExit) as ended:
        cli._finish([], lambda: pytest.fail("drawn"), ("ann", "plot", "a b"))
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert "nothing was measured" in told
    assert "safe" not in told
