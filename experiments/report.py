"""Tables for the terminal, made of result files."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Group as Stack

from experiments import bulk as bulks
from experiments import estimate
from experiments.ablation.table import Line
from experiments.ablation.variants import WHOLE
from experiments.compare import Change
from experiments.frontier import COARSE, Reading, read_at
from experiments.plan import Plan, written
from experiments.plots.curves import Curve, curves, libraries, overhead_us
from experiments.plots.rows import NAN, Group, Loaded, Point, Run
from experiments.ratios import TARGETS, Comparison, Ratio, over
from experiments.results import Row
from experiments.statistics import NOISY
from experiments.terminal import Table, stack

_NOTE = (
    "p50, p99: one query at a time on one thread, at that recall@10: read between the "
    "two settings around it, the logarithm linear in recall. – where the recall was "
    "not reached; ≤ where the quickest setting already has more; ~ where the two "
    f"settings are more than {COARSE} apart."
)
_RATIO_NOTE = (
    "Times faster than the peer at equal recall@10; the ratio of the medians over "
    "rounds measured in turns, and under it the least and the greatest of single "
    "rounds. 1t: a batch on one thread. p99/p50: ours, and the peer's. Read between "
    "settings as the table above; ≤, ~: as there, for either side."
)
_ABLATED = (
    "×: over the index with everything on, the ratio of the medians over rounds "
    "measured in turns; below p50's, the least and the greatest of single rounds, and "
    "≈ where they disagree about which of the two is quicker. A time above 1 is longer "
    "without the trick. kB read: vectors and centroids, by a model on the counters."
)
_LOADED = (
    "One thread. Load: the rate of queries over that which the same process sustains, "
    "one after another. Latency counts from when a query was due, service from its "
    "start."
)
_CHANGED = (
    "After over before at equal recall@10: above 0 is worse. Times are divided by how "
    "much longer a fixed piece of work beside every round took, the yardstick. The "
    "interval is the wider of a paired bootstrap over queries and of the span of "
    "rounds, the least after over the greatest before, with that correction and "
    "without; worse or better is said where all of it lies beyond the threshold. qps "
    "stands as seconds of a query."
)
_BULK = (
    "Rounds in turns, all threads. ours ×: how many times faster ours is, the ratio of "
    "the medians, and under it the least and the greatest of single rounds."
)
_WIDE_ONLY = ("QPS 1t\n×", "p99/p50", "build\n×", "index\nMB", "peer's\nµs")
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
        headers = ["best\nrecall", *(f"p50 µs\n@ {t:.2f}" for t in TARGETS)]
        if wide:
            headers += ["p99 µs\n@ 0.95", "QPS\n@ 0.95", "compile\ns"]
        for header in (*headers, "build\ns", "index\nMB"):
            table.add_column(header, justify="right", no_wrap=True)
        for curve in members:
            table.add_row(curve.label, *_cells(curve, wide))
        yield stack(_title(runs, group, members), table, _NOTE)


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
        yield stack(title, table, _LOADED)


def _load_cells(line: Loaded) -> Iterator[str]:
    yield f"{line.fraction:.0%}"
    yield _round(line.achieved_qps)
    yield _round(line.latency_us.get("p50", NAN))
    yield _round(line.latency_us.get("p99", NAN))
    yield _round(line.service_p99_us)


def details(runs: Sequence[Run], width: int) -> Iterator[Stack]:
    """Yield a table per dataset: every point."""
    wide = width >= _WIDE
    for group, members in _groups(runs):
        table = Table()
        table.add_column("index / search", overflow="fold")
        headers = ("@1", "@5", "@10", "p50 µs", "p95 µs", "p99 µs", "QPS", "scored")
        for header in headers if wide else ("@1", "@10", "p50 µs", "p99 µs", "QPS"):
            table.add_column(header, justify="right", no_wrap=True)
        for curve in members:
            table.add_row(curve.label)
            for point in curve.points:
                cells = dict(zip(headers, _numbers(point), strict=True))
                shown = (cells[str(column.header)] for column in table.columns[1:])
                table.add_row(f"  {_setting(point.search_params)}", *shown)
            table.add_section()
        yield stack(_title(runs, group, members), table)


def ratios(
    run: Run, group: Group, comparisons: Sequence[Comparison], width: int
) -> Stack:
    """Return the table of one data set's comparisons in one run."""
    points = [point for point in run.points if point.group == group]
    threads = max(point.threads for point in points)
    table = Table()
    table.add_column("ours / peer", overflow="fold")
    headers = _headers(table, _ratio_cells(comparisons[0], threads), width)
    before = None
    for each in comparisons:
        pair = f"{each.ours}\n/ {each.peer}"
        if pair != before:
            table.add_section()
        cells = _ratio_cells(each, threads)
        table.add_row("" if pair == before else pair, *(cells[h] for h in headers))
        before = pair
    title = f"\n{group.dataset}: ours against peers{_versions(points)}"
    return stack(title, table, _RATIO_NOTE)


