"""Arrange measured points as curves, and find what is best on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from experiments import percentiles
from experiments.plots.rows import NAN, Group, Point, Run

OVERHEAD = "dummy"  # the library that does nothing: no curve, but a fact


@dataclass(frozen=True)
class Curve:
    """The points of one label, and of one run where runs share the label."""

    label: str
    points: list[Point]

    @property
    def library(self) -> str:
        """The implementation."""
        return self.points[0].library

    @property
    def family(self) -> str:
        """The structure, and whether its vectors are compressed."""
        return self.points[0].family


def knee(points: Sequence[tuple[float, float]]) -> int | None:
    """Return the position where a curve bends most, or None if it hardly does.

    Both axes are brought to [0, 1]; the knee is the point farthest from the chord.
    """
    if len(points) < 3:
        return None
    (x0, y0), (x1, y1) = points[0], points[-1]
    if x0 == x1 or y0 == y1:
        return None
    away = [abs((x - x0) / (x1 - x0) - (y - y0) / (y1 - y0)) for x, y in points]
    farthest = max(range(len(points)), key=away.__getitem__)
    return farthest if away[farthest] > 0.05 else None


def curves(runs: Sequence[Run], group: Group) -> list[Curve]:
    """Arrange a group's points as curves, in the order of the rows.

    A curve is what one library measured under one label in one run. Where labels
    clash, the name of the library or of the run is added to them. The search that does
    nothing is no curve (see ``overhead_us``).
    """
    members: dict[tuple[str, str, str], list[Point]] = defaultdict(list)
    for run in runs:
        for point in run.points:
            if point.group == group and point.library != OVERHEAD:
                members[point.label, point.library, run.name].append(point)
    libraries, names = defaultdict(set), defaultdict(set)
    for label, library, name in members:
        libraries[label].add(library)
        names[label].add(name)
    drawn = []
    for (label, library, name), points in members.items():
        added = [library] * (len(libraries[label]) > 1)
        added += [name] * (len(names[label]) > 1)
        drawn.append(Curve(f"{label} ({', '.join(added)})" if added else label, points))
    return drawn


def common(points: Sequence[Point], percentile: str) -> str:
    """Return the name of the latency that all points have as a percentile."""
    return percentiles.common(percentile, [point.latency_us for point in points])


def remarks(
    points: Sequence[Point], shown: Collection[str] = tuple(percentiles.PERCENTS)
) -> list[str]:
    """Return what a reader of points has to be told of the percentiles shown."""
    nqs, known = zip(*((point.nq, point.latency_us) for point in points), strict=True)
    return percentiles.remarks(nqs, known, shown)


def remarks_on_loads(points: Sequence[Point], shown: Iterable[str]) -> str:
    """Return which percentiles under load the queries are too few for, somewhere."""
    asked = [min(line.queries, point.nq) for point in points for line in point.loads]
    return percentiles.too_few(min(asked), shown)


def is_judged(point: Point) -> bool:
    """Return whether a point is of an index, and has answers to judge."""
    return point.library != OVERHEAD and bool(point.recall)


def libraries(points: Iterable[Point]) -> list[str]:
    """Name every library with its version and the vector levels that it ran at.

    Those of results of before there was a column of versions are left out.
    """
    levels: dict[str, dict[str, None]] = defaultdict(dict)
    for point in points:
        if point.version and point.library != OVERHEAD:
            levels[f"{point.library} {point.version}"][point.vector_level] = None
    return [f"{name} ({', '.join(of)})" for name, of in levels.items()]


def overhead_us(runs: Sequence[Run], group: Group, name: str = "p50") -> float:
    """Return a latency of a search that does nothing, NaN where none was measured."""
    found = (
        point.latency_us.get(name, NAN)
        for run in runs
        for point in run.points
        if point.group == group and point.library == OVERHEAD
    )
    return next(found, NAN)
