"""The figure of the lesson on fewer columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.lessons import narrowing
from experiments.lessons.looks import (
    BLACK,
    BLUE,
    DASHED,
    GREEN,
    ORANGE,
    PINK,
    Series,
    log_x,
    plot,
    shares,
    style,
    x_name,
)
from experiments.lessons.narrowing import PCA, TRUNCATE, WHOLE
from experiments.plots.canvas import BODY
from experiments.plots.scene import in_words, origin
from experiments.plots.sheet import Heading, Sheet
from experiments.plots.style import INK

if TYPE_CHECKING:
    from experiments.lessons.narrowing import Graph
    from experiments.plots.panel import Panel
    from experiments.plots.style import Style

_NOTE = (
    "Recall against the ten nearest at full width. HNSW, M = 16, ef_construction = "
    "200; one query at a time on one thread, medians over {rounds} rounds in turns; "
    "each point is an ef_search. Left: the highest recall of each curve, over all "
    "bytes that its index holds a vector, links included. Refine keeps the vectors of "
    "full width too, the point on the right, and scores the best {best} with them."
)
_TIMES = (5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
_BYTES = (125, 250, 500, 1_000, 2_000, 4_000)


def draw(
    tables: Mapping[str, Sequence[Any]], stamp: Mapping[str, Any], out: Path
) -> list[Path]:
    """Draw the figure; return the paths of PNG and SVG files."""
    lines: Sequence[Graph] = tables[narrowing.GRAPHS]
    one = lines[0]
    title = "Fewer columns lose answers; a second look brings them back"
    facts = [one.data, f"n = {one.n:,}", f"d = {one.d}", "cosine", *origin(stamp)]
    refine = narrowing.REFINE
    panels = ["memory – highest recall", "without refine", f"refine {refine}"]
    note = _NOTE.format(rounds=narrowing.ROUNDS, best=refine * one.k)
    curves = _by_name(lines)
    heading = Heading(title, facts, note)
    sheet = Sheet(heading, panels, list(curves), height=3.7, left=0.75)
    least = min(line.recall for line in lines)
    for panel in sheet.panels:
        shares(panel.ax)
        panel.ax.set_ylim(0.1 * int(10 * least) - 0.02, 1.015)
    _memory_axis(sheet.panels[0], lines)
    for panel in sheet.panels[1:]:
        _time_axis(panel, lines)
        panel.ax.tick_params(axis="y", labelleft=False)
    sheet.panels[0].ax.set_ylabel("recall@10", size=BODY, color=INK, labelpad=4)
    plot(sheet, [_series(name, own) for name, own in curves.items()])
    told = in_words(title, facts, [_words(line) for line in lines])
    return sheet.canvas.save(out / "narrowing", title, told)


def _series(name: str, lines: Sequence[Graph]) -> Series:
    """Return a curve; vectors as they are stand beside both kinds of the others."""
    plain = [line for line in lines if not line.refine]
    refined = [line for line in lines if line.refine]
    if lines[0].width == lines[0].d and not lines[0].codec:
        refined = plain
    best = [max(own, key=_recall) for own in (plain, refined) if own]
    memory = sorted({(line.bytes, line.recall) for line in best})
    return Series(name, _style(lines[0]), [memory, _curve(plain), _curve(refined)])


def _curve(lines: Sequence[Graph]) -> list[tuple[float, float]]:
    return [(line.median_us, line.recall) for line in lines]


def _by_name(lines: Sequence[Graph]) -> dict[str, list[Graph]]:
    curves: dict[str, list[Graph]] = {}
    for line in lines:
        words = [line.transform, str(line.width), line.codec]
        curves.setdefault(" ".join(filter(None, words)), []).append(line)
    return curves


def _style(line: Graph) -> Style:
    colour, marker = {
        (WHOLE, ""): (BLACK, "o"),
        (PCA, ""): (BLUE, "s"),
        (TRUNCATE, ""): (ORANGE, "^"),
        (WHOLE, "SQ8"): (GREEN, "D"),
        (PCA, "SQ8"): (PINK, "d"),
    }[line.transform, line.codec]
    narrowest = line.width == line.d // 4
    return style(colour, marker, DASHED if narrowest else "-", hollow=narrowest)


def _memory_axis(panel: Panel, lines: Sequence[Graph]) -> None:
    held = [line.bytes for line in lines]
    ticks = [t for t in _BYTES if min(held) / 1.7 <= t <= 1.7 * max(held)]
    log_x(panel.ax, ticks)
    x_name(panel, "bytes a vector")


def _time_axis(panel: Panel, lines: Sequence[Graph]) -> None:
    times = [line.median_us for line in lines]
    ticks = [t for t in _TIMES if min(times) / 1.5 <= t <= 1.5 * max(times)]
    log_x(panel.ax, ticks)
    panel.ax.set_xlim(min(times) / 1.15, max(times) * 1.15)
    x_name(panel, "median latency, µs")


def _recall(line: Graph) -> float:
    return line.recall


def _words(line: Graph) -> str:
    how = [line.transform, f"{line.width} columns", line.codec]
    how += [f"refine {line.refine}"] * bool(line.refine)
    return (
        f"{', '.join(filter(None, how))}, ef_search {line.ef_search}: recall "
        f"{line.recall:.3f}, {line.median_us:.1f} µs, {line.bytes:,.0f} bytes."
    )
