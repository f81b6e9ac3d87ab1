import csv
import io
import math
import re

import pytest
from rich.console import Console
from test_report import point, to_version_1
from typer.testing import CliRunner

from experiments import ratios, report, results
from experiments.cli import app
from experiments.plots.rows import read_run
from experiments.ratios import RATES

OURS, PEER = "HNSW SQ8 +refine", "hnswlib"
EFS = (10, 20, 40)


def setting(label, ef, p50, library="ann", **columns):
    at_10 = {10: 0.90, 20: 0.95, 40: 0.995}[ef]
    build_s = 10 if library == "ann" else 25
    version, level = {"ann": ("0.1.0", "avx512"), "hnswlib": ("0.8.0", "avx2")}[library]
    return point(
        label, "HNSW", ef, at_10, p50, library=library, row_id=f"{label}-{ef}",
        build_s=build_s, version=version, vector_level=level, **columns,
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
                tails = (1.5 * p50, 2 * p50)
                rates = (2e6 / p50, 1e6 / p50)
                writer.writerow([row.row_id, number, 0, p50, *tails, *rates])
    return tmp_path


def comparisons(directory, pairs=((OURS, PEER),)):
    run = read_run(directory)
    rounds = ratios.read_rounds(directory)
    return list(ratios.compare(run, rounds, run.points[0].group, pairs))


def test_a_ratio_is_that_of_what_the_rows_say(directory):
    first, second, third = comparisons(directory)
    assert [each.recall for each in (first, second, third)] == [0.9, 0.95, 0.99]
    for name, factor in (("p50", 1), ("p95", 1.5), ("p99", 2)):
        ours, peer, ratio = second.compared(f"{name}_us")
        assert (ours, peer) == (factor * 20 * 2, factor * 20 * 5)
        assert ratio.value == pytest.approx(2.5)
    assert second.compared("qps_1thread").ratio.value == pytest.approx(2.5)
    assert second.compared("qps").ratio.value == pytest.approx(2.5)
    assert second.build == 2.5
    assert (first.mark, second.mark, third.mark) == ("", "", "~")


def test_noise_that_both_sides_share_leaves_the_span_of_rounds_narrow(directory):
    for each in comparisons(directory):
        ratio = each.compared("p50_us").ratio
        assert ratio.low == pytest.approx(2.5 / 1.1)  # of every round
        assert ratio.high == pytest.approx(2.5)  # the ratio itself


def test_runs_of_before_compare_query_medians_and_never_call_them_p50(directory):
    to_version_1(directory / "rows.csv")
    _, second, _ = comparisons(directory)
    known = set(second.measures)
    assert known == {*(f"query_median_{p}_us" for p in ("p50", "p95", "p99")), *RATES}
    assert second.compared("query_median_p50_us")[:2] == (40, 100)
    assert second.compared("query_median_p50_us").ratio.low == pytest.approx(2.5 / 1.1)
    assert math.isnan(second.compared("query_median_p99_us").ratio.low)
    assert not second.cells().keys() & {"p50", "p50_us_ours", "p99", "p99_us_ours"}
    text = shown(directory, [second], 200)
    assert re.search(r"query-\s+query-\s+query-", text)
    assert "keep no p50 or p95 or p99 of all single queries" in text


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


def test_without_rounds_a_ratio_has_no_span(directory):
    (directory / "rounds.csv").unlink()
    ratio = comparisons(directory)[1].compared("p50_us").ratio
    assert ratio.value == pytest.approx(2.5)
    assert math.isnan(ratio.low)
    assert math.isnan(ratio.high)


def test_rounds_of_before_have_no_p95(directory):
    with (directory / "rounds.csv").open() as file:
        lines = [
            [cell for name, cell in line.items() if name != "p95_us"]
            for line in csv.DictReader(file)
        ]
    header = ["row_id", "round", "turn", "p50_us", "p99_us", "qps", "qps_1thread"]
    with (directory / "rounds.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    ratio = comparisons(directory)[1].compared("p95_us").ratio
    assert (ratio.value, math.isnan(ratio.low)) == (pytest.approx(2.5), True)
    assert not math.isnan(comparisons(directory)[1].compared("p99_us").ratio.low)


def test_a_damaged_file_says_which(directory):
    (directory / "rounds.csv").write_text("row_id,p50_us\nx,1\n")
    with pytest.raises(ValueError, match=r"rounds\.csv: KeyError"):
        ratios.read_rounds(directory)


def shown(directory, lines, width=110):
    run = read_run(directory)
    file = io.StringIO()
    table = report.ratios(run, run.points[0].group, lines, width)
    Console(file=file, width=width).print(table)
    return file.getvalue()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("width", [80, 110])
def test_the_table_fits(directory, width, version):
    if version == 1:
        to_version_1(directory / "rows.csv")
    text = shown(directory, comparisons(directory), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_the_table_shows_both_sides(directory):
    text = shown(directory, comparisons(directory))
    assert "ann 0.1.0 (avx512), hnswlib 0.8.0 (avx2)" in text
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if OURS in line)
    assert lines[at].split()[3:] == [
        *("0.90", "20.0", "30.0", "40.0", "2.50", "2.50", "2.50", "2.50", "2.50")
    ]
    assert lines[at + 1].split()[2:] == ["50.0", "75.0", "100", *["2.27–2.50"] * 4]
    assert f"/ {PEER}" in lines[at + 1]


def test_the_file_has_a_line_for_each_comparison(directory):
    lines = [each.cells() for each in comparisons(directory)]
    results.write_cells(directory / "ratios.csv", lines)
    with (directory / "ratios.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["recall"] for row in rows] == ["0.9", "0.95", "0.99"]
    assert (rows[1]["p50_us_ours"], rows[1]["p50_us_peer"]) == ("40", "100")
    assert rows[1]["p50"] == rows[1]["p50_high"] == "2.5"
    assert float(rows[1]["p50_low"]) == pytest.approx(2.273, abs=1e-3)
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
