import csv
import itertools
import json
import math
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib as mpl
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

import ann
from experiments import plots
from experiments.frontier import frontier
from experiments.plots import fonts
from experiments.plots.canvas import Canvas
from experiments.plots.costs import bubble_width
from experiments.plots.curves import curves, knee
from experiments.plots.fonts import legible
from experiments.plots.load import draw_load
from experiments.plots.panel import Panel
from experiments.plots.placement import (
    Box,
    spread,
    staircase,
    text_width,
    wrap,
    wrap_names,
)
from experiments.plots.rows import Group, read_run, read_runs
from experiments.plots.scales import (
    RecallAxis,
    format_bytes,
    format_count,
    format_s,
    format_us,
    log_limits,
    log_ticks,
    measured_us,
)
from experiments.plots.scene import Scene, best_us, setting, stems
from experiments.plots.style import FAMILY_COLOURS, shade, styles
from tests.experiments import page_run
from tests.experiments.labels import LABELS

N, D, NQ, K = 50_000, 192, 1000, 10
PROVENANCE = {
    "commit": "fa3d8d240af175953036a5d26eb1d250a435907c",
    "dirty": False,
    "cpu": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
    "cores": 2,
    "started": "2025-11-21T01:20:00+00:00",
}
EFS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 400)
NPROBES = (1, 2, 4, 8, 16, 32, 64, 128)
ALL = (
    "recall-at-10-latency",
    "recall-at-5-latency",
    "recall-at-1-latency",
    "throughput",
    "distance-computations",
    "memory",
    "build",
)


def row(label, family, library, build, search, *, scored, missed, us, size, build_s):
    """Return a row as the runner writes it, from what a search scored and missed."""
    noise = random.Random(f"{label} {search}").uniform(0.97, 1.03)
    p50 = (8 + scored * us) * noise
    at = {k: 1 - min(1, missed * f) for k, f in ((1, 0.55), (5, 0.8), (10, 1))}
    return {
        "schema": 2,
        "dataset": "patches-192-euclidean",
        "metric": "l2",
        "n": N,
        "d": D,
        "nq": NQ,
        "library": library,
        "family": family,
        "index": family,
        "label": label,
        "build_params": json.dumps(build, sort_keys=True),
        "search_params": json.dumps(search, sort_keys=True),
        "k": K,
        "threads": 2,
        **{f"recall_at_{k}": round(r * NQ * k) / (NQ * k) for k, r in at.items()},
        "p50_us": p50,
        "p95_us": 1.6 * p50,
        "p99_us": 2.3 * p50,
        "p50_us_low": 0.97 * p50,
        "p50_us_high": 1.05 * p50,
        "qps": 1.8e6 / p50,
        "qps_1thread": 1e6 / p50,
        "build_s": build_s,
        "compile_s": 4.2 if library == "ann" else "",
        "index_bytes": size,
        "distance_computations": round(scored),
        "status": "ok",
    }


def hnsw(label, M=16, library="ann", us=0.003, **build):
    codec = "codec" in build
    for ef in EFS:
        yield row(
            label,
            "HNSW",
            library,
            {"M": M, "ef_construction": 200, **build},
            {"ef_search": ef},
            scored=1.4 * M * ef + 150,
            missed=56 / M / ef**1.35 + 0.0004 * codec,
            us=us * (0.7 if codec else 1),
            size=N * (D * (1 if codec else 4) + 9 * M),
            build_s=6.1 * (M / 16) ** 0.8,
        )


def ivf(label, library="ann", us=0.035, bytes_per_vector=4 * D, floor=0.0, **build):
    for nprobe in NPROBES:
        yield row(
            label,
            "IVF",
            library,
            {"nlist": 224, **build},
            {"nprobe": nprobe},
            scored=224 + nprobe * N / 224,
            missed=floor
            + (0.55 * math.exp(-0.9 * nprobe**0.62) if nprobe < 128 else 0),
            us=us,
            size=N * bytes_per_vector,
            build_s=1.4,
        )


def flat():
    numbers = {"scored": N, "missed": 0, "us": 0.06, "size": 4 * N * D, "build_s": 0.05}
    yield row("Flat", "Flat", "ann", {}, {}, **numbers)


