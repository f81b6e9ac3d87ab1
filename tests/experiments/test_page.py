import dataclasses
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.colors import to_rgb
from pyarrow import parquet
from typer.testing import CliRunner

from experiments import page, results
from experiments.cli import app
from experiments.config import Config
from experiments.frontier import read_at
from experiments.page import recipe
from experiments.page.best import best_at
from experiments.page.document import digits, document
from experiments.page.looks import SYMBOLS, look, on_dark
from experiments.page.material import gather
from experiments.page.queries import FEWER_THAN, SHARES, read_samples, tail
from experiments.plan import make
from experiments.plots.style import FAMILY_COLOURS, OTHERS, PEERS, styles
from experiments.ratios import TARGETS
from experiments.statistics import by_decile
from experiments.strict import check
from tests.experiments.page_run import (
    CURVES,
    DATASETS,
    EFS,
    NQ,
    OLD,
    PROVENANCE,
    difficulty,
    measured,
    of_dataset,
    rows,
    samples,
    single_latencies,
    write,
)

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture(name="full")
def _full(tmp_path):
    return write(tmp_path / "full")


def test_numbers_are_the_cells_and_what_rounds_add(full):
    section = gather([full]).sections[0]
    row = next(row for row in measured() if row.label == "hnswlib")
    trace = next(trace for trace in section.traces if trace.label == "hnswlib")
    numbers = trace.settings[0].numbers
    assert numbers["recall_at_10_strict"] == pytest.approx(row.recall_at_10_strict)
    assert numbers["sway"] == 0.2
    assert numbers["qps_low"] == pytest.approx(0.9 * row.qps)
    assert numbers["qps_high"] == pytest.approx(1.2 * row.qps)
    assert "p99_us" not in numbers
    assert trace.settings[0].words == "ef_search=10"


def test_the_sway_of_old_rows_comes_from_their_rounds(tmp_path):
    section = gather([write(tmp_path / "old", without=OLD)]).sections[0]
    numbers = section.traces[0].settings[0].numbers
    assert numbers["sway"] == pytest.approx(0.1)
    assert "recall_at_10_strict" not in numbers


def test_of_several_seeds_a_page_shows_what_figures_do(tmp_path):
    one = next(of_dataset(DATASETS[0]))
    seeds = {0: (10.0, 9.0, 11.0), 1: (14.0, 12.0, 15.0), 2: (11.0, 10.5, 11.5)}
    ends = ("p50_us", "p50_us_low", "p50_us_high")
    drawn = [
        dataclasses.replace(
            one, seed=seed, row_id=f"{seed}", **dict(zip(ends, span, strict=True))
        )
        for seed, span in seeds.items()
    ]
    results.write_rows(tmp_path / "rows.csv", drawn)
    [trace] = gather([tmp_path]).sections[0].traces
    [setting] = trace.settings
    assert [setting.numbers[name] for name in ends] == [11, 9, 15]
    assert setting.point.latency_us["p50"] == 11
    assert setting.point.latency_spans_us["p50"] == (9, 15)
    assert setting.point.cells["seed"] == "0"
    assert setting.point.cells["n"] == "50000"


def test_loads_stand_by_the_setting_they_were_offered_to(full):
    section = gather([full]).sections[0]
    loaded = {
        (trace.label, each.words): each.loads
        for trace in section.traces
        for each in trace.settings
        if each.loads
    }
    assert loaded.keys() == {("HNSW", "ef_search=40"), ("hnswlib", "ef_search=80")}
    light, busy = loaded["HNSW", "ef_search=40"]
    assert light["fraction"] == 0.5
    assert light["achieved_qps"] == pytest.approx(499.5)
    assert busy["p99_us"] == pytest.approx(12_000)


def test_loads_are_told_only_where_there_are_any(full, tmp_path):
    assert "Under load" in document(gather([full]))
    bare = gather([write(tmp_path / "bare", files=False)])
    assert "Under load" not in document(bare).split("<script")[0]


def test_rows_that_do_not_count_are_listed_and_the_overhead_is_told(full):
    section = gather([full]).sections[0]
    assert [trace.label for trace in section.traces] == list(CURVES)
    assert [cells["label"] for cells in section.left_out] == ["bad", "usearch"]
    assert section.overhead_us == pytest.approx(5.0)
    text = document(gather([full]))
    assert "refused: it used 2.00 cores" in text
    assert "The harness itself takes 5.00 µs" in text


