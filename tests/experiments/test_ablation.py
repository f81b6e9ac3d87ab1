import csv
import io
import json

import pytest
from rich.console import Console
from test_report import point
from typer.testing import CliRunner

from experiments import config, ratios, report, results
from experiments.ablation import figure, table, variants
from experiments.cli import app
from experiments.plots.rows import read_run
from experiments.strict import ConfigError

HEAD = """
name = "parts"
rounds = 3
threads = 1
[[dataset]]
name = "digits-64-euclidean"
n = 300
nq = 40
[[index]]
kind = "Flat"
label = "Flat"
"""
SQ8 = '[[index.variant]]\nname = "SQ8"\nbuild.codec = { kind = "SQ", bits = 8 }\n'


@pytest.fixture(name="tricks")
def _tricks(monkeypatch):
    tricks = {"prefetch": "…", "brand-new": "…"}
    monkeypatch.setattr(variants, "TRICKS", tricks)
    return tricks


def plan(tmp_path, text):
    path = tmp_path / "c.toml"
    path.write_text(HEAD + text)
    return variants.make(config.load(path, config.Ablation))


def test_every_trick_is_left_out_once_and_new_ones_show_up(tmp_path, tricks):
    (experiment,) = plan(tmp_path, SQ8).experiments
    assert [(b.label, b.environment) for b in experiment.builds] == [
        ("Flat: all on", {"ANN_WITHOUT": "", "ANN_SIMD": ""}),
        ("Flat: without prefetch", {"ANN_WITHOUT": "prefetch", "ANN_SIMD": ""}),
        ("Flat: without brand-new", {"ANN_WITHOUT": "brand-new", "ANN_SIMD": ""}),
        ("Flat: SIMD avx2", {"ANN_WITHOUT": "", "ANN_SIMD": "avx2"}),
        ("Flat: SIMD portable", {"ANN_WITHOUT": "", "ANN_SIMD": "portable"}),
        ("Flat: SQ8", {"ANN_WITHOUT": "", "ANN_SIMD": ""}),
    ]
    assert [b.params.codec is None for b in experiment.builds] == [True] * 5 + [False]
    assert len({b.build_id for b in experiment.builds}) == 6
    assert len({p.row_id for b in experiment.builds for p in b.points}) == 6


def test_each_index_is_an_experiment_of_its_own(tmp_path, tricks):
    text = 'without = ["prefetch"]\nsimd = []\n[[index.variant]]\nname = "more"\n'
    text += 'threads = 2\n[[index]]\nkind = "IVF"\nlabel = "IVF"\n'
    first, second = plan(tmp_path, text).experiments
    assert [b.label for b in first.builds] == [
        *("Flat: all on", "Flat: without prefetch", "Flat: more")
    ]
    assert [b.threads for b in first.builds] == [None, None, 2]
    assert len(second.builds) == 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('without = ["prefetsch"]', "unknown trick 'prefetsch', did you mean"),
        ('simd = ["sse"]', "simd.0."),
        ("build.codek = 1", r"index\[0\].build: unknown key 'codek'"),
        ("search.nprobe = 1", r"index\[0\].search: unknown key 'nprobe'"),
        (SQ8 + SQ8, "every variant in index.0. must occur once, got 2 times: SQ8"),
        (SQ8.replace("codec", "code"), r"index\[0\].variant\[0\].build: unknown key"),
        ("search = {}\n[[index]]\nkind = 'X'\nlabel = 'x'", "unknown kind 'X'"),
        ("[[index]]\nkind = 'Flat'\nlabel = 'a: b'", "label: must be without ': '"),
        ("[[index]]\nkind = 'Flat'\nlabel = 'Flat'", "label must occur once"),
    ],
)
def test_errors_say_where_and_what(tmp_path, tricks, text, says):
    with pytest.raises(ConfigError, match=says):
        plan(tmp_path, text)


# The table, from files.

P50S = {
    "all on": (10, 20, 30),
    "without prefetch": (15, 30, 45),
    "SIMD avx2": (11, 19, 30),
}


@pytest.fixture(name="study")
def _study(tmp_path):
    codec = {"kind": "SQ", "bits": 8}
    build = json.dumps({"codec": codec, "refine": 1.5})
    rows = [
        point(f"HNSW: {name}", "HNSW", 40, 0.97, p50s[1], row_id=name,
              build_params=build, build_s=10.0 if name == "all on" else 20.0)
        for name, p50s in P50S.items()
    ]  # fmt: skip
    results.write_rows(tmp_path / "rows.csv", rows)
    with (tmp_path / "rounds.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row_id", *results.ROUND_MEASURES])
        for name, p50s in P50S.items():
            for p50 in p50s:
                writer.writerow([name, p50, p50, 2 * p50, 2e6 / p50, 1e6 / p50])
    return tmp_path


