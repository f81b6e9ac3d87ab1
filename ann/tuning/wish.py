"""What ``ann.tune`` is asked for, checked."""

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import parallel, validation
from ann.metrics import metric as metric_named
from ann.presets import PRESETS, Use
from ann.tuning import betting

Objective = Literal["latency", "memory"]
TARGET = 0.95
JUDGES = 2 / 3  # of the queries are held out, …
MOST_JUDGES, MOST_CHOOSERS = 2000, 1000  # … and more of either are not used


class UnreachableError(ValueError):
    """No candidate reaches the target within the limits on memory and latency."""


class Wish(NamedTuple):
    """The arguments of :func:`ann.tune`, checked and made definite."""

    metric: str
    k: int
    target: float
    confidence: float
    objective: Objective
    most_bytes: float  # a vector
    most_us: float  # of the 99th percentile
    budget_s: float
    seed: int
    use: Use | None
    threads: int


class Split(NamedTuple):
    """The queries: some choose, others judge."""

    choose: NDArray[np.float32]
    judge: NDArray[np.float32]


def wish(
    metric: str,
    k: Any,
    target_recall: Any,
    confidence: Any,
    objective: Any,
    max_bytes_per_vector: Any,
    max_latency_ms: Any,
    budget: Any,
    seed: Any,
    use: str | None,
    threads: Any,
) -> Wish:
    """Return a checked wish; ValueError where a rule is broken."""
    if use is not None and use not in PRESETS:
        raise ValueError(f"use must be one of {', '.join(PRESETS)}, got {use!r}")
    if objective not in get_args(Objective):
        names = " or ".join(get_args(Objective))
        raise ValueError(f"objective must be {names}, got {objective!r}")
    preset = None if use is None else PRESETS[use]
    if target_recall is None:
        target_recall = TARGET if preset is None else preset.recall[0]
    if max_latency_ms is None and preset is not None:
        most_us = 1e3 * preset.latency_ms[1]
    else:
        most_us = 1e3 * _limit(max_latency_ms, "max_latency_ms")
    return Wish(
        metric_named(metric).name,
        validation.integer(k, "k", 1),
        _open(target_recall, "target_recall", "ann.Flat alone finds everything"),
        _open(confidence, "confidence", "no sample makes certain"),
        objective,
        _limit(max_bytes_per_vector, "max_bytes_per_vector"),
        most_us,
        _limit(budget, "budget"),
        validation.integer(seed, "seed", 0),
        preset,
        validation.threads(threads, parallel.available()),
    )


def split(queries: ArrayLike, d: int, asked: Wish) -> Split:
    """Return the queries in two parts, at random.

    Raises
    ------
    ValueError
        As ``search``; there are too few to be sure of anything.
    """
    Q = validation.vectors(queries, "queries", d)
    judges = betting.fewest(asked.target, asked.confidence)
    least = int(np.ceil(judges / JUDGES)) + 1
    if len(Q) < least:
        raise ValueError(
            f"queries must be at least {least} for target_recall={asked.target:g} with "
            f"confidence={asked.confidence:g}: {judges} held out, all answered "
            f"perfectly, are the fewest that can show it; got {len(Q)}"
        )
    order = np.random.default_rng((asked.seed, 2)).permutation(len(Q))
    cut = max(judges, round(JUDGES * len(Q)))
    judge, choose = order[:cut][:MOST_JUDGES], order[cut:][:MOST_CHOOSERS]
    return Split(Q[choose], Q[judge])


def _open(value: Any, name: str, why: str) -> float:
    """Return a number in (0, 1)."""
    number = validation.real(value, name, 0.0)
    if not 0 < number < 1:
        raise ValueError(f"{name} must be in (0, 1), as {why}, got {number:g}")
    return number


def _limit(value: Any, name: str) -> float:
    """Return a limit above 0; None is none."""
    if value is None:
        return float("inf")
    number = validation.real(value, name, 0.0)
    if number == 0:
        raise ValueError(f"{name} must be > 0, got 0")
    return number
