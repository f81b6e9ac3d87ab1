"""What is best at a recall, read as :mod:`experiments.frontier` does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from experiments.frontier import Reading, read_at
from experiments.page.material import Trace
from experiments.statistics import NOISY, Interval

COSTS = ("index_bytes", "build_s")  # that a front weighs against p50, and each other


@dataclass(frozen=True)
class Best:
    """One curve at one recall@10.

    ``p50`` and ``p99`` are latencies in µs with their intervals, of all single queries
    or of query medians, and ``qps`` a rate with the least and the greatest of a round;
    NaN where that is not known. ``words`` is the cheapest measured setting that reaches
    the recall; ``front`` says that no other curve is better in p50 or one of COSTS and
    no worse in the others.
    """

    trace: Trace
    reading: Reading
    p50: Interval
    p99: Interval
    qps: Interval
    noisy: bool
    words: str
    front: bool = False


def best_at(
    traces: Sequence[Trace], target: float, p50: str = "p50", p99: str = "p99"
) -> list[Best]:
    """Return the curves that reach a recall@10, quickest first.

    Parameters
    ----------
    traces : the curves
    target : the recall
    p50, p99 : names of the latencies that all curves know as such
    """
    found = [best for trace in traces if (best := _best(trace, target, p50, p99))]
    costs = [_costs(best) for best in found]
    marked = [
        replace(best, front=not any(_beats(other, own) for other in costs))
        for best, own in zip(found, costs, strict=True)
    ]
    return sorted(marked, key=lambda best: best.p50.value)


def _best(trace: Trace, target: float, p50: str, p99: str) -> Best | None:
    costs = trace.values(f"{p50}_us")
    reading = read_at(target, trace.values("recall_at_10"), costs)
    if reading is None:
        return None

    def interval(measure: str) -> Interval:
        names = (measure, f"{measure}_low", f"{measure}_high")
        return Interval(*(reading.of(trace.values(name)) for name in names))

    sway = trace.values("sway")
    return Best(
        trace=trace,
        reading=reading,
        p50=interval(f"{p50}_us"),
        p99=interval(f"{p99}_us"),
        qps=interval("qps"),
        noisy=any(sway[i] > NOISY for i in (reading.below, reading.above)),
        words=trace.settings[reading.above].words,
    )


def _costs(best: Best) -> tuple[float, ...]:
    values = (best.reading.of(best.trace.values(name)) for name in COSTS)
    return (best.p50.value, *values)


def _beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Return whether a is no worse than b where both are known, and once better."""
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if not math.isnan(x + y)]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)
