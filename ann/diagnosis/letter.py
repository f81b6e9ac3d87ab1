"""The diagnosis, and the letter in which it is told."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ann.diagnosis.finding import Finding, Recommendation
from ann.diagnosis.nearness import TOP, Gap, Nearness
from ann.diagnosis.survey import Survey
from ann.diagnosis.words import number, percent

WIDTH = 88


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """What ``ann.audit`` found; printed, it is a letter.

    Parameters
    ----------
    findings : tuple of Finding      the gravest first; empty where all is well
    recommendation : Recommendation
    rows : Survey                    norms and columns, over all rows
    queries : Survey or None         the same of the queries
    nearness : Nearness or None      dimension, contrast, hubs; None of too few rows
    gap : Gap or None                how queries lie to rows
    sampled : tuple of str           what was measured on a sample, and on which
    """

    findings: tuple[Finding, ...]
    recommendation: Recommendation
    rows: Survey
    queries: Survey | None
    nearness: Nearness | None
    gap: Gap | None
    sampled: tuple[str, ...]

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the findings, each once."""
        return tuple(dict.fromkeys(finding.code for finding in self.findings))

    @property
    def ok(self) -> bool:
        """Whether there is no finding but notes."""
        return all(finding.severity == "note" for finding in self.findings)

    @property
    def unit(self) -> bool:
        """Whether every row with a direction has norm 1, within 0.98 and 1.02."""
        return self.rows.unit_share == 1.0

    def __repr__(self) -> str:
        return "\n".join(_lines(self))


def _lines(of: Diagnosis) -> Iterator[str]:
    rows, asked = of.rows, of.queries
    also = f", and {asked.n:,} queries" if asked is not None else ""
    yield f"Audit of {rows.n:,} vectors of {rows.d:,} dimensions, {rows.dtype}{also}"
    yield from ("", "Findings")
    if not of.findings:
        yield from _point("None. Nothing that this audit looks for is wrong.")
    for finding in of.findings:
        sentence = finding.sentence[0].upper() + finding.sentence[1:]
        yield f"- {finding.code} ({finding.severity}, {finding.where})"
        yield from _wrapped(f"{sentence}.", "  ")
        yield from _wrapped(f"What to do: {finding.advice}", "  ")
    yield from ("", "Measures")
    for name, value, meaning in measures(of):
        yield from _wrapped(f"{value}; {meaning}" if meaning else value, f"  {name:11}")
    advice = of.recommendation
    yield ""
    yield f"Advice: metric={advice.metric!r}{', normalise' * advice.normalise}"
    for reason in advice.reasons:
        yield from _point(reason)
    yield from ("", "What this rests on")
    for each in of.sampled:
        yield from _point(each)


def measures(of: Diagnosis) -> Iterator[tuple[str, str, str]]:
    """Yield name, value and meaning of what was measured."""
    rows, near = of.rows, of.nearness
    yield "norms", _norms(rows), _normalised(rows)
    if of.queries is not None:
        yield "of queries", _norms(of.queries), _normalised(of.queries)
    if rows.varying.any():
        widest, narrowest = rows.std[rows.varying].max(), rows.std[rows.varying].min()
        spread = f"standard deviations {number(narrowest)} to {number(widest)}"
        yield "columns", f"{int(rows.varying.sum()):,} of {rows.d:,} vary", spread
    if near is None:
        return
    known = near.dimension[np.isfinite(near.dimension)]
    if len(known):
        low, high = np.quantile(known, [0.25, 0.75])
        value = f"{near.lid:.1f} ({low:.1f} to {high:.1f} in the middle half)"
        yield (
            "dimension",
            value,
            f"directions of {rows.d:,}, locally",
        )
    if np.isfinite(near.contrast):
        meaning = "mean distance over that to the nearest"
        yield "contrast", f"{near.contrast:.2f}", meaning
    share, never = 100 * near.hub_share, 100 * near.never
    hubs = f"1 % of the rows make {share:.1f} % of all {TOP} nearest"
    yield "hubs", hubs, f"{never:.1f} % of the rows are nobody's"
    pairs = ", ".join(f"{a}–{b} {s:.2f}" for (a, b), s in near.agreement.items())
    yield "agreement", pairs, f"of the {TOP} nearest"
    if of.gap is not None and of.gap.queries:
        yield "queries", *_gap(of.gap, near)


def _gap(gap: Gap, near: Nearness) -> tuple[str, str]:
    return (
        f"mean off by {gap.shift:.2f} of a typical distance",
        f"nearest row at {number(np.median(gap.nearest))}; of rows, at "
        f"{number(near.usual)}",
    )


def _norms(seen: Survey) -> str:
    known = seen.norms[np.isfinite(seen.norms)]
    if not len(known):
        return "none is finite"
    ends = f"{_norm(known.min())} to {_norm(known.max())}"
    return f"{ends}, mean {_norm(known.mean())}, std {number(known.std())}"


def _norm(value: float) -> str:
    """Write a norm so that 0.9999 is not 1."""
    return number(value) if abs(value - 1) > 0.05 else f"{value:.4f}"


def _normalised(seen: Survey) -> str:
    share = seen.unit_share
    if share == 1:
        return "unit-normalised"
    return f"{percent(share)} unit-normalised" if share > 0 else "not normalised"


def _point(text: str) -> list[str]:
    return _wrapped(text, "- ")


def _wrapped(text: str, lead: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead)
    )
