"""The figures of a run; here those of recall against a cost or a rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ann.presets import Use
from experiments import percentiles
from experiments.frontier import frontier, read_at
from experiments.percentiles import PERCENTS
from experiments.plots import regions
from experiments.plots.canvas import settings
from experiments.plots.costs import draw_build, draw_memory
from experiments.plots.curves import Curve, is_judged, knee
from experiments.plots.load import draw_load
from experiments.plots.panel import Corner, Panel, Spot
from experiments.plots.rows import NAN, Point, read_runs
from experiments.plots.scales import (
    Format,
    RecallAxis,
    format_count,
    format_us,
    log_limits,
)
from experiments.plots.scene import GOAL, Scene, in_words, setting, stems
from experiments.plots.sheet import LEAST_HEIGHT, End, Heading, Sheet
from experiments.plots.style import Style

ROOMY = 8  # points of a curve whose marks do not touch
CROWDED, TALL = 8, 5.2  # curves, beyond which panels are so many inches high
STEPS = (
    "Lines step through the measured settings that no other of the same curve beats on "
    "both recall and {cost}; faint marks are the beaten ones."
)


class View(NamedTuple):
    """What one panel of a trade-off figure shows: its title, and what stands on y."""

    title: str
    value: Callable[[Point], float]  # NaN where it was not measured
    span: Callable[[Point], tuple[float, float]] | None = None  # its whiskers


class Tradeoff(NamedTuple):
    """One kind of trade-off figure: recall on x, a cost or a rate on y."""

    stem: str
    title: str
    views: Sequence[View]
    k: int
    axis: str
    unit: Format
    note: str
    threads: Sequence[int] = ()
    better: Corner = "lower right"
    reference: tuple[float, str] | None = None
    uses: Sequence[Use] = ()


class Trace(NamedTuple):
    """One curve on one panel: its points, and those that no other beats."""

    curve: Curve
    style: Style
    points: list[Point]
    values: list[float]
    best: list[int]  # positions in points, by rising recall

    def spots(self, axis: RecallAxis, k: int) -> list[Spot]:
        """Return where the points stand, in the data's coordinates."""
        places = [axis(point.recall[k]) for point in self.points]
        return list(zip(places, self.values, strict=True))

    def spans(
        self, of: Callable[[Point], tuple[float, float]]
    ) -> list[tuple[float, float]]:
        """Return the whiskers of the points that no other beats."""
        return [of(self.points[i]) for i in self.best]


def draw_runs(
    dirs: Sequence[Path], out: Path, uses: Sequence[str] | None = None
) -> list[Path]:
    """Do what `experiments.plots.draw` says."""
    runs = read_runs(dirs)
    wanted = regions.wanted(runs) if uses is None else regions.named(uses)
    points = [point for run in runs for point in run.points]
    groups = list(dict.fromkeys(point.group for point in points if is_judged(point)))
    if not groups:
        places = ", ".join(map(str, dirs))
        raise ValueError(f"some row must be ok and have a recall, none has in {places}")
    out.mkdir(parents=True, exist_ok=True)
    written = []
    with settings():
        for group, stem in zip(groups, stems(groups), strict=True):
            written += _draw(Scene.of(runs, group), out / stem, wanted)
    return written


def _draw(scene: Scene, stem: Path, uses: Sequence[Use]) -> list[Path]:
    k = scene.ks[0]
    kinds = [_latency(k, scene, uses) for k in scene.ks] + [
        _throughput(k, scene),
        _work(k, scene),
    ]
    written = [path for kind in kinds for path in _draw_tradeoff(kind, scene, stem)]
    written += draw_memory(scene, k, stem) + draw_build(scene, k, stem)
    return written + draw_load(scene, stem)


def _latency(k: int, scene: Scene, uses: Sequence[Use]) -> Tradeoff:
    uses = uses if k == regions.K else ()
    names = [scene.latency(percentile) for percentile in PERCENTS]
    pooled = [name for name in names if name in PERCENTS]
    views = [
        View(
            f"{percentiles.words(name)} – {percentiles.meaning(name)}",
            partial(_latency_us, name),
            partial(_span_us, name),
        )
        for name in names
    ]
    return Tradeoff(
        stem=f"recall-at-{k}-latency",
        title=f"Recall@{k} against latency, one query at a time",
        views=views,
        k=k,
        axis="latency of a query",
        unit=format_us,
        note=STEPS.format(cost="latency")
        + f" {', '.join(pooled)}: of all single queries of all rounds." * bool(pooled)
        + " Bars: intervals of 95 % over queries."
        + scene.remarks(*PERCENTS)
        + regions.NOTE * bool(uses),
        threads=[1],
        uses=uses,
    )


def _latency_us(name: str, point: Point) -> float:
    return point.latency_us.get(name, NAN)


def _span_us(name: str, point: Point) -> tuple[float, float]:
    return point.latency_spans_us.get(name, (NAN, NAN))


def _throughput(k: int, scene: Scene) -> Tradeoff:
    counts = sorted({threads for point in scene.points for threads in point.qps})
    return Tradeoff(
        stem="throughput",
        title=f"Recall@{k} against throughput of a batch of queries",
        views=[
            View(f"{count} thread{'s' * (count > 1)}", partial(_qps, count))
            for count in counts
        ],
        k=k,
        axis="queries per second",
        unit=format_count,
        note=STEPS.format(cost="throughput"),
        threads=counts,
        better="upper right",
    )