def test_a_run_in_which_everything_failed_still_says_so(tmp_path):
    failed = [row for row in rows() if row.status != "ok"]
    results.write_rows(tmp_path / "rows.csv", failed)
    material = gather([tmp_path])
    assert not material.sections
    assert len(material.left_out) == len(failed)
    assert "skipped: no usearch" in document(material)


@pytest.mark.parametrize("target", [0.5, 0.8, *TARGETS, 0.9999])
def test_best_is_what_the_frontier_reads(full, target):
    traces = gather([full]).sections[0].traces
    found = {best.trace.label: best for best in best_at(traces, target)}
    for trace in traces:
        own = [row for row in of_dataset(DATASETS[0]) if row.label == trace.label]
        recall, p50 = [row.recall_at_10 for row in own], [row.p50_us for row in own]
        reading = read_at(target, recall, p50)
        if reading is None:
            assert trace.label not in found
            continue
        best = found[trace.label]
        # The cells of a row have six digits.
        assert best.p50.value == pytest.approx(reading.of(p50), rel=1e-4)
        assert best.p50.low == pytest.approx(0.9 * best.p50.value)
        qps = reading.of([row.qps for row in own])
        assert best.qps.value == pytest.approx(qps, rel=1e-4)
        assert best.qps.high == pytest.approx(1.2 * qps, rel=1e-4)
        assert best.noisy == (trace.label == "hnswlib")
        assert best.words == f"ef_search={EFS[reading.above]}"
    speeds = [best.p50.value for best in best_at(traces, target)]
    assert speeds == sorted(speeds)


@pytest.mark.parametrize(
    ("target", "front"), [(0.9, {"HNSW SQ8"}), (0.99, {"HNSW", "HNSW SQ8"})]
)
def test_the_front_weighs_latency_memory_and_build_time(full, target, front):
    # SQ8 is the smallest, up to 0.95 also the quickest; no index is built sooner.
    traces = gather([full]).sections[0].traces
    found = {best.trace.label for best in best_at(traces, target) if best.front}
    assert found == front


def test_the_table_shows_readings_and_dashes(tmp_path):
    kept = [
        row for row in rows() if row.recall_at_10 is None or row.recall_at_10 < 0.96
    ]
    results.write_rows(tmp_path / "rows.csv", kept)
    section = gather([tmp_path]).sections[0]
    table = document(gather([tmp_path]))
    table = table[table.index('<table class="best">') :]
    row = re.search(r'<tr data-curve="HNSW">.*?</tr>', table, re.DOTALL).group()
    cells = re.findall(r"<td.*?>(.*?)</td>", row)
    best = {b.trace.label: b for b in best_at(section.traces, 0.90)}["HNSW"]
    assert digits(best.p50.value) in cells[0]
    assert len(cells) == 6  # p50 and QPS; no row has a p99, and it is said why
    assert "p99 needs 368 queries, 200 were asked" in document(gather([tmp_path]))
    assert cells[-2:] == ["–", "–"]  # recall 0.99 is beyond its settings


def test_tails_are_order_statistics():
    latency = np.random.default_rng(0).permutation(np.arange(1, 1001).astype(float))
    found = dict(zip(SHARES, tail(latency, 1000), strict=False))
    assert found[1.0] == 1  # all take at least 1
    assert found[0.5] == 501  # half of them this or more
    assert found[0.001] == 1000
    assert min(found) == 0.001  # one query is the least share there is
    assert tail(np.array([3.0, 5.0]), 2) == [3.0] * SHARES.index(0.5) + [5.0]
    rounds = tail(np.repeat(latency, 3), 1000)
    assert rounds == tail(latency, 1000)  # the same queries again say no more


