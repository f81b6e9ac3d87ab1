"""Figure of latency under load: what a user waits for, the busier the index is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.plots.curves import Curve, remarks_on_loads
from experiments.plots.rows import Loaded, Point
from experiments.plots.scales import format_us, log_limits
from experiments.plots.scene import Scene, in_words
from experiments.plots.sheet import End, Heading, Sheet
from experiments.plots.style import Style, look

_VIEWS = {
    "p50": "p50 – 1 query in 2 waits longer",
    "p99": "p99 – 1 query in 100 waits longer",
}
_TICKS = (0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0)
_NOTE = (
    "Queries come at random times to one thread and wait for those before them; "
    "latency counts from when a query was due. The load is the rate of queries over "
    "that which the same process sustains, one after another without a pause."
)


def draw_load(scene: Scene, stem: Path) -> list[Path]:
    """Draw latency against the load that was offered; nothing where none was."""
    found = [
        (curve, style, point)
        for curve, style in zip(scene.curves, scene.styles, strict=True)
        for point in curve.points
        if any(map(_known, point.loads))
    ]
    if not found:
        return []
    title = f"Latency under load, at recall@10 of {_recalls(found)}"
    facts = scene.facts([1])
    labels = [curve.label for curve, _, _ in found]
    offered = [line for _, _, point in found for line in point.loads]
    views = {
        name: view
        for name, view in _VIEWS.items()
        if any(name in line.latency_us for line in offered)
    }
    note = f"{_NOTE} {remarks_on_loads([p for *_, p in found], _VIEWS)}".rstrip()
    sheet = Sheet(Heading(title, facts, note), list(views.values()), labels)
    every = [us for line in offered for us in _known(line)]
    sheet.log_axes("latency of a query", log_limits(every), format_us)
    sheet.x_name("load")
    most = 1.06 * max(line.fraction for line in offered)
    ends, told = {}, []
    for panel, percentile in zip(sheet.panels, views, strict=True):
        panel.ax.set_xlim(0, most)
        ticks = [tick for tick in _TICKS if tick <= most]
        panel.ax.set_xticks(ticks, [f"{tick:.0%}" for tick in ticks])
        for curve, style, point in found:
            shown = [line for line in point.loads if percentile in line.latency_us]
            if not shown:
                continue
            xs = [line.fraction for line in shown]
            ys = [line.latency_us[percentile] for line in shown]
            panel.ax.plot(xs, ys, **look(style))
            end = panel.place(xs[-1], ys[-1])
            ends[curve.label] = End(curve.label, style, end)
            if percentile == "p99":
                worst = f"{format_us(ys[-1])} at {xs[-1]:.0%}"
                told.append(f"{curve.label}: p99 {worst}.")
    sheet.name(list(ends.values()))
    words = in_words(title, facts, told)
    return sheet.canvas.save(stem.with_name(f"{stem.name}-load"), title, words)


def _known(line: Loaded) -> list[float]:
    return [line.latency_us[name] for name in _VIEWS if name in line.latency_us]


def _recalls(found: Sequence[tuple[Curve, Style, Point]]) -> str:
    recalls = [point.recall[10] for _, _, point in found]
    low, high = min(recalls), max(recalls)
    return f"{low:.2f}" if high - low < 0.005 else f"{low:.2f} to {high:.2f}"
