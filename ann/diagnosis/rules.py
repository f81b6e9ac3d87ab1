"""The rules of an audit: what it takes for a finding, and what a finding says.

Limits were chosen so that sets as they come (sentence embeddings, image patches,
counts, Gaussian mixtures) stay clear of them by far; each stands beside its rule.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann.diagnosis.column_rules import column_findings
from ann.diagnosis.finding import SHOWN, Finding, Severity
from ann.diagnosis.nearness import Gap, Nearness
from ann.diagnosis.query_rules import query_findings
from ann.diagnosis.survey import Survey
from ann.diagnosis.words import first, listed, number, part, percent
from ann.metrics import LONGEST, UNIT

MANY = 0.01  # share of equal rows from which they are more than a note
FEW = 1000  # rows
FLAT = 1.1  # relative contrast
HUBS = 0.5  # of all places among ten nearest, for one row in a hundred
IDS = 1000  # a whole number that is no count of something in a few columns
CUT = 8  # below this, whole numbers of either sign may have been cut from real ones


@dataclass(frozen=True, eq=False)
class Case:
    """All that was measured; ``metric`` is the one that the user or the audit chose."""

    metric: str
    rows: Survey
    queries: Survey | None
    nearness: Nearness | None
    gap: Gap | None


Rule = Callable[[Case], Iterator[Finding]]


def findings(case: Case) -> tuple[Finding, ...]:
    """Return what the rules find, the gravest first."""
    found = [finding for rule in _RULES for finding in rule(case)]
    order = ("error", "warning", "note")
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


# --- rows -----------------------------------------------------------------------------


def _not_numbers(case: Case) -> Iterator[Finding]:
    for where, seen in _both(case):
        if len(seen.nan):
            yield _rows(
                seen, where, seen.nan, "nan", "error",
                "with a NaN",
                "Find out what writes them, such as a text that the encoder could not "
                "read; drop these rows or encode them again.",
            )  # fmt: skip
        if len(seen.infinite):
            yield _rows(
                seen, where, seen.infinite, "infinite", "error",
                "with a value that is infinite in float32",
                "Look for an overflow, of float16 above 65,504 or of a division by 0; "
                "drop these rows or encode them again.",
            )  # fmt: skip


def _zeros(case: Case) -> Iterator[Finding]:
    for where, seen in _both(case):
        if len(seen.zero):
            yield _rows(
                seen, where, seen.zero, "zero-vectors", "warning",
                "of norm 0, which have no direction, so that cosine refuses them",
                "Usually an empty text or a failed encoding: drop them.",
            )  # fmt: skip


def _overlong(case: Case) -> Iterator[Finding]:
    for where, seen in _both(case):
        long = np.flatnonzero(seen.norms > LONGEST)
        if len(long):
            found = _rows(
                seen, where, long, "overlong", "error",
                f"of a norm above {LONGEST:g}, whose square float32 cannot hold",
                "Divide all vectors, queries too, by one number.",
            )  # fmt: skip
            yield replace(
                found, rule=f"norm <= {LONGEST:g}", limit=LONGEST,
                value=float(np.nanmax(seen.norms)),
            )  # fmt: skip


def _repeated(case: Case) -> Iterator[Finding]:
    seen = case.rows
    if len(seen.repeated):
        many = len(seen.repeated) > MANY * seen.n
        yield _rows(
            seen, "X", seen.repeated, "duplicates", "warning" if many else "note",
            "equal to one before",
            "Keep one of each, and map its id to all that share it: equal rows fill "
            "answers with copies.",
        )  # fmt: skip


def _mixed(case: Case) -> Iterator[Finding]:
    seen, share = case.rows, case.rows.unit_share
    if not 0 < share < 1:
        yield from _two_lengths(seen)
        return
    astray = seen.unit if share < 0.5 else ~seen.unit
    rows = np.flatnonzero(seen.norms > 0)[astray]
    other = seen.lengths[~seen.unit]
    yield Finding(
        "mixed-norms", "error", "X",
        f"{percent(share)} of the rows have norm 1 and {percent(1 - share)} "
        f"({len(other):,}) have not: their norms go from {number(other.min())} to "
        f"{number(other.max())}, so they come from two ways of making them",
        "Normalise all rows. Until then under ip the longest rows win whatever is "
        "asked, and l2 keeps the two kinds apart.",
        f"all norms in [{UNIT[0]}, {UNIT[1]}], or none by design",
        1.0, share, len(rows), first(rows),
    )  # fmt: skip


def _two_lengths(seen: Survey) -> Iterator[Finding]:
    """Find two populations of norms of which neither is 1."""
    if (groups := seen.apart) is None:
        return
    share, low, high = groups
    rows = np.flatnonzero(
        seen.norms >= high if share >= 0.5 else (seen.norms > 0) & (seen.norms <= low)
    )
    yield Finding(
        "mixed-norms", "warning", "X",
        f"the norms fall in two groups: {percent(share)} of the rows from "
        f"{number(seen.lengths.min())} to {number(low)}, {percent(1 - share)} from "
        f"{number(high)} to {number(seen.lengths.max())}, and none between",
        "Find out whether one group was made by other steps, such as without "
        "normalisation; if so, normalise all rows. Under ip the longer group wins "
        "whatever is asked.",
        "no gap of 2 times between norms with 1 % of the rows on either side",
        2.0, high / low, len(rows), first(rows),
    )  # fmt: skip


# --- kind -----------------------------------------------------------------------------


def _kind(case: Case) -> Iterator[Finding]:
    seen = case.rows
    half = seen.halves and not seen.whole and seen.values > 2 * SHOWN**2
    if seen.dtype == np.float16 or half:
        stored = "are" if seen.dtype == np.float16 else f"came as {seen.dtype} but are"
        yield Finding(
            "half-precision", "note", "X",
            f"the values {stored} float16: each is off by up to 1 in 2,048 of itself",
            "Hand over what the encoder gave in float32 where you can; neighbours "
            "whose distances differ by less than a thousandth may change places.",
            "24 bits of precision", 24.0, 11.0,
        )  # fmt: skip
    reach = float(np.maximum(-seen.low, seen.high).max())
    lowest = float(seen.low.min())
    ids = seen.unrepeated and seen.d >= 4 and lowest >= 0 and reach >= IDS
    cut = lowest < 0 and reach < CUT and seen.zeros >= 0.5
    if seen.whole and (ids or cut):
        looks = (
            f"no row holds one of them twice and they reach {reach:,.0f}, as ids or "
            "row numbers do (ground truth instead of vectors?)"
            if ids
            else f"{percent(seen.zeros)} are 0 and none is beyond {reach:g}, as real "
            "numbers that were cut"
        )
        yield Finding(
            "integers", "warning", "X",
            f"all values are whole numbers, but not like counts or pixels: {looks}",
            "Look at where the array comes from; hand over the vectors as they were "
            "before.",
            "whole numbers only as counts, pixels or codes", 0.0, reach,
        )  # fmt: skip


def _few(case: Case) -> Iterator[Finding]:
    n, d = case.rows.n, case.rows.d
    if n < FEW:
        turned = f", and there are more columns ({d:,}): transposed?" if d > n else ""
        yield Finding(
            "few-rows", "note", "X",
            f"there are {n:,} rows, too few to judge by{turned}",
            "Search them exactly with ann.Flat; no index pays below some thousands.",
            f"n >= {FEW:,}", FEW, n, n,
        )  # fmt: skip


# --- nearness -------------------------------------------------------------------------


def _flat(case: Case) -> Iterator[Finding]:
    found = case.nearness
    if found is not None and found.contrast < FLAT:
        yield Finding(
            "no-contrast", "warning", "X",
            f"a row's nearest other is hardly nearer than any: the mean distance is "
            f"{found.contrast:.3f} times the least, at an intrinsic dimension of about "
            f"{found.lid:.0f}",
            "Nearest neighbours mean little here, and no index finds them quickly. Is "
            "it noise, or an encoder that was not trained?",
            f"relative contrast >= {FLAT}", FLAT, found.contrast,
        )  # fmt: skip


def _hubs(case: Case) -> Iterator[Finding]:
    found = case.nearness
    if found is not None and found.hub_share > HUBS:
        yield Finding(
            "hubs", "warning", "X",
            f"one row in a hundred takes {percent(found.hub_share)} of all places "
            f"among the ten nearest, and {percent(found.never)} of the rows are in "
            "nobody's",
            "Take the mean off all vectors, queries too, and try cosine: rows near the "
            "middle of everything are near to everything.",
            f"share of 1 % of the rows <= {HUBS}", HUBS, found.hub_share,
        )  # fmt: skip


# --- columns, queries -----------------------------------------------------------------


def _columns(case: Case) -> Iterator[Finding]:
    yield from column_findings(case.rows)


def _queries(case: Case) -> Iterator[Finding]:
    if case.queries is not None and case.gap is not None:
        parts = case.rows, case.queries, case.nearness, case.gap
        yield from query_findings(case.metric, *parts)


_RULES: Sequence[Rule] = (
    _not_numbers, _overlong, _mixed, _zeros, _repeated, _columns,
    _kind, _few, _flat, _hubs, _queries,
)  # fmt: skip

CODES = (
    "nan", "infinite", "overlong", "mixed-norms", "zero-vectors", "duplicates",
    "constant-columns", "dominant-column", "unequal-columns", "half-precision",
    "integers", "few-rows", "no-contrast", "hubs", "query-norms", "query-shift",
    "query-distance",
)  # fmt: skip
"""Every code that a finding can have."""


# --- words ----------------------------------------------------------------------------


def _both(case: Case) -> Iterator[tuple[str, Survey]]:
    yield "X", case.rows
    if case.queries is not None:
        yield "queries", case.queries


def _rows(
    seen: Survey, where: str, rows: NDArray[Any], code: str, severity: Severity,
    words: str, advice: str,
) -> Finding:  # fmt: skip
    """Return a finding about rows that there should be none of."""
    noun = "rows" if where == "X" else "queries"
    few = listed(rows.tolist(), len(rows))
    return Finding(
        code, severity, where,
        f"{noun} {words}: {part(len(rows), seen.n)}, at {few}",
        advice, f"{noun} such as these: 0", 0.0, float(len(rows)), len(rows),
        first(rows),
    )  # fmt: skip