def realistic():
    pq = {"codec": {"kind": "PQ", "m": 48}, "us": 0.01}
    return [
        *flat(),
        *hnsw("HNSW M=16"),
        *hnsw("HNSW M=32", M=32),
        *hnsw("HNSW M=16 SQ8 +refine 2", codec={"kind": "SQ"}, refine=2),
        *hnsw("hnswlib M=16", library="hnswlib", us=0.004),
        *ivf("IVF nlist=224"),
        *ivf("faiss IVFFlat nlist=224", library="faiss", us=0.045),
        *ivf("IVF nlist=224 PQ48x8", bytes_per_vector=48, floor=0.31, **pq),
        *ivf("IVF nlist=224 PQ48x8 +refine 10", refine=10, floor=0.004, **pq),
    ]


def crowded():
    """Return fifteen curves with names that are far too long."""
    long = "HNSW M={} with a name that says far more than it should, efc={} SQ8 +refine"
    libraries = ("ann", "faiss", "hnswlib", "ann", "a-new-one")
    return [
        measured | {"library": libraries[i % 5], "family": ("HNSW", "IVF", "X")[i % 3]}
        for i in range(15)
        for measured in hnsw(long.format(4 + 4 * i, 100 * i), us=0.003 * 1.13**i)
    ]


def with_recall(value):
    names = ("recall_at_1", "recall_at_5", "recall_at_10")
    return [measured | dict.fromkeys(names, value) for measured in realistic()]


def without(*columns):
    return [measured | dict.fromkeys(columns, "") for measured in realistic()]


CASES = {
    "realistic": realistic(),
    "crowded": crowded(),
    "single point": list(flat()),
    "one curve": list(hnsw("HNSW M=16")),
    "recall 1 everywhere": with_recall(1.0),
    "recall 0 everywhere": with_recall(0.0),
    "a narrow range": [r | {"recall_at_10": 0.951} for r in hnsw("HNSW M=16")],
    "words that mean something elsewhere": [
        r | {"label": "$x_{1$ & <b>100%</b>\\frac\n ]]>\x07"} for r in hnsw("HNSW")
    ],
    "labels of every kind": [
        measured
        for i, label in enumerate(LABELS)
        for measured in hnsw(label, M=8 + i, us=0.003 * (1 + i / 9))
    ],
    "a word that is too long": [r | {"label": "W" * 120} for r in hnsw("HNSW")],
}


def write(directory, rows, provenance=PROVENANCE):
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    if provenance is not None:
        (directory / "provenance.json").write_text(json.dumps(provenance))
    return directory


def names(paths):
    return {path.name.removeprefix("patches-192-euclidean-") for path in paths}


@pytest.fixture
def figures(monkeypatch):
    """Keep the figures that are drawn instead of writing them."""
    kept = {}

    def keep(self, stem, title, description):
        kept[stem.name.removeprefix("patches-192-euclidean-")] = (self, description)
        return [stem]

    monkeypatch.setattr(Canvas, "save", keep)
    return kept


# What is best on a curve.


@pytest.mark.parametrize("seed", range(30))
def test_frontier_is_what_brute_force_finds(seed):
    rng = random.Random(seed)
    points = [(rng.randint(0, 6), rng.randint(0, 6)) for _ in range(rng.randint(0, 14))]
    best = frontier([r for r, _ in points], [c for _, c in points])
    kept = [points[i] for i in best]
    undominated = {
        (r, c)
        for r, c in points
        if not any(r2 >= r and c2 <= c and (r2, c2) != (r, c) for r2, c2 in points)
    }
    assert set(kept) == undominated
    assert len(kept) == len(undominated)
    assert kept == sorted(kept)


def test_knee_is_the_point_farthest_from_the_chord():
    assert knee([(0, 0), (1, 0.1), (2, 0.3), (3, 3)]) == 2
    assert knee([(0, 0), (1, 1), (2, 2)]) is None
    assert knee([(0, 0), (1, 1)]) is None
    assert knee([(0, 1), (1, 1), (2, 1)]) is None


# The axes.


def test_recall_axis_gives_every_nine_the_same_width():
    axis = RecallAxis([0.5, 0.9, 0.99, 0.999, 1.0], 1e-4)
    assert [axis(r) for r in (0.9, 0.99, 0.999)] == pytest.approx([1, 2, 3])
    assert axis.low < axis(0.5)
    assert axis(0.999) < axis.break_at < axis(1.0) == axis.slot < axis.high


def test_recall_axis_has_a_slot_only_for_recalls_of_one():
    nearly = 1 - 1e-4
    assert not RecallAxis([0.9, nearly], 1e-4).has_slot
    assert RecallAxis([0.9, 1 - 1e-12], 1e-4).has_slot
    assert RecallAxis([nearly, 1.0], 1e-4)(nearly) == pytest.approx(4)


