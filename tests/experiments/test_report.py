import csv
import dataclasses
import io

import pytest
from rich.console import Console

from experiments import report, results
from experiments.plots.rows import read_run
from tests.experiments import page_run

COMMON = {
    "dataset": "patches-192-euclidean",
    "metric": "l2",
    "n": 50_000,
    "d": 192,
    "nq": 1000,
    "library": "ann",
    "k": 10,
    "threads": 2,
    "seed": 0,
    "rounds": 3,
    "build_params": "{}",
    "status": "ok",
    "build_id": "b",
    "row_id": "r",
}


def point(label, family, ef, at_10, p50, **columns):
    numbers = {
        "recall_at_1": min(1.0, at_10 + 0.01),
        "recall_at_5": at_10,
        "recall_at_10": at_10,
        "p50_us": p50,
        "p95_us": p50 * 1.5,
        "p99_us": p50 * 2,
        "mean_us": p50,
        "query_median_p50_us": p50 * 0.9,
        "query_median_p95_us": p50 * 1.1,
        "query_median_p99_us": p50 * 1.2,
        "qps": 2e6 / p50,
        "qps_1thread": 1e6 / p50,
        "build_s": 12.34,
        "compile_s": 4.5,
        "index_bytes": 51_200_000,
        "distance_computations": 512.5,
        "search_params": f'{{"ef_search":{ef}}}' if ef else "{}",
    }
    columns = numbers | {"label": label, "family": family, "index": family} | columns
    return results.Row(**COMMON | columns)


def to_version_1(path):
    """Make a ``rows.csv`` one of before schema 2: percentiles are of query medians."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    kept = [name for name in lines[0] if not name.startswith(("schema", "query_"))]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, kept, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)


ROWS = [
    point("Flat", "Flat", None, 1.0, 5432.1),
    point("HNSW M=16 efc=200 SQ8 +refine 2", "HNSW", 10, 0.93, 40.04),
    point("HNSW M=16 efc=200 SQ8 +refine 2", "HNSW", 20, 0.96, 55.5),
    point("HNSW M=16 efc=200 SQ8 +refine 2", "HNSW", 40, 0.985, 123.4),
    point("IVF nlist=256 PQ48x8 +refine 10", "IVF", 1, 0.7, 30),
]


@pytest.fixture(name="runs")
def _runs(tmp_path):
    results.write_rows(tmp_path / "rows.csv", ROWS)
    return [read_run(tmp_path)]


def shown(tables, width, terminal=False):
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal)
    for table in tables:
        console.print(table)
    return file.getvalue()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("table", [report.summary, report.details])
def test_tables_fit_and_hold_no_escapes(runs, tmp_path, table, width, version):
    if version == 1:
        to_version_1(tmp_path / "rows.csv")
        runs = [read_run(tmp_path)]
    text = shown(table(runs, width), width)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_each_curve_is_read_at_each_recall(runs):
    lines = shown(report.summary(runs, 120), 120).splitlines()
    hnsw = next(line for line in lines if "SQ8" in line)
    cells = hnsw.split("+refine 2")[1].split()
    assert cells == [
        "0.9850",
        "≤40.0",
        "~49.8",
        "–",
        "~99.6",
        "~40,200",
        "4.5",
        "12.3",
        "51.2",
    ]
    ivf = next(line for line in lines if "PQ48x8" in line)
    assert ivf.split("+refine 10")[1].split()[:4] == ["0.7000", "–", "–", "–"]
    flat = next(line for line in lines if line.strip().startswith("Flat"))
    assert flat.split()[1:5] == ["1.0000", "5,430", "5,430", "5,430"]


def test_details_have_a_line_for_every_point(runs):
    text = shown(report.details(runs, 120), 120)
    for ef in (10, 20, 40):
        assert f"ef_search={ef} " in text
    line = next(line for line in text.splitlines() if "ef_search=20" in line)
    assert line.split()[1:] == [
        *("0.9700", "0.9600", "0.9600"),
        *("55.5", "83.2", "111", "36,000", "512"),
    ]


def test_loads_stand_by_rising_load_under_their_index(tmp_path):
    [table] = report.loads([read_run(page_run.write(tmp_path / "run"))])
    lines = [line.split() for line in shown([table], 80).splitlines()]
    start = lines.index(["HNSW", "0.988"])
    assert lines[start + 1] == ["50%", "500", "800", "2,400", "800"]
    assert lines[start + 2] == ["90%", "899", "4,000", "12,000", "4,000"]
    assert ["hnswlib", "0.998"] in lines[start + 3 :]
    bare = page_run.write(tmp_path / "bare", files=False)
    assert list(report.loads([read_run(bare)])) == []


def test_problems_name_failures_and_noise():
    rows = [
        point("a", "Flat", None, 1.0, 1, status="failed: boom"),
        point("a", "Flat", None, 1.0, 1, status="failed: boom"),
        point("b", "Flat", None, 1.0, 1, status="refused: it compiled"),
        point("c", "HNSW", 9, 1.0, 1, sway=0.11),
        point("c", "HNSW", 20, 1.0, 1, sway=0.32),
        point("d", "Flat", None, 1.0, 1, sway=0.1),
    ]
    assert list(report.problems(rows)) == [
        "a: failed: boom (2 points)",
        "b: refused: it compiled",
        "noisy: without one of its rounds, the p50 of 2 of 6 points would differ by "
        'more than 10%, most by 32%: c {"ef_search":20}',
    ]


def test_rows_keep_the_columns_that_others_read(tmp_path):
    results.write_rows(tmp_path / "rows.csv", ROWS)
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [field.name for field in dataclasses.fields(results.Row)]
    assert rows[0]["p50_us"] == "5432.1"
    assert rows[0]["cores"] == ""


def test_a_half_written_file_does_not_take_the_place_of_a_whole_one(tmp_path):
    path = tmp_path / "rows.csv"
    results.write_rows(path, ROWS)
    before = path.read_text()
    with pytest.raises(AttributeError):
        results.write_rows(path, [*ROWS, None])
    assert path.read_text() == before
    assert [each.name for each in tmp_path.iterdir()] == ["rows.csv"]