def _ratio_cells(each: Comparison, threads: int) -> dict[str, str]:
    ours = over(each.p99_us_ours, each.p50_us_ours)
    peer = over(each.p99_us_peer, each.p50_us_peer)
    several = {f"QPS {threads}t\n×": _times(each.qps)} if threads > 1 else {}
    return {
        "recall": f"{each.mark}{each.recall:.2f}",
        "p50\nµs": _round(each.p50_us_ours),
        "peer's\nµs": _round(each.p50_us_peer),
        "p50\n×": _times(each.p50),
        "p99\n×": _times(each.p99),
        "QPS 1t\n×": _times(each.qps_1thread),
        **several,
        "p99/p50": f"{_fixed(ours, 1)}, {_fixed(peer, 1)}",
        "build\n×": _fixed(each.build, 2),
    }


def ablation(lines: Sequence[Line], threads: int, width: int) -> Iterator[Stack]:
    """Yield a table per data set of a study: each index with and without its tricks."""
    for (dataset, metric, n), group in groupby(lines, lambda line: line.data):
        table = Table()
        table.add_column("index / variant", overflow="fold")
        headers = _headers(table, _ablation_cells(lines[0], threads), width)
        for index, variants in groupby(group, lambda line: line.index):
            table.add_section()
            table.add_row(index)
            for line in variants:
                cells = _ablation_cells(line, threads)
                table.add_row(f"  {line.variant}", *(cells[h] for h in headers))
        title = f"\n{dataset} ({metric}): n={n:,}, what each trick pays"
        yield stack(title, table, _ABLATED)


def _ablation_cells(line: Line, threads: int) -> dict[str, str]:
    noise = line.within_noise and line.variant != WHOLE
    qps = {f"QPS {threads}t\n×": _fixed(line.qps.median, 2)} if threads > 1 else {}
    return {
        "p50\nµs": _round(line.p50_us),
        "p50\n×": f"{'≈ ' if noise else ''}{_times(line.p50)}",
        "p99\n×": _fixed(line.p99.median, 2),
        "QPS 1t\n×": _fixed(line.qps_1thread.median, 2),
        **qps,
        "build\n×": _fixed(line.build, 2),
        "recall\n@10": _fixed(line.recall_at_10, 4),
        "scored": _round(line.distance_computations),
        "kB\nread": _round(line.bytes_read / 1e3),
        "index\nMB": _fixed(line.index_bytes / 1e6, 1),
    }


def _headers(table: Table, cells: Iterable[str], width: int) -> list[str]:
    """Add the columns that the terminal has room for; return their headers."""
    headers = [h for h in cells if width >= _WIDE or h not in _WIDE_ONLY]
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
    return stack(table, _CHANGED)


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
    if math.isnan(ratio.median):
        return "–"
    span = f"\n{_fixed(ratio.low, 2)}–{_fixed(ratio.high, 2)}"
    return _fixed(ratio.median, 2) + span * (ratio.low < ratio.high)


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


def _cells(curve: Curve, wide: bool) -> Iterator[str]:
    first = curve.points[0]
    yield _fixed(max(point.recall.get(10, 0) for point in curve.points), 4)
    for target in TARGETS:
        yield _read(curve, target, lambda point: _latency(point, "p50"))
    if wide:
        yield _read(curve, 0.95, lambda point: _latency(point, "p99"))
        yield _read(curve, 0.95, _qps)
        yield _fixed(first.compile_s, 1)
    yield _fixed(first.build_s, 1)
    yield _fixed(first.index_bytes / 1e6, 1)


def _numbers(point: Point) -> Iterator[str]:
    for k in (1, 5, 10):
        yield _fixed(point.recall.get(k, math.nan), 4)
    for percentile in ("p50", "p95", "p99"):
        yield _round(_latency(point, percentile))
    yield _round(_qps(point))
    yield _round(point.distance_computations)


def _read(curve: Curve, target: float, measure: Callable[[Point], float]) -> str:
    reading = reading_at(curve, target)
    if reading is None:
        return "–"
    text = _round(reading.of([measure(point) for point in curve.points]))
    return text if text == "–" else reading.mark + text


def reading_at(curve: Curve, target: float) -> Reading | None:
    """Return where a recall@10 lies on the frontier of a curve's p50."""
    recalls = [point.recall.get(10, NAN) for point in curve.points]
    return read_at(target, recalls, [_latency(point, "p50") for point in curve.points])


def _latency(point: Point, percentile: str) -> float:
    return point.latency_us.get(percentile, NAN)


def _qps(point: Point) -> float:
    return point.qps[max(point.qps)] if point.qps else NAN


def _title(runs: Sequence[Run], group: Group, members: Sequence[Curve]) -> str:
    points = [point for curve in members for point in curve.points]
    threads = max(max(point.qps, default=1) for point in points)
    overhead = overhead_us(runs, group)
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