@pytest.mark.parametrize("recalls", [[0.0], [1.0], [0.5], [0.9999], [0.0, 0.001]])
def test_recall_axis_has_room_around_few_recalls(recalls):
    axis = RecallAxis(recalls, 1e-4)
    assert axis.high - axis.low > 0.8
    assert axis.low < axis(recalls[0]) < axis.high
    assert axis.low >= -0.1
    assert len(axis.ticks(2.5, 9)) >= 3


@pytest.mark.parametrize("recalls", [[0.5, 0.9995, 1.0], [0.3, 0.99], [0.94, 0.97]])
@pytest.mark.parametrize("width", [1.5, 2.6, 8.0])
def test_recall_ticks_are_plain_in_place_and_apart(recalls, width):
    axis = RecallAxis(recalls, 1e-4)
    ticks = axis.ticks(width, 9)
    for at, label in ticks:
        assert at == pytest.approx(axis(float(label)))
        assert axis.low <= at <= axis.high
        assert label == "1.0" or label.startswith(".") or label == "0"
    for (at, label), (other, neighbour) in itertools.pairwise(ticks):
        inches = (other - at) / (axis.high - axis.low) * width
        assert inches > (text_width(label, 9) + text_width(neighbour, 9)) / 2


def test_recall_ticks_of_a_common_range_are_the_agreed_ones():
    labels = [label for _, label in RecallAxis([0.4, 0.9995, 1.0], 1e-4).ticks(8, 9)]
    assert labels == [".5", ".9", ".95", ".99", ".999", "1.0"]


@pytest.mark.parametrize("low", [0.03, 1, 7, 42, 999])
@pytest.mark.parametrize("factor", [4, 9, 30, 1e3, 1e6, 1e14])
def test_log_ticks_are_round_and_neither_few_nor_many(low, factor):
    ticks = log_ticks(low, low * factor)
    assert 3 <= len(ticks) <= 9
    assert all(low <= tick <= low * factor for tick in ticks)
    assert ticks == sorted(set(ticks))
    for tick in ticks:
        mantissa = tick / 10 ** math.floor(math.log10(tick) + 1e-9)
        assert mantissa * 2 == pytest.approx(round(mantissa * 2))


def test_log_limits_surround_the_values():
    low, high = log_limits([10, 1000])
    assert low < 10 < 1000 < high < 2000
    low, high = log_limits([50])
    assert high / low > 4


def test_numbers_are_written_with_their_units():
    assert [format_us(v) for v in (80, 0.5, 2500, 3e6, 999.6)] == [
        "80 µs",
        "0.5 µs",
        "2.5 ms",
        "3 s",
        "1 ms",
    ]
    assert [measured_us(v) for v in (80, 123.4, 2500)] == [
        "80.0 µs",
        "123 µs",
        "2.50 ms",
    ]
    assert [format_s(v) for v in (0, 0.05, 12.34, 99.97, 3605)] == [
        "0 s",
        "0.05 s",
        "12.3 s",
        "1 min 40 s",
        "60 min 05 s",
    ]
    assert [format_bytes(v) for v in (96, 1500, 2e6)] == ["96 B", "1.5 kB", "2 MB"]
    assert [format_count(v) for v in (12000, 0.5)] == ["12,000", "0.5"]


# Where words stand.


@pytest.mark.parametrize("seed", range(20))
def test_spread_leaves_no_overlap_keeps_order_and_stays_inside(seed):
    rng = random.Random(seed)
    centres = [rng.uniform(0, 10) for _ in range(rng.randint(1, 9))]
    heights = [rng.uniform(0.1, 1.1) for _ in centres]
    placed = spread(centres, heights, 0, 10)
    order = sorted(range(len(centres)), key=centres.__getitem__)
    for i, j in itertools.pairwise(order):
        assert placed[j] - placed[i] >= (heights[i] + heights[j]) / 2 - 1e-9
    assert placed[order[0]] - heights[order[0]] / 2 >= -1e-9
    assert placed[order[-1]] + heights[order[-1]] / 2 <= 10 + 1e-9


@pytest.mark.parametrize("seed", range(10))
def test_spread_moves_as_little_as_any_other_placement(seed):
    rng = random.Random(seed)
    centres = [rng.randint(0, 8) / 2 for _ in range(4)]
    placed = spread(centres, [1.0] * 4, 0, 6)
    cost = sum((p - c) ** 2 for p, c in zip(placed, centres, strict=True))
    grid = [0.5 + i / 4 for i in range(21)]
    order = sorted(range(4), key=centres.__getitem__)
    for tried in itertools.combinations(grid, 4):
        if min(b - a for a, b in itertools.pairwise(tried)) >= 1:
            moves = ((at - centres[i]) ** 2 for at, i in zip(tried, order, strict=True))
            assert cost <= sum(moves) + 1e-9


