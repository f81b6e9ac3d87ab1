"""Latency under load: queries come when they come, not when the last is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments import statistics
from experiments.plan import canonical, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from experiments.config import Load
    from experiments.measure import Offered
    from experiments.results import Record
    from experiments.statistics import Floats, Interval

    Offer = Callable[[Record, float, int], Offered]  # at a fraction, with a seed


@dataclass(frozen=True)
class Line:
    """One build at one load; the fields are the columns of ``load.csv``.

    ``fraction`` is of the rate at which the same process answers queries one after
    another, the loop around them included; it is measured anew before every line.
    Latency counts from when a query was due, ``service_p50_us`` and ``service_p99_us``
    from when its search began; percentiles are over all ``queries`` that came. The same
    queries come again and again, so that a percentile which they are too few for
    (:mod:`experiments.percentiles`) is None, however many came.
    """

    dataset: str
    label: str
    search_params: str
    row_id: str
    recall_at_10: float
    fraction: float
    offered_qps: float
    achieved_qps: float
    queries: int
    p50_us: float | None
    p95_us: float | None
    p99_us: float | None
    p99_us_low: float | None
    p99_us_high: float | None
    service_p50_us: float | None
    service_p99_us: float | None


def chosen(records: Sequence[Record], load: Load) -> list[Record]:
    """Return of each build the quickest setting that reaches the recall."""
    best: dict[str, Record] = {}
    for record in records:
        if record.failure or not record.samples or record.recall_at_10 < load.recall:
            continue
        name = record.build.build_id
        if name not in best or _mean_us(record) < _mean_us(best[name]):
            best[name] = record
    return list(best.values())


def lines(
    records: Sequence[Record], load: Load, seed: int, offer: Offer
) -> Iterator[Line]:
    """Offer every load to every chosen setting, in an order of its own each time."""
    rng = np.random.default_rng((seed, len(records)))
    for fraction in load.fractions:
        for i in rng.permutation(len(records)):
            record = records[i]
            offered = offer(record, fraction, int(rng.integers(2**32)))
            yield _line(record, fraction, offered)


def _line(record: Record, fraction: float, offered: Offered) -> Line:
    asked = min(len(offered.latency_us), len(record.samples[0].latency_us))

    def tail(latency_us: Floats, percent: float) -> Interval | tuple[None, None, None]:
        found = statistics.percentile(latency_us, percent, asked)
        return (None, None, None) if found is None else found

    p99_us, p99_us_low, p99_us_high = tail(offered.latency_us, 99)
    return Line(
        dataset=str(record.common["dataset"]),
        label=record.build.label,
        search_params=canonical(written(record.point.search)),
        row_id=record.point.row_id,
        recall_at_10=record.recall_at_10,
        fraction=fraction,
        offered_qps=offered.offered_qps,
        achieved_qps=offered.achieved_qps,
        queries=len(offered.latency_us),
        p50_us=tail(offered.latency_us, 50)[0],
        p95_us=tail(offered.latency_us, 95)[0],
        p99_us=p99_us,
        p99_us_low=p99_us_low,
        p99_us_high=p99_us_high,
        service_p50_us=tail(offered.service_us, 50)[0],
        service_p99_us=tail(offered.service_us, 99)[0],
    )


def _mean_us(record: Record) -> float:
    """Return the mean over queries of each one's median, which no disturbance moves."""
    return float(np.median(record.latency_us, axis=0).mean())