def test_profiles_are_of_the_queries(full):
    trace = gather([full]).sections[0].traces[0]
    row, latency, recall = next(samples())
    found = trace.settings[0].profile
    assert (row.dataset, row.label) == (DATASETS[0], trace.label)
    assert found["query_median_tail_us"] == pytest.approx(tail(latency, NQ), rel=1e-3)
    singles = single_latencies()[row.row_id]
    assert found["tail_us"] == pytest.approx(tail(singles, NQ), rel=1e-3)
    assert found["tail_us"] != found["query_median_tail_us"]
    lost = [float((recall < least - 1e-6).mean()) for least in FEWER_THAN]
    assert found["lost"] == pytest.approx(lost)
    lid, _ = difficulty()
    by_lid = np.array(by_decile(recall, lid))
    assert np.allclose(found["lid"], by_lid, rtol=1e-3)
    assert len(found["contrast"]) == 10
    medians = [median for median, _ in found["contrast"]]
    assert medians == sorted(medians, reverse=True)  # easiest first
    other = gather([full]).sections[1].traces[0].settings[0].profile
    # Its queries' difficulty is not known.
    assert other.keys() == {"tail_us", "query_median_tail_us", "lost"}


def test_samples_are_split_by_row_in_any_order(tmp_path):
    table = pa.table(
        {
            "row_id": ["b", "a", "b"],
            "query": [1, 0, 0],
            "latency_us": [2.0, 1.0, 3.0],
            "recall_at_10": [0.2, 0.1, 0.3],
        }
    )
    parquet.write_table(table, tmp_path / "per_query.parquet")
    found = read_samples(tmp_path)
    assert {row_id: sample.query.tolist() for row_id, sample in found.items()} == {
        "a": [0],
        "b": [1, 0],
    }
    assert found["b"].latency_us.tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    "name", ["speed-wordnet", "speed-synthetic", "wordnet", "patches"]
)
def test_committed_results_make_a_page(name):
    material = gather([RESULTS / name])
    text = document(material)
    for trace in material.sections[0].traces:
        assert trace.label in text
    assert material.runs[0].provenance["command"] in text


def test_what_is_missing_is_left_out(tmp_path, full):
    bare = document(gather([write(tmp_path / "bare", OLD, files=False)]))
    whole = document(gather([full]))
    for text, there in ((whole, True), (bare, False)):
        data = data_of(text)["sections"][0]["curves"][0]["points"][0]
        assert ("recall_at_10_strict" in data["numbers"]) == there
        assert bool(data["profile"]) == there
    assert "It has no provenance" in bare


def test_a_malformed_cell_is_named(tmp_path):
    directory = write(tmp_path / "bad")
    text = (directory / "rows.csv").read_text().replace(",0.6,1,", ",many,1,", 1)
    (directory / "rows.csv").write_text(text)
    with pytest.raises(ValueError, match="column recall_p5: must be a number, got 'm"):
        gather([directory])


def test_several_runs_share_a_section(tmp_path, full):
    other = write(tmp_path / "other", OLD)
    sections = gather([full, other]).sections
    assert [section.group.dataset for section in sections] == list(DATASETS)
    labels = {trace.label for trace in sections[0].traces}
    assert labels == {f"{name} ({run})" for name in CURVES for run in ("full", "other")}


def data_of(text):
    json_text = re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1)
    return json.loads(json_text)


def without_plotly(text):
    """Leave out Plotly's script, which names addresses that it may be told to ask."""
    return re.sub(r"<script>(?!\"use strict\").*?</script>", "", text, flags=re.DOTALL)


