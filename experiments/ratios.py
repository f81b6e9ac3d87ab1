"""How many times faster one curve is than another, at equal recall.

A figure here is the ratio of what the rows of two curves say, each read between the two
settings of its curve's p50 frontier that surround the recall
(:mod:`experiments.frontier`): of the very p50, p95 and p99 that all other tables show.
Every setting is measured once a round, in turns with all others, so what slows the
machine down for a while slows both sides of a ratio; its span is that of the ratios of
single rounds, and of itself.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from experiments.frontier import Reading, read_at
from experiments.percentiles import MEDIAN, NAMES
from experiments.plots.curves import Curve, common, curves
from experiments.plots.rows import NAN, Group, Point, Run
from experiments.results import ROUND_MEASURES, ROUNDS

TARGETS = (0.90, 0.95, 0.99)
RATES = ("qps_1thread", "qps")
MEASURES = (*(f"{name}_us" for name in NAMES), *RATES)
_EARLIER = ("p50_us", "p99_us", *RATES)  # in every rounds.csv; p95_us since schema 2
Rounds = Mapping[str, Mapping[str, Sequence[float]]]  # row_id, measure, round


class Ratio(NamedTuple):
    """A ratio, and its span over rounds, NaN where no rounds are known."""

    value: float
    low: float
    high: float


class Compared(NamedTuple):
    """A measure of two sides, and how many times the better the first is."""

    ours: float
    peer: float
    ratio: Ratio


UNKNOWN = Compared(NAN, NAN, Ratio(NAN, NAN, NAN))


@dataclass(frozen=True)
class Comparison:
    """Two curves at one recall; latencies of one query on one thread, in µs.

    ``mark`` is "≤" where the cheapest setting of a curve already has more than that
    recall, "~" where its neighbouring settings are more than 0.01 of recall apart.
    ``measures`` are those of MEASURES that both sides know; ``build`` is how many times
    sooner ours is built.
    """

    dataset: str
    ours: str
    peer: str
    recall: float
    mark: str
    measures: Mapping[str, Compared]
    build: float

    def cells(self) -> dict[str, Any]:
        """Return it as a line of ``ratios.csv``; what is not known is absent."""
        names = ("dataset", "ours", "peer", "recall", "mark")
        columns = {name: getattr(self, name) for name in names}
        measures = columns_of(self.measures, "ours", "peer")
        return columns | measures | {"build": self.build}

    def compared(self, measure: str) -> Compared:
        """Return a measure of both sides, NaN where it is not known."""
        return self.measures.get(measure, UNKNOWN)


def columns_of(
    measures: Mapping[str, Compared], first: str, second: str
) -> dict[str, float | None]:
    """Return measures as columns of a table: both sides', the ratio and its span.

    Parameters
    ----------
    measures : by the names of MEASURES
    first, second : what the two sides are called
    """
    columns: dict[str, float | None] = {}
    for measure, (one, other, ratio) in measures.items():
        stem = measure.removesuffix("_us")
        names = (f"{measure}_{first}", f"{measure}_{second}", stem)
        ends = (f"{stem}_low", f"{stem}_high")
        values = map(_known, (one, other, *ratio))
        columns |= dict(zip((*names, *ends), values, strict=True))
    return columns


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def read_rounds(directory: Path) -> Rounds:
    """Read ``rounds.csv``; empty where an earlier version wrote none.

    Raises
    ------
    ValueError
        When a column is missing or a cell is no number.
    """
    path = directory / ROUNDS
    if not path.is_file():
        return {}
    rounds: dict[str, dict[str, list[float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            there = {*_EARLIER, *(reader.fieldnames or ())}
            measures = [measure for measure in ROUND_MEASURES if measure in there]
            for line in reader:
                of = rounds.setdefault(
                    line["row_id"], {measure: [] for measure in measures}
                )
                for measure in measures:
                    of[measure].append(float(line[measure] or "nan"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error!r}") from error
    return rounds


def of_point(rounds: Rounds, point: Point) -> Mapping[str, Sequence[float]]:
    """Return each measure of a point round by round: the median over its seeds."""
    each = [rounds.get(row_id, {}) for row_id in point.row_ids]
    return {
        measure: [
            statistics.median(values)
            for values in zip(*(of.get(measure, ()) for of in each), strict=False)
        ]
        for measure in ROUND_MEASURES
        if any(of.get(measure) for of in each)
    }


def of_one_round(measure: str) -> str:
    """Return what stands for a measure in a single round, by its column there.

    The median of a single round's queries stands for that of their medians over rounds;
    nothing stands for the tails of these.
    """
    return measure.removeprefix(MEDIAN) if measure == f"{MEDIAN}p50_us" else measure


def compare(
    run: Run, rounds: Rounds, group: Group, pairs: Sequence[tuple[str, str]]
) -> Iterator[Comparison]:
    """Yield a comparison for every pair that was measured and every recall it reaches.

    Parameters
    ----------
    run, rounds : of one result directory
    group : the data set
    pairs : labels of ours and of the peer
    """
    found = curves([run], group)
    p50 = common([point for curve in found for point in curve.points], "p50")
    named = {curve.label: _Side(curve, rounds, f"{p50}_us") for curve in found}
    for names in pairs:
        if not named.keys() >= set(names):
            continue
        ours, peer = (named[name] for name in names)
        for target in TARGETS:
            a, b = ours.read(target), peer.read(target)
            if a is not None and b is not None:
                yield _compare(group.dataset, ours, peer, a, b, target)


def pairs_of(run: Run, group: Group) -> list[tuple[str, str]]:
    """Return the pairs that the config names, or else each of ours with each peer."""
    config = run.provenance.get("config") or {}
    if named := config.get("compare"):
        return [(ours, peer) for ours, peer in named]
    found = curves([run], group)
    peers = [curve.label for curve in found if curve.library != "ann"]
    ours = [curve.label for curve in found if curve.library == "ann"]
    return [(a, b) for a in ours for b in peers]


def pair(text: str, labels: Collection[str]) -> tuple[str, str]:
    """Return the two labels in ``OURS:PEER``; those that are known may have colons.

    Raises
    ------
    ValueError
        When there is no colon.
    """
    colons = [i for i, letter in enumerate(text) if letter == ":"]
    cuts = [(text[:i], text[i + 1 :]) for i in colons]
    if not cuts:
        raise ValueError(f"a pair must be OURS:PEER, got {text!r}")
    return next((cut for cut in cuts if set(cut) <= set(labels)), cuts[0])


class _Side:
    """One curve: its settings' recalls, and each measure as a whole and by rounds."""

    def __init__(self, curve: Curve, rounds: Rounds, cost: str) -> None:
        self.label, self._points, self._cost = curve.label, curve.points, cost
        self.build_s = curve.points[0].build_s
        self._recall = [point.recall.get(10, NAN) for point in curve.points]
        self._rounds = [of_point(rounds, point) for point in curve.points]

    def read(self, target: float) -> Reading | None:
        return read_at(target, self._recall, self._values(self._cost))

    def value(self, measure: str, reading: Reading) -> float:
        return reading.of(self._values(measure))

    def each(self, measure: str, reading: Reading) -> list[float]:
        """Return the measure of every round that both settings have."""
        around = (self._rounds[i] for i in (reading.below, reading.above))
        name = of_one_round(measure)
        rounds = zip(*(of.get(name, ()) for of in around), strict=False)
        local = reading._replace(below=0, above=1)
        return [local.of(pair) for pair in rounds]

    def _values(self, measure: str) -> list[float]:
        return [point.value(measure) for point in self._points]


