"""Rules about how queries lie to the rows that they are searched among."""

from collections.abc import Iterator

import numpy as np

from ann.diagnosis.finding import SHOWN, Finding
from ann.diagnosis.nearness import Gap, Nearness
from ann.diagnosis.survey import Survey
from ann.diagnosis.words import first, number, part, percent
from ann.metrics import UNIT

ALIKE = 2.0  # between the median norms of rows and queries
NEAR = 1.1  # the same, where one side was normalised
SHIFT = 0.25  # of the means, in root mean square distances from the mean
DRIFT = 1.0  # of one column's mean, in its standard deviations
FAR = 0.1  # of the queries, farther than 99 % of the rows


def query_findings(
    metric: str, rows: Survey, queries: Survey, near: Nearness | None, gap: Gap
) -> Iterator[Finding]:
    """Say what is wrong with the queries: a cause, and not what follows from it."""
    norms = list(_norms(rows, queries, gap, metric)) if len(queries.lengths) else []
    yield from norms
    if not gap.queries or (norms and metric != "cosine"):
        return  # where they are and how far follows from how long they are
    if shift := list(_shift(gap)):
        yield from shift
        return
    if near is not None and gap.far > FAR and gap.far * gap.queries >= 3:
        yield Finding(
            "query-distance", "warning", "queries",
            f"{percent(gap.far)} of the queries lie farther from their nearest row "
            f"than 99 % of the rows lie from theirs: median "
            f"{number(np.median(gap.nearest))} beside {number(near.usual)}",
            "They are of another kind than the rows: other texts, another language, "
            "another encoder. Tune and measure on queries such as these.",
            f"share <= {FAR}", FAR, gap.far, round(gap.far * gap.queries),
        )  # fmt: skip


def _norms(rows: Survey, queries: Survey, gap: Gap, metric: str) -> Iterator[Finding]:
    theirs, ours = queries.unit_share, rows.unit_share
    low, high = np.quantile(queries.lengths, [0.01, 0.99])
    if ours > 0.5 and theirs < 1:
        off = np.flatnonzero(queries.norms > 0)[~queries.unit]
        what = (
            f"{part(len(off), queries.n, 'queries')} do not have norm 1, as the rows "
            f"do: the queries' norms go from {number(low)} to {number(high)}"
        )
    elif metric != "ip" and theirs > 0.5 and not 1 / NEAR <= gap.ratio <= NEAR:
        off = np.flatnonzero(queries.norms > 0)[queries.unit]
        what = (
            f"{part(len(off), queries.n, 'queries')} have norm 1, and the rows do not: "
            f"their median norm is {number(np.median(rows.lengths))}"
        )
    elif metric != "ip" and not 1 / ALIKE <= gap.ratio <= ALIKE:
        off = np.flatnonzero(queries.norms > 0)
        what = (
            f"the queries' median norm is {number(gap.ratio)} times that of the rows: "
            f"{number(float(np.median(queries.lengths)))} beside "
            f"{number(float(np.median(rows.lengths)))}"
        )
    else:
        return
    yield Finding(
        "query-norms", "error", "queries", what,
        "Make rows and queries by the same steps: one side was normalised or scaled, "
        "and the other was not. metric=\"cosine\" takes all lengths off.",
        f"norms in [{UNIT[0]}, {UNIT[1]}] on both sides, or medians within {ALIKE:g} "
        "times", ALIKE, gap.ratio, len(off), first(off),
    )  # fmt: skip


def _shift(gap: Gap) -> Iterator[Finding]:
    noise = 1 / np.sqrt(gap.queries)  # the standard error of a mean
    drift = np.abs(gap.drift)
    moved = np.flatnonzero(drift > DRIFT + 4 * noise)
    if gap.shift <= SHIFT + 3 * noise and not len(moved):
        return
    worst = np.argsort(-drift)[: max(1, min(SHOWN, len(moved)))]
    far = f"; {percent(gap.far)} of them lie farther from their nearest row than 99 % "
    far = f"{far}of the rows do" if gap.far > FAR else ""
    yield Finding(
        "query-shift", "warning", "queries",
        f"the queries' mean is off that of the rows by {gap.shift:.2f} of a row's "
        f"typical distance from it; column {worst[0]} moved most, by "
        f"{gap.drift[worst[0]]:+.1f} standard deviations{far}",
        "Rows and queries come from two places: compare the encoder, its version and "
        "its prompt on both sides.",
        f"shift <= {SHIFT} + 3 / sqrt(nq), any column's <= {DRIFT:g} + 4 / sqrt(nq)",
        SHIFT, gap.shift, len(moved), columns=tuple(int(each) for each in worst),
    )  # fmt: skip
