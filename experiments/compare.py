"""What has changed from one run to another, at matched recall.

Both runs are read at the same recalls, each between the two settings of its own
frontier that surround it, so a change that trades recall for time is not mistaken for
speed. A ratio above 1 is worse. Its interval is the wider of two: that of a paired
bootstrap over the queries, of their medians over rounds, and, for what a clock
measured, from the least of the rounds after over the greatest before to the greatest
over the least, since rounds of two runs share no machine's mood. A regression is an
interval that lies beyond the threshold as a whole: every round after must be that much
slower than every round before.

Where runs follow each other, the machine may be slower in the second. What a clock
measured is divided by how much longer the yardstick took in that run
(:mod:`experiments.yardstick`). It is not a search, and answers to its own part of what
slows one, so the interval also holds what it would be without: a regression is one
either way.

Only figures of one meaning are compared. A run of before schema 2 of ``rows.csv`` keeps
no p50 of all single queries (:mod:`experiments.schema`): beside one, the p50 over
queries of each one's median over rounds is compared, which every run has, and any
latency that one of the two lacks is refused.

Runs of one race (:mod:`experiments.race`) took turns, so their rounds come in pairs
that met the same machine. There the ratio is the median over pairs, its interval that
of a median over so many (the least to the greatest for fewer than six), and no
yardstick is asked.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments import per_query, percentiles
from experiments.frontier import Reading, read_at
from experiments.percentiles import MEDIAN, PERCENTS
from experiments.plots.curves import Curve, curves, remarks
from experiments.plots.rows import NAN, Group, Point, Run, read_run
from experiments.ratios import (
    RATES,
    TARGETS,
    Rounds,
    of_one_round,
    of_point,
    over,
    read_rounds,
)
from experiments.results import PER_QUERY, YARDSTICK
from experiments.statistics import Interval, paired_ratio, percentile

if TYPE_CHECKING:
    from numpy.typing import NDArray

OF_MEDIANS = f"{MEDIAN}p50_us"
LATENCIES = (*(f"{name}_us" for name in PERCENTS), OF_MEDIANS)
CLOCKED = (*LATENCIES, *RATES)
COUNTED = ("distance_computations", "index_bytes")
MEASURES = (*CLOCKED, *COUNTED, "build_s")
THRESHOLD = 0.05


@dataclass(frozen=True)
class Change:
    """One measure of one curve at one recall, in both runs.

    ``recall`` is NaN for what does not depend on the setting. ``ratio`` is above 1
    where the second run is worse; of what a clock measured, it is corrected for
    ``drift``, which is above 1 where the machine was slower in the second run, and 1
    where that is not known. ``before`` and ``after`` are as measured. ``verdict`` is
    "worse", "better", "" where neither can be said, or "lost" where only the first run
    reaches the recall.
    """

    dataset: str
    label: str
    measure: str
    recall: float
    before: float
    after: float
    ratio: Interval
    drift: float
    verdict: str


class Measured:
    """A result directory as a comparison reads it."""

    def __init__(self, directory: Path) -> None:
        self.run: Run = read_run(directory)
        self.rounds: Rounds = read_rounds(directory)
        columns = ("latency_us", "distance_computations")
        self.per_query = per_query.read(directory / PER_QUERY, "row_id", columns)


def compare(
    before: Measured,
    after: Measured,
    measures: Sequence[str] = (),
    threshold: float = THRESHOLD,
    targets: Sequence[float] = TARGETS,
) -> list[Change]:
    """Return every change between two runs.

    Parameters
    ----------
    before, after : the runs; curves are matched by data set, library and label
    measures : of MEASURES; by default the p50 that both runs know
    threshold : a ratio of 1 + threshold is tolerated
    targets : recall@10 to read at

    Raises
    ------
    ValueError
        When the runs have no curve in common, or a measure does not exist or is not
        known of one of them.
    """
    p50 = _p50(before.run, after.run)
    measures = measures or (p50,)
    for measure in measures:
        if measure not in MEASURES:
            listed = ", ".join(MEASURES)
            raise ValueError(f"a measure must be one of {listed}, got {measure!r}")
    if not threshold > 0:
        raise ValueError(f"threshold must be above 0, got {threshold}")
    pairs = list(common(before.run, after.run))
    if not pairs:
        raise ValueError("the runs must share a data set and a label, they share none")
    for measure in (each for each in measures if each in LATENCIES):
        _require(before.run, [a for _, a, _ in pairs], measure)
        _require(after.run, [b for _, _, b in pairs], measure)
    changes: list[Change] = []
    for group, a, b in pairs:
        sides = _Side(a, before, p50), _Side(b, after, p50)
        for measure in measures:
            changes += _changes(group, *sides, measure, threshold, targets)
    if not changes:
        named = ", ".join(measures)
        raise ValueError(f"both runs must have measured {named}, one of them has not")
    return changes


def _p50(before: Run, after: Run) -> str:
    """Return the column of the p50 that both runs know."""
    known = [point.latency_us for run in (before, after) for point in run.points]
    return f"{percentiles.common('p50', known)}_us"


def _require(run: Run, curves: Sequence[Curve], measure: str) -> None:
    """Raise ValueError where a run does not know a latency, with the reason."""
    points = [point for curve in curves for point in curve.points]
    if all(math.isnan(point.value(measure)) for point in points):
        why = remarks(points, [measure.removesuffix("_us").removeprefix(MEDIAN)])
        if MEDIAN + measure == OF_MEDIANS and not math.isnan(
            points[0].value(OF_MEDIANS)
        ):
            why.append(f"Compare {OF_MEDIANS}.")
        raise ValueError(" ".join([f"{run.name} has no {measure}.", *why]))


def regressions(changes: Sequence[Change]) -> list[Change]:
    """Return those that are worse."""
    return [change for change in changes if change.verdict in ("worse", "lost")]


def raced(before: Run, after: Run) -> bool:
    """Return whether two runs took turns in one race."""
    name = before.provenance.get("race")
    return name is not None and name == after.provenance.get("race")


def drift(before: Run, after: Run, group: Group) -> float:
    """Return how much longer the yardstick took in the second run.

    1 where that is not known, and for runs of one race, which met the same machine.
    """
    if raced(before, after):
        return 1.0
    medians = []
    for run in (before, after):
        cells = [p.cells.get(YARDSTICK) for p in run.points if p.group == group]
        known = [float(cell) for cell in cells if cell]
        medians.append(statistics.median(known) if known else NAN)
    ratio = over(medians[1], medians[0])
    return 1.0 if math.isnan(ratio) else ratio


def common(before: Run, after: Run) -> Iterator[tuple[Group, Curve, Curve]]:
    """Yield the curves that both runs have."""
    for group in dict.fromkeys(point.group for point in before.points):
        later = {(c.label, c.library): c for c in curves([after], group)}
        for curve in curves([before], group):
            if other := later.get((curve.label, curve.library)):
                yield group, curve, other


def compare_curves(
    pair: tuple[Curve, Curve],
    before: Measured,
    after: Measured,
    measure: str,
    targets: Sequence[float],
) -> list[tuple[float, Interval]]:
    """Return the ratio of a pair of curves at every recall that both reach."""
    p50 = _p50(before.run, after.run)
    a, b = _Side(pair[0], before, p50), _Side(pair[1], after, p50)
    group = pair[0].points[0].group
    changes = _changes(group, a, b, measure, THRESHOLD, targets)
    return [(each.recall, each.ratio) for each in changes if each.verdict != "lost"]


class _Side:
    """One curve of one run."""

    def __init__(self, curve: Curve, measured: Measured, p50: str) -> None:
        self.curve, self.run, self._measured = curve, measured.run, measured
        self._p50 = p50
        self._recall = [point.recall.get(10, NAN) for point in curve.points]

    def read(self, target: float, measure: str) -> Reading | None:
        """Return where the recall lies on the frontier of time, or of the count."""
        cost = measure if measure == "distance_computations" else self._p50
        return read_at(target, self._recall, self.values(cost))

    def values(self, measure: str) -> list[float]:
        """Return a measure of every setting; what is better when higher, inverted."""
        values = [point.value(measure) for point in self.curve.points]
        return [over(1, value) for value in values] if measure in RATES else values

    def rounds(self, measure: str, reading: Reading) -> list[float]:
        """Return a clocked measure of every round that both settings have."""
        around = [self.curve.points[i] for i in (reading.below, reading.above)]
        known = (of_point(self._measured.rounds, point) for point in around)
        both = [of.get(of_one_round(measure), []) for of in known]
        local = reading._replace(below=0, above=1)
        values = [local.of(pair) for pair in zip(*both, strict=False)]
        return [1 / v if measure in RATES else v for v in values if v > 0]

    def queries(self, column: str, reading: Reading) -> NDArray[np.float64] | None:
        """Return a measure of every query, read between the two settings."""
        around = (self.curve.points[i] for i in (reading.below, reading.above))
        low, high = (self._of_queries(column, point) for point in around)
        if low is None or high is None or not (low > 0).all() or not (high > 0).all():
            return None
        logs = (1 - reading.share) * np.log(low) + reading.share * np.log(high)
        values: NDArray[np.float64] = np.exp(logs)
        return values

    def _of_queries(self, column: str, point: Point) -> NDArray[np.float64] | None:
        """Return a measure of every query, the mean over seeds, where it is known."""
        known = self._measured.per_query
        of = (known.get(row_id, {}).get(column) for row_id in point.row_ids)
        parts = [part for part in of if part is not None]
        if not parts or len({len(part) for part in parts}) > 1:
            return None
        mean: NDArray[np.float64] = np.mean(parts, axis=0)
        return mean


def _changes(
    group: Group,
    before: _Side,
    after: _Side,
    measure: str,
    threshold: float,
    targets: Sequence[float],
) -> Iterator[Change]:
    drifted = drift(before.run, after.run, group) if measure in CLOCKED else 1.0

    def change(
        recall: float, a: float, b: float, ratio: Interval, verdict: str
    ) -> Change:
        label = before.curve.label
        return Change(
            group.dataset, label, measure, recall, a, b, ratio, drifted, verdict
        )

    if measure in ("index_bytes", "build_s"):
        a, b = (side.values(measure)[0] for side in (before, after))
        if not math.isnan(a + b):
            ratio = Interval(*[over(b, a)] * 3)
            verdict = _verdict(ratio, threshold) if measure in COUNTED else ""
            yield change(NAN, a, b, ratio, verdict)
        return
    for target in targets:
        at, now = before.read(target, measure), after.read(target, measure)
        if at is None:
            continue
        a = at.of(before.values(measure))
        if now is None:
            yield change(target, a, NAN, Interval(NAN, NAN, NAN), "lost")
            continue
        b = now.of(after.values(measure))
        if math.isnan(a + b):
            continue
        ratio = _interval(before, after, at, now, measure, over(b, a))
        ratio = _corrected(ratio, drifted)
        yield change(target, a, b, ratio, _verdict(ratio, threshold))


def _corrected(ratio: Interval, drifted: float) -> Interval:
    """Return a ratio for a machine of equal speed, no surer than without."""
    value, low, high = (end / drifted for end in ratio)
    return Interval(value, min(low, ratio.low), max(high, ratio.high))


def _interval(
    before: _Side,
    after: _Side,
    at: Reading,
    now: Reading,
    measure: str,
    ratio: float,
) -> Interval:
    found = Interval(ratio, ratio, ratio)
    column = "latency_us" if measure in ("p50_us", OF_MEDIANS) else measure
    a, b = before.queries(column, at), after.queries(column, now)
    if a is not None and b is not None and len(a) == len(b):
        found = _wider(found, paired_ratio(a, b))
    if measure in CLOCKED:
        a_rounds, b_rounds = before.rounds(measure, at), after.rounds(measure, now)
        if raced(before.run, after.run) and len(a_rounds) == len(b_rounds) > 0:
            in_pairs = _of_pairs(np.divide(b_rounds, a_rounds))
            found = _wider(in_pairs, found)
        elif a_rounds and b_rounds:
            low = min(b_rounds) / max(a_rounds)
            high = max(b_rounds) / min(a_rounds)
            found = _wider(found, Interval(ratio, low, high))
    return found


def _of_pairs(ratios: NDArray[np.float64]) -> Interval:
    """Return the median over pairs of rounds, with its interval or their span."""
    ends = float(ratios.min()), float(ratios.max())
    return percentile(ratios, 50) or Interval(float(np.median(ratios)), *ends)


def _wider(a: Interval, b: Interval) -> Interval:
    """Return the first with ends that hold both."""
    return Interval(a.value, min(a.low, b.low), max(a.high, b.high))


def _verdict(ratio: Interval, threshold: float) -> str:
    if ratio.low > 1 + threshold:
        return "worse"
    return "better" if ratio.high < 1 / (1 + threshold) else ""
