"""From measures to a metric, with reasons."""

from collections.abc import Iterator, Sequence

import numpy as np

from ann.diagnosis.finding import Finding, Recommendation
from ann.diagnosis.nearness import TOP, Nearness
from ann.diagnosis.survey import Survey
from ann.diagnosis.words import number, percent

EVEN = 0.02  # spread of norms that leaves l2 and cosine no room to differ
UNEVEN = 0.35  # spread above which length is likely to mean something, if it is also
BEYOND = 1.5  # times that of a Gaussian as broad as the rows
CENTRED = 0.1  # share of the mean's square in the mean square
SPARSE = 0.8  # share of zeros
ALIKE = 0.9  # of the ten nearest


def recommend(
    choice: tuple[str, str],
    rows: Survey,
    near: Nearness | None,
    findings: Sequence[Finding],
    stated: str | None,
) -> Recommendation:
    """Recommend what was chosen; ``stated`` is what the user means to use."""
    metric, why = choice
    whole = rows.unit_share == 1
    codes = {finding.code for finding in findings}
    reasons = [why, *_scales(codes)]
    if near is not None and not whole:
        reasons += _agreement(metric, near, "mixed-norms" in codes)
    if stated is not None:
        reasons.append(_beside(stated, metric, near))
    return Recommendation(metric, metric == "cosine" and not whole, tuple(reasons))


def choose(rows: Survey, breadth: float) -> tuple[str, str]:
    """Return the metric that norms and signs speak for, and why.

    ``breadth`` is the number of directions that the rows take up evenly: the lengths
    of Gaussian vectors spread by 1 / sqrt(2 breadth).
    """
    share, spread = rows.unit_share, rows.spread
    if not len(rows.lengths):
        return "l2", "No row has a direction, so nothing speaks for any metric."
    if share == 1:
        return "cosine", (
            f"All norms are in [{rows.lengths.min():.4f}, {rows.lengths.max():.4f}]: "
            "the rows are normalised, and cosine, ip and l2 give one ranking. cosine "
            "keeps that true for whatever comes later."
        )
    if share > 0.5:
        return "cosine", (
            f"{percent(share)} of the rows are normalised, so direction is what was "
            "meant; cosine scales the rest to norm 1 on the way in."
        )
    if share > 0:
        return "cosine", (
            f"{percent(share)} of the rows are normalised and the rest is not: only "
            "their directions can be compared, which cosine does."
        )
    if (groups := rows.apart) is not None:
        return "cosine", (
            f"The norms fall in two groups, up to {number(groups[1])} and from "
            f"{number(groups[2])} on: unless that is meant, compare directions alone."
        )
    if spread < EVEN:
        return "cosine", (
            f"The norms differ by {percent(spread)} (standard deviation over mean): "
            "all rows are of one length, so nothing is lost by taking it off."
        )
    if rows.low.min() >= 0:
        if rows.zeros >= SPARSE:
            return "cosine", (
                f"No value is negative and {100 * rows.zeros:.0f} % are 0, as counts "
                "of words: norms tell how long a text is, not what it is about."
            )
        return "l2", (
            "No value is negative: amounts, such as pixels, counts or histograms, "
            f"whose size is part of what they say (norms {_span(rows)})."
        )
    enough = max(UNEVEN, BEYOND / np.sqrt(2 * breadth))
    if spread >= enough and rows.off_centre < CENTRED:
        return "ip", (
            f"The norms go {_span(rows)} around a centre near 0, too unevenly "
            f"({100 * spread:.0f} %, standard deviation over mean) for an accident of "
            "direction: ip, if length means something, such as popularity; cosine, if "
            "it does not."
        )
    return "l2", (
        f"The norms go {_span(rows)} ({100 * spread:.0f} %, standard deviation over "
        "mean): they were not normalised, and l2 takes the vectors as they are."
    )


def _span(rows: Survey) -> str:
    low, high = np.quantile(rows.lengths, [0.01, 0.99])
    return f"from {number(low)} to {number(high)} in 98 % of the rows"


def _agreement(metric: str, near: Nearness, mixed: bool) -> Iterator[str]:
    same = near.agreement["l2", "cosine"]
    shared = f"l2 and cosine have {100 * same:.0f} % of the {TOP} nearest in common"
    if metric != "ip" and not mixed:
        yield (
            f"{shared}: either will do."
            if same >= ALIKE
            else f"{shared}: the choice matters, so look at some answers of both."
        )
    if near.agreement["cosine", "ip"] < ALIKE:
        merit = ", as is right only where length is merit" * (near.longest > 0.05)
        yield (
            f"Under ip the longest 1 % of the rows take {100 * near.longest:.0f} % of "
            f"all places among the best {TOP}{merit}."
        )


def _scales(codes: set[str]) -> Iterator[str]:
    if uneven := sorted(codes & {"dominant-column", "unequal-columns"}):
        yield (
            f"Before that, bring the columns to one scale, which no metric does by "
            f"itself: see {' and '.join(uneven)}."
        )


def _beside(stated: str, metric: str, near: Nearness | None) -> str:
    if stated == metric:
        return f"You mean to use {stated}, and so would this audit."
    pair = tuple(sorted((stated, metric), key=("l2", "cosine", "ip", "l1").index))
    if near is None or pair not in near.agreement:
        return f"You mean to use {stated} instead."
    same = near.agreement[pair[0], pair[1]]
    return (
        f"You mean to use {stated}: it has {100 * same:.0f} % of the {TOP} nearest in "
        f"common with {metric}."
    )