def _compare(
    dataset: str, ours: _Side, peer: _Side, a: Reading, b: Reading, target: float
) -> Comparison:
    def compared(measure: str) -> Compared:
        """Ours over the peer's for a rate, the peer's over ours for a latency."""
        values = ours.value(measure, a), peer.value(measure, b)
        rounds = ours.each(measure, a), peer.each(measure, b)
        if measure in RATES:
            return Compared(*values, quotient(values, rounds))
        return Compared(*values, quotient(values[::-1], rounds[::-1]))

    found = {measure: compared(measure) for measure in MEASURES}
    return Comparison(
        dataset=dataset,
        ours=ours.label,
        peer=peer.label,
        recall=target,
        mark=a.mark or b.mark,
        measures={
            m: each for m, each in found.items() if not math.isnan(each.ratio.value)
        },
        build=over(peer.build_s, ours.build_s),
    )


def quotient(
    values: tuple[float, float], rounds: tuple[Sequence[float], Sequence[float]]
) -> Ratio:
    """Return the first value over the second, with the span of the rounds' quotients.

    The quotient itself is within its span: of a tail it may lie beyond those of all
    rounds.
    """
    whole = over(*values)
    singles = [over(*pair) for pair in zip(*rounds, strict=False)]
    known = [each for each in singles if not math.isnan(each)]
    if not known:
        return Ratio(whole, NAN, NAN)
    return Ratio(whole, min(whole, *known), max(whole, *known))


def over(above: float, below: float) -> float:
    """Return a quotient, NaN where there is none."""
    return above / below if below > 0 else NAN
