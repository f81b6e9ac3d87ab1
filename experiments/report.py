"""Tables for the terminal, made of result files."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Group as Stack

from experiments import bulk as bulks
from experiments import estimate
from experiments.ablation.table import Line
from experiments.ablation.variants import WHOLE
from experiments.compare import Change
from experiments.frontier import COARSE, read_at
from experiments.percentiles import MEDIAN, OF_MEDIANS, PERCENTS, words
from experiments.plan import Plan, written
from experiments.plots.curves import (
    Curve,
    common,
    curves,
    libraries,
    overhead_us,
    remarks,
    remarks_on_loads,
)
from experiments.plots.rows import NAN, Group, Loaded, Point, Run
from experiments.ratios import TARGETS, Compared, Comparison, Ratio
from experiments.results import Row
from experiments.statistics import NOISY
from experiments.terminal import Table, stack

_NOTE = (
    "Read at that recall@10, between the two settings around it, the logarithm linear "
    "in recall. – where the recall was not reached; ≤ where the quickest setting "
    f"already has more; ~ where the two settings are more than {COARSE} apart."
)
_RATIO_NOTE = (
    "µs: ours, and under it the peer's. ×: times faster than the peer at "
    "equal recall@10, and under it the least and the greatest of single rounds, "
    "measured in turns, and of the ratio itself. 1t: a batch on one thread. Read "
    "between settings as the table above; ≤, ~: as there, for either side."
)
_ABLATED = (
    "×: over the index with everything on; below p50's, the least and the greatest of "
    "single rounds, measured in turns, and ≈ where they disagree about which of the "
    "two is quicker. A time above 1 is longer without the trick. kB read: vectors and "
    "centroids, by a model on the counters."
)
_LOADED = (
    "One thread. Load: the rate of queries over that which the same process sustains, "
    "one after another. Latency counts from when a query was due, service from its "
    "start."
)
_CHANGED = (
    "After over before at equal recall@10: above 0 is worse. Times are divided by how "
    "much longer a fixed piece of work beside every round took, the yardstick. The "
    "interval is the wider of a paired bootstrap over queries, of their medians, and "
    "of the span of rounds, the least after over the greatest before, with that "
    "correction and without; worse or better is said where all of it lies beyond the "
    "threshold. qps stands as seconds of a query."
)
_BULK = (
    "Rounds in turns, all threads. ours ×: how many times faster ours is, the ratio of "
    "the medians, and under it the least and the greatest of single rounds."
)
_WIDE = 110  # columns of a terminal that has room for more


def planned(plan: Plan, seconds: float | None) -> Stack:
    """Return what a run would build and measure, and about how long it would take."""
    table = Table()
    table.add_column("dataset", overflow="fold")
    table.add_column("index", overflow="fold")
    table.add_column("searches", overflow="fold")
    for experiment in plan.experiments:
        for build in experiment.builds:
            searches = [written(point.search) for point in build.points]
            first = build is experiment.builds[0]
            name = experiment.dataset.name if first else ""
            table.add_row(name, build.label, _grid(searches))
    time = "" if seconds is None else f", {estimate.words(seconds)}"
    points = f"{plan.n_points} points in {plan.config.rounds} rounds"
    title = f"{plan.config.name}: {points}, {plan.threads} threads{time}"
    return stack(title, table)


def _grid(searches: list[dict[str, Any]]) -> str:
    """Return settings as the lists that they were expanded from."""
    values = {key: [str(search[key]) for search in searches] for key in searches[0]}
    return "; ".join(f"{k} = {', '.join(dict.fromkeys(v))}" for k, v in values.items())


def summary(runs: Sequence[Run], width: int) -> Iterator[Stack]:
    """Yield a table per dataset: each curve read at the recalls of interest."""
    wide = width >= _WIDE
    for group, members in _groups(runs):
        table = Table()
        table.add_column("index", overflow="fold")
        points = [point for curve in members for point in curve.points]
        p50, p99 = common(points, "p50"), common(points, "p99")
        headers = ["best\nrecall", *(f"{_head(p50)}\n@ {t:.2f}" for t in TARGETS)]
        if wide:
            headers += [f"{_head(p99)}\n@ 0.95", "QPS\n@ 0.95", "compile\ns"]
        for header in (*headers, "build\ns", "index\nMB"):
            table.add_column(header, justify="right", no_wrap=True)
        for curve in members:
            table.add_row(curve.label, *_cells(curve, p50, p99, wide))
        note = _noted(points, ["p50", "p99"] if wide else ["p50"], _NOTE)
        yield stack(_title(runs, group, members), table, note)


def loads(runs: Sequence[Run]) -> Iterator[Stack]:
    """Yield a table per dataset of latency under load, where that was measured."""
    for group, members in _groups(runs):
        offered = [(c, point) for c in members for point in c.points if point.loads]
        if not offered:
            continue
        table = Table()
        table.add_column("index", overflow="fold")
        headers = ("recall\n@10", "load", "QPS", "p50 µs", "p99 µs", "service\np99 µs")
        for header in headers:
            table.add_column(header, justify="right", no_wrap=True)
        for curve, point in offered:
            table.add_section()
            table.add_row(curve.label, _fixed(point.recall[10], 3))
            for line in point.loads:
                table.add_row("", "", *_load_cells(line))
        title = f"\n{group.dataset}: queries at random times"
        too_few = remarks_on_loads([point for _, point in offered], ("p50", "p99"))
        yield stack(title, table, f"{_LOADED} {too_few}".rstrip())


def _load_cells(line: Loaded) -> Iterator[str]:
    yield f"{line.fraction:.0%}"
    yield _round(line.achieved_qps)
    yield _round(line.latency_us.get("p50", NAN))
    yield _round(line.latency_us.get("p99", NAN))
    yield _round(line.service_p99_us)


def details(runs: Sequence[Run], width: int) -> Iterator[Stack]:
    """Yield a table per dataset: every point."""
    for group, members in _groups(runs):
        table = Table()
        table.add_column("index / search", overflow="fold")
        points = [point for curve in members for point in curve.points]
        names = [common(points, percentile) for percentile in PERCENTS]
        cells = _numbers(points[0], names)
        headers = _headers(table, cells, width, ("@5", "scored"))
        for curve in members:
            table.add_row(curve.label)
            for point in curve.points:
                cells = _numbers(point, names)
                shown = (cells[header] for header in headers)
                table.add_row(f"  {_setting(point.search_params)}", *shown)
            table.add_section()
        note = _noted(points, PERCENTS)
        yield stack(_title(runs, group, members), table, note)


def ratios(
    run: Run, group: Group, comparisons: Sequence[Comparison], width: int
) -> Stack:
    """Return the table of one data set's comparisons in one run."""
    points = [point for point in run.points if point.group == group]
    threads = max(point.threads for point in points)
    table = Table()
    table.add_column("ours / peer", overflow="fold")
    names = [common(points, percentile) for percentile in PERCENTS]
    cells = _ratio_cells(comparisons[0], names, threads)
    wide = (f"{_called(names[2])}\n×", "1t", "build")
    headers = _headers(table, cells, width, wide)
    before = None
    for each in comparisons:
        pair = f"{each.ours}\n/ {each.peer}"
        if pair != before:
            table.add_section()
        cells = _ratio_cells(each, names, threads)
        table.add_row("" if pair == before else pair, *(cells[h] for h in headers))
        before = pair
    title = f"\n{group.dataset}: ours against peers{_versions(points)}"
    return stack(title, table, _noted(points, PERCENTS, _RATIO_NOTE))


