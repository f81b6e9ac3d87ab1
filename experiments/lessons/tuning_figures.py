"""Figures of the lesson on tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.lessons import tuning
from experiments.lessons.looks import BLUE, GREEN, ORANGE, PINK, x_name
from experiments.plots.canvas import BODY, TICK
from experiments.plots.scales import RecallAxis, format_us, log_limits
from experiments.plots.scene import in_words, origin
from experiments.plots.sheet import Heading, Sheet
from experiments.plots.style import INK, SOFT

if TYPE_CHECKING:
    from experiments.lessons.tuning import Choice, Point, Promise
    from experiments.plots.panel import Panel

_FAMILIES = {
    "HNSW": BLUE,
    "HNSW on codes": GREEN,
    "IVF": ORANGE,
    "IVF on codes": PINK,
}
_PROMISE = (
    "One dot a repetition, each with queries and a seed of its own. Left: mean "
    "recall@10 over 3,000 queries that no repetition saw; grey ticks: the lower bound "
    "that it promised; dotted: the target. Right: latency of lone queries, the median "
    "of each one's lower quartile over rounds, over that of the sweep's quickest "
    "setting, taken in turns; dotted: 1 and 1.3."
)
_SWEEP = (
    "Small marks: every setting of the sweep. Dotted: the target. Ring: the quickest "
    "setting whose mean recall over the fresh queries meets it. Crosses: what was "
    "chosen, each time by other queries; a little to the right, as it has to be sure. "
    "Latency: the median over queries of each one's lower quartile over rounds; those "
    "of marks were taken one after the other, on a machine with other work."
)
_JITTER = 0.22


def draw(
    tables: Mapping[str, Sequence[Any]], stamp: Mapping[str, Any], out: Path
) -> list[Path]:
    """Draw the figures of all tables; return the paths of PNG and SVG files."""
    promises, choices = tables[tuning.PROMISE], tables[tuning.CHOICES]
    told = origin(stamp)
    return [
        *_promise(promises, choices, told, out / "promise"),
        *_sweep(promises, choices, tables[tuning.SWEEP], told, out / "sweep"),
    ]


def _promise(
    promises: Sequence[Promise],
    choices: Sequence[Choice],
    origin: Sequence[str],
    stem: Path,
) -> list[Path]:
    met, runs = (sum(getattr(p, x) for p in promises) for x in ("met", "repetitions"))
    title = f"{met} of {runs} choices meet their target on queries never seen"
    facts = [f"n = {promises[0].n:,}", f"target {tuning.TARGET}, confidence 0.95"]
    sheet = Sheet(
        Heading(title, [*facts, *origin], _PROMISE),
        ["recall@10 – of fresh queries", "time – over the best's"],
        [],
        height=0.62 * len(promises) + 0.3,
        left=1.3,
        right=0.1,
        gap=0.35,
    )
    recall, time = sheet.panels
    for row, each in enumerate(promises):
        own = [choice for choice in choices if choice.data == each.data]
        ys = row + np.linspace(-_JITTER, _JITTER, len(own))
        dots: dict[str, Any] = {
            "ls": "none",
            "marker": "o",
            "ms": 4.2,
            "mec": "white",
            "mew": 0.5,
        }
        bounds: dict[str, Any] = {
            "ls": "none",
            "marker": "|",
            "ms": 6,
            "color": SOFT,
            "alpha": 0.6,
        }
        recall.ax.plot([c.lower for c in own], ys, **bounds)
        recall.ax.plot([c.fresh for c in own], ys, color=BLUE, **dots)
        time.ax.plot([c.ratio for c in own], ys, color=ORANGE, **dots)
    for panel in sheet.panels:
        panel.ax.set_ylim(len(promises) - 0.5, -0.5)
        panel.ax.grid(False, axis="y")
        panel.ax.set_yticks([])
    names = [each.data for each in promises]
    recall.ax.set_yticks(range(len(names)), names, size=BODY, color=INK)
    _upright(recall, [tuning.TARGET])
    _upright(time, [1, tuning.WITHIN])
    x_name(recall, "mean recall@10")
    x_name(time, "times the quickest of the sweep")
    words = [
        f"{p.data}: {p.met} of {p.repetitions} met, the lowest {p.lowest:.4f}; time "
        f"{p.ratio:.2f} times the best's, at worst {p.worst:.2f}."
        for p in promises
    ]
    return sheet.canvas.save(stem, title, in_words(title, facts, words))


def _sweep(
    promises: Sequence[Promise],
    choices: Sequence[Choice],
    points: Sequence[Point],
    origin: Sequence[str],
    stem: Path,
) -> list[Path]:
    title = "What could have been chosen, and what was"
    facts = [f"n = {promises[0].n:,}", *origin]
    names = [f"{p.data} – {p.metric}, d = {p.width}" for p in promises]
    heading = Heading(title, facts, _SWEEP)
    sheet = Sheet(heading, names, [], height=3.4, right=0.1, gap=0.25)
    shown = [p for p in points if p.index != "Flat"]
    chosen = [c for c in choices if c.index != "Flat"]
    recalls = [*(p.recall for p in shown), *(c.fresh for c in chosen), 0.995]
    axis = RecallAxis(recalls, 1e-6)
    times = [p.undisturbed_us for p in shown] + [c.undisturbed_us for c in chosen]
    sheet.recall_axes(axis, tuning.K)
    sheet.log_axes("latency, undisturbed", log_limits(times), format_us)
    for panel, each in zip(sheet.panels, promises, strict=True):
        _field(panel, axis, [p for p in shown if p.data == each.data])
        mine = [c for c in chosen if c.data == each.data]
        spots = [(axis(c.fresh), c.undisturbed_us) for c in mine]
        cross: dict[str, Any] = {
            "ls": "none",
            "marker": "x",
            "ms": 5,
            "mew": 1.1,
            "color": INK,
        }
        panel.ax.plot(*zip(*spots, strict=True), zorder=5, **cross)
        _upright(panel, [axis(tuning.TARGET)])
    _key(sheet.panels[0])
    words = [
        f"{p.data}: the quickest is {p.index}, {p.search}, with recall {p.recall:.4f}."
        for p in points
        if p.best
    ]
    return sheet.canvas.save(stem, title, in_words(title, facts, words))


def _field(panel: Panel, axis: RecallAxis, points: Sequence[Point]) -> None:
    """Draw a set's settings by family, and a ring around the best."""
    mark: dict[str, Any] = {
        "ls": "none",
        "marker": "o",
        "ms": 2.6,
        "mec": "none",
        "alpha": 0.45,
    }
    for family, colour in _FAMILIES.items():
        own = [p for p in points if _family(p) == family and not p.best]
        xs, ys = [axis(p.recall) for p in own], [p.undisturbed_us for p in own]
        panel.ax.plot(xs, ys, color=colour, **mark)
    ring: dict[str, Any] = {
        "ls": "none",
        "marker": "o",
        "ms": 11,
        "mfc": "none",
        "mec": INK,
    }
    best = [p for p in points if p.best]
    xs, ys = [axis(p.recall) for p in best], [p.undisturbed_us for p in best]
    panel.ax.plot(xs, ys, **ring)


def _family(point: Point) -> str:
    structure = point.index.split("(")[0].split(" ")[0]
    return f"{structure}{' on codes' * (' on ' in point.index)}"


def _key(panel: Panel) -> None:
    for i, (family, colour) in enumerate(_FAMILIES.items()):
        panel.ax.text(
            0.03, 0.97 - 0.07 * i, family, size=TICK, color=colour, va="top",
            weight="bold", transform=panel.ax.transAxes,
        )  # fmt: skip


def _upright(panel: Panel, xs: Sequence[float]) -> None:
    for x in xs:
        panel.ax.axvline(x, color=SOFT, lw=0.9, ls=(0, (1, 2)), zorder=1)
