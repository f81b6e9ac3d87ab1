"""Rows as ann-benchmarks' results and as parquet, checked against the rows."""

import csv
import json

import h5py
import numpy as np
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from experiments import datasets
from experiments.cli import app
from experiments.interop import results
from experiments.interop.parquet import export
from experiments.plots.rows import read_run
from experiments.results import write_rows
from tests.experiments import page_run
from tests.experiments.labels import LABELS

CONFIG = """
name = "tiny"
rounds = 2
threads = 1
k = 12
[[dataset]]
name = "digits-64-euclidean"
n = 300
nq = 20
[[dataset]]
name = "digits-64-euclidean"
nq = 10
metric = "ip"
[[index]]
kind = "Flat"
datasets = ["digits-64-euclidean"]
[[index]]
kind = "IVF"
label = "IVF / lists"
build.nlist = 8
search.nprobe = [1, 3]
"""


def run(folder, text):
    (folder / "tiny.toml").write_text(text)
    return CliRunner().invoke(
        app, ["run", str(folder / "tiny.toml"), "--out", str(folder / "run")]
    )


@pytest.fixture(scope="module", name="home")
def _home(tmp_path_factory):
    home = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANN_CACHE", str(home / "cache"))
        patch.setattr("experiments.plots.draw", lambda dirs, out: [])
        done = run(home, CONFIG)
        assert done.exit_code == 0, done.output
        done = CliRunner().invoke(app, ["export", str(home / "run"), str(home / "ab")])
        assert done.exit_code == 0, done.output
        assert done.stdout == f"6 results in {home}/ab/results\n"
    return home


def rows(directory):
    with (directory / "rows.csv").open(newline="") as file:
        return {row["row_id"]: row for row in csv.DictReader(file)}


def exported(home):
    found = {}
    for path in (home / "ab" / "results").rglob("*.hdf5"):
        with h5py.File(path) as file:
            arrays = {name: file[name][:] for name in file}
            found[path] = (dict(file.attrs), arrays)
    return found


def test_files_lie_where_the_suite_looks(home):
    where = {
        path.relative_to(home / "ab" / "results").parent.as_posix()
        for path in exported(home)
    }
    assert where == {
        f"{dataset}/12/{label}"
        for dataset in (
            "digits-64-euclidean-n300-q20",
            "digits-64-euclidean-q10-ip",
        )
        for label in ("Flat", "IVF_lists")
    }
    assert {path.name for path in (home / "ab" / "data").iterdir()} == {
        "digits-64-euclidean-n300-q20.hdf5",
        "digits-64-euclidean-q10-ip.hdf5",
    }


def test_attributes_are_those_of_the_row(home):
    table = rows(home / "run")
    for attributes, arrays in exported(home).values():
        row = table[attributes["row_id"]]
        nq, rounds = int(row["nq"]), int(row["rounds"])
        assert attributes["algo"] == row["label"]
        assert attributes["count"] == 12
        assert attributes["run_count"] == rounds == 2
        assert not attributes["batch_mode"]
        assert attributes["build_time"] == pytest.approx(float(row["build_s"]))
        assert attributes["index_size"] * 1024 == pytest.approx(
            float(row["index_bytes"])
        )
        per_query = attributes["dist_comps"] / (rounds * nq)
        assert per_query == pytest.approx(float(row["distance_computations"]), rel=1e-5)
        best = attributes["best_search_time"] * 1e6
        assert best == pytest.approx(float(row["mean_us"]), rel=1e-4)
        assert arrays["times"].shape == (nq,)
        assert np.median(arrays["times"]) * 1e6 == pytest.approx(
            float(row["query_median_p50_us"]), rel=1e-4
        )
        assert arrays["neighbors"].shape == arrays["distances"].shape == (nq, 12)
        assert arrays["times"].dtype == arrays["distances"].dtype == np.float32
        assert arrays["neighbors"].dtype == np.int32


def test_recall_by_their_definition_is_that_of_the_row(home):
    table = rows(home / "run")
    checked = 0
    for path, (attributes, arrays) in exported(home).items():
        name = path.relative_to(home / "ab" / "results").parts[0]
        with h5py.File(home / "ab" / "data" / f"{name}.hdf5") as file:
            assert file.attrs["distance"] == attributes["distance"]
            truth = file["distances"][:]
            assert np.allclose(truth[:, 0], arrays["distances"][:, 0]) or "IVF" in str(
                path
            )
        hits = arrays["distances"][:, :10] <= truth[:, 9:10] + 1e-3
        expected = float(table[attributes["row_id"]]["recall_at_10_ab"])
        assert hits.mean() == pytest.approx(expected, abs=1e-6)
        checked += expected < 0.99
    assert checked >= 2  # not all of them trivial


def test_a_dataset_that_is_there_is_kept_if_it_is_the_same(home, monkeypatch):
    monkeypatch.setenv("ANN_CACHE", str(home / "cache"))
    path = home / "ab" / "data" / "digits-64-euclidean-n300-q20.hdf5"
    before = path.stat().st_mtime_ns
    results.export(home / "run", home / "ab")
    assert path.stat().st_mtime_ns == before
    with h5py.File(path, "a") as file:
        file["test"][0, 0] += 1
    with pytest.raises(ValueError, match="must hold the vectors of this run"):
        results.export(home / "run", home / "ab")
    path.unlink()