def _ratio_cells(
    each: Comparison, names: Sequence[str], threads: int
) -> dict[str, str]:
    p50, _, p99 = names

    def times(measure: str) -> str:
        return _times(each.compared(measure).ratio)

    return {
        "recall": f"{each.mark}{each.recall:.2f}",
        **{_head(name): _both(each.compared(f"{name}_us")) for name in names},
        f"{_called(p50)}\n×": times(f"{p50}_us"),
        f"{_called(p99)}\n×": times(f"{p99}_us"),
        "QPS 1t\n×": times("qps_1thread"),
        **({f"QPS {threads}t\n×": times("qps")} if threads > 1 else {}),
        "build\n×": _fixed(each.build, 2),
    }


def ablation(
    lines: Sequence[Line], points: Sequence[Point], width: int
) -> Iterator[Stack]:
    """Yield a table per data set of a study: each index with and without its tricks.

    Parameters
    ----------
    lines, points : of the study
    width : of the terminal
    """
    threads = max(point.threads for point in points)
    for (dataset, metric, n), group in groupby(lines, lambda line: line.data):
        table = Table()
        table.add_column("index / variant", overflow="fold")
        cells = _ablation_cells(lines[0], threads)
        headers = _headers(table, cells, width, ("1t", "build", "index\nMB"))
        for index, variants in groupby(group, lambda line: line.index):
            table.add_section()
            table.add_row(index)
            for line in variants:
                cells = _ablation_cells(line, threads)
                table.add_row(f"  {line.variant}", *(cells[h] for h in headers))
        title = f"\n{dataset} ({metric}): n={n:,}, what each trick pays"
        own = [p for p in points if p.group[:3] == (dataset, metric, n)]
        yield stack(title, table, _noted(own, ["p50", "p99"], _ABLATED))


