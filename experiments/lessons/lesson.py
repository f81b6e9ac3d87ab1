"""A lesson from its name to its files, and from its files to tables and figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments import provenance, results
from experiments.lessons import (
    adaptive,
    adaptive_figures,
    agreement,
    dimension,
    dimension_figures,
    incident,
    metrics_figures,
    narrowing,
    narrowing_figures,
    popularity,
    tuning,
    tuning_figures,
)
from experiments.lessons.notebook import Notebook
from experiments.plots.canvas import settings
from experiments.progress import Progress
from experiments.terminal import Plain, Table, stack

if TYPE_CHECKING:
    from rich.console import Console, Group

FEWEST = 500  # rows among which 100 are still near

Tables = dict[str, Sequence[Any]]  # lines, by the file they stand in
Part = Callable[[Notebook], Mapping[str, Sequence[Any]]]


class Lesson(NamedTuple):
    """What a lesson consists of."""

    parts: Sequence[Part]
    lines: Mapping[str, type]  # of each file
    draw: Callable[[Tables, Mapping[str, Any], Path], list[Path]]


LESSONS = {
    "metrics": Lesson(
        [
            agreement.textbook,
            agreement.agreement,
            popularity.popularity,
            incident.incident,
        ],
        {
            agreement.TEXTBOOK: agreement.Case,
            agreement.AGREEMENT: agreement.Agreement,
            popularity.WAYS: popularity.Way,
            popularity.NORMS: popularity.Norms,
            popularity.ANSWERED: popularity.Answered,
            incident.INCIDENT: incident.Night,
        },
        metrics_figures.draw,
    ),
    "dimension": Lesson(
        [dimension.dimension],
        {
            dimension.CONTRAST: dimension.Contrast,
            dimension.DISTANCES: dimension.Distances,
        },
        dimension_figures.draw,
    ),
    "reduce": Lesson(
        [narrowing.narrowing],
        {narrowing.GRAPHS: narrowing.Graph, narrowing.KEPT: narrowing.Kept},
        narrowing_figures.draw,
    ),
    "adaptive": Lesson(
        [adaptive.adaptive],
        {
            adaptive.CURVES: adaptive.Point,
            adaptive.SAVINGS: adaptive.Saving,
            adaptive.SPREAD: adaptive.Spread,
            adaptive.TARGETS: adaptive.Target,
        },
        adaptive_figures.draw,
    ),
    "tune": Lesson(
        [tuning.patches, tuning.word_counts, tuning.popular, tuning.sentences],
        {
            tuning.PROMISE: tuning.Promise,
            tuning.CHOICES: tuning.Choice,
            tuning.SWEEP: tuning.Point,
        },
        tuning_figures.draw,
    ),
}
FOR_FIGURES = (  # many lines
    *(dimension.DISTANCES, adaptive.CURVES, adaptive.SPREAD),
    *(tuning.CHOICES, tuning.SWEEP),
)


class Wish(NamedTuple):
    """Which lesson, on how much, and by which seed."""

    name: str
    n: int | None
    seed: int
    threads: int

    @property
    def config(self) -> dict[str, Any]:
        """What `results.claim` tells lessons apart by."""
        limit = {} if self.n is None else {"n": self.n}
        return {"name": self.name, **limit, "seed": self.seed}


def wish(name: str, n: int | None, seed: int, threads: int) -> Wish:
    """Return a checked wish.

    Raises
    ------
    ValueError
        When there is no such lesson, or ``n`` is below 500.
    """
    if name not in LESSONS:
        raise ValueError(
            f"a lesson must be one of {', '.join(LESSONS)}, or the directory of an "
            f"earlier one, got {name!r}"
        )
    if n is not None and n < FEWEST:
        raise ValueError(f"n must be at least {FEWEST}, got {n}")
    return Wish(name, n, seed, threads)


def run(asked: Wish, out: Path, console: Console, command: str) -> None:
    """Measure a lesson; write tables and provenance into a directory.

    Parameters
    ----------
    asked : what ``wish`` returned
    out : a directory that :func:`experiments.results.claim` made ready
    console : where to say how it goes
    command : what the user typed, for the provenance
    """
    lesson = LESSONS[asked.name]
    stamp = provenance.stamp(asked.config, asked.seed, asked.threads, command)
    stamp["status"] = "unfinished"
    results.write_json(out / results.PROVENANCE, stamp)
    with Progress(console, len(lesson.parts)) as progress:
        notes = Notebook(asked.n, asked.seed, asked.threads, progress)
        held: dict[str, list[Any]] = {}
        try:
            for part in lesson.parts:
                for file, lines in part(notes).items():
                    held[file] = [*held.get(file, ()), *lines]
                    results.write_table(out / file, held[file])
                progress.done()
            stamp["status"] = "finished"
        finally:
            stamp |= {"datasets": notes.used, "left_out": notes.left_out}
            stamp["ended"] = provenance.now()
            results.write_json(out / results.PROVENANCE, stamp)


def read(out: Path) -> tuple[Tables, Mapping[str, Any]]:
    """Return the tables and the provenance of a lesson.

    Raises
    ------
    OSError
        When there is no such directory, or a file is missing in it.
    ValueError
        When it holds no finished lesson, or a file is malformed.
    """
    stamp = json.loads((out / results.PROVENANCE).read_text(encoding="utf-8"))
    name = stamp.get("config", {}).get("name")
    if name not in LESSONS or stamp.get("status") != "finished":
        raise ValueError(f"{out} must hold a finished lesson, got {name!r}")
    kinds = LESSONS[name].lines
    return {
        file: results.read_table(out / file, kind) for file, kind in kinds.items()
    }, stamp


def draw(tables: Tables, stamp: Mapping[str, Any], out: Path) -> list[Path]:
    """Draw a lesson's figures; return the paths of PNG and SVG files."""
    out.mkdir(parents=True, exist_ok=True)
    with settings():
        return LESSONS[stamp["config"]["name"]].draw(tables, stamp, out)


def told(tables: Tables) -> Iterator[Group]:
    """Yield each table for the terminal; what is the same in all lines is its title.

    Of those ``FOR_FIGURES``, which are long, there is none.
    """
    for file, lines in tables.items():
        if lines and file not in FOR_FIGURES:
            yield _table(file, lines)


def _table(file: str, lines: Sequence[Any]) -> Group:
    names = [field.name for field in fields(lines[0])]
    held = {name: [getattr(line, name) for line in lines] for name in names}
    same = [name for name in names if len(set(held[name])) == 1]
    facts = ", ".join(f"{name} {_cell(held[name][0])}" for name in same)
    table = Table()
    varying = [name for name in names if name not in same]
    for name in varying:
        number = not isinstance(held[name][0], str)
        table.add_column(name, justify="right" if number else "left")
    for row in zip(*(held[name] for name in varying), strict=True):
        table.add_row(*map(_cell, row))
    return stack(Plain(f"{file}: {facts}".rstrip(": "), "bold"), table)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