def test_spread_moves_nothing_that_has_room():
    assert spread([1, 5, 3], [1, 1, 1], 0, 10) == [1, 5, 3]
    assert spread([], [], 0, 1) == []


def test_spread_keeps_the_order_of_equal_wishes():
    assert spread([2, 2], [1, 1], 0, 10) == [1.5, 2.5]


@pytest.mark.parametrize(
    "text", ["short", "a few more words than fit", "W" * 50, "", "a"]
)
def test_wrapped_lines_fit_and_lose_nothing(text):
    lines = wrap(text, 1.0, 10)
    assert all(text_width(line, 10) <= 1.0 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_staircase_covers_its_steps():
    boxes = staircase([(0, 0), (2, 1)], 0.1)
    rise, run = Box(-0.01, 0.5, 0.01, 0.6), Box(1, 0.99, 1.1, 1.01)
    beside = Box(1, 0.2, 1.5, 0.6)
    assert any(map(rise.meets, boxes))
    assert any(map(run.meets, boxes))
    assert not any(map(beside.meets, boxes))


def test_words_are_left_out_where_there_is_no_room():
    panel = Panel(Canvas(4, 3), Box(0.5, 0.5, 3.5, 2.5), "")
    panel.ax.set(xlim=(0, 1), ylim=(0, 1))
    assert panel.annotate((0.5, 0.5), "ef_search=48", "black")
    style = styles([("HNSW", "ann")])[0]
    grid = [(x / 20, y / 20) for x in range(21) for y in range(21)]
    panel.curve(style, [(0, 0)], grid)
    assert not panel.annotate((0.5, 0.5), "ef_search=48", "black")


def shaded(canvas):
    """Return the spans of x and the greatest y of what is shaded on each panel."""
    return [
        [
            (box.x0, box.x1, box.y1)
            for each in ax.collections
            for box in [each.get_datalim(ax.transData)]
        ]
        for ax in canvas.figure.axes
    ]


def test_uses_are_shaded_and_named_where_recall_at_10_stands_against_latency(
    tmp_path, figures
):
    run = write(tmp_path / "run", realistic())
    uses = ["rag", "recommendation", "safety-critical"]
    plots.draw([run], tmp_path / "figures", uses)
    canvas, description = figures["recall-at-10-latency"]
    assert "Shaded: rag, recall 0.9 to 0.95, at most 100 ms;" in description
    recalls = [float(row["recall_at_10"]) for row in realistic()]
    axis = RecallAxis(recalls, 1 / (NQ * K))
    for spans in shaded(canvas):
        assert [(left, right) for left, right, _ in spans] == [
            pytest.approx((axis(0.90), axis(0.95))),
            pytest.approx((max(axis(0.85), axis.low), axis(0.90))),
            pytest.approx((axis(0.99), axis.high)),
        ]
    words = [text.get_text() for text in canvas.figure.texts]
    assert words.count("rag ≤ 100 ms") == 3
    assert any("Shaded: " in word for word in words)
    assert not any(shaded(figures["recall-at-1-latency"][0]))
    assert not any(shaded(figures["throughput"][0]))


def test_a_use_ends_at_the_latency_that_it_allows(tmp_path, figures):
    slow = [row | {"p50_us": 1000 * float(row["p50_us"])} for row in hnsw("HNSW")]
    run = write(tmp_path / "run", slow)
    plots.draw([run], tmp_path / "figures", ["recommendation"])
    [span] = shaded(figures["recall-at-10-latency"][0])[0]
    assert span[2] == pytest.approx(30_000)


def test_uses_are_those_of_the_config_or_unknown(tmp_path, figures):
    config = {"config": {"name": "x", "uses": ["rag"]}}
    run = write(tmp_path / "run", realistic(), PROVENANCE | config)
    plots.draw([run], tmp_path / "figures")
    assert [len(spans) for spans in shaded(figures["recall-at-10-latency"][0])] == [
        1
    ] * 3
    plots.draw([run], tmp_path / "figures", [])
    assert not any(shaded(figures["recall-at-10-latency"][0]))
    with pytest.raises(ValueError, match=r"a use must be one of rag, .*, got 'games'"):
        plots.draw([run], tmp_path / "figures", ["games"])


@pytest.mark.parametrize("case", [*CASES, "uses"])
def test_no_words_overlap_and_none_are_clipped(case, tmp_path, figures):
    rows, kinds = CASES.get(case, CASES["realistic"]), ALL
    if case not in ("realistic", "uses"):  # one recall is enough, and faster
        rows = [r | {"recall_at_1": "", "recall_at_5": ""} for r in rows]
        kinds = (ALL[0], *ALL[3:])
    uses = list(ann.PRESETS) if case == "uses" else []
    plots.draw([write(tmp_path / "run", rows)], tmp_path / "figures", uses)
    assert tuple(figures) == kinds
    for name, (canvas, _) in figures.items():
        figure = canvas.figure
        figure.draw_without_rendering()
        boxes = [
            (text.get_text(), text.get_window_extent())
            for text in figure.findobj(Text)
            if text.get_text() and text.get_visible()
        ]
        assert len(boxes) > 10, name
        for words, box in boxes:
            assert box.x0 >= 0, (name, words)
            assert box.y0 >= 0, (name, words)
            assert box.x1 <= figure.bbox.width, (name, words)
            assert box.y1 <= figure.bbox.height, (name, words)
        for (words, box), (others, other) in itertools.combinations(boxes, 2):
            wide = min(box.x1, other.x1) - max(box.x0, other.x0)
            high = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert wide < 1 or high < 2, (name, words, others)


# Reading result directories.


def test_a_directory_without_rows_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must hold rows\.csv, got .*empty"):
        plots.draw([tmp_path / "empty"], tmp_path / "figures")


@pytest.mark.parametrize(
    ("column", "cell", "rule"),
    [
        ("recall_at_10", "1.2", r"in \[0, 1\], got '1\.2'"),
        ("recall_at_10", "high", "must be a number, got 'high'"),
        ("p50_us", "-3", "0 or more, finite, got '-3'"),
        ("p50_us", "inf", "0 or more, finite, got 'inf'"),
        ("n", "10.5", r"a whole number, got '10\.5'"),
        ("search_params", "ef=3", "a JSON object, got 'ef=3'"),
        ("build_params", "[1]", r"a JSON object, got '\[1\]'"),
    ],
)
def test_a_malformed_cell_is_named(column, cell, rule, tmp_path):
    rows = realistic()[:3]
    rows[1][column] = cell
    where = rf"rows\.csv, line 3, column {column}: must be .*{rule.split('be ')[-1]}"
    with pytest.raises(ValueError, match=where):
        read_run(write(tmp_path, rows))


def test_a_line_of_the_wrong_length_is_named(tmp_path):
    write(tmp_path, realistic()[:3])
    with (tmp_path / "rows.csv").open("a") as file:
        file.write("too,short\n")
    with pytest.raises(ValueError, match=r"rows\.csv, line 5: .* 29 cells.* got 2"):
        read_run(tmp_path)


@pytest.mark.parametrize("content", ["", "dataset,label\n", "a\n", "\n"])
def test_a_header_without_the_essentials_is_named(content, tmp_path):
    (tmp_path / "rows.csv").write_text(content)
    with pytest.raises(ValueError, match=r"rows\.csv, line 1: .* index"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    "content", [b'dataset,index\n"open', b"dataset,index\n\xff,a\n"]
)
def test_a_file_that_is_no_csv_is_named(content, tmp_path):
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"rows\.csv, near line [12]: "):
        read_run(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "3"])
