from importlib.resources import files

import pytest
from typer.testing import CliRunner

from experiments import config, results
from experiments.cli import app
from experiments.trust import study, telling
from experiments.trust.churn import Line
from experiments.trust.hostile import Line as Harm

ABOUT = {
    "dataset": "x",
    "metric": "l2",
    "n": 1000,
    "d": 8,
    "nq": 100,
    "library": "ann",
    "family": "HNSW",
    "label": "HNSW",
    "build_params": "{}",
    "search_params": '{"ef_search":10}',
    "k": 10,
    "threads": 2,
    "seed": 0,
}


def line(stage, number, recall, **more):
    numbers = {"recall_at_10": recall, "index_bytes": 1000 + 100 * number}
    return Line(**ABOUT | {"stage": stage, "round": number} | numbers | more)


LINES = [
    line("built", 0, 0.97, add_s=2.0, problems=""),
    line("churned", 1, 0.96, removed=200, remove_s=0.5, add_s=1.0),
    line("churned", 2, 0.965, removed=200, remove_s=0.7, add_s=1.5),
    line("fresh", 2, 0.968, problems="3 links to nobody"),
]


def test_lines_come_back_from_their_file(tmp_path):
    path = tmp_path / "churn.csv"
    results.write_table(path, LINES)
    assert results.read_table(path, Line) == LINES
    with pytest.raises(ValueError, match=r"churn.csv: KeyError\('data'\)"):
        results.read_table(path, Harm)


def test_the_table_of_churn_tells_the_worst(capsys):
    from rich.console import Console

    for table in telling.tables(LINES):
        Console(width=110).print(table)
    text = capsys.readouterr().out
    for cell in ("0.9700", "0.9600", "0.9650", "0.9680", "1.20", "0.6", "1.25"):
        assert cell in text
    assert "3 links to nobody" in text
    assert "20% removed" in text


def test_the_figure_of_churn_says_what_it_shows(tmp_path):
    paths = telling.draw(LINES, {"commit": "0123456789", "cores": 2}, tmp_path)
    assert [path.name for path in paths] == ["x-l2-churn.png", "x-l2-churn.svg"]
    text = paths[1].read_text()
    assert "HNSW, ef_search=10: recall 0.9700, then 0.9650; memory at most 1.20" in text
    assert "commit 012345678" in text


@pytest.mark.parametrize("name", ["churn", "filters", "hostile"])
def test_the_configs_are_valid_where_the_file_is(name, tmp_path, monkeypatch):
    (tmp_path / "wordnet-minilm-384-angular.hdf5").touch()
    monkeypatch.setenv("ANN_DATA", str(tmp_path))
    path = files("experiments.configs") / f"{name}-wordnet.toml"
    loaded = config.load(path, config.Trust)
    plan = study.make(loaded)
    assert loaded.study == name
    assert plan.n_points >= 15
    assert study.steps(plan, loaded) > 20


def test_a_directory_of_another_kind_is_refused(tmp_path):
    (tmp_path / "provenance.json").write_text("{}")
    done = CliRunner().invoke(app, ["trust", str(tmp_path)])
    assert done.exit_code == 2
    assert "must hold one of churn.csv, filters.csv, hostile.csv" in done.stderr
