"""Figure of a comparison: how a cost has changed, along the recall."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.compare import LATENCIES, Measured, common, compare_curves, raced
from experiments.percentiles import words
from experiments.plots.canvas import settings
from experiments.plots.curves import Curve
from experiments.plots.rows import Group
from experiments.plots.scales import RecallAxis
from experiments.plots.scene import Scene, in_words, stems
from experiments.plots.sheet import End, Heading, Sheet
from experiments.plots.style import SOFT, Style, look, styles
from experiments.statistics import Interval

STEPS = 40  # recalls at which two curves are read
TITLES = {
    **{latency: words(latency.removesuffix("_us")) for latency in LATENCIES},
    "qps": "time of a batch",
    "qps_1thread": "time of a batch on one thread",
    "distance_computations": "distance computations",
}
_NOTE = (
    "After over before at equal recall, each read between the two settings of its own "
    "frontier that surround it: above 0 % is worse. Times are divided by how much "
    "slower the machine was. Bands: the wider of a paired bootstrap over queries, of "
    "their medians, and the span of rounds, with that correction and without. Dotted: "
    "the threshold."
)
_RACED = (
    "After over before at equal recall, each read between the two settings of its own "
    "frontier that surround it: above 0 % is worse. The runs took turns: the median "
    "over pairs of rounds. Bands: the wider of its interval and of a paired bootstrap "
    "over queries, of their medians. Dotted: the threshold."
)


class _Line(NamedTuple):
    """One curve: recalls, and the ratio at each."""

    label: str
    style: Style
    recalls: list[float]
    ratios: list[Interval]


def draw(
    before: Measured, after: Measured, measure: str, threshold: float, out: Path
) -> list[Path]:
    """Draw a figure for each data set that both runs have; return the paths written.

    Parameters
    ----------
    before, after, measure, threshold : see :func:`experiments.compare.compare`
    out : a directory, made when missing
    """
    if measure not in TITLES:
        return []
    out.mkdir(parents=True, exist_ok=True)
    note = _RACED if raced(before.run, after.run) else _NOTE
    title = f"What has changed: {TITLES[measure]} at equal recall@10"
    pairs: dict[Group, list[tuple[Curve, Curve]]] = {}
    for group, a, b in common(before.run, after.run):
        pairs.setdefault(group, []).append((a, b))
    paths = []
    with settings():
        for group, stem in zip(pairs, stems(list(pairs)), strict=True):
            looks = styles([(a.family, a.library) for a, _ in pairs[group]])
            lines = [
                _line(pair, look_, before, after, measure)
                for pair, look_ in zip(pairs[group], looks, strict=True)
            ]
            shown = [line for line in lines if len(line.recalls) > 1]
            if shown:
                facts = Scene.of([before.run, after.run], group).facts([1])
                name = f"{stem}-{measure.replace('_', '-')}-change"
                heading = Heading(title, facts, note)
                paths += _draw(shown, heading, threshold, out / name)
    return paths


def _line(
    pair: tuple[Curve, Curve],
    style: Style,
    before: Measured,
    after: Measured,
    measure: str,
) -> _Line:
    spans = [[point.recall.get(10, 0.0) for point in curve.points] for curve in pair]
    low, high = max(map(min, spans)), min(map(max, spans))
    ends = [-math.log10(1 - min(recall, 0.9999)) for recall in (low, high)]
    steps = (ends[0] + (ends[1] - ends[0]) * i / (STEPS - 1) for i in range(STEPS))
    targets = [1 - 10**-step for step in steps] if high > low else []
    changes = compare_curves(pair, before, after, measure, targets)
    recalls = [target for target, ratio in changes if not math.isnan(ratio.value)]
    ratios = [ratio for _, ratio in changes if not math.isnan(ratio.value)]
    return _Line(pair[0].label, style, recalls, ratios)


def _draw(
    lines: Sequence[_Line],
    heading: Heading,
    threshold: float,
    stem: Path,
) -> list[Path]:
    sheet = Sheet(heading, [""], [line.label for line in lines])
    recalls = [recall for line in lines for recall in line.recalls]
    axis = RecallAxis(recalls, 1e-4)
    sheet.recall_axes(axis, 10)
    panel = sheet.panels[0]
    every = [x for line in lines for ratio in line.ratios for x in ratio]
    limit = 1.1 * max(threshold, *(abs(x - 1) for x in every))
    panel.ax.set_ylim(1 - limit, 1 + limit)
    ticks = [1 + limit * share for share in (-0.8, -0.4, 0, 0.4, 0.8)]
    panel.ax.set_yticks(ticks, [f"{tick - 1:+.1%}" for tick in ticks])
    for y in (1 - threshold, 1 + threshold):
        panel.reference(y)
    panel.ax.axhline(1, color=SOFT, lw=1)
    ends, told = [], []
    for line in lines:
        xs = [axis(recall) for recall in line.recalls]
        lows, highs = ([r[i] for r in line.ratios] for i in (1, 2))
        panel.ax.fill_between(
            xs, lows, highs, color=line.style.colour, alpha=0.12, lw=0
        )
        path = look(line.style) | {"marker": "none"}
        panel.ax.plot(xs, [ratio.value for ratio in line.ratios], **path)
        ends.append(
            End(line.label, line.style, panel.place(xs[-1], line.ratios[-1][0]))
        )
        middle = line.ratios[len(line.ratios) // 2].value
        told.append(f"{line.label}: {middle - 1:+.1%} in the middle.")
    sheet.name(ends)
    panel.better("lower right")
    described = in_words(heading.title, heading.facts, told)
    return sheet.canvas.save(stem, heading.title, described)
