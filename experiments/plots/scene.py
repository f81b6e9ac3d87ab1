"""What all figures of one data set share: curves, styles, facts, builds."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from experiments.encoding import file_name
from experiments.frontier import read_at
from experiments.plots.curves import Curve, common, curves, libraries, remarks
from experiments.plots.rows import NAN, Group, Point, Run
from experiments.plots.style import Style, styles

GOAL = 0.95  # the recall at which indexes are compared in words
METRICS = {"l2": "Euclidean", "ip": "inner product", "l1": "Manhattan"}


class Build(NamedTuple):
    """The points of one built index, under a name that no other build has."""

    name: str
    style: Style
    points: list[Point]


@dataclass(frozen=True)
class Scene:
    """The material of the figures of one group."""

    group: Group
    runs: list[Run]
    curves: list[Curve]
    styles: list[Style]

    @classmethod
    def of(cls, runs: Sequence[Run], group: Group) -> Scene:
        """Gather a group's curves from the runs."""
        held = [run for run in runs if any(p.group == group for p in run.points)]
        drawn = curves(runs, group)
        looks = styles([(curve.family, curve.library) for curve in drawn])
        return cls(group, held, drawn, looks)

    @property
    def points(self) -> Iterator[Point]:
        """Every point of every curve."""
        return (point for curve in self.curves for point in curve.points)

    def latency(self, percentile: str) -> str:
        """Return the name of the latency that all points have as a percentile."""
        return common(list(self.points), percentile)

    def remarks(self, *percentiles: str) -> str:
        """Return what has to be said of the percentiles that a figure shows."""
        return "".join(f" {each}" for each in remarks(list(self.points), percentiles))

    @property
    def ks(self) -> list[int]:
        """Every k of a recall@k that was measured, largest first."""
        return sorted({k for point in self.points for k in point.recall}, reverse=True)

    def resolution(self, k: int) -> float:
        """Return the smallest step of a mean recall@k."""
        return 1 / (k * max(point.nq for point in self.points))

    def builds(self) -> list[Build]:
        """Return the curves' builds; where a curve has several, their names say how."""
        builds = []
        for curve, style in zip(self.curves, self.styles, strict=True):
            members: dict[str, list[Point]] = {}
            for point in curve.points:
                members.setdefault(_canonical(point.build_params), []).append(point)
            differing = _varying(
                [points[0].build_params for points in members.values()]
            )
            for points in members.values():
                words = _words(points[0].build_params, differing)
                builds.append(Build(f"{curve.label} {words}".rstrip(), style, points))
        return builds

    def facts(self, threads: Sequence[int]) -> list[str]:
        """Return what stands under a title, so that the figure can stand alone."""
        group, queries = self.group, sorted({point.nq for point in self.points})
        counts = " and ".join(map(str, threads))
        facts = [
            group.dataset,
            f"n = {group.n:,}" if group.n else "",
            f"d = {group.d:,}" if group.d else "",
            METRICS.get(group.metric, group.metric),
            f"k = {group.k}",
            f"{' and '.join(f'{nq:,}' for nq in queries)} queries",
            f"{counts} thread{'s' * (list(threads) != [1])}" if counts else "",
            *libraries(self.points),
            *(self._told(fact) for fact in (_cpu, _commit, _day)),
        ]
        return [fact for fact in facts if fact]

    def _told(self, fact: Callable[[Mapping[str, Any]], str]) -> str:
        """Return a fact of the provenance, for each run where they differ."""
        told = {run.name: fact(run.provenance) for run in self.runs}
        if len(set(told.values())) == 1:
            return next(iter(told.values()))
        return " / ".join(f"{text} ({name})" for name, text in told.items() if text)


def stems(groups: Sequence[Group]) -> list[str]:
    """Return a file name for each group: its data set, and what else it takes."""
    tries = [_stems(group) for group in groups]
    for _ in range(2):
        taken = Counter(name.casefold() for name, *_ in tries)
        tries = [
            more if more and taken[name.casefold()] > 1 else [name, *more]
            for name, *more in tries
        ]
    return [name for name, *_ in tries]


def _stems(group: Group) -> list[str]:
    """Return names for a group's files, each telling more than the one before."""
    data = file_name(group.dataset) or "dataset"
    long = f"{data}-{group.metric}-n{group.n}-d{group.d}-k{group.k}"
    digest = hashlib.sha256(group.dataset.encode("utf-8", "replace")).hexdigest()
    return [data, long, f"{long}-{digest[:8]}"]


def setting(point: Point, curve: Curve) -> str:
    """Write the search parameters of a point that vary along its curve."""
    keys = _varying([other.search_params for other in curve.points])
    return _words(point.search_params, keys)


def best_us(points: Sequence[Point], k: int, name: str) -> float:
    """Return a latency at recall GOAL, read between neighbours, or NaN."""
    costs = [point.latency_us.get(name, NAN) for point in points]
    reading = read_at(GOAL, [point.recall.get(k, NAN) for point in points], costs)
    return reading.of(costs) if reading else NAN


def origin(provenance: Mapping[str, Any]) -> list[str]:
    """Return the machine, the commit and the day of a provenance, where it has them."""
    return [told for fact in (_cpu, _commit, _day) if (told := fact(provenance))]


def in_words(title: str, facts: Sequence[str], lines: Sequence[str]) -> str:
    """Describe a figure to a reader who cannot see it."""
    return " ".join([f"{title}.", f"{', '.join(facts)}.", *lines])


def _cpu(provenance: Mapping[str, Any]) -> str:
    name = re.sub(r"\((R|TM|C)\)|\bCPU\b", " ", str(provenance.get("cpu") or ""))
    cores = provenance.get("cores")
    words = [" ".join(name.split()), f"{cores} cores" if cores else ""]
    return ", ".join(filter(None, words))


def _commit(provenance: Mapping[str, Any]) -> str:
    commit = str(provenance.get("commit") or "")[:9]
    return f"commit {commit}{'-dirty' * bool(provenance.get('dirty'))}" * bool(commit)


def _day(provenance: Mapping[str, Any]) -> str:
    return str(provenance.get("started") or "")[:10]


def _varying(params: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys whose values differ between the mappings."""
    keys = dict.fromkeys(key for mapping in params for key in mapping)
    return [
        key
        for key in keys
        if len({_canonical(mapping.get(key)) for mapping in params}) > 1
    ]


def _words(params: Mapping[str, Any], keys: Sequence[str]) -> str:
    return ", ".join(f"{key}={params[key]}" for key in keys if key in params)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
