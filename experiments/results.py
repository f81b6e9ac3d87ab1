"""From samples to rows, and from rows to files."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from experiments import percentiles, statistics
from experiments.datasets.cache import atomic
from experiments.encoding import check_name, write_text
from experiments.plan import Build, Point, canonical, written
from experiments.schema import SCHEMA

if TYPE_CHECKING:
    from experiments.measure import Built, Sample

ROWS, PER_QUERY, PROVENANCE = "rows.csv", "per_query.parquet", "provenance.json"
ROUNDS, RATIOS, ABLATION = "rounds.csv", "ratios.csv", "ablation.csv"
BULK, LOAD, STEPS, EXPORT = "bulk.csv", "load.csv", "steps.csv", "rows.parquet"
CHURN, FILTERS, HOSTILE = "churn.csv", "filters.csv", "hostile.csv"
LESSONS = (
    "textbook.csv", "agreement.csv", "ways.csv", "norms.csv", "answered.csv",
    "incident.csv", "contrast.csv", "distances.csv",
    "promise.csv", "choices.csv", "sweep.csv",
)  # fmt: skip
QUERIES, ANSWERS = "queries.parquet", "answers.parquet"
LATENCIES = "latencies.parquet"
FIGURES, FAILURES, PIECES = "figures", "failures.log", "pieces"
PAGE = "report.html"
PREVIOUS = "previous"
DERIVED = (RATIOS, ABLATION, FIGURES, PAGE, EXPORT)
OUTPUTS = (
    ROWS, ROUNDS, BULK, LOAD, STEPS, CHURN, FILTERS, HOSTILE, *LESSONS, PER_QUERY,
    QUERIES, ANSWERS, LATENCIES, PROVENANCE, FAILURES, PIECES, *DERIVED,
)  # fmt: skip

ROUND_MEASURES = ("p50_us", "p95_us", "p99_us", "qps", "qps_1thread")
YARDSTICK = "yardstick_us"  # the column


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured point; the fields are the columns of ``rows.csv``, in their order.

    ``version`` is that of the library, ``vector_level`` the vector instructions that it
    runs on this host (:mod:`experiments.peers.levels`).

    Recall is tie-aware (:mod:`experiments.recall`); ``_low`` and ``_high`` are the ends
    of its bootstrap interval, ``_strict`` counts ids alone, ``_ab`` is that of
    ann-benchmarks. ``share_50`` is the share of queries with recall@10 of at least 0.5,
    and so on; ``recall_p5`` is what 95 % of queries reach, ``zero_recall`` how many
    found nothing.

    Latency is one query at a time on one thread. ``p50_us``, ``p95_us``, ``p99_us`` and
    ``mean_us`` are over all single latencies of all rounds, those after
    ``query_median_`` over queries, of each one's median over rounds; both with the ends
    of their intervals (:mod:`experiments.percentiles`). ``sway`` is how far, as a
    share, the median of the rounds' p50 moves at most when one of them is left out;
    above a tenth it is called noisy. ``qps`` is a batch on ``threads`` threads,
    ``qps_1thread`` a batch on one, both the median over rounds. ``builds`` is how many
    times the index was built for these rounds: more than once in a run that was
    interrupted. ``cores`` and ``compiled_in_timing`` audit the clock. ``yardstick_us``
    is what a fixed piece of work took beside each round, the median: it tells runs
    apart in which the machine was not equally fast. ``schema`` is the version of these
    columns (:mod:`experiments.schema`). What was not measured, or what the queries are
    too few for, is empty; ``status`` says why something was not measured.
    """

    schema: int = SCHEMA
    dataset: str
    metric: str
    n: int
    d: int
    nq: int
    library: str
    version: str = ""
    vector_level: str = ""
    family: str
    index: str
    label: str
    build_params: str
    search_params: str
    k: int
    threads: int
    seed: int
    rounds: int
    recall_at_1: float | None = None
    recall_at_5: float | None = None
    recall_at_10: float | None = None
    recall_at_10_low: float | None = None
    recall_at_10_high: float | None = None
    recall_at_10_strict: float | None = None
    recall_at_10_ab: float | None = None
    share_50: float | None = None
    share_90: float | None = None
    share_100: float | None = None
    recall_p5: float | None = None
    zero_recall: int | None = None
    p50_us: float | None = None
    p95_us: float | None = None
    p99_us: float | None = None
    mean_us: float | None = None
    p50_us_low: float | None = None
    p50_us_high: float | None = None
    p95_us_low: float | None = None
    p95_us_high: float | None = None
    p99_us_low: float | None = None
    p99_us_high: float | None = None
    query_median_p50_us: float | None = None
    query_median_p95_us: float | None = None
    query_median_p99_us: float | None = None
    query_median_p50_us_low: float | None = None
    query_median_p50_us_high: float | None = None
    query_median_p95_us_low: float | None = None
    query_median_p95_us_high: float | None = None
    query_median_p99_us_low: float | None = None
    query_median_p99_us_high: float | None = None
    sway: float | None = None
    qps: float | None = None
    qps_1thread: float | None = None
    build_s: float | None = None
    compile_s: float | None = None
    index_bytes: int | None = None
    peak_rss_bytes: int | None = None
    distance_computations: float | None = None
    cores: float | None = None
    compiled_in_timing: int | None = None
    builds: int | None = None
    yardstick_us: float | None = None
    status: str
    build_id: str
    row_id: str


