"""The table of a study, made from its files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from experiments.ablation.variants import BETWEEN, WHOLE
from experiments.plots import rows
from experiments.plots.curves import common
from experiments.ratios import (
    MEASURES,
    UNKNOWN,
    Compared,
    Ratio,
    Rounds,
    columns_of,
    of_one_round,
    of_point,
    over,
    quotient,
)


@dataclass(frozen=True)
class Line:
    """One variant of an index, beside the index with everything on.

    Ratios are the variant's over the whole's: above 1, a time is longer without the
    trick; below 1, a rate is lower. ``measures`` are those of
    :data:`experiments.ratios.MEASURES` that both know, and ``p50`` is the name of the
    p50 that all variants of the study know. ``bytes_read`` is a model, of what a query
    has to read of vectors and centroids (:func:`bytes_read`).
    """

    dataset: str
    metric: str
    n: int
    index: str
    variant: str
    build: float
    recall_at_10: float
    distance_computations: float
    bytes_read: float
    index_bytes: float
    measures: Mapping[str, Compared]
    p50: str

    @property
    def us(self) -> float:
        """The variant's p50."""
        return self.compared(f"{self.p50}_us").ours

    @property
    def times(self) -> Ratio:
        """The variant's p50 over the whole's."""
        return self.compared(f"{self.p50}_us").ratio

    @property
    def within_noise(self) -> bool:
        """Whether rounds disagree about which of the two is quicker."""
        return self.times.low <= 1 <= self.times.high

    @property
    def data(self) -> tuple[str, str, int]:
        """What lines of one table share."""
        return self.dataset, self.metric, self.n

    def compared(self, measure: str) -> Compared:
        """Return a measure of both, NaN where it is not known."""
        return self.measures.get(measure, UNKNOWN)

    def cells(self) -> dict[str, Any]:
        """Return it as a line of ``ablation.csv``."""
        columns = {each.name: getattr(self, each.name) for each in fields(self)}
        del columns["measures"], columns["p50"]
        columns |= columns_of(self.measures, "variant", "whole")
        return columns | {"within_noise": self.within_noise}


def lines(run: rows.Run, rounds: Rounds) -> list[Line]:
    """Return the table of a study, from its files."""
    wholes: dict[tuple[rows.Group, str], rows.Point] = {}
    p50 = common(run.points, "p50")
    table = []
    for point in run.points:
        index, _, variant = point.label.partition(BETWEEN)
        whole = wholes.setdefault((point.group, index), point)
        if whole.label == index + BETWEEN + WHOLE:
            measures = _compared(point, whole, rounds)
            table.append(_line(point, whole, (index, variant), measures, p50))
    return table


def _compared(
    point: rows.Point, whole: rows.Point, rounds: Rounds
) -> Mapping[str, Compared]:
    """Return the measures of a variant beside those of its whole."""
    without, with_ = of_point(rounds, point), of_point(rounds, whole)
    found = {}
    for measure in MEASURES:
        values = point.value(measure), whole.value(measure)
        name = of_one_round(measure)
        each = without.get(name, ()), with_.get(name, ())
        if not math.isnan(sum(values)):
            found[measure] = Compared(*values, quotient(values, each))
    return found


def _line(
    point: rows.Point,
    whole: rows.Point,
    names: tuple[str, str],
    measures: Mapping[str, Compared],
    p50: str,
) -> Line:
    index, variant = names
    return Line(
        dataset=point.group.dataset,
        metric=point.group.metric,
        n=point.group.n,
        index=index,
        variant=variant,
        build=over(point.build_s, whole.build_s),
        recall_at_10=point.recall.get(10, math.nan),
        distance_computations=point.distance_computations,
        bytes_read=bytes_read(point),
        index_bytes=point.index_bytes,
        measures=measures,
        p50=p50,
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