def _ablation_cells(line: Line, threads: int) -> dict[str, str]:
    noise = line.within_noise and line.variant != WHOLE

    def times(measure: str) -> str:
        return _fixed(line.compared(measure).ratio.value, 2)

    return {
        _head(line.p50): _round(line.us),
        f"{_called(line.p50)}\n×": f"{'≈ ' if noise else ''}{_times(line.times)}",
        "p99\n×": times("p99_us"),
        "QPS 1t\n×": times("qps_1thread"),
        **({f"QPS {threads}t\n×": times("qps")} if threads > 1 else {}),
        "build\n×": _fixed(line.build, 2),
        "recall\n@10": _fixed(line.recall_at_10, 4),
        "scored": _round(line.distance_computations),
        "kB\nread": _round(line.bytes_read / 1e3),
        "index\nMB": _fixed(line.index_bytes / 1e6, 1),
    }


def _headers(
    table: Table, cells: Iterable[str], width: int, wide: Sequence[str]
) -> list[str]:
    """Add the columns that the terminal has room for; return their headers.

    Columns with a part of ``wide`` in their head are for a wide one.
    """
    headers = [
        head
        for head in cells
        if width >= _WIDE or not any(part in head for part in wide)
    ]
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    return headers


def changes(found: Sequence[Change]) -> Stack:
    """Return the table of a comparison of two runs."""
    table = Table()
    table.add_column("dataset / index: measure", overflow="fold")
    for header in ("recall", "before", "after", "change", ""):
        table.add_column(header, justify="right", no_wrap=True)
    for dataset, of in groupby(found, lambda change: change.dataset):
        table.add_section()
        lines = list(of)
        slower = max((each.drift - 1 for each in lines), key=abs)
        table.add_row(dataset)
        if slower:
            table.add_row("  yardstick", "", "", "", f"{slower:+.1%}")
        for change in lines:
            style = {"worse": "red", "lost": "red", "better": "green"}
            table.add_row(*_change_cells(change), style=style.get(change.verdict))
    of_medians = any(change.measure.startswith(MEDIAN) for change in found)
    return stack(table, _CHANGED + f" {OF_MEDIANS}" * of_medians)


def _change_cells(change: Change) -> Iterator[str]:
    ratio = change.ratio
    yield f"  {change.label}: {change.measure}"
    yield _fixed(change.recall, 2)
    yield _round(change.before)
    yield _round(change.after)
    if math.isnan(ratio.value):
        yield "–"
    else:
        ends = f"\n{ratio.low - 1:+.1%} … {ratio.high - 1:+.1%}"
        yield f"{ratio.value - 1:+.1%}" + ends * (ratio.low < ratio.high)
    yield change.verdict


def bulk(lines: Sequence[bulks.Line]) -> Iterator[Stack]:
    """Yield a table per data set of work in bulk."""
    for _, group in groupby(lines, lambda line: (line.dataset, line.task, _work(line))):
        work = list(group)
        first, table = work[0], Table()
        table.add_column("library")
        for header in ("median s", "least", "greatest", "ours ×", first.quality):
            table.add_column(header, justify="right", no_wrap=True)
        for line in work:
            times = (line.median_s, line.least_s, line.greatest_s)
            ratio = _times(line.ours) if line.library != bulks.OURS else ""
            table.add_row(line.library, *map(_round, times), ratio, f"{line.value:.6g}")
        data = f"{first.dataset}: n={first.n:,} d={first.d}, {first.threads} threads"
        yield stack(f"\n{data}\n{_work(first)}", table)
    yield stack(_BULK)


def _work(line: bulks.Line) -> str:
    setting = json.loads(line.setting)
    words = ", ".join(f"{key} {value:,}" for key, value in setting.items())
    metric = f" {line.metric}" if line.task == "exact search" else ""
    return f"{line.task}{metric}: {words}"