@dataclass(frozen=True)
class Found:
    """What is known of a setting's answers, from its first round.

    ``ids`` (nq, k); ``recalls`` (nq, 3) tie-aware at 1, 5 and 10; ``strict`` and ``ab``
    (nq,) recall@10 as others define it; ``computations`` (nq,) where they are counted.
    """

    ids: NDArray[np.int64]
    recalls: NDArray[np.float64]
    strict: NDArray[np.float64]
    ab: NDArray[np.float64]
    computations: NDArray[np.int64] | None = None

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """The columns of a row that are means over queries, and the intervals."""
        at_10 = self.recalls[:, -1]
        names = ("recall_at_1", "recall_at_5", "recall_at_10")
        numbers = dict(zip(names, self.recalls.mean(axis=0).tolist(), strict=True))
        interval, tail = statistics.mean(at_10), statistics.tail(at_10)
        numbers |= {
            "recall_at_10_low": interval.low,
            "recall_at_10_high": interval.high,
            "recall_at_10_strict": float(self.strict.mean()),
            "recall_at_10_ab": float(self.ab.mean()),
            "share_50": tail.share_50,
            "share_90": tail.share_90,
            "share_100": tail.share_100,
            "recall_p5": tail.p5,
            "zero_recall": tail.zero,
        }
        if self.computations is not None:
            numbers["distance_computations"] = float(self.computations.mean())
        return numbers


@dataclass
class Record:
    """What has been measured of one point so far.

    ``common`` holds the columns that the points of a dataset share; their owner may
    still learn of them.
    """

    common: Mapping[str, Any]
    build: Build
    point: Point
    built: Built | None = None
    found: Found | None = None
    samples: list[Sample] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)  # of the samples, in the run
    instances: list[str] = field(default_factory=list)  # of the index, likewise
    failure: str | None = None

    def take(self, sample: Sample, turn: int, instance: str) -> None:
        """Add a round."""
        self.samples.append(sample)
        self.turns.append(turn)
        self.instances.append(instance)

    @property
    def recall_at_10(self) -> float:
        """The mean so far; 0 before the first sample."""
        return 0.0 if self.found is None else float(self.found.recalls[:, -1].mean())

    @property
    def latency_us(self) -> NDArray[np.float64]:
        """Every single latency (rounds, nq)."""
        return np.array([sample.latency_us for sample in self.samples])

    def row(self) -> Row:
        """Return this point's row as it stands."""
        build = self.build
        threads = {"threads": build.threads} if build.threads else {}
        return Row(
            **{**self.common, **threads},
            **build.columns(),
            search_params=canonical(written(self.point.search)),
            rounds=len(self.samples),
            **self._build_numbers(),
            **self._search_numbers(),
            status=self.failure or ("ok" if self.samples else "not measured"),
            build_id=build.build_id,
            row_id=self.point.row_id,
        )

    def _build_numbers(self) -> dict[str, Any]:
        if self.built is None:
            return {}
        numbers = asdict(self.built)
        if self.samples:
            numbers["compile_s"] = self.samples[-1].compile_s
        return numbers

    def _search_numbers(self) -> dict[str, Any]:
        if not self.samples:
            return {}
        latency_us = self.latency_us
        p50s, nq = np.median(latency_us, axis=1).tolist(), latency_us.shape[1]
        numbers: dict[str, Any] = {
            **percentiles.of_rounds(latency_us),
            "sway": statistics.sway(p50s) if len(p50s) > 1 else None,
            "builds": len(set(self.instances)),
            "qps": nq / float(np.median([s.batch_s for s in self.samples])),
            "qps_1thread": nq / float(np.median([s.batch_1_s for s in self.samples])),
            "cores": max(sample.cores for sample in self.samples),
            "compiled_in_timing": sum(sample.compiled for sample in self.samples),
            YARDSTICK: float(np.median([s.yardstick_us for s in self.samples])),
        }
        return numbers | (self.found.numbers if self.found else {})


