"""Rows of an earlier version are read as what they are, those of a later refused."""

from pathlib import Path

import pytest
from test_report import ROWS, point, to_version_1
from typer.testing import CliRunner

from experiments import compare, estimate, plots, results, schema
from experiments.cli import app
from experiments.page.document import document
from experiments.page.material import gather
from experiments.plots.canvas import Canvas
from experiments.plots.rows import read_run, read_runs
from experiments.trust import study

COMMITTED = Path(__file__).parents[2] / "results"
OLD = {
    "nq": "1000",
    "rounds": "3",
    "p50_us": "50",
    "p95_us": "95",
    "p99_us": "99",
    "p99_pooled_us": "400",
    "mean_us": "55",
    "p50_us_low": "60",  # beside its own interval, as it happened
    "p50_us_high": "70",
    "p99_us_low": "98",
    "p99_us_high": "120",
    "sway": "0.1",
}


def test_the_first_version_is_read_by_todays_names():
    assert schema.current(OLD) == {
        "schema": "1",
        "nq": "1000",
        "rounds": "3",
        "query_median_p50_us": "50",
        "query_median_p95_us": "95",
        "query_median_p99_us": "99",
        "query_median_p99_us_low": "98",
        "query_median_p99_us_high": "120",
        "p99_us": "400",
        "sway": "0.1",
    }


def test_of_one_round_the_first_version_knows_all():
    read = schema.current(OLD | {"rounds": "1"})
    for name in ("p50_us", "p95_us", "p99_us", "p99_us_low"):
        assert read[name] == read[f"query_median_{name}"] == OLD[name]
    assert read["mean_us"] == "55"
    assert "p50_us_low" not in read


def test_a_p99_of_too_few_queries_in_many_rounds_is_none():
    assert schema.current(OLD | {"nq": "367"})["p99_us"] == ""


def test_todays_rows_stay_as_they_are():
    cells = {"schema": "2", "p50_us": "1", "p99_pooled_us": "kept as unknown"}
    assert schema.current(cells) == cells


@pytest.fixture(name="old")
def _old(tmp_path):
    return written(tmp_path / "old", version=1)


@pytest.fixture(name="new")
def _new(tmp_path):
    return written(tmp_path / "new")


def written(directory, version=2):
    directory.mkdir()
    results.write_rows(directory / "rows.csv", ROWS)
    if version == 1:
        to_version_1(directory / "rows.csv")
    return directory


def ann(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


COMMANDS = {
    "show": ["DIR"],
    "plot": ["DIR"],
    "report": ["DIR"],
    "ratios": ["DIR"],
    "ablation": ["DIR"],
    "compare": ["DIR", "DIR"],
    "export": ["DIR", "--to", "parquet"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_version_to_come_is_refused(new, command):
    text = (new / "rows.csv").read_text()
    (new / "rows.csv").write_text(text.replace("\n2,", "\n3,", 1))
    arguments = [str(new) if each == "DIR" else each for each in COMMANDS[command]]
    done = ann(command, *arguments)
    assert done.exit_code == 2
    assert f"{new}/rows.csv, line 2: schema must be 1 or 2" in done.stderr
    assert "got '3': use the version that wrote it" in done.stderr


@pytest.mark.parametrize("options", [[], ["--all"]])
def test_tables_of_an_old_run_never_say_p50_of_query_medians(old, options, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    text = ann("show", old, *options).stdout
    heads, note = text.split("───")[0], " ".join(text.split("───")[-1].split())
    assert heads.count("median") == 3 + bool(not options)
    assert heads.count("query-") == heads.count("median")
    assert "of all single queries of all rounds" not in note
    assert "Query-median: over queries, of each one's median over rounds" in note


def test_figures_and_report_of_an_old_run_say_so_too(old, monkeypatch, tmp_path):
    kept = {}

    def keep(self, stem, title, description):
        words = [text.get_text() for text in self.figure.texts]
        kept[stem.name.removeprefix("patches-192-euclidean-")] = words
        return [stem]

    monkeypatch.setattr(Canvas, "save", keep)
    plots.draw([old], tmp_path / "figures")
    panels = {f"query-median {percentile}" for percentile in ("p50", "p95", "p99")}
    assert panels <= set(kept["recall-at-10-latency"])
    assert "query-median p50 at recall 0.95" in kept["build"]
    assert "query-median p50 at the best recall:" in kept["memory"]
    names = [word for words in kept.values() for word in words]
    assert not {"p50", "p95", "p99"} & set(names)
    text = document(gather([old])).split("<script")[0]
    assert ">query-median p50 µs<" in text
    assert ">p50 µs<" not in text


def test_beside_an_old_run_a_new_one_shows_query_medians(old, new):
    runs = read_runs([old, new])
    [section] = gather([old, new]).sections
    assert section.latencies["p50"] == "query_median_p50"
    first, second = (run.points[0].latency_us for run in runs)
    assert "p50" not in first
    assert first["query_median_p50"] == second["p50"]  # of the same number, before


def test_only_columns_of_one_meaning_are_compared(old, new):
    before, after = compare.Measured(old), compare.Measured(new)
    changes = compare.compare(before, after)
    assert {change.measure for change in changes} == {"query_median_p50_us"}
    assert {round(change.ratio.value, 6) for change in changes} == {0.9}
    assert {change.measure for change in compare.compare(after, after)} == {"p50_us"}
    with pytest.raises(
        ValueError, match=r"old has no p50_us\. .* Compare query_median"
    ):
        compare.compare(before, after, ["p50_us"])
    done = ann("compare", new, old, "--measure", "p99_us")
    assert done.exit_code == 2
    assert "old has no p99_us. Query-median: " in done.stderr
    assert "keep no p99 of all single queries." in done.stderr


def test_a_p99_that_there_cannot_be_is_refused_with_the_number(tmp_path):
    rows = [point("HNSW", "HNSW", 10, 0.9, 1.0, nq=200, p99_us=None)]
    results.write_rows(tmp_path / "rows.csv", rows)
    done = ann("compare", tmp_path, tmp_path, "--measure", "p99_us")
    assert done.exit_code == 2
    assert "has no p99_us. p99 needs 368 queries, 200 were asked." in done.stderr


def test_an_old_study_of_filters_is_read_as_query_medians():
    lines, _ = study.read(COMMITTED / "filters-wordnet")
    assert {line.schema for line in lines} == {1}
    several = [line for line in lines if line.rounds > 1 and line.status == "ok"]
    assert {frozenset(line.latency_us) for line in several} == {
        frozenset({"query_median_p50"})
    }


def test_an_old_run_still_says_how_long_the_next_will_take(old):
    before = read_run(old).points[0]
    assert estimate._measured_us(before) == 5432.1
    assert estimate._measured_us(None) is None
