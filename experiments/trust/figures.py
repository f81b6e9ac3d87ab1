"""Figures of the studies of trust."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from experiments.percentiles import common, meaning, remarks, words
from experiments.plots.scales import RecallAxis, format_us, log_limits
from experiments.plots.scene import GOAL, METRICS, in_words, origin
from experiments.plots.sheet import End, Heading, Sheet
from experiments.plots.style import SOFT, Style, look, styles
from experiments.trust import churn, filters, hostile
from experiments.trust.filtering import PREPARED
from experiments.trust.filters import EXACT, RANDOM
from experiments.trust.hostile import SHUFFLED

if TYPE_CHECKING:
    from experiments.trust.subject import Subject

L = TypeVar("L", churn.Line, hostile.Line)

_GAP = 0.75  # inches: each panel has a y axis of its own
_CHURN = (
    "In every round a random share of the vectors is removed, and added again under "
    "the same ids; the searched vectors are the same after each. Round 0 is a fresh "
    "build. Recall of each index at its first setting that had {goal:g} then. Memory: "
    "the index at its greatest in the round."
)
_FILTERS = (
    "Each index at the first of its settings. Latency is of the whole call, one query "
    "at a time on one thread; ours are given a mask, FAISS a bitmap made before, "
    "hnswlib a function of Python. The yardstick searches an index of nothing but what "
    "passes; dotted: twice its latency."
)
_HOSTILE = (
    "Recall@10 by distance, in points more or less than that of the same index and "
    "setting on the data in a random order, which stands behind its name. Shaded: "
    "within one point."
)


class Series(NamedTuple):
    """A curve: its name, how it looks, and its points by a panel's number."""

    name: str
    style: Style
    points: Sequence[Sequence[tuple[float, float]]]


