"""Rules about columns: those that tell nothing, and those that drown the others."""

from collections.abc import Iterator

import numpy as np

from ann.diagnosis.finding import Finding
from ann.diagnosis.survey import Survey
from ann.diagnosis.words import LISTED, first, listed, number, part, percent

DOMINANT = 0.5  # of the distance or of the length, in four columns or more
UNEQUAL = 100.0  # between the standard deviations of columns


def column_findings(seen: Survey) -> Iterator[Finding]:
    """Say which columns tell nothing, and which drown the others."""
    yield from _constant(seen)
    yield from _dominant(seen)
    yield from _unequal(seen)


def _constant(seen: Survey) -> Iterator[Finding]:
    same = np.flatnonzero(~seen.varying)
    if len(seen.lengths) > 1 and len(same):
        known = [f"{i} ({number(seen.mean[i])})" for i in same[:LISTED]]
        yield Finding(
            "constant-columns", "note", "X",
            f"{part(len(same), seen.d, 'columns')} hold one value alone, or differ by "
            f"less than a millionth of what others do: {listed(known, len(same))}",
            "Leave them out: they cost memory and time, and tell no two rows apart.",
            "columns of one value: 0", 0.0, float(len(same)), len(same),
            columns=first(same),
        )  # fmt: skip


def _dominant(seen: Survey) -> Iterator[Finding]:
    variance, energy = seen.std**2, seen.std**2 + seen.mean**2
    if seen.d < 4 or not np.nansum(variance) > 0:
        return
    parts = {
        "squared distance between rows": variance / variance.sum(),
        "squared length of a row": energy / energy.sum(),
    }
    of = max(parts, key=lambda each: float(parts[each].max()))
    column, share = int(parts[of].argmax()), float(parts[of].max())
    if share > DOMINANT:
        yield Finding(
            "dominant-column", "warning", "X",
            f"column {column} makes up {percent(share)} of the mean {of}; its mean is "
            f"{number(seen.mean[column])}, its standard deviation "
            f"{number(seen.std[column])}, the median column's "
            f"{number(float(np.median(seen.std)))}",
            "See whether it is an id, a time or a bias; leave it out, or take off each "
            "column's mean and divide by its standard deviation.",
            f"share of one of 4 columns or more <= {DOMINANT}",
            DOMINANT, share, 1, columns=(column,),
        )  # fmt: skip


def _unequal(seen: Survey) -> Iterator[Finding]:
    order = np.argsort(seen.std)
    order = order[seen.varying[order]]
    edge = max(1, len(order) // 10)
    if len(order) < 4:
        return
    low, high = seen.std[order[edge]], seen.std[order[-1 - edge]]
    if high > UNEQUAL * low:
        yield Finding(
            "unequal-columns", "warning", "X",
            f"columns differ in scale {high / low:,.0f} times: one in ten has a "
            f"standard deviation above {number(high)}, one in ten below {number(low)}",
            "Divide every column by its standard deviation, with the same figures for "
            "the queries; else only the widest columns decide what is near.",
            f"between the widest and the narrowest tenth <= {UNEQUAL:g} times",
            UNEQUAL, float(high / low), edge, columns=first(order[::-1][:edge]),
        )  # fmt: skip
