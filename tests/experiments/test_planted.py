import csv
import json

import pytest
from test_compare import write
from typer.testing import CliRunner

from experiments import config, indexes, ours, plan, planted, race

CONFIG = """
name = "tiny"
rounds = 3
threads = 1
[[dataset]]
name = "digits-64-euclidean"
n = 400
nq = 60
[[index]]
kind = "Flat"
"""


@pytest.fixture(name="ann")
def _ann(tmp_path, monkeypatch):
    import typer

    app = typer.Typer()
    app.command()(planted.main)
    (tmp_path / "tiny.toml").write_text(CONFIG)
    out = tmp_path / "out"

    def invoke(*arguments):
        command = [str(tmp_path / "tiny.toml"), "--out", str(out), *arguments]
        return CliRunner().invoke(app, command)

    return invoke


@pytest.mark.parametrize("share", [0, 0.15, 1])
def test_a_search_takes_longer_by_the_share_and_answers_the_same(share, monkeypatch):
    clock = [0]

    def tick():
        clock[0] += 5
        return clock[0]

    def searcher(self, search, k, threads):
        def find(Q):
            clock[0] += 1000
            return "ids", Q

        return find

    monkeypatch.setattr(planted, "perf_counter_ns", tick)
    monkeypatch.setattr(ours._Ours, "searcher", searcher)
    monkeypatch.setenv("PLANTED", str(share))
    index = planted.Flat("l2", planted.Flat.Build(), 0)
    assert index.searcher(planted.Flat.Search(), 10, 1)("Q") == ("ids", "Q")
    assert 0 <= clock[0] - 1000 * (1 + share) <= 25


def test_rows_are_those_of_the_index_itself(tmp_path, monkeypatch):
    (tmp_path / "tiny.toml").write_text(CONFIG)
    loaded = config.load(tmp_path / "tiny.toml", config.Config)
    [own] = plan.make(loaded).experiments[0].builds
    monkeypatch.setitem(indexes.KINDS, ("ann", "Flat"), planted.Flat)
    [slowed] = plan.make(loaded).experiments[0].builds
    assert slowed.adapter is planted.Flat
    assert slowed.columns() == own.columns()
    assert slowed.points[0].row_id == own.points[0].row_id


def test_what_was_said_is_counted_and_finished_races_are_kept(
    ann, tmp_path, monkeypatch
):
    factors, measured = {"plain": 1.0, "again": 1.02, "slowed": 1.15}, []

    def run(config, sides):
        measured.append([(side.out.name, side.environment) for side in sides])
        home = sides[0].out.parent
        home.mkdir(parents=True)
        for name, factor in factors.items():
            unlucky = 1.2 if (home.name, name) == ("1", "again") else 1.0
            write(home / name, factor * unlucky)
            stamp = json.dumps({"status": "finished", "race": home.name})
            (home / name / "provenance.json").write_text(stamp)

    monkeypatch.setattr(race, "run", run)
    for _ in range(2):
        done = ann("--repetitions", "3", "--share", "0.1")
        assert done.exit_code == 0, done.output
        assert "the same code, in turns: no regression in 2 of 3" in done.stdout
        assert "one after another: no regression in 2 of 2" in done.stdout
        assert "10% slower, in turns: a regression in 3 of 3" in done.stdout
        assert "2, again: 3 worse of 3 readings; p50 +22.4% (" in done.stdout
    shares = {"plain": "0.0", "again": "0.0", "slowed": "0.1"}
    sides = [(name, {"PLANTED": share}) for name, share in shares.items()]
    assert measured == [sides] * 3
    with (tmp_path / "out" / "planted.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    worse = {(line["run"], line["repetition"]): line["worse"] for line in lines}
    assert [worse["again", i] for i in "012"] == ["0", "3", "0"]
    assert [worse["slowed", i] for i in "012"] == ["3", "3", "3"]
    assert [worse["apart", i] for i in "12"] == ["0", "0"]
    assert float(lines[1]["ratio"]) == pytest.approx(1.15)


def test_real_runs_are_measured_and_told_apart(ann, tmp_path, monkeypatch):
    monkeypatch.setenv("ANN_CACHE", str(tmp_path / "cache"))
    done = ann("--repetitions", "1", "--share", "1")
    assert done.exit_code == 0, done.output
    home = tmp_path / "out" / "0"
    plain, slowed = (
        [row["row_id"] for row in csv.DictReader(text.splitlines())]
        for text in ((home / n / "rows.csv").read_text() for n in ("plain", "slowed"))
    )
    assert len(plain) == 1
    assert plain == slowed
    assert len((tmp_path / "out" / "planted.csv").read_text().splitlines()) == 3