def test_malformed_provenance_is_named(content, tmp_path):
    write(tmp_path, realistic()[:1])
    (tmp_path / "provenance.json").write_text(content)
    with pytest.raises(ValueError, match=r"provenance\.json"):
        read_run(tmp_path)


def test_rows_that_failed_are_left_out(tmp_path):
    rows = realistic()
    for i, measured in enumerate(rows):
        if i % 2:
            measured |= {"status": "failed: no memory", "p50_us": "", "n": 0}
    run = read_run(write(tmp_path, rows))
    assert len(run.points) == (len(rows) + 1) // 2
    assert {point.group.n for point in run.points} == {N}


@pytest.mark.parametrize(
    "rows", [with_recall(""), [r | {"status": "x"} for r in flat()]]
)
def test_nothing_to_draw_is_an_error(rows, tmp_path):
    with pytest.raises(ValueError, match="some row must be ok and have a recall"):
        plots.draw([write(tmp_path, rows)], tmp_path / "figures")


def test_unknown_columns_and_blank_lines_do_no_harm(tmp_path):
    write(tmp_path, [r | {"mood": "good", "": "unnamed"} for r in flat()])
    with (tmp_path / "rows.csv").open("a") as file:
        file.write("\n\n")
    assert len(read_run(tmp_path).points) == 1


