"""What an index costs: its memory and the time to build it, one mark for each build."""

from __future__ import annotations

import math
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from experiments.percentiles import words
from experiments.plots.canvas import BODY, LEADING
from experiments.plots.placement import text_width, wrap_names
from experiments.plots.rows import NAN, Point
from experiments.plots.scales import (
    RecallAxis,
    format_bytes,
    format_s,
    format_us,
    log_limits,
    measured_us,
)
from experiments.plots.scene import GOAL, Build, Scene, best_us, in_words
from experiments.plots.sheet import EDGE, End, Heading, Sheet
from experiments.plots.style import INK, shade

BAR = 0.32  # inches from bar to bar
COLUMNS = (0.95, 1.05, 1.75)  # inches, at least: build, compile, p50


def draw_memory(scene: Scene, k: int, stem: Path) -> list[Path]:
    """Draw the memory of each built index against the best recall it reached."""
    n, d = scene.group.n, scene.group.d
    builds = [
        Build(build.name, build.style, points)
        for build in scene.builds()
        if (points := [p for p in build.points if k in p.recall and p.index_bytes > 0])
    ]
    if not builds or not n:
        return []
    title = f"Recall@{k} against memory: the best recall that each index reached"
    p50 = scene.latency("p50")
    note = (
        "Each line spans the recalls measured on one built index; its mark stands at "
        "the best of them, and the wider the mark, the slower that search."
        + scene.remarks("p50")
    )
    facts = scene.facts([])
    sheet = Sheet(Heading(title, facts, note), [""], [build.name for build in builds])
    recalls = [point.recall[k] for build in builds for point in build.points]
    axis = RecallAxis(recalls, scene.resolution(k))
    sizes = [build.points[0].index_bytes / n for build in builds]
    limits = log_limits([*sizes, 4 * d or sizes[0]], pad=0.12)
    sheet.recall_axes(axis, k)
    sheet.log_axes("index bytes per vector", limits, format_bytes)
    panel, ends, lines, decades = sheet.panels[0], [], [], set()
    for build, size in zip(builds, sizes, strict=True):
        best = max(build.points, key=lambda p: (p.recall[k], -_us(p, p50)))
        us = _us(best, p50)
        lowest = axis(min(point.recall[k] for point in build.points))
        spot = axis(best.recall[k]), size
        panel.bubble(build.style, lowest, spot, bubble_width(us))
        ends.append(End(build.name, build.style, panel.place(*spot)))
        reached = f"best recall {best.recall[k]:.4f}"
        lines.append(f"{build.name}: {format_bytes(size)} per vector, {reached}.")
        if us > 0:
            decades.add(10.0 ** round(math.log10(us)))
    if d:
        sheet.reference(4 * d, f"float32 vectors alone: {format_bytes(4 * d)}")
    sheet.name(ends)
    panel.better("lower right")
    if decades:
        widths = [(format_us(us), bubble_width(us)) for us in sorted(decades)]
        sheet.bubble_key(f"{words(p50)} at the best recall:", widths)
    told = in_words(title, facts, lines)
    return sheet.canvas.save(stem.with_name(f"{stem.name}-memory"), title, told)


def draw_build(scene: Scene, k: int, stem: Path) -> list[Path]:
    """Draw a bar for the time to build each index, fastest first."""
    builds = [b for b in scene.builds() if not math.isnan(b.points[0].build_s)]
    if not builds:
        return []
    builds.sort(key=lambda build: build.points[0].build_s)
    title = "Time to build, and the latency it buys"
    p50 = scene.latency("p50")
    heads = ("build", "compile", f"{words(p50)} at recall {GOAL:g}")
    columns = [max(*pair) for pair in zip(COLUMNS, map(_width, heads), strict=True)]
    note = (
        "Solid: building. Hatched: compilation, paid once on a machine, then cached. "
        f"Latency: the {words(p50)} at recall@{k} = {GOAL:g}, read between "
        "neighbouring settings, one query at a time on one thread; blank where no "
        "setting reached it." + scene.remarks("p50")
    )
    facts = scene.facts(sorted({build.points[0].threads for build in builds}))
    names = list(wrap_names((build.name for build in builds), 2.8, BODY).values())
    heights = [BAR + (len(name) - 1) * BODY * LEADING for name in names]
    sheet = Sheet(
        Heading(title, facts, note),
        [""],
        [],
        height=sum(heights) + 0.1,
        left=EDGE + 0.1 + max(text_width(line, BODY) for line in chain(*names)),
        right=sum(columns),
    )
    ax, area = sheet.panels[0].ax, sheet.area
    ends = [build.points[0].build_s + _compile_s(build) for build in builds]
    ax.set_xlim(0, max(ends) * 1.03 or 1)
    ax.set_ylim(0, area.top - area.bottom)  # in inches
    ax.set_yticks([])
    sheet.x_name("seconds")
    edges = list(accumulate(columns, initial=area.right))[1:]
    for edge, head in zip(edges, heads, strict=True):
        at = area.top + 0.12
        sheet.canvas.text(edge, at, head, BODY, INK, ha="right", weight="bold")
    top, lines = area.top - 0.05, []
    for build, name, height in zip(builds, names, heights, strict=True):
        y, top = top - height / 2, top - height
        cells = _cells(build, best_us(build.points, k, p50))
        seconds, compiling = build.points[0].build_s, _compile_s(build)
        _bar(ax, y - area.bottom, seconds, compiling, build.style.colour)
        sheet.rule(top)
        sheet.canvas.block(area.left - 0.1, y, name, build.style.text, ha="right")
        for edge, cell in zip(edges, cells, strict=True):
            sheet.canvas.block(edge, y, [cell], INK, ha="right")
        told = [f"{head} {cell}" for head, cell in zip(heads, cells, strict=True)]
        lines.append(f"{build.name}: {', '.join(told)}.")
    described = in_words(title, facts, lines)
    return sheet.canvas.save(stem.with_name(f"{stem.name}-build"), title, described)


def bubble_width(us: float) -> float:
    """Return the width of a mark in points: 4 more for ten times the latency."""
    return min(30.0, max(4.0, 4.0 * math.log10(us))) if us > 0 else 4.0


def _width(head: str) -> float:
    return text_width(head, BODY, "bold") + 0.2


def _cells(build: Build, us: float) -> tuple[str, str, str]:
    first = build.points[0]
    return (
        format_s(first.build_s),
        "" if math.isnan(first.compile_s) else format_s(first.compile_s),
        "" if math.isnan(us) else measured_us(us),
    )


def _bar(ax: Axes, y: float, seconds: float, compiling: float, colour: str) -> None:
    look: dict[str, Any] = {"height": BAR * 0.62, "lw": 0}
    ax.barh(y, seconds, color=colour, **look)
    look |= {"left": seconds, "hatch": "////", "ec": "white"}
    ax.barh(y, compiling, color=shade(colour, 0.55), **look)


def _us(point: Point, name: str) -> float:
    return point.latency_us.get(name, NAN)


def _compile_s(build: Build) -> float:
    seconds = build.points[0].compile_s
    return 0.0 if math.isnan(seconds) else seconds