def lines(study):
    return table.lines(read_run(study), ratios.read_rounds(study))


def test_each_variant_stands_beside_the_whole(study):
    whole, prefetch, avx2 = lines(study)
    assert [line.variant for line in (whole, prefetch, avx2)] == list(P50S)
    assert {line.index for line in (whole, prefetch, avx2)} == {"HNSW"}
    assert whole.times == (1, 1, 1)
    assert prefetch.times == pytest.approx((1.5, 1.5, 1.5))
    assert prefetch.us == 30
    assert prefetch.compared("p99_us").ratio.value == pytest.approx(1.5)
    assert prefetch.compared("qps").ratio.value == pytest.approx(1 / 1.5)
    assert prefetch.build == 2
    assert not prefetch.within_noise
    assert avx2.times == pytest.approx((0.95, 0.95, 1.1))
    assert avx2.within_noise


@pytest.mark.parametrize("width", [80, 110])
def test_the_table_fits_and_marks_noise(study, width):
    file = io.StringIO()
    for stack in report.ablation(lines(study), read_run(study).points, width):
        Console(file=file, width=width).print(stack)
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "≈ 0.95" in next(row for row in text.splitlines() if "SIMD avx2" in row)
    assert "≈" not in next(row for row in text.splitlines() if "prefetch" in row)


def test_rows_without_a_whole_are_no_study(study):
    results.write_rows(study / "rows.csv", [point("HNSW", "HNSW", 40, 0.97, 1.0)])
    assert lines(study) == []


def test_the_study_is_written_and_drawn(study):
    found = lines(study)
    results.write_cells(study / "ablation.csv", [line.cells() for line in found])
    with (study / "ablation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == list(P50S)
    assert float(rows[1]["p50"]) == float(rows[1]["p50_high"]) == 1.5
    assert [row["within_noise"] for row in rows] == ["True", "False", "True"]
    paths = figure.draw(read_run(study), found, study / "figures")
    assert sorted(path.suffix for path in paths) == [".png", ".svg"]
    assert "HNSW, without prefetch: × 1.50." in paths[1].read_text()


@pytest.mark.parametrize(
    ("build", "scored", "expected"),
    [
        ({}, 100, 100 * 4 * 192),
        ({"codec": {"kind": "SQ", "bits": 8}}, 100, 100 * 192),
        ({"codec": {"kind": "SQ", "bits": 4}, "refine": 2}, 120, 100 * 96 + 20 * 768),
        (
            {"nlist": 50, "codec": {"kind": "PQ", "m": 96, "nbits": 4}, "refine": 1.5},
            165,
            50 * 768 + 100 * 48 + 15 * 768,
        ),
        ({"nlist": 50}, 150, 150 * 768),
        (
            {"nlist": 50, "transform": {"kind": "PCA", "d_out": 48}, "refine": 1},
            160,
            150 * 192 + 10 * 768,
        ),
    ],
)
def test_bytes_read_follow_from_counters(tmp_path, build, scored, expected):
    row = point("x", "x", 1, 0.9, 1.0, build_params=json.dumps(build),
                distance_computations=float(scored))  # fmt: skip
    results.write_rows(tmp_path / "rows.csv", [row])
    (only,) = read_run(tmp_path).points
    assert table.bytes_read(only) == expected


# The command.


@pytest.fixture(name="ann")
def _ann(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "parts.toml").write_text(HEAD + "without = []\nsimd = []\n" + SQ8)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_a_study_runs_end_to_end_and_is_shown_again(ann, tmp_path):
    assert "Flat: SQ8" in ann("ablation", "parts.toml", "--dry-run").stdout
    done = ann("ablation", "parts.toml")
    assert done.exit_code == 0, done.output
    out = tmp_path / "results" / "parts"
    assert {"rows.csv", "rounds.csv", "ablation.csv", "figures"} <= {
        path.name for path in out.iterdir()
    }
    assert "all on" in done.stdout
    assert "1.0000" in done.stdout
    (out / "ablation.csv").unlink()
    again = ann("ablation", str(out))
    assert again.exit_code == 0, again.output
    assert (out / "ablation.csv").exists()
    assert "Flat: SQ8" in ann("show", str(out)).stdout


def test_a_directory_of_another_kind_is_refused(ann, tmp_path, study):
    results.write_rows(study / "rows.csv", [point("HNSW", "HNSW", 40, 0.97, 1.0)])
    done = ann("ablation", str(study))
    assert done.exit_code == 2
    assert "must hold an ablation" in done.stderr