def test_an_old_file_of_two_columns_and_a_recall_is_drawn(tmp_path, figures):
    old = {"dataset": "old", "index": "HNSW", "build_params": '{"M": 8}', "p50_us": 10}
    rows = [old | {"recall_at_1": r} for r in (0.5, 0.9)]
    plots.draw([write(tmp_path, rows, None)], tmp_path / "figures")
    assert list(figures) == ["old-recall-at-1-latency"]
    assert "HNSW M=8" in figures["old-recall-at-1-latency"][1]


@pytest.mark.parametrize(
    ("columns", "lost"),
    [
        (
            ["p50_us", "p95_us", "p99_us"],
            {f"recall-at-{k}-latency" for k in (1, 5, 10)},
        ),
        (["qps", "qps_1thread"], {"throughput"}),
        (["distance_computations"], {"distance-computations"}),
        (["index_bytes"], {"memory"}),
        (["build_s"], {"build"}),
        (["recall_at_5"], {"recall-at-5-latency"}),
        (["compile_s", "p99_us", "qps_1thread", "p50_us_low", "d"], set()),
    ],
)
def test_figures_without_data_are_left_out(columns, lost, tmp_path, figures):
    plots.draw([write(tmp_path, without(*columns))], tmp_path / "figures")
    assert set(figures) == set(ALL) - lost


# From points to curves.


def test_a_label_is_a_curve_and_clashing_labels_are_told_apart(tmp_path):
    before = write(tmp_path / "before", [*flat(), *hnsw("HNSW")])
    after = write(tmp_path / "after", [*hnsw("HNSW"), *hnsw("HNSW", library="faiss")])
    runs = read_runs([before, after])
    drawn = curves(runs, runs[0].points[0].group)
    assert [(curve.label, curve.library, len(curve.points)) for curve in drawn] == [
        ("Flat", "ann", 1),
        ("HNSW (ann, before)", "ann", len(EFS)),
        ("HNSW (ann, after)", "ann", len(EFS)),
        ("HNSW (faiss, after)", "faiss", len(EFS)),
    ]


def test_runs_are_named_by_the_shortest_path_of_their_own(tmp_path):
    paths = [write(tmp_path / name / "quick", list(flat())) for name in ("old", "new")]
    assert [run.name for run in read_runs(paths)] == ["old/quick", "new/quick"]
    assert [run.name for run in read_runs(paths[:1])] == ["quick"]
    with pytest.raises(ValueError, match="given once"):
        read_runs([paths[0], paths[0]])


def test_every_dataset_and_size_has_its_own_files(tmp_path, figures):
    other = [r | {"dataset": "digits/64"} for r in flat()]
    small = [r | {"n": 100} for r in flat()]
    run = write(tmp_path, [*flat(), *other, *small])
    plots.draw([run], tmp_path / "figures")
    starts = {name.removesuffix("-memory") for name in figures if "-memory" in name}
    assert starts == {"digits-64", "l2-n50000-d192-k10", "l2-n100-d192-k10"}
    groups = dict.fromkeys(point.group for point in read_run(run).points)
    assert len(set(stems(list(groups)))) == 3


@pytest.mark.parametrize(
    "names",
    [("日本", "中国"), ("a b", "a/b"), ("Data", "data"), ("x" * 300, "y" * 300)],
)
def test_every_dataset_has_its_own_files_whatever_its_name(names):
    groups = [Group(name, "l2", 100, 8, 10) for name in names]
    one, other = stems(groups)
    assert one.casefold() != other.casefold()
    assert max(len(name.encode()) for name in (one, other)) < 200
    assert not re.search(r"[^\w.-]", one + other)


def test_labels_are_drawn_as_they_are(tmp_path, figures):
    rows = [r | {"label": x} for x in LABELS for r in itertools.islice(hnsw("x"), 2)]
    kept = ("recall_at_10", "p50_us")
    rows = [{k: v for k, v in r.items() if "_us" not in k or k in kept} for r in rows]
    plots.draw([write(tmp_path / "run", rows)], tmp_path / "figures")
    canvas, words = figures["recall-at-10-latency"]
    drawn = "".join(text.get_text() for text in canvas.figure.findobj(Text))
    for label in LABELS:
        assert label in words
        if len(label) < 100:
            assert legible(label).replace(" ", "") in drawn.replace(" ", "")
        else:
            assert label[:40].replace(" ", "") in drawn.replace(" ", "")


