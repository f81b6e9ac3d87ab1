import csv
import io
import math

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from rich.console import Console
from test_report import point
from typer.testing import CliRunner

from experiments import compare, report, results
from experiments.cli import app

EFS = {10: 0.90, 20: 0.95, 40: 0.991}
NQ = 400


def write(
    directory, factor=1.0, noise=(0.98, 1.0, 1.02), work=1.0, efs=EFS, lid=0, yard=1.0
):
    """Write a run of one curve whose times are ``factor`` longer."""
    directory.mkdir()
    rows, queries = [], []
    hard = np.random.default_rng(lid).lognormal(sigma=0.3, size=NQ)
    for ef, recall in efs.items():
        p50 = 4.0 * ef * factor
        rows.append(
            point(
                "HNSW", "HNSW", ef, recall, p50, row_id=f"r{ef}",
                distance_computations=10.0 * ef * work,
                index_bytes=int(1e6 * work), build_s=10 * factor,
                yardstick_us=90.0 * yard,
            )
        )  # fmt: skip
        latency = p50 * hard / np.median(hard)
        queries.append(
            pa.table(
                {
                    "row_id": [f"r{ef}"] * NQ,
                    "latency_us": latency,
                    "distance_computations": (10 * ef * work * hard).astype(int),
                }
            )
        )
    results.write_rows(directory / "rows.csv", rows)
    parquet.write_table(pa.concat_tables(queries), directory / "per_query.parquet")
    with (directory / "rounds.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row_id", "round", "turn", *results.ROUND_MEASURES])
        for row in rows:
            for number, each in enumerate(noise):
                p50 = row.p50_us * each
                tails, rates = (1.5 * p50, 2 * p50), (2e6 / p50, 1e6 / p50)
                writer.writerow([row.row_id, number, 0, p50, *tails, *rates])
    return compare.Measured(directory)


def verdicts(before, after, *measures, threshold=0.05):
    changes = compare.compare(before, after, measures or ("p50_us",), threshold)
    return [change.verdict for change in changes]


def test_the_same_numbers_are_no_change(tmp_path):
    before, after = write(tmp_path / "a"), write(tmp_path / "b")
    changes = compare.compare(before, after, compare.MEASURES)
    assert {change.verdict for change in changes} == {""}
    assert all(change.ratio.value == pytest.approx(1) for change in changes)
    assert len(changes) == 3 * 7 + 2


def test_slower_by_more_than_noise_and_threshold_is_worse(tmp_path):
    before, after = write(tmp_path / "a"), write(tmp_path / "b", 1.15)
    measures = compare.CLOCKED
    assert set(verdicts(before, after, *measures)) == {"worse"}
    assert set(verdicts(after, before, *measures)) == {"better"}
    assert set(verdicts(before, after, threshold=0.2)) == {""}
    (change, *_) = compare.compare(before, after)
    assert change.ratio.value == pytest.approx(1.15, rel=1e-3)
    assert change.ratio.low == pytest.approx(1.15 * 0.98 / 1.02, rel=1e-3)


def test_rounds_that_overlap_say_nothing(tmp_path):
    before = write(tmp_path / "a", noise=(0.9, 1.0, 1.1))
    after = write(tmp_path / "b", 1.15, noise=(0.9, 1.0, 1.1))
    assert set(verdicts(before, after)) == {""}


def test_queries_that_differ_widen_the_interval(tmp_path):
    quiet = (1.0, 1.0, 1.0)
    before = write(tmp_path / "a", noise=quiet)
    same = write(tmp_path / "b", 1.02, noise=quiet)
    other = write(tmp_path / "c", 1.02, noise=quiet, lid=1)
    (paired, *_), (apart, *_) = (compare.compare(before, x) for x in (same, other))
    assert paired.ratio.high - paired.ratio.low < 1e-3
    assert apart.ratio.high - apart.ratio.low > 0.02


def test_a_slower_machine_is_no_regression(tmp_path):
    before, after = write(tmp_path / "a"), write(tmp_path / "b", 1.15, yard=1.15)
    changes = compare.compare(before, after, compare.CLOCKED)
    assert {change.verdict for change in changes} == {""}
    assert all(change.ratio.value == pytest.approx(1, rel=1e-4) for change in changes)
    assert all(change.drift == pytest.approx(1.15) for change in changes)
    assert changes[0].after == pytest.approx(1.15 * changes[0].before)


def test_a_faster_machine_does_not_hide_a_regression(tmp_path):
    quiet = (0.995, 1.0, 1.005)
    before = write(tmp_path / "a", noise=quiet)
    after = write(tmp_path / "b", 1.15 * 0.95, noise=quiet, yard=0.95)
    assert set(verdicts(before, after)) == {"worse"}
    (change, *_) = compare.compare(before, after)
    assert change.ratio.value == pytest.approx(1.15, rel=1e-3)


def test_the_yardstick_alone_tells_no_regression(tmp_path):
    before, after = write(tmp_path / "a"), write(tmp_path / "b", yard=0.8)
    assert set(verdicts(before, after, *compare.CLOCKED)) == {""}
    assert set(verdicts(after, before, *compare.CLOCKED)) == {""}


def test_what_no_clock_measured_is_not_corrected(tmp_path):
    before = write(tmp_path / "a")
    after = write(tmp_path / "b", work=1.06, yard=1.06)
    measures = ("distance_computations", "index_bytes")
    assert set(verdicts(before, after, *measures)) == {"worse"}


