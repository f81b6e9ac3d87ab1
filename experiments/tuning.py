"""``ann tune``: an index chosen for a file, told as tables, as a letter and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import ann
from ann.diagnosis.words import number
from ann.tuning.letter import figures, grounds, reasons, written
from experiments import datasets
from experiments.datasets.vectors import sample_rows, take
from experiments.encoding import file_name, write_text
from experiments.terminal import Plain, Table, stack

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from ann.tuning import Tried, Tuned
    from experiments.datasets import Vectors

DEFAULT_METRIC = "l2"


class Wanted(NamedTuple):
    """What `ann.tune` is told of the goal; see there."""

    use: str | None = None
    target: float | None = None
    confidence: float = 0.95
    objective: str = "latency"
    max_bytes: float | None = None
    max_latency_ms: float | None = None
    budget_s: float | None = 60.0


@dataclass(frozen=True)
class Report:
    """What ``ann tune`` shows."""

    name: str
    source: str  #: one line: where rows and queries are from
    found: Tuned


def tune(
    name: str,
    queries: str | None,
    wanted: Wanted,
    *,
    metric: str | None = None,
    n: int | None = None,
    k: int = 10,
    seed: int = 0,
) -> Report:
    """Choose an index for a file, or a dataset by its name.

    Parameters
    ----------
    name : str
        What `datasets.find` knows.
    queries : str, optional
        Another: its queries, or its vectors if it has none apart. Default those that
        ``name`` has; where there are none, some of its rows are held out.
    wanted : Wanted
    metric : str, optional
        Default what the file states, or l2.
    n : int, optional
        Vectors to sample.
    k, seed
        See `ann.tune`.

    Raises
    ------
    ValueError, OSError
        As `datasets.find` and `ann.tune`.
    """
    vectors = datasets.find(name, seed=seed)
    source = datasets.origin(vectors.source)
    if queries is None:
        X, Q = _own(vectors, n, seed)
    else:
        other = datasets.find(queries, seed=seed)
        rows = None if n is None else sample_rows(vectors, n, 1, seed)[0]
        X = take(vectors.train, rows, source)
        Q = take(other.train if other.test is None else other.test, None, queries)
        source += f"; queries: {datasets.origin(other.source)}"
    found = ann.tune(
        X,
        Q,
        metric=metric or vectors.metric or DEFAULT_METRIC,
        k=k,
        target_recall=wanted.target,
        confidence=wanted.confidence,
        objective=wanted.objective,  # type: ignore[arg-type]  # checked there
        max_bytes_per_vector=wanted.max_bytes,
        max_latency_ms=wanted.max_latency_ms,
        budget=wanted.budget_s,
        seed=seed,
        use=wanted.use,
    )
    return Report(datasets.title(name), source, found)


def _own(
    vectors: Vectors, n: int | None, seed: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a file's vectors and its queries, or rows that are held out."""
    rows, asked = sample_rows(vectors, n, None, seed)
    pool = vectors.train if vectors.test is None else vectors.test
    X = take(vectors.train, rows, vectors.source)
    return X, take(pool, asked, f"queries of {vectors.source}")


def tables(report: Report) -> Iterator[RenderableType]:
    """Yield what was chosen, why, and what was tried, to be printed one by one."""
    found = report.found
    chosen = Table.grid(padding=(0, 2))
    size = f"{found.index.ntotal:,} × {found.index.d:,}, {found.index.metric}"
    title = f"{report.name}: {size}, tuned for {found.objective}"
    for name, value in figures(found):
        chosen.add_row(Plain(name, "dim"), value)
    yield stack(Plain(title, "bold"), chosen)
    yield ""
    for reason in reasons(found):
        yield Plain(f"- {reason}")
    yield _tried(found.tried)
    for ground in grounds(found):
        yield Plain(f"- {ground}", "dim")
    yield ""


def _tried(tried: tuple[Tried, ...]) -> Table:
    table = Table()
    for name in ("index", "searched with", "recall", "µs", "bytes", "build s"):
        right = name not in ("index", "searched with")
        table.add_column(name, justify="right" if right else "left")
    table.add_column("what became of it", ratio=1)
    for each in tried:
        recall = "" if math.isnan(each.recall) else f"{each.recall:.4f}"
        values = each.undisturbed_us, each.bytes_per_vector, each.build_s
        cells = ["" if math.isnan(value) else number(value) for value in values]
        style = "bold" if each.fate == "chosen" else ""
        row = [each.name, written(each.search_params), recall, *cells, each.fate]
        table.add_row(*row, style=style)
    return table


def write(report: Report, out: Path, save: Path | None = None) -> list[Path]:
    """Write the letter, the same for programs, and the index; return the files."""
    out.mkdir(parents=True, exist_ok=True)
    stem = file_name(report.name)
    letter, told = (out / f"{stem}-tune.{end}" for end in ("txt", "json"))
    write_text(letter, f"{report.found}\n")
    text = json.dumps(plain(report), indent=2, ensure_ascii=False)
    write_text(told, f"{text}\n")
    if save is None:
        return [letter, told]
    report.found.index.save(save)
    return [letter, told, save]


def plain(report: Report) -> dict[str, Any]:
    """Return what was found as plain values; null where nothing was measured."""
    found = report.found
    values = {
        "name": report.name,
        "source": report.source,
        "structure": type(found.index).__name__,
        "params": found.params,
        "search_params": found.search_params,
        "k": found.k,
        "objective": found.objective,
        "use": found.use and found.use.name,
        "target_recall": found.target_recall,
        "confidence": found.confidence,
        "recall": found.recall,
        "lower_bound": found.lower_bound,
        "p50_us": found.latency.p50_us,
        "p99_us": found.latency.p99_us,
        "undisturbed_us": found.latency.undisturbed_us,
        "timed": found.latency.queries,
        "nbytes": found.nbytes,
        "queries": {"chose": found.choosers, "judged": found.judges},
        "tests": found.tests,
        "seconds": found.seconds,
        "tried": [asdict(each) for each in found.tried],
    }
    return {key: _known(value) for key, value in values.items()}


def _known(value: Any) -> Any:
    if isinstance(value, list):
        return [{key: _known(each) for key, each in row.items()} for row in value]
    return None if isinstance(value, float) and math.isnan(value) else value