def test_what_no_font_has_is_escaped(monkeypatch):
    monkeypatch.setattr(fonts, "_characters", lambda: frozenset(map(ord, "é x")))
    assert legible("é 日\u200d\nx\x07") == "é \\u65e5\\u200d x\\x07"
    assert legible("plain [x] $y$") == "plain [x] $y$"


@pytest.mark.parametrize("label", ["W" * 300, "long " * 60, "short"])
def test_long_names_keep_their_ends_and_a_few_lines(label):
    names = [f"old {label} 1", f"old {label} 2"]
    lines = wrap_names(names, 2.3, 10)
    assert all(len(of) <= 5 for of in lines.values())
    assert all(text_width(line, 10) <= 2.3 for of in lines.values() for line in of)
    for name, of in lines.items():
        assert of[0].startswith("old")
        assert of[-1].endswith(name[-1])
    same = [f"{'a' * 300}{middle}{'b' * 300}" for middle in "xy"]
    assert len({tuple(of) for of in wrap_names(same, 2.3, 10).values()}) == 2


def test_families_are_the_structure_and_whether_it_compresses(tmp_path):
    rows = realistic() + [
        r | {"index": "IVF1024,PQ48x4", "label": "f"} for r in ivf("f")
    ]
    rows += hnsw("HNSW PCA96", transform={"kind": "PCA", "d_out": 96})
    families = {p.label: p.family for p in read_run(write(tmp_path, rows)).points}
    assert families == {
        "Flat": "Flat",
        "HNSW M=16": "HNSW",
        "HNSW M=32": "HNSW",
        "HNSW M=16 SQ8 +refine 2": "HNSW+codec",
        "hnswlib M=16": "HNSW",
        "IVF nlist=224": "IVF",
        "faiss IVFFlat nlist=224": "IVF",
        "IVF nlist=224 PQ48x8": "IVF+codec",
        "IVF nlist=224 PQ48x8 +refine 10": "IVF+codec",
        "f": "IVF+codec",
        "HNSW PCA96": "HNSW+codec",
    }


def test_a_family_keeps_its_colour_and_a_library_its_marker():
    members = [("HNSW", "ann"), ("HNSW", "hnswlib"), ("HNSW", "ann"), ("IVF", "ann")]
    ours, peer, second, ivf_ = styles(members)
    assert ours.colour == peer.colour.lower() == FAMILY_COLOURS["HNSW"].lower()
    assert ours.marker == ivf_.marker != peer.marker
    assert ours.dash == "-" != peer.dash
    assert ours.width > peer.width
    assert (second.colour, second.fill) != (ours.colour, ours.fill)
    assert second.marker == ours.marker
    assert styles([("IVF", "ann")]) == [ivf_]
    assert styles([("HNSW", "hnswlib")]) == [peer]


def test_no_two_of_a_dozen_curves_look_the_same():
    same = styles([("HNSW", "ann")] * 6 + [("HNSW", "faiss")] * 6)
    assert len({(s.colour, s.marker, s.fill, s.dash) for s in same}) == 12


def test_colours_keep_their_contrast_on_white():
    for colour in FAMILY_COLOURS.values():
        assert contrast(colour) >= 3
    for style in styles([(family, "ann") for family in FAMILY_COLOURS] * 3):
        assert contrast(style.text) >= 4.5


