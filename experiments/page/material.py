"""What a page shows, read from result directories."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from experiments.encoding import visible
from experiments.page import recipe
from experiments.page.looks import look
from experiments.page.queries import Queries
from experiments.percentiles import MEDIAN, PERCENTS
from experiments.plots.curves import is_judged, overhead_us, remarks
from experiments.plots.rows import NAN, Group, Loaded, Point, Run, read_runs
from experiments.plots.scene import Scene, setting
from experiments.ratios import Comparison, Rounds, compare, pairs_of, read_rounds
from experiments.results import Row
from experiments.statistics import sway

#: The columns of a row that may be empty: what was measured.
NUMBERS = tuple(column.name for column in fields(Row) if column.default is None)
RATES = ("qps", "qps_1thread")  # rows give no span of these, rounds do


@dataclass(frozen=True)
class Source:
    """One result directory."""

    run: Run
    rounds: Rounds
    queries: Queries

    @classmethod
    def of(cls, directory: Path, run: Run) -> Source:
        """Read the files beside ``rows.csv``, where they exist."""
        return cls(run, read_rounds(directory), Queries(directory))

    def ratios(self, group: Group) -> Iterator[Comparison]:
        """Yield how many times faster ours is than peers, as ``ann ratios`` does."""
        pairs = pairs_of(self.run, group)
        return compare(self.run, self.rounds, group, pairs)


@dataclass(frozen=True)
class Setting:
    """One measured point, with everything that is known of it."""

    point: Point
    words: str  # the search parameters that tell it from its curve's others
    numbers: Mapping[str, float]
    profile: Mapping[str, Any]
    loads: Sequence[Mapping[str, float]]
    commands: str
    config: str

    def json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "words": self.words,
            "build": _words(self.point.build_params),
            "search": _words(self.point.search_params),
            "numbers": dict(self.numbers),
            "profile": dict(self.profile),
            "loads": [dict(load) for load in self.loads],
            "commands": self.commands,
            "config": self.config,
        }


@dataclass(frozen=True)
class Trace:
    """One curve and its look."""

    label: str
    look: Mapping[str, Any]
    settings: Sequence[Setting]

    def values(self, measure: str) -> list[float]:
        """Return a measure of every setting, NaN where it was not taken."""
        return [each.numbers.get(measure, NAN) for each in self.settings]

    def json(self) -> dict[str, Any]:
        """Return it as plain values."""
        first = self.settings[0].point
        return {
            "label": self.label,
            "library": first.library,
            "family": first.family,
            "look": dict(self.look),
            "points": [each.json() for each in self.settings],
        }


@dataclass(frozen=True)
class Section:
    """One data set.

    ``latencies`` are the names of what all its points know as p50, p95 and p99, and
    ``remarks`` what a reader has to be told of them. ``tail`` is the part of a profile
    that has the tails of latencies: of all single queries where all settings have
    them, or else of query medians. ``overhead_us`` is what a search that does nothing
    takes, where it was measured.
    """

    name: str
    group: Group
    facts: Sequence[str]
    nq: int
    threads: int
    latencies: Mapping[str, str]
    remarks: Sequence[str]
    tail: str
    overhead_us: float
    traces: Sequence[Trace]
    left_out: Sequence[Mapping[str, str]]
    ratios: Sequence[Comparison]

    def json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "name": self.name,
            "dataset": visible(self.group.dataset),
            "facts": list(self.facts),
            "n": self.group.n,
            "d": self.group.d,
            "nq": self.nq,
            "k": self.group.k,
            "threads": self.threads,
            "latencies": dict(self.latencies),
            "tail": self.tail,
            "curves": [trace.json() for trace in self.traces],
        }


@dataclass(frozen=True)
class Material:
    """Everything on a page; ``left_out`` are rows of data sets without a section."""

    runs: Sequence[Run]
    sections: Sequence[Section]
    left_out: Sequence[Mapping[str, str]]


def gather(dirs: Sequence[Path]) -> Material:
    """Read result directories; of their files only ``rows.csv`` must exist.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`experiments.plots.rows.read_runs` does.
    """
    runs = read_runs(dirs)
    sources = [Source.of(path, run) for path, run in zip(dirs, runs, strict=True)]
    groups = dict.fromkeys(
        point.group for run in runs for point in run.points if is_judged(point)
    )
    sections = [
        _section(f"section-{i}", group, sources) for i, group in enumerate(groups)
    ]
    known = {group.dataset for group in groups}
    rest = [
        cells
        for run in runs
        for cells in run.left_out
        if cells.get("dataset") not in known
    ]
    return Material(runs, sections, rest)


def _section(name: str, group: Group, sources: Sequence[Source]) -> Section:
    held = {
        id(point): source
        for source in sources
        for point in source.run.points
        if point.group == group
    }
    runs = [source.run for source in sources]
    judged = [replace(run, points=list(filter(is_judged, run.points))) for run in runs]
    scene = Scene.of(judged, group)
    threads = sorted({count for point in scene.points for count in point.qps})
    latencies = {percentile: scene.latency(percentile) for percentile in PERCENTS}
    traces = []
    for curve, style in zip(scene.curves, scene.styles, strict=True):
        settings = [
            _setting(point, setting(point, curve), held[id(point)])
            for point in curve.points
        ]
        traces.append(Trace(visible(curve.label), look(style), settings))
    every = [each.profile for trace in traces for each in trace.settings]
    whole = all("tail_us" in profile for profile in every if profile)
    return Section(
        name=name,
        group=group,
        facts=scene.facts(threads),
        nq=max(point.nq for point in scene.points),
        threads=max(threads, default=1),
        latencies=latencies,
        remarks=remarks(list(scene.points)),
        tail="tail_us" if whole else f"{MEDIAN}tail_us",
        overhead_us=overhead_us(runs, group, latencies["p50"]),
        traces=traces,
        left_out=[
            cells
            for source in sources
            for cells in source.run.left_out
            if cells.get("dataset") == group.dataset
        ],
        ratios=[line for source in sources for line in source.ratios(group)],
    )


def _setting(point: Point, words: str, source: Source) -> Setting:
    provenance = source.run.provenance
    config = recipe.config(point, provenance)
    return Setting(
        point=point,
        words=words or _words(point.search_params),
        numbers=numbers(point, source.rounds.get(point.row_id, {})),
        profile=source.queries.profile(point.row_id, point.group.dataset),
        loads=[dict(_load(line)) for line in point.loads],
        commands=recipe.commands(provenance, config),
        config=config,
    )


def numbers(point: Point, rounds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return what was measured of a point, by the names of the columns.

    Rows of before there was a column of sway get it from their rounds; ``qps_low``,
    ``qps_high`` and those of one thread are the least and the greatest of a round.
    """
    found = dict(_numbers(point))
    p50s = _known(rounds.get("p50_us", ()))
    if "sway" not in found and len(p50s) > 1:
        found["sway"] = sway(p50s)
    for rate in RATES:
        if each := _known(rounds.get(rate, ())):
            found |= {f"{rate}_low": min(each), f"{rate}_high": max(each)}
    return found


def _numbers(point: Point) -> Iterator[tuple[str, float]]:
    for name in NUMBERS:
        text = point.cells.get(name, "").strip()
        try:
            value = float(text or "nan")
        except ValueError:
            raise ValueError(
                f"row {point.row_id or point.label}, column {name}: must be a number, "
                f"got {text!r:.60}"
            ) from None
        if math.isfinite(value):
            yield name, value


def _load(line: Loaded) -> Iterator[tuple[str, float]]:
    """Yield what is known of one load, by the names of the columns."""
    yield "fraction", line.fraction
    yield "achieved_qps", line.achieved_qps
    for percentile, us in line.latency_us.items():
        yield f"{percentile}_us", us


def _known(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _words(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_word(value)}" for key, value in params.items())


def _word(value: Any) -> str:
    """Write a parameter; of a codec, its kind and then the rest."""
    if not isinstance(value, Mapping):
        return str(value)
    rest = {key: each for key, each in value.items() if key != "kind"}
    return f"{value.get('kind', '')}({_words(rest)})"