def test_the_page_names_nothing_to_fetch(full):
    text = without_plotly(document(gather([full])))
    assert len(text) < 1e6
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)""", text.split("<script", 1)[0])
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|import\(", text)
    # An SVG's name space is the one address, and no address at all.
    addresses = set(re.findall(r"https?://[^\s\"'<]+", text))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text


def test_labels_stay_text(full):
    text = without_plotly(document(gather([full])))
    body = text.split("<script", 1)[0]
    assert "<i>odd" not in body
    assert "&lt;i&gt;odd&lt;/i&gt; &amp; \\ ]]&gt;" in body
    labels = [curve["label"] for curve in data_of(text)["sections"][0]["curves"]]
    assert labels == list(CURVES)


def contrast(a, b):
    """Return the contrast of two colours (WCAG 2)."""

    def luminance(colour):
        parts = (
            c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
            for c in to_rgb(colour)
        )
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), parts, strict=True))

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_colours_are_told_from_either_ground_and_from_each_other():
    css = Path(page.__file__).with_name("page.css").read_text()
    light, dark = re.findall(r"--paper: (#\w+)", css)
    colours = {*FAMILY_COLOURS.values()}
    assert all(contrast(colour, light) >= 3 for colour in colours)
    assert all(contrast(on_dark(colour), dark) >= 3 for colour in colours)
    assert len({on_dark(colour) for colour in colours}) == len(colours)


def test_every_style_has_a_symbol_and_ours_is_solid_and_thick():
    libraries = ["ann", *PEERS, "x", "y", "z"]
    drawn = [look(style) for style in styles([("HNSW", name) for name in libraries])]
    assert len({each["symbol"] for each in drawn}) == len(drawn)
    ours, *peers = drawn
    assert ours["dash"] == "solid"
    assert ours["width"] > max(peer["width"] for peer in peers)
    assert all(re.fullmatch(r"[\d.]+px(,[\d.]+px)+", peer["dash"]) for peer in peers)
    markers = [marker for marker, _ in (*PEERS.values(), *OTHERS)]
    assert {*markers, "o"} <= SYMBOLS.keys()
    tables = Path(page.__file__).with_name("tables.js").read_text()
    marks = re.findall(r'^  "?([\w-]+)"?: "M', tables, re.MULTILINE)
    assert {*marks} == {*SYMBOLS.values()}


def test_a_recipe_gives_the_very_row():
    material = gather([RESULTS / "speed-synthetic"])
    seen = set()
    for trace in material.sections[0].traces:
        each = trace.settings[-1]
        assert each.config, trace.label
        config = check(Config, tomllib.loads(each.config))
        (experiment,) = make(config).experiments
        (build,) = experiment.builds
        (again,) = build.points
        assert build.label == each.point.label
        assert again.row_id == each.point.row_id
        seen.add(each.point.library)
    assert {"ann", "faiss", "hnswlib"} <= seen


def test_recipes_say_what_to_type(full):
    each = gather([full]).sections[0].traces[1].settings[0]
    lines = each.commands.splitlines()
    assert lines[0] == f"git checkout {PROVENANCE['commit']}"
    assert lines[1].startswith("ann run mine.toml")
    assert lines[2].startswith(f"ann run {recipe.CONFIG}")
    config = tomllib.loads(each.config)
    assert config["dataset"] == PROVENANCE["config"]["dataset"]
    assert config["index"][0]["build"]["codec"] == {"kind": "SQ", "bits": 8}
    assert config["index"][0]["search"] == {"ef_search": 10}


def test_what_no_config_can_name_has_none(full):
    section = gather([full]).sections[0]
    odd = section.traces[-1].settings[0]
    assert odd.config == ""
    assert recipe.CONFIG not in odd.commands
    ablation = {"command": "ann ablation a.toml"}
    assert recipe.config(section.traces[0].settings[0].point, ablation) == ""
    assert recipe.kind_of("ann", "IVF", {"M": 16}) is None


@pytest.mark.parametrize(
    "value",
    [1, 0.5, True, 'a "b" \\ \n', "\x1b \x7f \x85", [1, 2], {"a b": {"c": []}}, {}],
)
def test_values_are_toml(value):
    assert tomllib.loads(f"x = {recipe.toml(value)}") == {"x": value}


def test_the_command_writes_beside_the_results(full, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["report", str(full)])
    assert done.exit_code == 0, done.output
    assert (full / "report.html").read_text().startswith("<!doctype html>")
    other = write(tmp_path / "other")
    assert CliRunner().invoke(app, ["report", str(full), str(other)]).exit_code == 0
    assert (tmp_path / "report.html").exists()
    done = CliRunner().invoke(app, ["report", str(full), "--out", "there/a.html"])
    assert done.stdout.strip() == "there/a.html"
    missing = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert missing.exit_code == 2
    assert "rows.csv" in missing.stderr


def test_without_plotly_it_says_what_to_install(full, monkeypatch):
    monkeypatch.setattr(page, "available", lambda: False)
    done = CliRunner().invoke(app, ["report", str(full)])
    assert done.exit_code == 2
    assert done.stderr == "the HTML report needs plotly: pip install 'plotly>=6'\n"
    assert not (full / "report.html").exists()
