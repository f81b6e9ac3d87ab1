"""How long a plan will take, roughly, before anything runs.

What an earlier run in the same directory took is the best estimate. Otherwise a build's
time is a rate of its kind times n · d and its effort, and a query's a rate times its
effort, fitted by eye to studies on two cores at 3 GHz: right within a factor of two or
three, which is what decides whether to wait or to go for lunch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from experiments.config import Config
from experiments.datasets.sizes import Size, size
from experiments.measure import CAPACITY
from experiments.percentiles import MEDIAN
from experiments.plan import written

if TYPE_CHECKING:
    from experiments.plan import Build, Plan, Point
    from experiments.plots.rows import Point as MeasuredPoint
    from experiments.plots.rows import Run

START_S = 4.0  # of a process, its imports and its compilation
REPEATS = 3.0  # queries are asked one by one, in a batch, and in a batch on all threads
# Seconds of building a million vectors of 100 dimensions on two threads.
_BUILD_S = {"Flat": 0.3, "IVF": 25.0, "HNSW": 150.0, "Graph": 150.0, "Trees": 120.0}
# Microseconds of a query and unit of effort, of 100 dimensions.
_QUERY_US = {"Flat": 0.01, "IVF": 6.0, "HNSW": 1.2, "Graph": 0.8, "Trees": 2.0}
_EFFORTS = ("ef_search", "nprobe", "window_size", "search_k")
_USUAL = 50  # effort where no parameter says it


def seconds(plan: Plan, earlier: Run | None = None) -> float | None:
    """Return about how many seconds a plan takes; None where a size is not known.

    Parameters
    ----------
    plan : builds and searches
    earlier : an earlier run of the same config
    """
    known = {
        row_id: point
        for point in (earlier.points if earlier else ())
        for row_id in point.row_ids
    }
    total, rounds = 0.0, plan.config.rounds
    for experiment in plan.experiments:
        entry = experiment.dataset
        of = size(entry.name, entry.n, entry.nq)
        if of is None:
            return None
        for build in experiment.builds:
            before = known.get(build.points[0].row_id)
            total += START_S + (before.build_s if before else _build_s(build, of))
            for point in build.points:
                before = known.get(point.row_id)
                us = _measured_us(before) or _query_us(build, point, of)
                total += rounds * REPEATS * of.nq * us / 1e6
        total += len(experiment.builds) * _load_s(plan)
    return total


def words(seconds: float) -> str:
    """Return a duration as one would say it."""
    if seconds < 90:
        return f"about {max(5, round(seconds, -1)):.0f} seconds"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} minutes"
    return f"about {seconds / 3600:.1f} hours"


def _load_s(plan: Plan) -> float:
    """Return the seconds of offering loads to one build, capacity included."""
    load = plan.config.load if isinstance(plan.config, Config) else None
    return len(load.fractions) * load.seconds * (1 + CAPACITY) if load else 0.0


def _measured_us(before: MeasuredPoint | None) -> float | None:
    """Return what a query took, whichever p50 an earlier run keeps."""
    known = before.latency_us if before else {}
    return known.get("p50") or known.get(f"{MEDIAN}p50")


def _build_s(build: Build, size: Size) -> float:
    family = build.adapter.family(build.params)
    effort = float(written(build.params).get("ef_construction", 200)) / 200
    return _BUILD_S.get(family, 100.0) * effort * size.n * size.d / 1e8


def _query_us(build: Build, point: Point, size: Size) -> float:
    family = build.adapter.family(build.params)
    rate = _QUERY_US.get(family, 2.0) * size.d / 100
    if family == "Flat":
        return rate * size.n
    return 10 + rate * _effort(written(point.search))


def _effort(search: Mapping[str, Any]) -> float:
    return float(next((search[name] for name in _EFFORTS if name in search), _USUAL))