def _qps(threads: int, point: Point) -> float:
    return point.qps.get(threads, NAN)


def _work(k: int, scene: Scene) -> Tradeoff:
    n = scene.group.n
    return Tradeoff(
        stem="distance-computations",
        title=f"Recall@{k} against distance computations",
        views=[View("mean over queries", lambda point: point.distance_computations)],
        k=k,
        axis="vectors scored per query",
        unit=format_count,
        note=STEPS.format(cost="count") + " Counts do not depend on the machine.",
        reference=(n, f"all {n:,} vectors") if n else None,
    )


def _draw_tradeoff(kind: Tradeoff, scene: Scene, stem: Path) -> list[Path]:
    k = kind.k
    traced = [
        (view, traces) for view in kind.views if (traces := _traces(kind, view, scene))
    ]
    if not traced:
        return []
    every = [trace for _, traces in traced for trace in traces]
    facts = scene.facts(kind.threads)
    labels = list(dict.fromkeys(trace.curve.label for trace in every))
    sheet = Sheet(
        Heading(kind.title, facts, kind.note),
        [view.title for view, _ in traced],
        labels,
        height=LEAST_HEIGHT if len(labels) <= CROWDED else TALL,
    )
    recalls = [point.recall[k] for trace in every for point in trace.points]
    axis = RecallAxis(recalls, scene.resolution(k))
    shown = [value for trace in every for value in trace.values]
    limits = log_limits([*shown, *_whisker_ends(traced)])
    sheet.recall_axes(axis, k)
    sheet.log_axes(kind.axis, limits, kind.unit)
    if kind.reference:
        sheet.reference(*kind.reference)
    ends: dict[str, End] = {}
    for panel, (view, traces) in zip(sheet.panels, traced, strict=True):
        for trace in traces:
            spots = trace.spots(axis, k)
            steps = [spots[i] for i in trace.best]
            beaten = [spot for i, spot in enumerate(spots) if i not in trace.best]
            panel.curve(_thinned(trace.style, len(spots)), steps, beaten)
            if view.span:
                xs = [x for x, _ in steps]
                panel.whiskers(trace.style, xs, trace.spans(view.span))
            end = panel.place(*steps[-1])
            ends[trace.curve.label] = End(trace.curve.label, trace.style, end)
    sheet.name(list(ends.values()))
    for panel in sheet.panels:
        regions.shade(panel, axis, kind.uses)
        panel.better(kind.better)
    view, traces = traced[0]
    _name_knees(sheet.panels[0], traces, axis, k)
    goal = f"{view.title} at recall@{k} = {GOAL}:"
    lines = [goal, *(_told(kind, t) for t in traces), *regions.told(kind.uses)]
    words = in_words(kind.title, facts, lines)
    path = stem.with_name(f"{stem.name}-{kind.stem}")
    return sheet.canvas.save(path, kind.title, words)


def _whisker_ends(traced: Sequence[tuple[View, Sequence[Trace]]]) -> Iterator[float]:
    """Yield the ends of all intervals that will be drawn."""
    for view, traces in traced:
        if view.span is not None:
            spans = [span for trace in traces for span in trace.spans(view.span)]
            yield from (end for span in spans for end in span if end > 0)


def _thinned(style: Style, points: int) -> Style:
    """Return a style with smaller marks where they would hide each other."""
    return style._replace(size=style.size * min(1.0, (ROOMY / points) ** 0.5))


def _traces(kind: Tradeoff, view: View, scene: Scene) -> list[Trace]:
    sign = 1 if kind.better == "lower right" else -1
    traces = []
    for curve, style in zip(scene.curves, scene.styles, strict=True):
        points = [p for p in curve.points if kind.k in p.recall and view.value(p) > 0]
        values = [view.value(point) for point in points]
        recalls = [point.recall[kind.k] for point in points]
        if points:
            best = frontier(recalls, [sign * value for value in values])
            traces.append(Trace(curve, style, points, values, best))
    return traces


def _name_knees(
    panel: Panel, traces: Sequence[Trace], axis: RecallAxis, k: int
) -> None:
    """Write the setting at the knee of one curve of each family of ours."""
    families = set()
    for trace in traces:
        spots = trace.spots(axis, k)
        bend = knee([(x, math.log10(y)) for x, y in (spots[i] for i in trace.best)])
        if bend is None or not trace.style.ours or trace.curve.family in families:
            continue
        at = trace.best[bend]
        words = setting(trace.points[at], trace.curve)
        if words and panel.annotate(spots[at], words, trace.style.text):
            families.add(trace.curve.family)


def _told(kind: Tradeoff, trace: Trace) -> str:
    """Describe a curve in words."""
    recalls = [point.recall[kind.k] for point in trace.points]
    sign = 1 if kind.better == "lower right" else -1
    reading = read_at(GOAL, recalls, [sign * value for value in trace.values])
    if reading:
        return f"{trace.curve.label}: {kind.unit(reading.of(trace.values))}."
    most = max(recalls)
    return f"{trace.curve.label}: not reached, best recall {most:.3f}."
