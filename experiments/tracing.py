"""One search, step by step: traced, told as a table, drawn."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ann import parallel
from ann.traces import ListsTrace, Step, Visit, WalkTrace
from experiments import ours, provenance
from experiments.encoding import file_name
from experiments.plan import written
from experiments.recall import distances_of
from experiments.recall import recall as recall_of
from experiments.strict import ConfigError, check, unknown
from experiments.terminal import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.adapter import Params
    from experiments.datasets import Dataset

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]
    Ids = NDArray[np.int64]

KINDS: dict[str, type[ours.HNSW] | type[ours.IVF]] = {
    "HNSW": ours.HNSW,
    "IVF": ours.IVF,
}
FIRST, LAST = 24, 10  # lines of a table that is not shown whole


@dataclass(frozen=True)
class Setting:
    """An index of ours, and how it is searched."""

    kind: str
    build: ours.Storage
    search: Params
    k: int
    seed: int

    @classmethod
    def of(cls, kind: str, build: str, search: str, k: int, seed: int) -> Setting:
        """Check parameters that are written as JSON.

        Raises
        ------
        ConfigError
            An index that cannot be traced, JSON that cannot be read, or a parameter
            that does not exist or does not fit.
        """
        if kind not in KINDS:
            raise ConfigError(f"--index: {unknown('index', kind, KINDS)}")
        if k < 1:
            raise ConfigError(f"-k: must be >= 1, got {k}")
        adapter = KINDS[kind]
        params = check(adapter.Build, _table(build, "--build"), "--build")
        if params.transform is not None:
            raise ConfigError(
                "--build: transform must be left out, as the picture is of whole "
                f"vectors, got {params.transform}"
            )
        return cls(
            kind,
            params,
            check(adapter.Search, _table(search, "--search"), "--search"),
            k,
            seed,
        )

    @property
    def kept(self) -> int:
        """How many candidates a search keeps: k, or what ``refine`` makes of it."""
        return math.ceil(self.k * (self.build.refine or 1))

    @property
    def short(self) -> str:
        """How it is searched."""
        return _with(self.kind, _told(self.search))

    def __str__(self) -> str:
        return _with(self.kind, [*_told(self.build), *_told(self.search)])


@dataclass(frozen=True, eq=False)
class Case:
    """A traced query, and what surrounds it."""

    data: Dataset
    query: int
    setting: Setting
    trace: WalkTrace | ListsTrace
    centroids: Floats  #: (nlist, d), of an IVF; else none

    @property
    def stem(self) -> str:
        """A name for files."""
        data = file_name(self.data.name)
        return f"{data}-{self.setting.kind.lower()}-query-{self.query}"

    @property
    def q(self) -> Floats:
        """The query (d,), as distances see it."""
        prepared: Floats = self.prepared(self.data.test[[self.query]])[0]
        return prepared

    @cached_property
    def truth(self) -> Ids:
        """Row numbers of the exact neighbours."""
        return self.data.neighbors[self.query, : self.setting.k]

    @cached_property
    def found(self) -> Ids:
        """Row numbers in the answer."""
        return self.trace.ids[self.trace.ids >= 0]

    @property
    def recall(self) -> float:
        """Recall@k of this query."""
        k, data = self.setting.k, self.data
        query = slice(self.query, self.query + 1)
        ids, truth = self.trace.ids[None], data.neighbors[query]
        return float(
            recall_of(ids, truth, data.train, data.test[query], data.metric, (k,))[0, 0]
        )

    def prepared(self, V: Floats) -> Floats:
        """Return vectors as distances see them: of norm 1 under cosine."""
        if self.data.metric != "cosine":
            return V
        norms = np.linalg.norm(V, axis=1, keepdims=True)
        return (V / np.where(norms > 0, norms, 1)).astype(np.float32)

    def distances(self, rows: Ids, X: Floats | None = None) -> Doubles:
        """Return the true distances of rows, of ``train`` or of other vectors."""
        query = self.data.test[[self.query]]
        X = self.data.train if X is None else X
        found: Doubles = distances_of(rows[None], X, query, self.data.metric)[0]
        return found


def trace(data: Dataset, query: int, setting: Setting) -> Case:
    """Build an index on a dataset and trace one query.

    Raises
    ------
    ValueError
        A query that is not there, or a parameter that does not fit the data.
    """
    if not 0 <= query < len(data.test):
        raise ValueError(f"--query must be in [0, {len(data.test) - 1}], got {query}")
    if setting.k > data.neighbors.shape[1]:
        limit = data.neighbors.shape[1]
        raise ValueError(
            f"-k must be <= {limit}, the neighbours known, got {setting.k}"
        )
    index = KINDS[setting.kind](data.metric, setting.build, setting.seed)
    index.add(data.train, parallel.available())
    traced = index.trace(data.test[query], setting.search, setting.k)
    return Case(data, query, setting, traced, index.centroids)


def facts(case: Case) -> list[str]:
    """Return what a table and a picture say first."""
    data, k = case.data, case.setting.k
    n, d = data.train.shape
    hits = round(case.recall * min(k, n))
    return [
        data.name,
        f"n = {n:,}",
        f"d = {d}",
        data.metric,
        f"query {case.query}",
        str(case.setting),
        f"{hits} of the {min(k, n)} nearest found",
        *counts(case.trace),
    ]


def counts(trace: WalkTrace | ListsTrace) -> list[str]:
    """Return what a search did, in numbers."""
    if isinstance(trace, WalkTrace):
        done = f"{trace.hops} hops"
    else:
        done = f"{len(trace.visits)} of {trace.centroids} lists"
    estimated = f", {trace.estimated:,} of them by codes" if trace.estimated else ""
    return [done, f"{trace.distance_computations:,} vectors scored{estimated}"]


def table(case: Case, every: bool = False) -> Table:
    """Return a trace as a table; the middle of a long one only with ``every``."""
    made = Table()
    if isinstance(case.trace, WalkTrace):
        headers = ("step", "layer", "node", "distance", "scored", "pool's last")
        lines = list(_steps(case.trace))
    else:
        best = f"{ordinal(case.setting.kept)} best at"
        headers = ("turn", "list", "vectors", "centroid at", best, "changed")
        lines = list(_visits(case.trace))
    for header in headers:
        made.add_column(header, justify="right", no_wrap=True)
    if not every and len(lines) > FIRST + LAST + 1:
        lines[FIRST:-LAST] = [("…",) * len(headers)]
    for line in lines:
        made.add_row(*line)
    return made


def about(case: Case, command: str) -> dict[str, Any]:
    """Return where a trace is from, and what it found."""
    data, setting, traced = case.data, case.setting, case.trace
    return {
        "command": command,
        "dataset": {
            "name": data.name,
            "source": data.source,
            "metric": data.metric,
            "n": len(data.train),
            "d": data.train.shape[1],
            "fingerprint": data.fingerprint,
        },
        "query": case.query,
        "kind": setting.kind,
        "build": written(setting.build),
        "search": written(setting.search),
        "k": setting.k,
        "seed": setting.seed,
        "ids": traced.ids.tolist(),
        "distances": [float(distance) for distance in traced.distances],
        "recall": case.recall,
        "hops": traced.hops if isinstance(traced, WalkTrace) else len(traced.visits),
        "scored_exactly": traced.exact,
        "scored_by_codes": traced.estimated,
        **provenance.code(),
    }


def _steps(walk: WalkTrace) -> Iterator[tuple[str, ...]]:
    steps: list[Step] = [*walk.entry, *walk.steps]
    for number, step in enumerate(steps, start=1):
        yield (
            str(number),
            str(step.layer),
            str(step.id),
            number_text(step.distance),
            str(step.scored),
            number_text(step.worst),
        )


def _visits(lists: ListsTrace) -> Iterator[tuple[str, ...]]:
    visits: list[Visit] = [*lists.visits]
    for number, visit in enumerate(visits, start=1):
        yield (
            str(number),
            str(visit.list),
            str(visit.size),
            number_text(visit.distance),
            number_text(visit.worst),
            "yes" if visit.changed else "",
        )


def ordinal(k: int) -> str:
    """Write 1st, 2nd, 3rd, 4th, 11th, 21st."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(
        k % 10 if k % 100 not in (11, 12, 13) else 0
    )
    return f"{k}{ending or 'th'}"


def number_text(distance: float) -> str:
    """Write a distance; none is a dash."""
    return f"{distance:.5g}" if np.isfinite(distance) else "–"


def _with(kind: str, parameters: Sequence[str]) -> str:
    return f"{kind}: {', '.join(parameters)}" if parameters else kind


def _told(params: Params) -> list[str]:
    values = ((name, getattr(params, name)) for name in type(params).model_fields)
    return [f"{name} = {value}" for name, value in values if value is not None]


def _table(text: str, where: str) -> dict[str, Any]:
    try:
        table = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}: must be JSON, got {text!r}: {error}") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: must be a table of JSON, got {text!r}")
    return table