def test_runs_without_a_yardstick_are_compared_as_they_are(tmp_path):
    before, after = write(tmp_path / "a"), write(tmp_path / "b", 1.15, yard=1.15)
    for each in after.run.points:
        del each.cells["yardstick_us"]
    assert set(verdicts(before, after)) == {"worse"}


def test_work_is_gated_where_time_is_not(tmp_path):
    before = write(tmp_path / "a")
    after = write(tmp_path / "b", 1.0, work=1.06, noise=(0.5, 1, 2))
    assert set(verdicts(before, after, "distance_computations")) == {"worse"}
    assert verdicts(before, after, "index_bytes") == ["worse"]
    assert set(verdicts(before, after, "p50_us")) == {""}


def test_more_time_for_more_recall_is_no_regression(tmp_path):
    before = write(tmp_path / "a")
    after = write(tmp_path / "b", efs={10: 0.95, 20: 0.991, 40: 0.999})
    assert set(verdicts(before, after)) <= {"better", ""}
    assert "better" in verdicts(before, after)


def test_a_recall_that_is_no_longer_reached_is_lost(tmp_path):
    before, after = write(tmp_path / "a"), write(tmp_path / "b", efs={10: 0.90})
    changes = compare.compare(before, after)
    assert [change.verdict for change in changes] == ["", "lost", "lost"]
    assert math.isnan(changes[1].after)
    assert len(compare.regressions(changes)) == 2


def test_runs_without_a_common_curve_cannot_be_compared(tmp_path):
    before, after = write(tmp_path / "a"), write(tmp_path / "b")
    after.run.points[:] = []
    with pytest.raises(ValueError, match="must share a data set and a label"):
        compare.compare(before, after)
    with pytest.raises(ValueError, match=r"must be one of p50_us, .*, got 'speed'"):
        compare.compare(before, before, ["speed"])
    with pytest.raises(ValueError, match="threshold must be above 0, got 0"):
        compare.compare(before, before, threshold=0)


def test_a_damaged_file_says_which(tmp_path):
    write(tmp_path / "a")
    path = tmp_path / "a" / "per_query.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"per_query\.parquet"):
        compare.Measured(tmp_path / "a")


def test_runs_without_rounds_or_queries_compare_their_rows(tmp_path):
    for name, factor in (("a", 1.0), ("b", 1.2)):
        write(tmp_path / name, factor)
        (tmp_path / name / "rounds.csv").unlink()
        (tmp_path / name / "per_query.parquet").unlink()
    sides = (compare.Measured(tmp_path / name) for name in "ab")
    changes = compare.compare(*sides)
    assert [change.ratio.low for change in changes] == pytest.approx([1.2] * 3)


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits(tmp_path, width):
    before, after = write(tmp_path / "a"), write(tmp_path / "b", 1.3)
    file = io.StringIO()
    changes = compare.compare(before, after, ("p50_us", "index_bytes"))
    Console(file=file, width=width).print(report.changes(changes))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert sum("worse" in line for line in lines) >= 3
    assert any("+30.0%" in line for line in lines)
    assert "yardstick" not in file.getvalue().split("After over")[0]  # no drift
    slower = compare.compare(before, write(tmp_path / "c", 1.3, yard=1.1))
    Console(file=file, width=width).print(report.changes(slower))
    lines = [line.split() for line in file.getvalue().splitlines()]
    assert ["yardstick", "+10.0%"] in lines


def test_the_command_s_status_tells(tmp_path):
    for name, factor in (("a", 1.0), ("b", 1.01), ("c", 1.3)):
        write(tmp_path / name, factor)

    def ann(*arguments):
        return CliRunner().invoke(app, ["compare", *map(str, arguments)])

    a, b, c = (tmp_path / name for name in "abc")
    assert ann(a, b).exit_code == 0
    worse = ann(a, c, "--out", tmp_path / "figures")
    assert worse.exit_code == 1
    assert "3 of 3 are worse by more than 5%" in worse.stderr
    assert len(list((tmp_path / "figures").iterdir())) == 2
    assert ann(a, c, "--threshold", "0.5").exit_code == 0
    assert ann(a, tmp_path / "absent").exit_code == 2
    assert ann(a, b, "--measure", "speed").exit_code == 2


def in_a_race(directory, name, **differences):
    measured = write(directory, **differences)
    measured.run.provenance["race"] = name
    return measured


def test_rounds_of_a_race_are_taken_in_pairs(tmp_path):
    moods = (0.9, 1.0, 1.3)
    before = in_a_race(tmp_path / "a", "x", noise=moods)
    after = in_a_race(tmp_path / "b", "x", factor=1.12, noise=moods)
    apart = in_a_race(tmp_path / "c", "y", factor=1.12, noise=moods)
    assert set(verdicts(before, after)) == {"worse"}
    assert set(verdicts(before, apart)) == {""}
    (change, *_) = compare.compare(before, after)
    assert change.ratio.value == pytest.approx(1.12, rel=1e-3)


def test_a_yardstick_is_not_asked_in_a_race(tmp_path):
    before = in_a_race(tmp_path / "a", "x")
    after = in_a_race(tmp_path / "b", "x", factor=1.15, yard=1.15)
    changes = compare.compare(before, after)
    assert {change.verdict for change in changes} == {"worse"}
    assert {change.drift for change in changes} == {1.0}


def test_many_pairs_outvote_one_that_was_disturbed(tmp_path):
    quiet = np.ones(9)
    before = in_a_race(tmp_path / "a", "x", noise=quiet)
    disturbed = quiet.copy()
    disturbed[4] = 0.5
    after = in_a_race(tmp_path / "b", "x", factor=1.15, noise=disturbed)
    assert set(verdicts(before, after)) == {"worse"}