def copied(home, tmp_path, without=(), **stamp):
    for source in (home / "run").iterdir():
        if source.is_file() and source.name not in without:
            (tmp_path / source.name).write_bytes(source.read_bytes())
    path = tmp_path / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | stamp))
    return tmp_path


def test_answers_that_git_does_not_keep_are_asked_for(home, tmp_path):
    directory = copied(home, tmp_path, without={"answers.parquet"})
    done = CliRunner().invoke(app, ["export", str(directory)])
    assert done.exit_code == 2
    assert "answers.parquet: must be there; a run keeps it" in done.stderr


def test_other_vectors_than_those_measured_are_refused(home, tmp_path, monkeypatch):
    monkeypatch.setenv("ANN_CACHE", str(home / "cache"))
    directory = copied(home, tmp_path, datasets=[{"fingerprint": "0" * 64}])
    with pytest.raises(ValueError, match="must be the vectors that were measured"):
        results.export(directory, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_is_looked_for_where_configs_find_it(home, tmp_path):
    entry = {"name": "digits-64-euclidean.hdf5"}
    directory = copied(home, tmp_path, config={"dataset": [entry], "seed": 0})
    with pytest.raises(FileNotFoundError, match="must be here or in the folder ANN_D"):
        results.export(directory, tmp_path / "out")


def test_rows_without_a_measurement_are_left_out(home, tmp_path):
    directory = copied(home, tmp_path)
    text = (directory / "rows.csv").read_text().replace(",ok,", ",failed: x,")
    (directory / "rows.csv").write_text(text)
    with pytest.raises(ValueError, match="must hold a row that was measured"):
        results.export(directory, tmp_path / "out")


def test_missing_answers_are_padded_as_theirs_are(home, monkeypatch):
    monkeypatch.setenv("ANN_CACHE", str(home / "cache"))
    data = datasets.load("digits-64-euclidean", n=300, nq=20)
    ids = data.neighbors[:, :12].copy()
    ids[3, 5:] = -1
    distances = results._distances(ids, data)
    assert np.isinf(distances[3, 5:]).all()
    ids[3, 5:] = data.neighbors[3, 5:12]
    assert np.allclose(results._distances(ids, data), data.distances[:, :12])
    monkeypatch.setattr(results, "_BLOCK_BYTES", 1)
    assert np.allclose(results._distances(ids, data), data.distances[:, :12])


def test_parquet_has_the_types_of_the_columns(home):
    done = CliRunner().invoke(app, ["export", str(home / "run"), "--to", "parquet"])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{home}/run/rows.parquet\n"
    table = parquet.read_table(home / "run" / "rows.parquet")
    cells = list(rows(home / "run").values())
    assert table.column_names == list(cells[0])
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["n"], types["p50_us"], types["label"]) == (
        "int64",
        "double",
        "string",
    )
    assert types["recall_at_10_low"] == "double"
    assert table["recall_at_10"].to_pylist() == [
        float(row["recall_at_10"]) for row in cells
    ]
    assert table["build_params"].to_pylist() == [row["build_params"] for row in cells]
    assert table["p99_us"].null_count == len(cells)  # 20 queries do not support it


def test_parquet_takes_columns_of_other_versions_and_refuses_other_cells(tmp_path):
    path = tmp_path / "rows.csv"
    head = "dataset,index,n,p50_us,novel,build_params"
    path.write_text(head + '\na,b,5,2.5,abc,"{""M"":4}"\n')
    assert (
        CliRunner().invoke(app, ["export", str(tmp_path), "--to", "parquet"]).exit_code
        == 0
    )
    assert parquet.read_table(tmp_path / "rows.parquet").to_pylist() == [
        {
            "schema": 1,
            "dataset": "a",
            "index": "b",
            "n": 5,
            "query_median_p50_us": 2.5,  # what the first version called p50_us
            "novel": "abc",
            "build_params": '{"M":4}',
        }
    ]
    path.write_text("dataset,index,n\na,b,five\n")
    done = CliRunner().invoke(app, ["export", str(tmp_path), "--to", "parquet"])
    assert done.exit_code == 2
    assert "rows.csv" in done.stderr
    assert "five" in done.stderr
    path.unlink()
    done = CliRunner().invoke(app, ["export", str(tmp_path), "--to", "parquet"])
    assert "rows.csv: must be there" in done.stderr


def test_labels_of_every_kind_come_through(tmp_path):
    labels = [*LABELS, "two\nlines", " a  b "]
    rows = [page_run.point("data", x, "ann", {}, 10, 3.0, 0.1) for x in labels]
    write_rows(tmp_path / "rows.csv", rows)
    assert [point.label for point in read_run(tmp_path).points] == labels
    table = parquet.read_table(export(tmp_path, tmp_path / "rows.parquet"))
    assert table.column("label").to_pylist() == labels
