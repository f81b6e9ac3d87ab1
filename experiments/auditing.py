"""``ann audit``: a file of vectors examined, told as tables, drawn as a sheet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ann
from ann.diagnosis.letter import measures
from experiments import datasets
from experiments.encoding import file_name, write_text
from experiments.terminal import Plain, Table, stack

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ann.diagnosis import Diagnosis

MARKS = {"error": "✖", "warning": "▲", "note": "·"}
_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


@dataclass(frozen=True)
class Report:
    """What ``ann audit`` shows."""

    name: str
    source: str  #: one line: where rows and queries are from
    found: Diagnosis


def audit(
    name: str,
    queries: str | None = None,
    *,
    metric: str | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> Report:
    """Examine a file, or a dataset by its name.

    Parameters
    ----------
    name : str
        What `datasets.find` knows.
    queries : str, optional
        Another: its queries, or its vectors if it has none apart. Default those that
        ``name`` has.
    metric : str, optional
        The one to be used; default what the file states, or what the audit recommends.
    sample, seed
        See `ann.audit`.

    Raises
    ------
    ValueError, OSError
        As `datasets.find` and `ann.audit`.
    """
    vectors = datasets.find(name, seed=seed)
    asked, also = vectors.test, ""
    if queries is not None:
        other = datasets.find(queries, seed=seed)
        asked = other.train if other.test is None else other.test
        also = f"; queries: {datasets.origin(other.source)}"
    found = ann.audit(
        vectors.train,
        asked,
        metric=metric or vectors.metric,
        seed=seed,
        **({} if sample is None else {"sample": sample}),
    )
    source = datasets.origin(vectors.source) + also
    return Report(datasets.title(name), source, found)


def tables(report: Report) -> Iterator[RenderableType]:
    """Yield findings, measures and advice, to be printed one after another."""
    yield _findings(report)
    yield _measures(report.found)
    yield ""
    yield _advice(report.found)
    yield ""


def _findings(report: Report) -> RenderableType:
    found = report.found
    rows, asked = found.rows, found.queries
    also = f", {asked.n:,} queries" if asked is not None else ""
    title = f"{report.name}: {rows.n:,} × {rows.d:,} {rows.dtype}{also}"
    if not found.findings:
        return stack(Plain(title, "bold"), "Nothing found that is wrong.\n")
    table = Table(padding=(0, 1, 0, 0), pad_edge=True, show_edge=False)
    table.add_column("finding", no_wrap=True)
    table.add_column("what was found, and what to do", ratio=1)
    for each in found.findings:
        code = Plain(f"{MARKS[each.severity]} {each.code}", _STYLES[each.severity])
        sentence = f"{each.sentence[0].upper()}{each.sentence[1:]}."
        table.add_row(
            stack(code, Plain(f"  {each.severity}", "dim")),
            stack(sentence, Plain(f"{each.advice}\n", "italic")),
        )
    return stack(Plain(title, "bold"), table)


def _measures(found: Diagnosis) -> Table:
    table = Table(show_edge=False, pad_edge=True)
    for name in ("measure", "value", "meaning"):
        table.add_column(name, no_wrap=name == "measure")
    for row in measures(found):
        table.add_row(*row)
    return table


def _advice(found: Diagnosis) -> RenderableType:
    advice = found.recommendation
    table = Table.grid(padding=(0, 1))
    head = f"Advice: metric={advice.metric!r}{', normalised' * advice.normalise}"
    for line in advice.reasons:
        table.add_row("-", line)
    table.add_row()
    for line in found.sampled:
        table.add_row("-", line, style="dim")
    return stack(Plain(head, "bold"), table)


def write(report: Report, out: Path) -> list[Path]:
    """Write the letter and draw the sheet; return the files."""
    from experiments.plots import anatomy

    out.mkdir(parents=True, exist_ok=True)
    stem = out / f"{file_name(report.name)}-audit"
    letter = stem.with_name(f"{stem.name}.txt")
    write_text(letter, f"{report.found}\n")
    return [letter, *anatomy.draw(report.found, report.name, report.source, stem)]