def claim(out: Path, config: Mapping[str, Any], force: bool = False) -> None:
    """Make a directory ready for a run, without losing what it holds.

    A directory that is new, empty or holds an earlier run of this very config is fine:
    an unfinished one will be gone on with, the files of a finished one move to
    ``previous/`` within it, in the place of what was there. Any other is refused unless
    ``force``, and even then only moved.

    Parameters
    ----------
    out : the directory
    config : as a provenance has it

    Raises
    ------
    OSError
        As `check_claim`.
    """
    check_claim(out, config, force)
    out.mkdir(parents=True, exist_ok=True)
    for path in list(_leftovers(out)):
        path.unlink()
    stamp = _stamp(out) or {}
    if stamp.get("config") == config and stamp.get("status") == "unfinished":
        return
    earlier = [path for output in OUTPUTS if (path := out / output).exists()]
    if earlier:
        previous = out / PREVIOUS
        if previous.exists():
            shutil.rmtree(previous)
        previous.mkdir()
        for path in earlier:
            path.rename(previous / path.name)


def check_claim(out: Path, config: Mapping[str, Any], force: bool = False) -> None:
    """Find out whether `claim` would do, and change nothing.

    Raises
    ------
    OSError
        When the directory cannot be made or written to, or holds something else.
    """
    _require_writable(out)
    held = set(out.iterdir()) if out.exists() else set()
    held -= {*_leftovers(out), out / PREVIOUS, out / PIECES}
    stamp = _stamp(out)
    same = stamp is not None and stamp.get("config") == config
    if held and not same and not force:
        raise FileExistsError(
            f"{out} must be new or hold an earlier run of this config, it holds "
            f"{_difference(stamp, config)}: choose another --out, or --force, which "
            f"moves it to {PREVIOUS}/"
        )


def _require_writable(out: Path) -> None:
    """Raise OSError where a directory cannot be made or written to."""
    try:
        check_name(out)
    except ValueError as error:
        raise OSError(str(error)) from None
    nearest = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"{out} cannot be a directory: {nearest} is a file")
    try:
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        where = "" if nearest == out else f" in {nearest}"
        raise OSError(f"{out} cannot be written{where}: {error.strerror}") from None


def _leftovers(out: Path) -> Iterator[Path]:
    """Yield the temporary files of writes that were killed."""
    for output in map(Path, OUTPUTS):
        yield from out.glob(f".{output.stem}.*{output.suffix}")


def _stamp(out: Path) -> dict[str, Any] | None:
    try:
        stamp = json.loads((out / PROVENANCE).read_text(encoding="utf-8"))
        return stamp if isinstance(stamp["config"]["name"], str) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _difference(stamp: Mapping[str, Any] | None, config: Mapping[str, Any]) -> str:
    """Say what a directory holds instead of a run of this config."""
    if stamp is None:
        return "files of another kind"
    earlier = stamp["config"]
    if earlier["name"] != config["name"]:
        return f"a run of {earlier['name']!r}"
    where = next(_differences(earlier, config, ""), "order")
    return f"a run of another config named {config['name']!r}, which differs in {where}"


def _differences(a: Any, b: Any, where: str) -> Iterator[str]:
    """Yield the places where two tables differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            yield from _differences(a.get(key), b.get(key), f"{where}.{key}".strip("."))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, pair in enumerate(zip(a, b, strict=True)):
            yield from _differences(*pair, f"{where}[{i}]")
    elif a != b:
        yield where


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write ``rows.csv``, whole or not at all."""
    with _csv(path) as writer:
        columns = [column.name for column in fields(Row)]
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_cell(getattr(row, column)) for column in columns])