def contrast(colour):
    """Return the contrast with white (WCAG 2.2)."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in to_rgb(colour)
    ]
    red, green, blue = linear
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)


def test_shades_go_towards_white_and_black():
    assert shade("#808080", 1.0) == "#ffffff"
    assert shade("#808080", -1.0) == "#000000"


def test_only_what_varies_is_said(tmp_path):
    rows = [r | {"label": "HNSW"} for r in [*hnsw("a", M=16), *hnsw("b", M=32)]]
    run = read_run(write(tmp_path, rows))
    scene = Scene.of([run], run.points[0].group)
    assert [build.name for build in scene.builds()] == ["HNSW M=16", "HNSW M=32"]
    assert setting(run.points[0], scene.curves[0]) == "ef_search=10"


def test_the_latency_at_the_goal_is_read_between_settings(tmp_path):
    rows = [*hnsw("HNSW"), *ivf("PQ", codec={"kind": "PQ"}, floor=0.31)]
    points = read_run(write(tmp_path, rows)).points
    hnsws = [p for p in points if p.label == "HNSW"]
    below = max(p.latency_us["p50"] for p in hnsws if p.recall[10] < 0.95)
    above = min(p.latency_us["p50"] for p in hnsws if p.recall[10] >= 0.95)
    assert below < best_us(hnsws, 10, "p50") <= above
    assert math.isnan(best_us([p for p in points if p.label == "PQ"], 10, "p50"))


def test_slower_searches_have_wider_marks():
    widths = [bubble_width(us) for us in (math.nan, 1, 30, 300, 3000, 1e12)]
    assert widths == sorted(widths)
    assert widths[0] == 4


# The files.


def test_every_figure_is_written_twice_with_its_alternative_text(tmp_path):
    paths = plots.draw([write(tmp_path / "run", realistic())], tmp_path / "a" / "b")
    assert names(paths) == {f"{name}.{end}" for name in ALL for end in ("png", "svg")}
    for path in paths:
        content = path.read_bytes()
        assert 10_000 < len(content) < 2_000_000
        if path.suffix == ".png":
            assert content.startswith(b"\x89PNG")
            assert b"Description" in content
            continue
        svg = ET.fromstring(content)
        space = "{http://www.w3.org/2000/svg}"
        assert svg.get("role") == "img"
        assert svg.find(f"{space}title").text
        words = svg.find(f"{space}desc").text
        for fact in ("patches-192-euclidean", "n = 50,000", "commit fa3d8d240", "HNSW"):
            assert fact in words


def test_the_same_rows_give_the_same_bytes_whatever_the_reader_has_set(tmp_path):
    unmeasured = dict.fromkeys(("recall_at_1", "recall_at_5", "qps", "qps_1thread"), "")
    run = write(tmp_path / "run", [r | unmeasured for r in hnsw("HNSW")])
    first = plots.draw([run], tmp_path / "first")
    with mpl.rc_context({"font.size": 30, "axes.grid": True, "svg.fonttype": "none"}):
        before = dict(mpl.rcParams)
        second = plots.draw([run], tmp_path / "second")
        assert dict(mpl.rcParams) == before
    for one, two in zip(first, second, strict=True):
        assert one.name == two.name
        assert one.read_bytes() == two.read_bytes()


def test_words_for_those_who_cannot_see_say_what_was_not_reached(tmp_path, figures):
    rows = [*hnsw("HNSW"), *ivf("PQ", codec={"kind": "PQ"}, floor=0.31)]
    plots.draw([write(tmp_path, rows)], tmp_path / "figures")
    words = figures["recall-at-10-latency"][1]
    assert "HNSW: " in words
    assert "PQ: not reached, best recall 0.690." in words


def test_overlaid_runs_name_themselves(tmp_path, figures):
    dirs = [
        write(tmp_path / "old", list(hnsw("HNSW")), PROVENANCE | {"dirty": True}),
        write(tmp_path / "new", list(hnsw("HNSW")), PROVENANCE | {"commit": "0" * 40}),
    ]
    plots.draw(dirs, tmp_path / "figures")
    words = figures["recall-at-10-latency"][1]
    assert "commit fa3d8d240-dirty (old) / commit 000000000 (new)" in words
    assert "HNSW (old): " in words
    assert "HNSW (new): " in words
    assert words.count("Xeon") == 1


def test_loads_are_drawn_of_the_run_that_was_loaded(tmp_path, figures):
    dirs = [page_run.write(tmp_path / "old"), page_run.write(tmp_path / "new")]
    runs = read_runs(dirs)
    group = runs[0].points[0].group
    draw_load(Scene.of(runs, group), tmp_path / "both")
    words = figures["both-load"][1]
    assert "HNSW (old): p99 12 ms at 90%." in words
    assert "hnswlib (new): p99 24 ms at 90%." in words
    (dirs[1] / "load.csv").unlink()
    draw_load(Scene.of(read_runs(dirs), group), tmp_path / "one")
    assert "(new)" not in figures["one-load"][1]
    (dirs[0] / "load.csv").unlink()
    assert draw_load(Scene.of(read_runs(dirs), group), tmp_path / "none") == []


def test_the_search_that_does_nothing_is_no_curve_and_no_data_set(tmp_path, figures):
    idle = next(flat()) | {"library": "dummy", "label": "nothing"}
    rows = [*flat(), idle, idle | {"dataset": "measured by nothing else"}]
    plots.draw([write(tmp_path, rows)], tmp_path / "figures")
    assert tuple(figures) == ALL
    assert not any("nothing" in words for _, words in figures.values())
    with pytest.raises(ValueError, match="some row must be ok and have a recall"):
        plots.draw([write(tmp_path, [idle])], tmp_path / "figures")


def test_importing_plots_does_not_import_matplotlib():
    code = "import sys, experiments.plots; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False"
