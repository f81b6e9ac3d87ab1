import subprocess
import sys

import pytest
from typer.testing import CliRunner

import ann as library
from experiments import compare
from experiments.cli import app
from experiments.text.stdlib import Library
from tests.experiments.fakes_text import Hashing

CONFIG = """
name = "tiny"
rounds = 1
threads = 1
[[dataset]]
name = "digits-64-euclidean"
n = 300
nq = 20
[[index]]
kind = "Flat"
"""


@pytest.fixture(name="ann")
def _ann(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tiny.toml").write_text(CONFIG)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_help_is_light():
    heavy = "{'numpy', 'numba', 'pydantic', 'matplotlib', 'sklearn', 'pyarrow'}"
    code = f"import sys, experiments.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_datasets_are_listed_with_their_sizes(ann):
    lines = [line.split() for line in ann("datasets").stdout.splitlines()]
    assert ["patches-192-euclidean", "529,611", "×", "192"] in lines
    assert ["dbpedia-openai-100k-angular"] in lines  # its publisher does not say


def test_the_version_is_told(ann):
    assert ann("--version").stdout == f"ann {library.__version__}\n"


def test_compare_tells_every_measure_and_its_own_default(ann):
    told = " ".join(ann("compare", "--help").stdout.replace("│", " ").split())
    assert all(measure in told for measure in compare.MEASURES)
    assert f"[default: {compare.THRESHOLD}]" in told


def test_a_dry_run_shows_the_plan_and_does_nothing(ann, tmp_path):
    done = ann("run", "tiny.toml", "--dry-run")
    assert done.exit_code == 0
    assert "tiny: 1 points" in done.stdout
    assert not (tmp_path / "results").exists()


def test_a_config_s_error_is_one_clear_line(ann, tmp_path):
    (tmp_path / "bad.toml").write_text(CONFIG + "build.codek = 1\n")
    done = ann("run", "bad.toml")
    assert done.exit_code == 2
    assert done.stderr == (
        "index[0].build: unknown key 'codek', did you mean 'codec'? "
        "(known: codec, refine, refine_dtype, transform)\n"
    )


def test_exact_search_runs_end_to_end(ann, tmp_path):
    done = ann("run", "tiny.toml")
    assert done.exit_code == 0, done.output
    out = tmp_path / "results" / "tiny"
    assert {"rows.csv", "provenance.json", "per_query.parquet", "figures"} <= {
        path.name for path in out.iterdir()
    }
    assert any((out / "figures").glob("*.svg"))
    assert "Flat" in done.stdout
    assert "1.0000" in done.stdout
    shown = ann("show", str(out))
    assert "1.0000" in shown.stdout


def test_a_second_run_and_both_overlaid(ann, tmp_path, monkeypatch):
    drawn = []

    def draw(dirs, out):
        drawn.append(([str(path) for path in dirs], str(out)))
        return [out / "a.png"]

    monkeypatch.setattr("experiments.plots.draw", draw)
    out = "results/tiny"
    for _ in range(2):
        assert ann("run", "tiny.toml", "--out", out).exit_code == 0
    assert (tmp_path / out / "previous" / "rows.csv").exists()
    assert ann("plot", out).stdout == f"1 figures in {out}/figures\n"
    assert ann("plot", out, f"{out}/previous").exit_code == 0
    assert ann("plot", out, "--out", "there").exit_code == 0
    assert drawn[2:] == [
        ([out], f"{out}/figures"),
        ([out, f"{out}/previous"], "figures"),
        ([out], "there"),
    ]


def test_a_foreign_directory_is_refused(ann, tmp_path):
    done = ann("run", "tiny.toml", "--out", str(tmp_path))
    assert done.exit_code == 2
    assert "must be new or hold an earlier run of this config" in done.stderr


def test_a_directory_without_results_is_an_error(ann, tmp_path):
    done = ann("show", str(tmp_path))
    assert done.exit_code == 2
    assert "rows.csv" in done.stderr


def test_a_failure_ends_in_a_status(ann, tmp_path):
    codec = "build.codec = { kind = 'PQ', m = 63 }\n"
    (tmp_path / "bad.toml").write_text(CONFIG + "[[index]]\nkind = 'Flat'\n" + codec)
    done = ann("run", "bad.toml")
    assert done.exit_code == 1
    assert "Flat PQ63x8: failed: ValueError" in done.stderr


def test_figures_that_fail_do_not_lose_results(ann, tmp_path, monkeypatch):
    def draw(dirs, out):
        raise RuntimeError("no ink")

    monkeypatch.setattr("experiments.plots.draw", draw)
    done = ann("run", "tiny.toml")
    assert done.exit_code == 1
    assert "no ink" in done.stderr
    assert "ann plot results/tiny" in done.stderr
    assert (tmp_path / "results" / "tiny" / "rows.csv").exists()


def test_a_run_writes_its_report_where_it_can(ann, tmp_path, monkeypatch):
    pytest.importorskip("plotly")
    monkeypatch.setattr("experiments.plots.draw", lambda dirs, out: [])
    report = tmp_path / "results" / "tiny" / "report.html"
    with monkeypatch.context() as patch:
        patch.setattr("experiments.page.available", lambda: False)
        done = ann("run", "tiny.toml")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1].startswith("no report: ")
    assert not report.exists()
    done = ann("run", "tiny.toml")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "report in results/tiny/report.html"
    assert "digits-64-euclidean" in report.read_text()
    assert ann("run", "tiny.toml").exit_code == 0
    assert (report.parent / "previous" / "report.html").exists()


