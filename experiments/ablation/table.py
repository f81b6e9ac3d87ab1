"""The table of a study, made from its files."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.ablation.variants import BETWEEN, WHOLE
from experiments.plots import rows
from experiments.ratios import Ratio, Rounds, of_point, over


@dataclass(frozen=True)
class Line:
    """One variant of an index, beside the index with everything on.

    The ratios are the variant's over the whole's: above 1, a time is longer without
    the trick; below 1, a rate is lower. ``bytes_read`` is a model, of what a query has
    to read of vectors and centroids (:func:`bytes_read`).
    """

    dataset: str
    metric: str
    n: int
    index: str
    variant: str
    p50_us: float
    p50: Ratio
    p99: Ratio
    qps_1thread: Ratio
    qps: Ratio
    build: float
    recall_at_10: float
    distance_computations: float
    bytes_read: float
    index_bytes: float
    within_noise: bool

    @property
    def data(self) -> tuple[str, str, int]:
        """What lines of one table share."""
        return self.dataset, self.metric, self.n


def lines(run: rows.Run, rounds: Rounds) -> list[Line]:
    """Return the table of a study, from its files."""
    wholes: dict[tuple[rows.Group, str], rows.Point] = {}
    table = []
    for point in run.points:
        index, _, variant = point.label.partition(BETWEEN)
        whole = wholes.setdefault((point.group, index), point)
        if whole.label == index + BETWEEN + WHOLE:
            table.append(_line(point, whole, index, variant, rounds))
    return table


def _line(
    point: rows.Point, whole: rows.Point, index: str, variant: str, rounds: Rounds
) -> Line:
    with_, without = of_point(rounds, whole), of_point(rounds, point)

    def ratio(measure: str) -> Ratio:
        ours, theirs = without.get(measure, ()), with_.get(measure, ())
        if not (ours and theirs):
            return Ratio(math.nan, math.nan, math.nan)
        median = over(statistics.median(ours), statistics.median(theirs))
        singles = [over(a, b) for a, b in zip(ours, theirs, strict=False)]
        return Ratio(median, min(median, *singles), max(median, *singles))

    p50 = ratio("p50_us")
    return Line(
        dataset=point.group.dataset,
        metric=point.group.metric,
        n=point.group.n,
        index=index,
        variant=variant,
        p50_us=point.latency_us.get("p50", math.nan),
        p50=p50,
        p99=ratio("p99_us"),
        qps_1thread=ratio("qps_1thread"),
        qps=ratio("qps"),
        build=over(point.build_s, whole.build_s),
        recall_at_10=point.recall.get(10, math.nan),
        distance_computations=point.distance_computations,
        bytes_read=bytes_read(point),
        index_bytes=point.index_bytes,
        within_noise=p50.low <= 1 <= p50.high,
    )


def bytes_read(point: rows.Point) -> float:
    """Return how many bytes of vectors a mean query of ours has to read.

    A model, made of counters: each vector scored costs its stored form, each that is
    re-scored 4 d bytes, and each centroid of an IVF 4 d. Edges, ids and tables are not
    in it, nor is it what the caches let through. Stored forms and centroids are of the
    width that a transform leaves.
    """
    build, d = point.build_params, point.group.d
    width = int((build.get("transform") or {}).get("d_out", d))
    refined = _refined(build.get("refine"), point.group.k, point.group.n)
    centroids = float(build.get("nlist") or 0)
    stored = point.distance_computations - refined - centroids
    stored_bytes = stored * _stored_bytes(build.get("codec"), width)
    return stored_bytes + 4.0 * (refined * d + centroids * width)


def _refined(refine: float | None, k: int, n: int) -> float:
    return float(min(math.ceil(k * refine), n)) if refine else 0.0


def _stored_bytes(codec: Mapping[str, Any] | None, d: int) -> float:
    match codec:
        case None:
            return 4.0 * d
        case {"kind": "SQ" | "RaBitQ", "bits": bits}:
            return d * float(bits) / 8
        case {"kind": "PQ", "m": m, "nbits": nbits}:
            return float(m) * float(nbits) / 8
    return math.nan
