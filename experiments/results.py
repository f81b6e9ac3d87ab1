"""From samples to rows, and from rows to files."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experiments.datasets.cache import atomic
from experiments.plan import Build, Point, canonical, written

if TYPE_CHECKING:
    from experiments.measure import Built, Sample

ROWS, PER_QUERY, PROVENANCE = "rows.csv", "per_query.parquet", "provenance.json"
ROUNDS, RATIOS, ABLATION = "rounds.csv", "ratios.csv", "ablation.csv"
BULK = "bulk.csv"
FIGURES, FAILURES = "figures", "failures.log"
DERIVED = (RATIOS, ABLATION, FIGURES)
OUTPUTS = (ROWS, ROUNDS, BULK, PER_QUERY, PROVENANCE, FAILURES, *DERIVED)

ROUND_MEASURES = ("p50_us", "p99_us", "qps", "qps_1thread")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured point; the fields are the columns of ``rows.csv``, in their order.

    Latency is one query at a time on one thread: the median over rounds of each
    query, and of these the percentiles and the mean over queries; ``p50_us_low`` and
    ``p50_us_high`` are the least and the greatest p50 of a single round. ``qps`` is a
    batch on ``threads`` threads, ``qps_1thread`` a batch on one, both the median over
    rounds. ``cores`` and ``compiled_in_timing`` audit the clock: more than one core,
    or any compilation, and the latency is not what it says. What was not measured is
    empty, and ``status`` says why.
    """

    dataset: str
    metric: str
    n: int
    d: int
    nq: int
    library: str
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
    p50_us: float | None = None
    p95_us: float | None = None
    p99_us: float | None = None
    mean_us: float | None = None
    p50_us_low: float | None = None
    p50_us_high: float | None = None
    qps: float | None = None
    qps_1thread: float | None = None
    build_s: float | None = None
    compile_s: float | None = None
    index_bytes: int | None = None
    peak_rss_bytes: int | None = None
    distance_computations: float | None = None
    cores: float | None = None
    compiled_in_timing: int | None = None
    status: str
    build_id: str
    row_id: str


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
    samples: list[Sample] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)  # of the samples, in the run
    recalls: NDArray[np.float64] | None = None
    computations: NDArray[np.int64] | None = None
    failure: str | None = None

    @property
    def recall_at_10(self) -> float:
        """The mean so far; 0 before the first sample."""
        return 0.0 if self.recalls is None else float(self.recalls[:, -1].mean())

    @property
    def latency_us(self) -> NDArray[np.float64]:
        """Each query's median over rounds."""
        median: NDArray[np.float64] = np.median(
            [sample.latency_us for sample in self.samples], axis=0
        )
        return median

    def row(self) -> Row:
        """Return this point's row as it stands."""
        build = self.build
        threads = {"threads": build.threads} if build.threads else {}
        return Row(
            **{**self.common, **threads},
            library=build.adapter.library,
            family=build.adapter.family(build.params),
            index=build.adapter.spelling(build.params),
            label=build.label,
            build_params=canonical(written(build.params)),
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
        latency, nq = self.latency_us, len(self.samples[0].latency_us)
        p50s = [float(np.median(sample.latency_us)) for sample in self.samples]
        numbers: dict[str, Any] = {
            "p50_us": float(np.median(latency)),
            "p95_us": _percentile(latency, 95),
            "p99_us": _percentile(latency, 99),
            "mean_us": float(latency.mean()),
            "p50_us_low": min(p50s),
            "p50_us_high": max(p50s),
            "qps": nq / float(np.median([s.batch_s for s in self.samples])),
            "qps_1thread": nq / float(np.median([s.batch_1_s for s in self.samples])),
            "cores": max(sample.cores for sample in self.samples),
            "compiled_in_timing": sum(sample.compiled for sample in self.samples),
        }
        if self.recalls is not None:
            names = ("recall_at_1", "recall_at_5", "recall_at_10")
            numbers |= zip(names, self.recalls.mean(axis=0).tolist(), strict=True)
        if self.computations is not None:
            numbers["distance_computations"] = float(self.computations.mean())
        return numbers


def claim(out: Path, name: str, force: bool = False) -> None:
    """Make a directory ready for a run, without losing what it holds.

    A directory that is new, empty or holds an earlier run of a config of this name is
    fine; the earlier run's files move to ``previous/`` within it, in the place of what
    was there. Any other is refused unless ``force``, and even then only moved.

    Raises
    ------
    FileExistsError
        When the directory holds something else.
    """
    if out.exists() and any(out.iterdir()) and not force:
        found = _name_of(out)
        if found != name:
            holds = f"a run of {found!r}" if found else "files of another kind"
            raise FileExistsError(
                f"{out} must be new or hold an earlier run of {name!r}, it holds "
                f"{holds}: choose another --out, or --force"
            )
    out.mkdir(parents=True, exist_ok=True)
    earlier = [path for output in OUTPUTS if (path := out / output).exists()]
    if earlier:
        previous = out / "previous"
        if previous.exists():
            shutil.rmtree(previous)
        previous.mkdir()
        for path in earlier:
            path.rename(previous / path.name)


def _name_of(out: Path) -> str | None:
    try:
        stamp = json.loads((out / PROVENANCE).read_text())
        return str(stamp["config"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write ``rows.csv``, whole or not at all."""
    with atomic(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        columns = [column.name for column in fields(Row)]
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_cell(getattr(row, column)) for column in columns])


def write_rounds(path: Path, records: Sequence[Record]) -> None:
    """Write ``rounds.csv``: one line per point and round.

    ``turn`` counts the measurements of a data set, so it tells what was measured when.
    """
    with atomic(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = ("row_id", "label", "search_params", "round", "turn", *ROUND_MEASURES)
        writer.writerow(names)
        for record in records:
            point, label = record.point, record.build.label
            setting = canonical(written(point.search))
            turns = zip(record.turns, record.samples, strict=True)
            for number, (turn, sample) in enumerate(turns):
                cells = map(_cell, _round(sample))
                writer.writerow([point.row_id, label, setting, number, turn, *cells])


def write_table(path: Path, lines: Sequence[Any]) -> None:
    """Write dataclasses as a CSV file, whole or not at all.

    A field that holds a ratio becomes three columns: it, its least and its greatest.
    """
    flat = [dict(_columns(line)) for line in lines]
    with atomic(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(flat[0] if flat else ())
        for columns in flat:
            writer.writerow(map(_cell, columns.values()))


def _columns(line: Any) -> Iterator[tuple[str, Any]]:
    for column in fields(line):
        value = getattr(line, column.name)
        if isinstance(value, tuple):
            names = (column.name, f"{column.name}_low", f"{column.name}_high")
            yield from zip(names, value, strict=True)
        else:
            yield column.name, value


def write_per_query(path: Path, records: Sequence[Record]) -> None:
    """Write ``per_query.parquet``: one line per point and query."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema(
        {
            "row_id": pa.dictionary(pa.int32(), pa.string()),
            "query": pa.int32(),
            "latency_us": pa.float32(),
            "recall_at_1": pa.float32(),
            "recall_at_5": pa.float32(),
            "recall_at_10": pa.float32(),
            "distance_computations": pa.int32(),
        }
    )
    tables = [
        pa.table(_per_query(record, record.recalls), schema=schema)
        for record in records
        if record.samples and record.recalls is not None
    ]
    whole = pa.concat_tables(tables) if tables else schema.empty_table()
    with atomic(path) as temporary:
        parquet.write_table(whole, temporary, compression="zstd", compression_level=19)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _per_query(record: Record, recalls: NDArray[np.float64]) -> dict[str, Any]:
    nq = len(recalls)
    at_1, at_5, at_10 = recalls.astype(np.float32).T
    return {
        "row_id": [record.point.row_id] * nq,
        "query": np.arange(nq, dtype=np.int32),
        "latency_us": record.latency_us.astype(np.float32),
        "recall_at_1": at_1,
        "recall_at_5": at_5,
        "recall_at_10": at_10,
        "distance_computations": (
            [None] * nq if record.computations is None else record.computations
        ),
    }


def _round(sample: Sample) -> tuple[float | None, ...]:
    """Return the measures of one round, in the order of ROUND_MEASURES."""
    latency, nq = sample.latency_us, len(sample.latency_us)
    p50, p99 = float(np.median(latency)), _percentile(latency, 99)
    return p50, p99, nq / sample.batch_s, nq / sample.batch_1_s


def _percentile(values: NDArray[np.float64], percent: int) -> float | None:
    """Return a percentile, or None where too few values lie beyond it to tell."""
    if len(values) * (100 - percent) < 100:
        return None
    return float(np.percentile(values, percent))


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