@pytest.fixture(name="fruit")
def _fruit(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.text.encoders.load", Hashing)
    (tmp_path / "fruit.txt").write_text("a\tred apples\nb\tgreen pears\nc\tgrey seas\n")


def test_text_is_embedded_and_asked(ann, fruit):
    done = ann("datasets", "embed", "fruit.txt", "--labels", "--model", "mine")
    assert done.stdout == "3 passages × 64 in fruit.parquet\n", done.output
    asked = ann("ask", "fruit.parquet", "what is a pear?", "-k", "1", "--keywords")
    assert asked.exit_code == 0, asked.output
    rows = [line for line in asked.stdout.splitlines() if "pears" in line]
    assert len(rows) == 2  # by meaning and by words
    assert all("b" in row.split() for row in rows)
    assert "apples" not in asked.stdout
    unknown = ann("ask", "fruit.parquet", "what is a kiwi?", "--keywords")
    assert unknown.stdout.splitlines()[-1] == "words: no passage has any of kiwi"
    assert "no passage" not in ann("ask", "fruit.parquet", "what is a kiwi?").stdout


def test_a_dataset_is_replaced_only_by_force(ann, fruit, tmp_path):
    (tmp_path / "fruit.parquet").write_text("precious")
    done = ann("datasets", "embed", "fruit.txt")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "fruit.parquet must not exist yet; --force replaces it\n"
    assert ann("datasets", "embed", "fruit.txt", "--force").exit_code == 0
    assert ann("ask", "fruit.parquet", "pears").exit_code == 0


def test_mistakes_about_text_are_one_clear_line(ann, fruit, tmp_path):
    for arguments, told in (
        (("datasets", "embed", "fruit.txt", "--out", "a.hdf5"), "must end in .parquet"),
        (("datasets", "embed", "none.txt"), "No such file"),
        (("ask", "none.parquet", "pears"), "no such file"),
    ):
        done = ann(*arguments)
        assert (done.exit_code, done.stdout) == (2, ""), done.output
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_the_standard_library_s_summaries_are_written(ann, tmp_path, monkeypatch):
    library = Library({"a": "First.", "b": "Second."}, ["c"])
    monkeypatch.setattr("experiments.text.stdlib.gather", lambda: library)
    done = ann("datasets", "stdlib", "a.txt")
    assert done.stdout == "2 summaries in a.txt; 1 modules have none\n"
    assert (tmp_path / "a.txt").read_text() == "a\tFirst.\nb\tSecond.\n"
    assert ann("datasets", "stdlib", ".").exit_code == 2
