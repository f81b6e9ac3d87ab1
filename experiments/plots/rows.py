"""Read result directories back.

A result directory holds ``rows.csv`` (one line per measured point) and
``provenance.json``. Plots are drawn from these files alone, so a result set can be
redrawn on any machine, years later.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from experiments import schema
from experiments.percentiles import NAMES, PERCENTS

NAN = math.nan
RECALL_KS = (1, 5, 10)
_CODECS = ("PQ", "SQ", "RABITQ", "LVQ", "LEANVEC")  # in the name of an index
_IDENTITY = ("seed", "build_id", "row_id")  # of a row, though they may be digits
_NEEDED = {"rows.csv": {"dataset", "index"}, "load.csv": {"row_id"}}


class Group(NamedTuple):
    """What points must share to stand on one figure."""

    dataset: str
    metric: str
    n: int
    d: int
    k: int


@dataclass(frozen=True)
class Point:
    """One measured point: an index with its build and its search parameters.

    Numbers that were not measured are NaN, or absent from the mappings. ``cells`` are
    those of the row, by the names of today's schema; of several seeds as one point.
    """

    group: Group
    nq: int
    label: str
    library: str
    version: str
    vector_level: str
    family: str
    threads: int  # of the build and of a batch
    build_params: Mapping[str, Any]
    search_params: Mapping[str, Any]
    recall: Mapping[int, float]  # k -> mean recall@k
    latency_us: Mapping[str, float]  # by percentiles.NAMES, one query at a time
    latency_spans_us: Mapping[str, tuple[float, float]]  # their intervals
    qps: Mapping[int, float]  # threads -> queries per second of a batch
    build_s: float
    compile_s: float
    index_bytes: float
    distance_computations: float
    row_ids: tuple[str, ...] = ()
    loads: Sequence[Loaded] = ()  # where it was offered queries, of the first seed
    recall_seeds: tuple[float, float] = (NAN, NAN)  # recall@10, worst and best seed
    cells: Mapping[str, str] = field(default_factory=dict, repr=False)

    def value(self, measure: str) -> float:
        """Return a measure by the name of its column, NaN where it was not taken."""
        match measure:
            case "qps":
                return self.qps.get(max(self.qps, default=1), NAN)
            case "qps_1thread":
                return self.qps.get(1, NAN)
            case _ if (name := measure.removesuffix("_us")) in NAMES:
                return self.latency_us.get(name, NAN)
            case _:
                return float(getattr(self, measure))

    @property
    def row_id(self) -> str:
        """The row, or that of the first seed."""
        return self.row_ids[0] if self.row_ids else ""


@dataclass(frozen=True)
class Loaded:
    """One load on a setting (``load.csv``); latency from when a query was due."""

    fraction: float  # of what it sustains one after another
    offered_qps: float
    achieved_qps: float
    queries: int  # that came; there are as many different ones as the point has
    latency_us: Mapping[str, float]
    service_p99_us: float


@dataclass(frozen=True)
class Run:
    """One result directory.

    ``left_out`` are the cells of the rows whose status is not "ok".
    """

    name: str
    points: list[Point]
    provenance: Mapping[str, Any]
    left_out: Sequence[Mapping[str, str]] = ()


def read_cells(rows: Path) -> Iterator[Mapping[str, str]]:
    """Yield the cells of each line of a ``rows.csv``, by the names of today's columns.

    Raises
    ------
    ValueError
        As :func:`read_run`.
    """
    for line in map(_Line.in_schema, _lines(rows)):
        yield line.cells


def read_runs(dirs: Sequence[Path]) -> list[Run]:
    """Read result directories, each named by the shortest path that is its own."""
    paths = [path.resolve() for path in dirs]
    if len(set(paths)) < len(paths):
        raise ValueError(f"every directory must be given once, got {_names(dirs)}")
    names = [path.name for path in paths]
    depth = 1
    while len(set(names)) < len(names):
        depth += 1
        names = ["/".join(path.parts[-depth:]) for path in paths]
    return [read_run(path, name) for path, name in zip(dirs, names, strict=True)]


def read_run(path: Path, name: str | None = None) -> Run:
    """Read one result directory.

    Rows of earlier versions are read as today's (:mod:`experiments.schema`). Rows whose
    ``status`` is not "ok" are no points, and unknown columns stay cells; rows that
    differ in the seed of the build alone become one point.

    Raises
    ------
    FileNotFoundError
        Without a ``rows.csv``.
    ValueError
        When a file is malformed, of a version to come, or not the one that its
        provenance vouches for; the message names file, line and column.
    """
    rows = path / "rows.csv"
    if not rows.is_file():
        raise FileNotFoundError(f"a result directory must hold rows.csv, got {path}")
    provenance = _provenance(path)
    _check_sum(rows, provenance)
    loads = _loads(path / "load.csv")
    points, left_out = [], []
    for line in map(_Line.in_schema, _lines(rows)):
        if line.text("status", "ok") == "ok":
            point = line.point()
            points.append(replace(point, loads=loads.get(point.row_id, ())))
        else:
            left_out.append(line.cells)
    name = name or path.resolve().name
    return Run(name, _merged(points), provenance, left_out)


def _loads(path: Path) -> Mapping[str, Sequence[Loaded]]:
    """Read what was offered to each row, by rising load; empty without a file."""
    loads: dict[str, list[Loaded]] = {}
    for line in _lines(path) if path.is_file() else ():
        loads.setdefault(line.text("row_id"), []).append(line.loaded())
    return {
        row_id: sorted(of, key=lambda line: line.fraction)
        for row_id, of in loads.items()
    }


def _check_sum(path: Path, provenance: Mapping[str, Any]) -> None:
    """Raise ValueError where a table is not the one that its provenance vouches for."""
    expected = (provenance.get("sha256") or {}).get(path.name)
    if expected and hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise ValueError(
            f"{path} must have the sha256 that provenance.json gives it, it has "
            "another: it was cut short or edited"
        )


def _merged(points: Sequence[Point]) -> list[Point]:
    """Make one point of those that differ in the seed of their build alone."""
    same: dict[tuple[Any, ...], list[Point]] = {}
    for point in points:
        params = (point.build_params, point.search_params)
        key = (point.group, point.label, point.library, json.dumps(params))
        same.setdefault(key, []).append(point)
    return [_merge(of) if len(of) > 1 else of[0] for of in same.values()]


def _merge(points: Sequence[Point]) -> Point:
    """Return the means of recalls, and the medians of all else, over seeds."""
    at_10 = [point.recall.get(10, NAN) for point in points]

    def each(name: str, over: Callable[[Sequence[Any]], Any]) -> dict[Any, Any]:
        tables = [getattr(point, name) for point in points]
        keys = [key for key in tables[0] if all(key in table for table in tables)]
        return {key: over([table[key] for table in tables]) for key in keys}

    def middle(name: str) -> float:
        values: list[float] = [getattr(point, name) for point in points]
        return statistics.median(values)

    return replace(
        points[0],
        recall=each("recall", statistics.fmean),
        latency_us=each("latency_us", statistics.median),
        latency_spans_us=each("latency_spans_us", _hull),
        qps=each("qps", statistics.median),
        build_s=middle("build_s"),
        compile_s=middle("compile_s"),
        index_bytes=middle("index_bytes"),
        distance_computations=middle("distance_computations"),
        row_ids=tuple(row_id for point in points for row_id in point.row_ids),
        recall_seeds=(min(at_10), max(at_10)),
        cells=_merged_cells([point.cells for point in points]),
    )


def _hull(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    lows, highs = zip(*spans, strict=True)
    return min(lows), max(highs)


def _merged_cells(seeds: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the cells of several seeds as one row's; names are those of the first."""
    return {name: _merged_cell(name, [of[name] for of in seeds]) for name in seeds[0]}


