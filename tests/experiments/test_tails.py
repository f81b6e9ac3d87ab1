"""One run, and every place that shows a p50, p95 or p99 of it: all say the same.

The run is a small one of ``fixtures/tails.toml`` that kept every single latency, so
that each number can be computed anew; its ``provenance.json`` has the command.
"""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from experiments import compare, plots
from experiments.cli import app
from experiments.frontier import read_at
from experiments.page.best import best_at
from experiments.page.document import digits, document
from experiments.page.material import gather
from experiments.page.queries import SHARES
from experiments.plots.canvas import Canvas
from experiments.ratios import TARGETS

ROOT = Path(__file__).parents[2]
TAILS = Path(__file__).parent / "fixtures" / "tails"
PERCENTS = {"p50": 50, "p95": 95, "p99": 99}
THREE_DIGITS = 0.006


@pytest.fixture(name="latencies", scope="module")
def _latencies():
    """Return (rounds, nq) microseconds of each row."""
    table = parquet.read_table(TAILS / "latencies.parquet").to_pydict()
    columns = {name: np.array(values) for name, values in table.items()}
    found = {}
    for row in rows():
        own = columns["row_id"] == row["row_id"]
        shape = int(row["rounds"]), int(row["nq"])
        us = np.full(shape, np.nan)
        us[columns["round"][own], columns["query"][own]] = columns["latency_us"][own]
        assert np.isfinite(us).all()
        found[row["row_id"]] = us
    return found


@pytest.fixture(name="truth", scope="module")
def _truth(latencies):
    """Return p50, p95 and p99 of each row: of all single queries of all rounds."""
    return {
        row_id: {name: np.percentile(us, percent) for name, percent in PERCENTS.items()}
        for row_id, us in latencies.items()
    }


