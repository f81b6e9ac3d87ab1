"""What each setting did to its queries, one by one, made small enough for a page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments import per_query
from experiments.difficulty import Difficulty
from experiments.percentiles import MEDIAN
from experiments.results import LATENCIES, PER_QUERY, QUERIES
from experiments.statistics import by_decile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Shares of the queries: a distribution is drawn by the latency that they exceed.
SHARES = (
    1.0, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05,
    0.03, 0.02, 0.01, 0.007, 0.005, 0.003, 0.002, 0.001, 0.0005, 0.0002, 0.0001,
)  # fmt: skip
FEWER_THAN = tuple(tenths / 10 for tenths in range(1, 11))  # recalls


class Sample(NamedTuple):
    """The queries of one setting, (nq,) each, by their numbers.

    A query's latency is its median over rounds.
    """

    query: NDArray[np.int64]
    latency_us: Floats
    recall_at_10: Floats


def read_samples(directory: Path) -> dict[str, Sample]:
    """Read ``per_query.parquet``, by row; empty where there is none.

    Raises
    ------
    ValueError
        When the file is malformed.
    """
    found = per_query.read(directory / PER_QUERY, "row_id", Sample._fields)
    return {
        row_id: Sample(**columns)
        for row_id, columns in found.items()
        if columns.keys() == set(Sample._fields)
    }


def read_difficulty(directory: Path) -> dict[str, Difficulty]:
    """Read ``queries.parquet``, by data set; empty where there is none.

    Raises
    ------
    ValueError
        When the file is malformed.
    """
    names = ("query", *Difficulty._fields)
    found = per_query.read(directory / QUERIES, "dataset", names)
    difficulties = {}
    for name, columns in found.items():
        if columns.keys() == set(names):
            order = np.argsort(columns["query"], kind="stable")
            lid, contrast = (columns[field][order] for field in Difficulty._fields)
            difficulties[name] = Difficulty(lid, contrast)
    return difficulties


def profile(
    sample: Sample, difficulty: Difficulty | None, singles_us: Floats | None = None
) -> dict[str, Any]:
    """Return the distributions of one setting; what is not known is absent.

    ``tail_us`` are the latencies that SHARES of all single queries of all rounds reach
    or exceed, ``query_median_tail_us`` those of the queries' medians over rounds, as
    far as there are so many queries; ``lost`` the shares of queries with a recall@10
    below FEWER_THAN; ``lid`` and ``contrast`` the median difficulty and the mean
    recall@10 of each tenth of the queries, easiest first.
    """
    parts: dict[str, Any] = {}
    recall = sample.recall_at_10
    for name, latency_us in (("", singles_us), (MEDIAN, sample.latency_us)):
        if latency_us is not None and np.isfinite(latency_us).all():
            parts[f"{name}tail_us"] = tail(latency_us, len(recall))
    if not np.isfinite(recall).all():
        return parts
    parts["lost"] = [
        round(float((recall < least - 1e-6).mean()), 6) for least in FEWER_THAN
    ]
    if difficulty is None or sample.query.max(initial=-1) >= len(difficulty.lid):
        return parts
    lid, contrast = (measure[sample.query] for measure in difficulty)
    deciles = {
        "lid": by_decile(recall, lid),
        # The lower the contrast, the harder the query.
        "contrast": [(-m, mean) for m, mean in by_decile(recall, -contrast)],
    }
    rounded = {
        measure: [(float(f"{m:.4g}"), round(mean, 5)) for m, mean in tenths]
        for measure, tenths in deciles.items()
        if tenths
    }
    return parts | rounded


def tail(latency_us: Floats, nq: int) -> list[float]:
    """Return the latency that each of SHARES reaches or exceeds, down to one query's.

    Parameters
    ----------
    latency_us : in any order
    nq : queries that they are of
    """
    slowest, n = np.sort(latency_us)[::-1], len(latency_us)
    ranks = [math.ceil(share * n - 1e-9) for share in SHARES if share * nq >= 1 - 1e-9]
    return [float(f"{slowest[rank - 1]:.5g}") for rank in ranks]


class Queries:
    """A result directory's queries."""

    def __init__(self, directory: Path) -> None:
        self._samples: Mapping[str, Sample] = read_samples(directory)
        self._difficulty = read_difficulty(directory)
        self._singles = per_query.read(directory / LATENCIES, "row_id", ["latency_us"])

    def profile(self, row_id: str, dataset: str) -> dict[str, Any]:
        """Return what :func:`profile` says of a row; empty where nothing is known."""
        sample = self._samples.get(row_id)
        if sample is None:
            return {}
        singles_us = self._singles.get(row_id, {}).get("latency_us")
        return profile(sample, self._difficulty.get(dataset), singles_us)