def _times(ratio: Ratio) -> str:
    if math.isnan(ratio.value):
        return "–"
    span = f"\n{_fixed(ratio.low, 2)}–{_fixed(ratio.high, 2)}"
    return _fixed(ratio.value, 2) + span * (ratio.low < ratio.high)


def problems(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line for everything that failed, was skipped or refused, or is noisy."""
    for status, count in Counter((r.label, r.status) for r in rows).items():
        label, text = status
        if text != "ok":
            yield f"{label}: {text}" + (f" ({count} points)" if count > 1 else "")
    noisy = [row for row in rows if (row.sway or 0) > NOISY]
    if noisy:
        worst = max(noisy, key=lambda row: row.sway or 0)
        yield (
            f"noisy: without one of its rounds, the p50 of {len(noisy)} of {len(rows)} "
            f"points would differ by more than {NOISY:.0%}, most by {worst.sway:.0%}: "
            f"{worst.label} {worst.search_params}"
        )


def _groups(runs: Sequence[Run]) -> Iterator[tuple[Group, list[Curve]]]:
    groups = dict.fromkeys(point.group for run in runs for point in run.points)
    for group in groups:
        if members := curves(runs, group):
            yield group, members


def _cells(curve: Curve, p50: str, p99: str, wide: bool) -> Iterator[str]:
    first = curve.points[0]
    yield _fixed(max(point.recall.get(10, 0) for point in curve.points), 4)
    for target in TARGETS:
        yield _read(curve, target, f"{p50}_us", p50)
    if wide:
        yield _read(curve, 0.95, f"{p99}_us", p50)
        yield _read(curve, 0.95, "qps", p50)
        yield _fixed(first.compile_s, 1)
    yield _fixed(first.build_s, 1)
    yield _fixed(first.index_bytes / 1e6, 1)


def _numbers(point: Point, names: Sequence[str]) -> dict[str, str]:
    recalls = {f"@{k}": _fixed(point.recall.get(k, NAN), 4) for k in (1, 5, 10)}
    latencies = {_head(name): _round(point.value(f"{name}_us")) for name in names}
    rest = {"QPS": point.value("qps"), "scored": point.distance_computations}
    return recalls | latencies | {head: _round(value) for head, value in rest.items()}


def _read(curve: Curve, target: float, measure: str, p50: str) -> str:
    """Return a measure at a recall@10, read on the frontier of p50."""
    recalls = [point.recall.get(10, NAN) for point in curve.points]
    costs = [point.latency_us.get(p50, NAN) for point in curve.points]
    reading = read_at(target, recalls, costs)
    if reading is None:
        return "–"
    text = _round(reading.of([point.value(measure) for point in curve.points]))
    return text if text == "–" else reading.mark + text


def _called(name: str) -> str:
    """Return the name of a percentile as the head of a narrow column."""
    return words(name).replace("query-median ", "query-\nmedian\n")


def _head(name: str) -> str:
    return f"{_called(name)} µs"


def _both(compared: Compared) -> str:
    return f"{_round(compared.ours)}\n{_round(compared.peer)}"


def _noted(points: Sequence[Point], shown: Collection[str], note: str = "") -> str:
    """Return the note of a table, with what has to be said of its percentiles."""
    pooled = [name for name in shown if common(points, name) == name]
    defined = (
        f"{', '.join(pooled)}: of all single queries of all rounds, one at a time on "
        "one thread."
    )
    sentences = [defined * bool(pooled), note, *remarks(points, shown)]
    return " ".join(filter(None, sentences))


def _title(runs: Sequence[Run], group: Group, members: Sequence[Curve]) -> str:
    points = [point for curve in members for point in curve.points]
    threads = max(max(point.qps, default=1) for point in points)
    overhead = overhead_us(runs, group, common(points, "p50"))
    own = "" if math.isnan(overhead) else f", harness {overhead:.2f} µs"
    return (
        f"\n{group.dataset} ({group.metric}): n={group.n:,} d={group.d} k={group.k}, "
        f"{points[0].nq:,} queries, QPS on {threads} threads{own}{_versions(points)}"
    )


def _versions(points: Sequence[Point]) -> str:
    """Return a line of its own that names the libraries, or nothing."""
    return f"\n{', '.join(named)}" if (named := libraries(points)) else ""


def _setting(params: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in params.items()) or "–"


def _round(value: float) -> str:
    """Return three significant digits, thousands apart."""
    if math.isnan(value):
        return "–"
    digits = 3 - len(str(int(value)))
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def _fixed(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"