def rows():
    with (TAILS / "rows.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(name="read", scope="module")
def _read(truth):
    """Return what a curve's percentiles are at a recall@10."""

    def read(label, target):
        own = [row for row in rows() if row["label"] == label]
        recalls = [float(row["recall_at_10"]) for row in own]
        known = {name: [truth[row["row_id"]][name] for row in own] for name in PERCENTS}
        reading = read_at(target, recalls, known["p50"])
        return {name: reading.of(values) for name, values in known.items()}

    return read


def ann(*arguments, width=120):
    done = CliRunner().invoke(
        app, list(map(str, arguments)), env={"COLUMNS": f"{width}"}
    )
    assert done.exit_code == 0, done.output
    return done.stdout


def numbers(line):
    """Return the numbers of a printed line, without marks and thousands apart."""
    return [float(cell.lstrip("≤~").replace(",", "")) for cell in line.split()]


def test_rows(truth, latencies):
    assert len(truth) == len(rows()) == 5
    for row in rows():
        assert row["schema"] == "2"
        us = latencies[row["row_id"]]
        for name, percent in PERCENTS.items():
            value, low, high = (
                float(row[f"{name}_us{end}"]) for end in ("", "_low", "_high")
            )
            assert value == pytest.approx(truth[row["row_id"]][name], rel=1e-5)
            assert low <= value <= high
            medians = np.percentile(np.median(us, axis=0), percent)
            median = float(row[f"query_median_{name}_us"])
            assert median == pytest.approx(medians, rel=1e-5)
        assert float(row["mean_us"]) == pytest.approx(us.mean(), rel=1e-5)


def test_the_page_on_measuring_computes_the_same(truth, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs" / "measuring.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(example, "docs/measuring.md", "exec"), {})
    printed = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    for row_id, known in truth.items():
        shown = [float(cell) for cell in printed[row_id].strip("[]").split()]
        assert shown == pytest.approx(list(known.values()), rel=1e-5)


def test_rounds(latencies):
    with (TAILS / "rounds.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            us = latencies[line["row_id"]][int(line["round"])]
            for name, percent in PERCENTS.items():
                expected = np.percentile(us, percent)
                assert float(line[f"{name}_us"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_of_every_point(truth, width):
    text = ann("show", TAILS, "--all", width=width)
    heads = next(line for line in text.splitlines() if "p50 µs" in line)
    at = re.split(r"  +", heads.strip()).index("p50 µs")
    for row in rows():
        [(name, value)] = json.loads(row["search_params"]).items() or [("–", "")]
        setting = f"{name}={value}" if value else name
        line = next(x for x in text.splitlines() if x.split()[:1] == [setting])
        shown = numbers(line.replace(setting, "", 1))[at - 1 : at + 2]
        expected = list(truth[row["row_id"]].values())
        assert shown == pytest.approx(expected, rel=THREE_DIGITS)


def test_figures(truth, monkeypatch, tmp_path):
    kept = {}
    monkeypatch.setattr(
        Canvas, "save", lambda self, stem, *_: [kept.setdefault(stem.name, self)]
    )
    plots.draw([TAILS], tmp_path)
    figure = kept["digits-64-euclidean-recall-at-10-latency"].figure
    words = [text.get_text() for text in figure.texts]
    for ax, (name, odds) in zip(
        figure.axes, (("p50", 2), ("p95", 20), ("p99", 100)), strict=True
    ):
        drawn = np.concatenate([line.get_ydata() for line in ax.lines])
        for row in rows():
            us = truth[row["row_id"]][name]
            assert np.isclose(drawn.astype(float), us, rtol=1e-5).any(), (name, row)
            ends = [float(row[f"{name}_us_{end}"]) for end in ("low", "high")]
            assert ax.get_ylim()[0] < min(ends) <= us <= max(ends) < ax.get_ylim()[1]
        assert name in words
        assert f"1 query in {odds} is slower" in words


def test_1_query_in_100_is_slower(truth, latencies):
    for row_id, us in latencies.items():
        for name, percent in PERCENTS.items():
            share = (us > truth[row_id][name]).mean()
            assert share == pytest.approx(1 - percent / 100, abs=1 / us.size)


def test_the_report(truth, read, latencies):
    text = document(gather([TAILS]))
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    [section] = data["sections"]
    assert section["latencies"] == {name: name for name in PERCENTS}
    points = [point for curve in section["curves"] for point in curve["points"]]
    for row, point in zip(rows(), points, strict=True):
        ordered = np.sort(latencies[row["row_id"]], axis=None)
        for name, percent in PERCENTS.items():
            us = truth[row["row_id"]][name]
            assert point["numbers"][f"{name}_us"] == pytest.approx(us, rel=1e-5)
            assert section["tail"] == "tail_us"
            slower = point["profile"]["tail_us"][
                SHARES.index(round(1 - percent / 100, 2))
            ]
            below = ordered[np.searchsorted(ordered, slower * (1 - 1e-4)) - 1]
            assert below * (1 - 1e-4) <= us <= slower * (1 + 1e-4)
    table = text[text.index('<table class="best">') :]
    line = re.search(r'<tr data-curve="HNSW">.*?</tr>', table, re.DOTALL)[0]
    cells = re.findall(r"<td.*?>(.*?)</td>", line)
    for i, target in enumerate(TARGETS):
        for cell, name in zip(cells[3 * i :], ("p50", "p99"), strict=False):
            assert digits(read("HNSW", target)[name]) in cell


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_read_at_a_recall(read, target, tmp_path):
    ours, peer = read("HNSW", target), read("scikit-learn", target)
    summary = ann("show", TAILS)
    line = next(x for x in summary.splitlines() if x.strip().startswith("HNSW "))
    best = numbers(line.replace("HNSW", ""))
    assert best[1 + TARGETS.index(target)] == pytest.approx(
        ours["p50"], rel=THREE_DIGITS
    )
    if target == 0.95:
        assert best[4] == pytest.approx(ours["p99"], rel=THREE_DIGITS)
    run = shutil.copytree(TAILS, tmp_path / "run")
    printed = ann("ratios", run).splitlines()
    with (run / "ratios.csv").open(newline="") as file:
        told = {float(row["recall"]): row for row in csv.DictReader(file)}[target]
    at = next(i for i, x in enumerate(printed) if f"{target:.2f}" in x)
    first = [cell for cell in printed[at].split() if not cell[0].isalpha()]
    second = [cell for cell in printed[at + 1].split() if cell[0].isdigit()]
    assert numbers(" ".join(first[1:4])) == pytest.approx(
        list(ours.values()), rel=THREE_DIGITS
    )
    assert numbers(" ".join(second[:3])) == pytest.approx(
        list(peer.values()), rel=THREE_DIGITS
    )
    changes = compare.compare(
        *[compare.Measured(TAILS)] * 2, [f"{name}_us" for name in PERCENTS]
    )
    [section] = gather([TAILS]).sections
    [chosen] = [b for b in best_at(section.traces, target) if b.trace.label == "HNSW"]
    for name in PERCENTS:
        assert float(told[f"{name}_us_ours"]) == pytest.approx(ours[name], rel=1e-5)
        assert float(told[f"{name}_us_peer"]) == pytest.approx(peer[name], rel=1e-5)
        ratio = peer[name] / ours[name]
        value, low, high = (
            float(told[f"{name}{end}"]) for end in ("", "_low", "_high")
        )
        assert value == pytest.approx(ratio, rel=1e-5)
        assert low <= value <= high
        [change] = [
            each
            for each in changes
            if (each.label, each.measure, each.recall) == ("HNSW", f"{name}_us", target)
        ]
        assert change.before == pytest.approx(ours[name], rel=1e-5)
        assert change.ratio.low <= change.ratio.value <= change.ratio.high
    for name in ("p50", "p99"):
        value, low, high = getattr(chosen, name)
        assert value == pytest.approx(ours[name], rel=1e-5)
        assert low <= value <= high
