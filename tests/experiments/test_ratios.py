import csv
import io
import math

import pytest
from rich.console import Console
from test_report import point
from typer.testing import CliRunner

from experiments import ratios, report, results
from experiments.cli import app
from experiments.plots.rows import read_run

OURS, PEER = "HNSW SQ8 +refine", "hnswlib"
EFS = (10, 20, 40)


def setting(label, ef, p50, library="ann"):
    at_10 = {10: 0.90, 20: 0.95, 40: 0.995}[ef]
    build_s = 10 if library == "ann" else 25
    version, level = {"ann": ("0.1.0", "avx512"), "hnswlib": ("0.8.0", "avx2")}[library]
    return point(
        label, "HNSW", ef, at_10, p50, library=library, row_id=f"{label}-{ef}",
        build_s=build_s, p99_us=None, version=version, vector_level=level,
    )  # fmt: skip


@pytest.fixture(name="directory")
def _directory(tmp_path):
    rows = [setting(OURS, ef, ef * 2.0) for ef in EFS]
    rows += [setting(PEER, ef, ef * 5.0, "hnswlib") for ef in EFS]
    results.write_rows(tmp_path / "rows.csv", rows)
    with (tmp_path / "rounds.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row_id", "round", "turn", *results.ROUND_MEASURES])
        for row in rows:
            for number, noise in enumerate((1.0, 3.0, 2.0)):
                p50 = row.p50_us * noise * (1.1 if row.library == "ann" else 1)
                writer.writerow(
                    [row.row_id, number, 0, p50, 2 * p50, 2e6 / p50, 1e6 / p50]
                )
    return tmp_path


def comparisons(directory, pairs=((OURS, PEER),)):
    run = read_run(directory)
    rounds = ratios.read_rounds(directory)
    return list(ratios.compare(run, rounds, run.points[0].group, pairs))


def test_a_ratio_is_that_of_the_medians_over_rounds(directory):
    first, second, third = comparisons(directory)
    assert [each.recall for each in (first, second, third)] == [0.9, 0.95, 0.99]
    assert second.p50_us_ours == pytest.approx(20 * 2 * 2.0 * 1.1)
    assert second.p50_us_peer == pytest.approx(20 * 5 * 2.0)
    assert second.p50.median == pytest.approx(2.5 / 1.1, rel=1e-6)
    assert second.qps_1thread.median == pytest.approx(2.5 / 1.1)
    assert second.qps.median == pytest.approx(2.5 / 1.1)
    assert second.p99_us_ours == pytest.approx(2 * second.p50_us_ours)
    assert second.build == 2.5
    assert (first.mark, second.mark, third.mark) == ("", "", "~")


def test_noise_that_both_sides_share_leaves_the_span_of_rounds_narrow(directory):
    for each in comparisons(directory):
        assert each.p50.low == pytest.approx(each.p50.high)
        assert each.p50.low == pytest.approx(each.p50.median)


def test_what_is_not_reached_or_not_there_is_no_comparison(directory):
    rows = [setting(OURS, 10, 20.0)]
    rows += [setting(PEER, ef, ef * 5.0, "hnswlib") for ef in (20, 40)]
    results.write_rows(directory / "rows.csv", rows)
    (only,) = comparisons(directory)
    assert only.recall == 0.9
    assert only.mark == "≤"
    assert comparisons(directory, [(OURS, "absent")]) == []


def test_pairs_are_the_config_s_or_all(directory):
    run = read_run(directory)
    group = run.points[0].group
    assert ratios.pairs_of(run, group) == [(OURS, PEER)]
    (directory / "provenance.json").write_text('{"config": {"compare": [["a", "b"]]}}')
    assert ratios.pairs_of(read_run(directory), group) == [("a", "b")]


def test_runs_of_earlier_versions_have_no_rounds(directory):
    (directory / "rounds.csv").unlink()
    assert comparisons(directory) == []


def test_a_damaged_file_says_which(directory):
    (directory / "rounds.csv").write_text("row_id,p50_us\nx,1\n")
    with pytest.raises(ValueError, match=r"rounds\.csv: KeyError"):
        ratios.read_rounds(directory)


@pytest.mark.parametrize("width", [80, 110])
def test_the_table_fits(directory, width):
    run = read_run(directory)
    file = io.StringIO()
    table = report.ratios(run, run.points[0].group, comparisons(directory), width)
    Console(file=file, width=width).print(table)
    assert max(map(len, file.getvalue().splitlines())) <= width
    assert "…" not in file.getvalue()


def test_the_table_shows_both_sides(directory):
    lines = comparisons(directory)
    run = read_run(directory)
    file = io.StringIO()
    table = report.ratios(run, run.points[0].group, lines, 110)
    Console(file=file, width=110).print(table)
    text = file.getvalue()
    assert "ann 0.1.0 (avx512), hnswlib 0.8.0 (avx2)" in text
    row = next(line for line in text.splitlines() if OURS in line)
    assert row.split()[3:] == [
        *("0.90", "44.0", "100", "2.27", "2.27", "2.27", "2.27", "2.0,", "2.0", "2.50")
    ]
    assert f"/ {PEER}" in text


def test_the_file_has_a_line_for_each_comparison(directory):
    lines = comparisons(directory)
    results.write_table(directory / "ratios.csv", lines)
    with (directory / "ratios.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["recall"] for row in rows] == ["0.9", "0.95", "0.99"]
    assert float(rows[1]["p50"]) == pytest.approx(2.273, abs=1e-3)
    assert rows[1]["p50_low"] == rows[1]["p50_high"] == rows[1]["p50"]
    assert not any(math.isnan(float(row["qps"])) for row in rows)


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("a:b", {"a", "b"}, ("a", "b")),
        ("a: b:c", {"a: b", "c"}, ("a: b", "c")),
        ("a:b:c", {"a", "b:c"}, ("a", "b:c")),
        ("x:y:z", {"a"}, ("x", "y:z")),
    ],
)
def test_labels_of_a_pair_may_have_colons(text, labels, expected):
    assert ratios.pair(text, labels) == expected


def test_the_command_prints_any_pair_and_writes_the_config_s(directory):
    def ann(*arguments):
        return CliRunner().invoke(app, ["ratios", str(directory), *arguments])

    done = ann("--pair", f"{OURS}:{PEER}")
    assert done.exit_code == 0, done.output
    assert PEER in done.stdout
    assert not (directory / "ratios.csv").exists()
    assert ann().exit_code == 0
    assert (directory / "ratios.csv").exists()
    assert ann("--pair", f"{OURS}:absent").exit_code == 1
    assert "a pair must be OURS:PEER" in ann("--pair", "HNSW").stderr