def write_rounds(path: Path, records: Sequence[Record]) -> None:
    """Write ``rounds.csv``: one line per point and round.

    ``turn`` counts the measurements of a data set, so it tells what was measured when.
    """
    with _csv(path) as writer:
        names = ("row_id", "label", "search_params", "round", "turn")
        writer.writerow([*names, *ROUND_MEASURES, YARDSTICK])
        for record in records:
            point, label = record.point, record.build.label
            setting = canonical(written(point.search))
            turns = zip(record.turns, record.samples, strict=True)
            for number, (turn, sample) in enumerate(turns):
                cells = map(_cell, (*_round(sample), sample.yardstick_us))
                writer.writerow([point.row_id, label, setting, number, turn, *cells])


def write_table(path: Path, lines: Sequence[Any]) -> None:
    """Write dataclasses as a CSV file, whole or not at all.

    A field that holds a ratio becomes three columns: it, its least and its greatest.
    """
    write_cells(path, [dict(_columns(line)) for line in lines])


def write_cells(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write lines by the names of their columns, whole or not at all.

    Columns are those of the first line and, at the end, of those after it; what a line
    lacks is empty.
    """
    names = dict.fromkeys(name for line in lines for name in line)
    with _csv(path) as writer:
        writer.writerow(names)
        for line in lines:
            writer.writerow([_cell(line.get(name)) for name in names])


def read_table(
    path: Path,
    kind: Any,
    current: Callable[[Mapping[str, str]], Mapping[str, str]] = dict,
) -> list[Any]:
    """Read what ``write_table`` wrote of a dataclass without ratios.

    Parameters
    ----------
    path : the file
    kind : the dataclass; of its fields, those that may be None may have no column
    current : what makes the cells of a line those of today's columns

    Raises
    ------
    ValueError
        When a column is missing or a cell is not what it should be.
    """
    hints = get_type_hints(kind)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = map(current, csv.DictReader(file))
            return [
                kind(**{name: _value(line, name, hints[name]) for name in hints})
                for line in lines
            ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error!r}") from error


def _value(line: Mapping[str, str], column: str, hint: Any) -> Any:
    """Return a cell as a field of a type, or of a type or None, holds it."""
    kind, *other = get_args(hint) or (hint,)
    return None if other and not line.get(column) else kind(line[column])


def _columns(line: Any) -> Iterator[tuple[str, Any]]:
    for column in fields(line):
        value = getattr(line, column.name)
        if isinstance(value, tuple):
            names = (column.name, f"{column.name}_low", f"{column.name}_high")
            yield from zip(names, value, strict=True)
        else:
            yield column.name, value


@contextmanager
def _csv(path: Path) -> Iterator[Any]:
    """Yield the writer of a CSV file, which appears whole or not at all."""
    with (
        atomic(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        yield csv.writer(file, lineterminator="\n")


def keep_failure(out: Path, what: str, log: str) -> None:
    """Add what went wrong, and all that a worker had to say, to ``failures.log``."""
    with (out / FAILURES).open("a", encoding="utf-8") as file:
        file.write(f"{what}\n{log}\n")


def measured(out: Path) -> bool:
    """Return whether a directory holds a table with a line of what was measured."""
    names = (ROUNDS, BULK, STEPS, CHURN, FILTERS, HOSTILE, *LESSONS)
    tables = (path for name in names if (path := out / name).is_file())
    return any(table.read_bytes().count(b"\n") > 1 for table in tables)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all."""
    with atomic(path) as temporary:
        write_text(temporary, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def sums(out: Path) -> dict[str, str]:
    """Return the sha256 of each table, for the provenance."""
    tables = (ROWS, ROUNDS, PER_QUERY, QUERIES, LATENCIES)
    return {
        name: hashlib.sha256((out / name).read_bytes()).hexdigest()
        for name in tables
        if (out / name).exists()
    }


def _round(sample: Sample) -> tuple[float | None, ...]:
    """Return the measures of one round, in the order of ROUND_MEASURES."""
    nq = len(sample.latency_us)
    tails = (
        percentiles.pooled(sample.latency_us, name) for name in percentiles.PERCENTS
    )
    values = (None if tail is None else tail.value for tail in tails)
    return *values, nq / sample.batch_s, nq / sample.batch_1_s


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
