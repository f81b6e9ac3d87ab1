"""What each setting did to its queries, one by one, made small enough for a page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.difficulty import Difficulty
from experiments.results import PER_QUERY, QUERIES
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
_MEASURES = ("lid", "contrast")


class Sample(NamedTuple):
    """The queries of one setting, (nq,) each, by their numbers."""

    query: NDArray[np.int64]
    latency_us: Floats
    recall: Floats


def read_samples(directory: Path) -> dict[str, Sample]:
    """Read ``per_query.parquet``, by row; empty where there is none.

    Raises
    ------
    ValueError
        When the file is malformed.
    """
    columns = _columns(directory / PER_QUERY)
    names = ("query", "latency_us", "recall_at_10")
    if not columns.keys() >= {"row_id", *names}:
        return {}
    row_ids, codes = np.unique(columns["row_id"].astype(str), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(codes, minlength=len(row_ids)))[:-1])
    query, latency_us, recall = (columns[name].astype(float) for name in names)
    return {
        str(row_id): Sample(query[part].astype(int), latency_us[part], recall[part])
        for row_id, part in zip(row_ids, parts, strict=True)
    }


def read_difficulty(directory: Path) -> dict[str, Difficulty]:
    """Read ``queries.parquet``, by data set; empty where there is none.

    Raises
    ------
    ValueError
        When the file is malformed.
    """
    columns = _columns(directory / QUERIES)
    if not columns.keys() >= {"dataset", "query", "lid", "contrast"}:
        return {}
    names, found = columns["dataset"].astype(str), {}
    for name in dict.fromkeys(names.tolist()):
        of = np.flatnonzero(names == name)
        of = of[np.argsort(columns["query"][of], kind="stable")]
        lid, contrast = (columns[measure][of].astype(float) for measure in _MEASURES)
        found[name] = Difficulty(lid, contrast)
    return found


def _columns(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        return {}
    from pyarrow import ArrowInvalid, parquet

    try:
        table = parquet.read_table(path)
    except (ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: {error}") from error
    return {name: np.array(table[name].to_pylist()) for name in table.column_names}


def profile(sample: Sample, difficulty: Difficulty | None) -> dict[str, Any]:
    """Return the distributions of one setting; what is not known is absent.

    ``tail_us`` are the latencies that SHARES of the queries reach or exceed, as far as
    there are so many queries; ``lost`` the shares of queries with a recall@10 below
    FEWER_THAN; ``lid`` and ``contrast`` the median difficulty and the mean recall@10 of
    each tenth of the queries, easiest first.
    """
    parts: dict[str, Any] = {}
    if np.isfinite(sample.latency_us).all():
        parts["tail_us"] = tail(sample.latency_us)
    if not np.isfinite(sample.recall).all():
        return parts
    parts["lost"] = [
        round(float((sample.recall < least - 1e-6).mean()), 6) for least in FEWER_THAN
    ]
    if difficulty is None or sample.query.max(initial=-1) >= len(difficulty.lid):
        return parts
    lid, contrast = (measure[sample.query] for measure in difficulty)
    deciles = {
        "lid": by_decile(sample.recall, lid),
        # The lower the contrast, the harder the query.
        "contrast": [(-m, mean) for m, mean in by_decile(sample.recall, -contrast)],
    }
    rounded = {
        measure: [(float(f"{m:.4g}"), round(mean, 5)) for m, mean in tenths]
        for measure, tenths in deciles.items()
        if tenths
    }
    return parts | rounded


def tail(latency_us: Floats) -> list[float]:
    """Return the latency that each of SHARES reaches or exceeds."""
    slowest, n = np.sort(latency_us)[::-1], len(latency_us)
    ranks = [math.ceil(share * n - 1e-9) for share in SHARES if share * n >= 1 - 1e-9]
    return [float(f"{slowest[rank - 1]:.5g}") for rank in ranks]


class Queries:
    """A result directory's queries."""

    def __init__(self, directory: Path) -> None:
        self._samples: Mapping[str, Sample] = read_samples(directory)
        self._difficulty = read_difficulty(directory)

    def profile(self, row_id: str, dataset: str) -> dict[str, Any]:
        """Return what :func:`profile` says of a row; empty where nothing is known."""
        sample = self._samples.get(row_id)
        if sample is None:
            return {}
        return profile(sample, self._difficulty.get(dataset))