def _merged_cell(column: str, cells: Sequence[str]) -> str:
    if column in _IDENTITY or len(set(cells)) == 1:
        return cells[0]
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        return cells[0]
    over: Callable[[Sequence[float]], float] = statistics.median
    if column.endswith("_low"):
        over = min
    elif column.endswith("_high"):
        over = max
    elif column.startswith(("recall", "share")):
        over = statistics.fmean
    return f"{over(values):.6g}"


class _Line:
    """The cells of one line of a CSV file, with errors that say where they stand."""

    def __init__(self, path: Path, number: int, cells: Mapping[str, str]) -> None:
        self._path, self._number, self.cells = path, number, cells

    def in_schema(self) -> _Line:
        """Return the line of ``rows.csv`` by the names of today's columns."""
        try:
            cells = schema.current(self.cells)
        except ValueError as error:
            where = f"{self._path}, line {self._number}"
            raise ValueError(f"{where}: {error}") from None
        return _Line(self._path, self._number, cells)

    def point(self) -> Point:
        index, build = self.text("index"), self.params("build_params")
        threads = self.integer("threads", default=1)
        qps = {threads: self.number("qps")} | {1: self.number("qps_1thread")}
        if threads == 1 and math.isnan(qps[1]):
            qps[1] = self.number("qps")
        return Point(
            group=Group(
                self.words("dataset"),
                self.text("metric"),
                self.integer("n", default=0),
                self.integer("d", default=0),
                self.integer("k", default=10),
            ),
            nq=self.integer("nq", default=0) or 1000,
            label=self.words("label", _label(index, build)),
            library=self.text("library", "ann"),
            version=self.text("version"),
            vector_level=self.text("vector_level"),
            family=_family(self.text("family", index), index, build),
            threads=threads,
            build_params=build,
            search_params=self.params("search_params"),
            recall={
                k: value
                for k in RECALL_KS
                if not math.isnan(value := self.number(f"recall_at_{k}", high=1))
            },
            latency_us=self.positive(NAMES),
            latency_spans_us={
                name: span
                for name in NAMES
                if not math.isnan(sum(span := self.span(f"{name}_us")))
            },
            qps={t: value for t, value in qps.items() if value > 0},
            build_s=self.number("build_s"),
            compile_s=self.number("compile_s"),
            index_bytes=self.number("index_bytes"),
            distance_computations=self.number("distance_computations"),
            row_ids=(self.text("row_id"),),
            cells=self.cells,
        )

    def loaded(self) -> Loaded:
        return Loaded(
            fraction=self.number("fraction"),
            offered_qps=self.number("offered_qps"),
            achieved_qps=self.number("achieved_qps"),
            queries=self.integer("queries", default=0),
            latency_us=self.positive(PERCENTS),
            service_p99_us=self.number("service_p99_us"),
        )

    def words(self, column: str, default: str = "") -> str:
        """Return what a user wrote, to the letter."""
        cell = self.cells.get(column, "")
        return cell if cell.strip() else default

    def text(self, column: str, default: str = "") -> str:
        return self.cells.get(column, "").strip() or default

    def positive(self, latencies: Iterable[str]) -> dict[str, float]:
        """Return the latencies that the line has, by their names."""
        values = {name: self.number(f"{name}_us") for name in latencies}
        return {name: value for name, value in values.items() if value > 0}

    def span(self, column: str) -> tuple[float, float]:
        """Return the interval of a column, NaN where it has none."""
        return self.number(f"{column}_low"), self.number(f"{column}_high")

    def number(self, column: str, high: float = math.inf) -> float:
        """Return a number in [0, high], NaN where the cell is empty."""
        text = self.text(column, "nan")
        try:
            value = float(text)
        except ValueError:
            raise self._error(column, "must be a number", text) from None
        if value < 0 or value > high or math.isinf(value):
            limit = "0 or more, finite" if math.isinf(high) else f"in [0, {high}]"
            raise self._error(column, f"must be {limit}", text)
        return value

    def integer(self, column: str, default: int) -> int:
        value = self.number(column)
        if math.isnan(value):
            return default
        if value != int(value):
            raise self._error(column, "must be a whole number", self.text(column))
        return int(value)

    def params(self, column: str) -> dict[str, Any]:
        text = self.text(column, "{}")
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise self._error(column, "must be a JSON object", text)
        return value

    def _error(self, column: str, rule: str, got: str) -> ValueError:
        where = f"{self._path}, line {self._number}, column {column}"
        return ValueError(f"{where}: {rule}, got {got!r:.60}")


