"""How many times faster one curve is than another, at equal recall.

Every setting is measured once a round, in turns with all others, so what slows the
machine down for a while slows both sides of a ratio. A figure here is the ratio of two
medians over those rounds, each read between the two settings of its curve's p50
frontier that surround the recall (:mod:`experiments.frontier`); the span is that of
the ratios of single rounds.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from experiments.frontier import Reading, read_at
from experiments.plots.curves import Curve, curves
from experiments.plots.rows import NAN, Group, Point, Run
from experiments.results import ROUND_MEASURES, ROUNDS

TARGETS = (0.90, 0.95, 0.99)
Rounds = Mapping[str, Mapping[str, Sequence[float]]]  # row_id, measure, round


class Ratio(NamedTuple):
    """Above 1 where ours is the faster; of the medians, and its span over rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Two curves at one recall; latencies of one query on one thread, in µs.

    ``mark`` is "≤" where the cheapest setting of a curve already has more than that
    recall, "~" where its neighbouring settings are more than 0.01 of recall apart.
    """

    dataset: str
    ours: str
    peer: str
    recall: float
    mark: str
    p50_us_ours: float
    p50_us_peer: float
    p99_us_ours: float
    p99_us_peer: float
    p50: Ratio
    p99: Ratio
    qps_1thread: Ratio
    qps: Ratio
    build: float


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
            for line in csv.DictReader(file):
                of = rounds.setdefault(
                    line["row_id"], {measure: [] for measure in ROUND_MEASURES}
                )
                for measure in ROUND_MEASURES:
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
    named = {curve.label: _Side(curve, rounds) for curve in curves([run], group)}
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
    """One curve: its settings' recalls, and each measure round by round."""

    def __init__(self, curve: Curve, rounds: Rounds) -> None:
        self.label = curve.label
        self.build_s = curve.points[0].build_s
        self._recall = [point.recall.get(10, NAN) for point in curve.points]
        self._rounds = [of_point(rounds, point) for point in curve.points]

    def read(self, target: float) -> Reading | None:
        return read_at(target, self._recall, self._medians("p50_us"))

    def median(self, measure: str, reading: Reading) -> float:
        return reading.of(self._medians(measure))

    def each(self, measure: str, reading: Reading) -> list[float]:
        """Return the measure of every round that both settings have."""
        around = (self._rounds[i] for i in (reading.below, reading.above))
        rounds = zip(*(of[measure] for of in around), strict=False)
        local = reading._replace(below=0, above=1)
        return [local.of(pair) for pair in rounds]

    def _medians(self, measure: str) -> list[float]:
        return [
            statistics.median(of[measure]) if of.get(measure) else NAN
            for of in self._rounds
        ]


def _compare(
    dataset: str, ours: _Side, peer: _Side, a: Reading, b: Reading, target: float
) -> Comparison:
    def ratio(measure: str) -> Ratio:
        """Ours over the peer's for a rate, the peer's over ours for a latency."""
        sides = (ours.median(measure, a), peer.median(measure, b))
        rounds = zip(ours.each(measure, a), peer.each(measure, b), strict=False)
        up = measure.startswith("qps")
        singles = [over(*pair) if up else over(*pair[::-1]) for pair in rounds]
        median = over(*sides) if up else over(*sides[::-1])
        known = [each for each in (median, *singles) if not math.isnan(each)]
        return Ratio(median, min(known, default=NAN), max(known, default=NAN))

    return Comparison(
        dataset=dataset,
        ours=ours.label,
        peer=peer.label,
        recall=target,
        mark=a.mark or b.mark,
        p50_us_ours=ours.median("p50_us", a),
        p50_us_peer=peer.median("p50_us", b),
        p99_us_ours=ours.median("p99_us", a),
        p99_us_peer=peer.median("p99_us", b),
        p50=ratio("p50_us"),
        p99=ratio("p99_us"),
        qps_1thread=ratio("qps_1thread"),
        qps=ratio("qps"),
        build=over(peer.build_s, ours.build_s),
    )


def over(above: float, below: float) -> float:
    """Return a quotient, NaN where there is none."""
    return above / below if below > 0 else NAN