def draw_churn(
    lines: Sequence[churn.Line], provenance: Mapping[str, Any], stem: Path
) -> list[Path]:
    """Draw recall, memory and the seconds of a round, over rounds."""
    chosen = _chosen(lines, lambda line: line.stage == churn.BUILT)
    series = list(map(_over_rounds, chosen, _styles(chosen)))
    if not series:
        return []
    title = "Churn: what removing and adding again does to an index"
    last = max(line.round for line in lines)
    share = max(line.removed for line in lines) / lines[0].n
    facts = [*_facts(lines[0], provenance), f"{share:.0%} of the vectors a round"]
    panels = ["recall@10", "memory – × the fresh build", "a round – seconds"]
    sheet = _sheet(Heading(title, facts, _CHURN.format(goal=GOAL)), panels, series)
    for i, panel in enumerate(sheet.panels):
        _linear(panel.ax, [y for each in series for _, y in each.points[i]])
        panel.ax.set_xlim(-0.02 * last, 1.04 * last)
        panel.ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    sheet.x_name("round")
    _plot(sheet, series, markevery=max(1, last // 4))
    told = [_churn_words(each) for each in series]
    return sheet.canvas.save(
        stem.with_name(f"{stem.name}-churn"), title, in_words(title, facts, told)
    )


def _over_rounds(lines: Sequence[churn.Line], style: Style) -> Series:
    """Return recall, memory and seconds of one setting over rounds."""
    rounds = [line for line in lines if line.stage != churn.FRESH]
    changes = [line for line in rounds if line.stage == churn.CHURNED]
    whole = rounds[0].index_bytes or 1
    return Series(
        lines[0].name,
        style,
        [
            [(x.round, x.recall_at_10 or 0.0) for x in rounds],
            [(x.round, (x.index_bytes or 0) / whole) for x in rounds],
            [(x.round, (x.remove_s or 0.0) + (x.add_s or 0.0)) for x in changes],
        ],
    )


def _chosen(lines: Sequence[L], first: Callable[[L], bool]) -> list[Sequence[L]]:
    """Return the lines of each index at its first setting with enough recall.

    ``first`` says of a line whether its recall is the one that counts.
    """
    chosen: list[Sequence[L]] = []
    for label in dict.fromkeys(line.label for line in lines):
        own = [line for line in lines if line.label == label]
        before = [line for line in own if first(line)]
        enough = [line for line in before if (line.recall_at_10 or 0) >= GOAL]
        if before:
            name = (enough or before[-1:])[0].name
            chosen.append([line for line in own if line.name == name])
    return chosen


def _churn_words(series: Series) -> str:
    recalls, sizes, _ = series.points
    return (
        f"{series.name}: recall {recalls[0][1]:.4f}, then {recalls[-1][1]:.4f}; "
        f"memory at most {max(size for _, size in sizes):.2f} times."
    )


def draw_filters(
    lines: Sequence[filters.Line], provenance: Mapping[str, Any], stem: Path
) -> list[Path]:
    """Draw recall and latency over selectivity, a figure for each shape."""
    paths = []
    for shape in dict.fromkeys(line.shape for line in lines):
        own = [x for x in lines if (x.shape, x.form) == (shape, PREPARED)]
        own = [x for x in own if x.latency_us]
        paths += _draw_shape(own, shape, provenance, stem)
    return paths


def _draw_shape(
    lines: Sequence[filters.Line], shape: str, provenance: Mapping[str, Any], stem: Path
) -> list[Path]:
    names = {line.label: line.name for line in reversed(lines)}  # the first settings
    firsts = [
        sorted((x for x in lines if x.name == names[label]), key=lambda x: -x.share)
        for label in dict.fromkeys(line.label for line in lines)
    ]
    known = [line.latency_us for line in lines]
    p50 = common("p50", known)
    recalls = [line.recall_at_10 or 0.0 for own in firsts for line in own]
    axis = RecallAxis(recalls, 1 / (lines[0].k * lines[0].nq))
    series = [
        Series(
            own[0].name,
            style,
            [
                [(line.share, axis(line.recall_at_10 or 0.0)) for line in own],
                [(line.share, line.latency_us[p50]) for line in own],
            ],
        )
        for own, style in zip(firsts, _styles(firsts), strict=True)
    ]
    where = "anywhere" if shape == RANDOM else f"in the cells {shape} the queries"
    title = f"Filters: recall and latency where what passes lies {where}"
    facts = _facts(lines[0], provenance)
    panels = ["recall@10", f"{words(p50)} – {meaning(p50)}"]
    note = " ".join([_FILTERS, *remarks([lines[0].nq], known, ["p50"])])
    sheet = _sheet(Heading(title, facts, note), panels, series)
    left, right = sheet.panels
    _nines(left.ax, axis)
    right.log_axis(log_limits([y for s in series for _, y in s.points[1]]), format_us)
    for panel in sheet.panels:
        _shares(panel.ax, sorted({line.share for line in lines}, reverse=True))
    sheet.x_name("share of the vectors that passes")
    twice = [(x, 2 * y) for s in series if s.name == EXACT for x, y in s.points[1]]
    if twice:
        right.ax.plot(*zip(*twice, strict=True), color=SOFT, lw=1, ls=(0, (1, 2)))
    _plot(sheet, series)
    told = [_filter_words(own, p50) for own in firsts]
    return sheet.canvas.save(
        stem.with_name(f"{stem.name}-filters-{shape}"),
        title,
        in_words(title, facts, told),
    )


def _filter_words(lines: Sequence[filters.Line], p50: str) -> str:
    told = (
        f"{line.recall_at_10 or 0.0:.3f} in {format_us(line.latency_us[p50])} "
        f"at {line.share:.3g}"
        for line in lines
    )
    return f"{lines[0].name}: recall {', '.join(told)}."


def _nines(ax: Axes, axis: RecallAxis) -> None:
    """Make y an axis of recall, by its nines."""
    ticks = axis.ticks(2.5, 9.0)
    ax.set_ylim(axis.low, axis.high)
    ax.set_yticks([y for y, _ in ticks], [label for _, label in ticks])
    ax.axhline(axis(GOAL), color=SOFT, lw=0.9, ls=(0, (1, 2)), zorder=1)


def _shares(ax: Axes, shares: Sequence[float]) -> None:
    """Make x a log axis of shares, the largest first."""
    ax.set_xscale("log")
    ax.set_xlim(max(shares) * 1.35, min(shares) / 1.35)
    ax.set_xticks(shares, [f"{100 * share:.3g} %" for share in shares])
    ax.set_xticks([], minor=True)


def draw_hostile(
    lines: Sequence[hostile.Line], provenance: Mapping[str, Any], stem: Path
) -> list[Path]:
    """Draw the change of recall on each kind of data."""
    kinds = [k for k in dict.fromkeys(x.data for x in lines) if k != SHUFFLED]
    chosen = _chosen(lines, lambda line: line.data == SHUFFLED)
    series = [
        Series(
            f"{own[0].name}: {own[0].recall_at_10 or 0.0:.3f}",
            style,
            [
                [
                    (float(kinds.index(line.data)), 100 * line.change)
                    for line in own
                    if line.data in kinds and line.change is not None
                ]
            ],
        )
        for own, style in zip(chosen, _styles(chosen), strict=True)
    ]
    if not kinds or not series:
        return []
    title = "Hostile data: what it costs in recall"
    facts = _facts(lines[0], provenance)
    panels = ["recall@10 – change, points"]
    sheet = _sheet(Heading(title, facts, _HOSTILE), panels, series)
    ax = sheet.panels[0].ax
    _linear(ax, [-1, 1, *(y for each in series for _, y in each.points[0])])
    ax.axhspan(-1, 1, color="#f3f3f3", lw=0, zorder=-3)
    ax.set_xlim(-0.4, len(kinds) - 0.6)
    ax.set_xticks(range(len(kinds)), kinds)
    _plot(sheet, series, ls="none")
    told = [
        f"{each.name}: "
        + ", ".join(f"{kinds[int(x)]} {y:+.1f}" for x, y in each.points[0])
        + "."
        for each in series
    ]
    return sheet.canvas.save(
        stem.with_name(f"{stem.name}-hostile"), title, in_words(title, facts, told)
    )


def _styles(groups: Sequence[Sequence[Subject]]) -> list[Style]:
    return styles([(own[0].family, own[0].library) for own in groups])


def _facts(line: Subject, provenance: Mapping[str, Any]) -> list[str]:
    threads = f"{line.threads} thread{'s' * (line.threads > 1)}"
    return [
        line.dataset,
        f"n = {line.n:,}",
        f"d = {line.d:,}",
        METRICS.get(line.metric, line.metric),
        f"k = {line.k}",
        f"{line.nq:,} queries",
        threads,
        *origin(provenance),
    ]


def _sheet(heading: Heading, panels: Sequence[str], series: Sequence[Series]) -> Sheet:
    return Sheet(heading, panels, [each.name for each in series], gap=_GAP)


def _linear(ax: Axes, values: Sequence[float]) -> None:
    """Give y a linear axis with room around all values."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    ax.set_ylim(low - room, high + room)


def _plot(sheet: Sheet, series: Sequence[Series], **how: Any) -> None:
    """Draw the curves on their panels, and name them at the ends of the last."""
    ends = []
    for i, panel in enumerate(sheet.panels):
        for each in series:
            if points := each.points[i]:
                xs, ys = zip(*points, strict=True)
                panel.ax.plot(xs, ys, **look(each.style) | how)
                if panel is sheet.panels[-1]:
                    ends.append(End(each.name, each.style, panel.place(*points[-1])))
    sheet.name(ends)
