"""What is best at a recall, read as :mod:`experiments.frontier` does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from experiments.frontier import Reading, read_at
from experiments.page.material import Trace
from experiments.statistics import NOISY, Interval

COSTS = ("p50_us", "index_bytes", "build_s")  # that a front weighs against each other


@dataclass(frozen=True)
class Best:
    """One curve at one recall@10.

    ``spans`` holds p50 and the two rates with the least and the greatest of a round,
    NaN where that is not known; ``words`` is the cheapest measured setting that
    reaches the recall; ``front`` says that no other curve is better in one of COSTS
    and no worse in the others.
    """

    trace: Trace
    reading: Reading
    p50_us: Interval
    p99_us: Interval
    qps: Interval
    qps_1thread: Interval
    noisy: bool
    words: str
    front: bool = False


def best_at(traces: Sequence[Trace], target: float) -> list[Best]:
    """Return the curves that reach a recall@10, quickest first."""
    found = [best for trace in traces if (best := _best(trace, target))]
    costs = [_costs(best) for best in found]
    marked = [
        replace(best, front=not any(_beats(other, own) for other in costs))
        for best, own in zip(found, costs, strict=True)
    ]
    return sorted(marked, key=lambda best: best.p50_us.value)


def reading_at(trace: Trace, target: float) -> Reading | None:
    """Return where a recall@10 lies on the frontier of a curve's p50."""
    return read_at(target, trace.values("recall_at_10"), trace.values("p50_us"))


def _best(trace: Trace, target: float) -> Best | None:
    reading = reading_at(trace, target)
    if reading is None:
        return None

    def interval(measure: str) -> Interval:
        names = (measure, f"{measure}_low", f"{measure}_high")
        return Interval(*(reading.of(trace.values(name)) for name in names))

    sway = trace.values("sway")
    return Best(
        trace=trace,
        reading=reading,
        p50_us=interval("p50_us"),
        p99_us=interval("p99_us"),
        qps=interval("qps"),
        qps_1thread=interval("qps_1thread"),
        noisy=any(sway[i] > NOISY for i in (reading.below, reading.above)),
        words=trace.settings[reading.above].words,
    )


def _costs(best: Best) -> tuple[float, ...]:
    values = (best.reading.of(best.trace.values(name)) for name in COSTS[1:])
    return (best.p50_us.value, *values)


def _beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Return whether a is no worse than b where both are known, and once better."""
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if not math.isnan(x + y)]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)
