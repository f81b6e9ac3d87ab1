"""Percentiles of single-query latencies: one definition for all that shows them.

A run asks every query once in each round. ``p50``, ``p95`` and ``p99`` are percentiles
of all these latencies, those of all rounds pooled: 1 query in 100 was slower than p99,
for whatever reason. The same names after ``query_median_`` are percentiles over queries
of each query's median over rounds: what is hard is slow in them, what was disturbed
once is not. They say how queries differ, and not how long anybody waited.

Rounds ask the same queries again, so they do not make a percentile surer: intervals are
as wide as those of a single round (:func:`experiments.statistics.percentile`), and with
fewer than 368 queries there is no p99, however many rounds there were.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import numpy as np

from experiments import statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PERCENTS = {"p50": 50, "p95": 95, "p99": 99}
MEDIAN = "query_median_"
OF_MEDIANS = (
    "Query-median: over queries, of each one's median over rounds, without what "
    "disturbed a query once."
)
NAMES = (*PERCENTS, *(MEDIAN + name for name in PERCENTS))


def of_rounds(latency_us: Floats) -> dict[str, float | None]:
    """Return all that a table says of latencies, by the names of its columns.

    Parameters
    ----------
    latency_us : (rounds, nq) of single queries
    """
    medians = np.median(latency_us, axis=0)
    found: dict[str, float | None] = {"mean_us": float(latency_us.mean())}
    for name in PERCENTS:
        found |= _columns(name, pooled(latency_us, name))
        found |= _columns(MEDIAN + name, statistics.percentile(medians, PERCENTS[name]))
    return found


def pooled(latency_us: Floats, name: str) -> statistics.Interval | None:
    """Return a percentile of all rounds' latencies (rounds, nq), or None of too few."""
    nq = latency_us.shape[-1]
    return statistics.percentile(latency_us.ravel(), PERCENTS[name], nq)


def _columns(
    name: str, interval: statistics.Interval | None
) -> dict[str, float | None]:
    columns = (f"{name}_us{end}" for end in ("", "_low", "_high"))
    return dict(zip(columns, interval or (None, None, None), strict=True))


def words(name: str) -> str:
    """Return how a percentile is called: p99, or query-median p99."""
    return name.replace(MEDIAN, "query-median ")


def meaning(name: str) -> str:
    """Return what a percentile says, as a gloss on its name."""
    odds = round(100 / (100 - PERCENTS[name.removeprefix(MEDIAN)]))
    return f"1{' query' * (name in PERCENTS)} in {odds} is slower"


def common(percentile: str, known: Iterable[Collection[str]]) -> str:
    """Return the name of what several results can show side by side as a percentile.

    Parameters
    ----------
    percentile : p50, p95 or p99
    known : the names that each result knows

    Returns
    -------
    The percentile itself; where a result knows only that of its query medians, as those
    of before schema 2 do, the name of that, which all know.
    """
    of_medians = MEDIAN + percentile
    for names in known:
        if of_medians in names and percentile not in names:
            return of_medians
    return percentile


def too_few(nq: int, shown: Iterable[str] = PERCENTS) -> str:
    """Return which percentiles so many queries are too few for; "" where for none."""
    needs = [
        f"{name} needs {least:,} queries"
        for name in shown
        if nq < (least := statistics.fewest(PERCENTS[name]))
    ]
    return f"{', '.join(needs)}, {nq:,} were asked." if needs else ""


def remarks(
    nqs: Iterable[int],
    known: Iterable[Collection[str]],
    shown: Collection[str] = tuple(PERCENTS),
) -> list[str]:
    """Return what a reader has to be told of some results' percentiles.

    Parameters
    ----------
    nqs : how many queries each was asked
    known : the names that each knows
    shown : those of p50, p95 and p99 that there is a place for
    """
    sentences = [told for nq in sorted(set(nqs)) if (told := too_few(nq, shown))]
    known = list(known)
    lost = [name for name in shown if common(name, known) != name]
    if lost:
        sentences.append(
            f"{OF_MEDIANS} Runs of before schema 2 (docs/measuring.md) keep no "
            f"{' or '.join(lost)} of all single queries."
        )
    return sentences