def _lines(path: Path) -> Iterator[_Line]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
            if missing := _NEEDED[path.name] - set(header):
                names = ", ".join(sorted(missing))
                raise ValueError(f"{path}, line 1: the header must name {names}")
            for cells in filter(None, reader):
                if len(cells) != len(header):
                    raise ValueError(
                        f"{path}, line {reader.line_num}: a line must hold "
                        f"{len(header)} cells, as its header does, got {len(cells)}"
                    )
                named = dict(zip(header, cells, strict=True))
                yield _Line(path, reader.line_num, named)
        except (csv.Error, UnicodeDecodeError) as error:
            where = f"{path}, near line {max(1, reader.line_num)}"
            raise ValueError(f"{where}: {error}") from error


def _provenance(directory: Path) -> Mapping[str, Any]:
    path = directory / "provenance.json"
    if not path.is_file():
        return {}
    try:
        provenance = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(provenance, dict):
        raise ValueError(f"{path}: must be a JSON object, got {provenance!r:.40}")
    return provenance


def _label(index: str, build: Mapping[str, Any]) -> str:
    return " ".join([index, *(f"{key}={value}" for key, value in build.items())])


def _family(base: str, index: str, build: Mapping[str, Any]) -> str:
    """Name the family: the structure, and whether it stores compressed vectors."""
    compressed = (
        build.get("codec") not in (None, "", "float32")
        or build.get("transform") is not None
        or any(part in index.upper() for part in _CODECS)
    )
    structure = base.split("-")[0].split("+")[0]
    return f"{structure}+codec" if compressed else structure


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))
