"""Searches among some of the vectors, beside exact search of nothing but these.

All indexes are searched in turns: in each round, in each case (what passes), each once,
in an order of the round's own. The yardstick is an index of what passes alone, as
nobody has it at hand, searched exactly, one query at a time on one thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import percentiles
from experiments.config import IndexEntry
from experiments.datasets.truth import exact_search
from experiments.fairness import refusal
from experiments.percentiles import NAMES
from experiments.ratios import quotient
from experiments.recall import KS, recall
from experiments.schema import SCHEMA
from experiments.trust import filtering
from experiments.trust.bench import TrustBench, TrustJob, TrustWorker
from experiments.trust.cells import cells
from experiments.trust.filtering import PREPARED
from experiments.trust.subject import Subject
from experiments.worker import WorkerError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.adapter import Params
    from experiments.config import Filters
    from experiments.datasets import Dataset
    from experiments.measure import Sample
    from experiments.plan import Build, Plan
    from experiments.trust.trial import Trial

    Ids = NDArray[np.int64]
    Mask = NDArray[np.bool_]

RANDOM = "random"
_SLOW_US = 10_000
EXACT = "exact, of what passes"
YARDSTICK = IndexEntry(kind="Flat", label=EXACT)


@dataclass(frozen=True, kw_only=True)
class Line(Subject):
    """One setting of an index in one case; the columns of ``filters.csv``.

    ``passing`` vectors pass, a ``share`` of all. Latency is one query at a time on one
    thread, the whole call, of all rounds as :mod:`experiments.percentiles` has it.
    ``times`` is the p50 over that of the yardstick, with the least and the greatest of
    single rounds and of itself. A filter in the ``form`` "prepared" was made ready
    before; of a call of ours with one in another, ``resolve_us`` goes into making
    positions of it. ``qps`` is a batch on ``threads`` threads. ``schema`` is as in
    ``rows.csv``; in lines of before schema 2, ``times`` is the ratio of the medians
    over rounds of a round's p50.
    """

    schema: int = SCHEMA

    share: float
    shape: str
    form: str
    passing: int
    rounds: int = 0
    recall_at_10: float | None = None
    p50_us: float | None = None
    p50_us_low: float | None = None
    p50_us_high: float | None = None
    p99_us: float | None = None
    p99_us_low: float | None = None
    p99_us_high: float | None = None
    query_median_p50_us: float | None = None
    query_median_p99_us: float | None = None
    times: float | None = None
    times_low: float | None = None
    times_high: float | None = None
    resolve_us: float | None = None
    qps: float | None = None
    qps_1thread: float | None = None

    @property
    def latency_us(self) -> dict[str, float]:
        """The latencies that are known, by their names."""
        known = {name: getattr(self, f"{name}_us", None) for name in NAMES}
        return {name: us for name, us in known.items() if us is not None}


@dataclass(frozen=True, eq=False)
class Case:
    """What passes, and the exact neighbours among it."""

    number: int
    share: float
    shape: str
    mask: Mask
    neighbors: Ids


@dataclass(frozen=True)
class FilterJob(TrustJob):
    """What a worker builds, and the file of all masks."""

    masks: Path = Path()

    def open(self) -> FilterBench:
        """Return the bench of this job."""
        return FilterBench(self)


class FilterBench(TrustBench):
    """One index that is searched with filters."""

    _index: filtering.Filtering

    def __init__(self, job: FilterJob) -> None:
        super().__init__(job)
        self._masks = np.load(job.masks, mmap_mode="r")

    def among(self, number: int, form: str) -> float | None:
        """Search only what passes in a case from now on."""
        mask = np.array(self._masks[number])
        took: float | None = self._index.among(mask, form)
        return took


class FilterWorker(TrustWorker):
    """A process that holds one index that is searched with filters."""

    def among(self, number: int, form: str) -> float | None:
        """Search only what passes in a case from now on."""
        took: float | None = self._call("among", number, form)
        return took


@dataclass
class Record:
    """What has been measured of one setting in one case."""

    build: Build
    search: Params
    case: Case
    form: str
    samples: list[Sample] = field(default_factory=list)
    resolve_us: list[float] = field(default_factory=list)
    status: str = "ok"

    @property
    def latency_us(self) -> NDArray[np.float64]:
        """Every single latency (rounds, nq)."""
        return np.array([sample.latency_us for sample in self.samples])

    @property
    def p50s(self) -> list[float]:
        """The p50 of each round."""
        return [float(np.median(sample.latency_us)) for sample in self.samples]


def steps(plan: Plan, filters: Filters) -> int:
    """Return how many steps of progress a study has: builds, and turns of a case."""
    cases = len(filters.shares) * len(filters.shapes)
    builds = sum(len(experiment.builds) for experiment in plan.experiments)
    return builds * (1 + cases * plan.config.rounds)


def play(trial: Trial, filters: Filters) -> Iterator[list[Line]]:
    """Yield all lines so far, after each round."""
    trial.progress.doing("what passes")
    cases = list(make_cases(trial.data, filters, trial.config.seed))
    np.save(trial.folder / "masks.npy", np.stack([case.mask for case in cases]))
    records = list(_records(trial, filters, cases))
    with ExitStack() as stack:
        workers = dict(_start(trial, records, stack))
        for number in range(trial.config.rounds):
            rng = np.random.default_rng([trial.config.seed, number])
            for case in cases:
                for i in rng.permutation(len(workers)):
                    label = list(workers)[i]
                    trial.progress.doing(f"{label}, {case.share:.2%} {case.shape}")
                    turn = [
                        record
                        for record in records
                        if record.build.label == label and record.case is case
                    ]
                    _measure(trial, workers[label], turn, number)
                    trial.progress.done()
            yield list(_lines(trial, records))


def make_cases(data: Dataset, filters: Filters, seed: int) -> Iterator[Case]:
    """Yield what passes, for each share and shape, with its truth."""
    n = len(data.train)
    rng = np.random.default_rng(seed)
    orders = {RANDOM: rng.permutation(n)}
    if set(filters.shapes) > {RANDOM} or RANDOM not in filters.shapes:
        labels, distances = cells(data, seed)
        among = rng.permutation(n)  # of a cell that passes in part
        near = np.argsort(distances[labels[among]], kind="stable")
        orders |= {"near": among[near], "far": among[near[::-1]]}
    number = 0
    for shape in filters.shapes:
        for share in filters.shares:
            rows = np.sort(orders[shape][: max(max(KS), round(share * n))])
            mask = np.zeros(n, bool)
            mask[rows] = True
            k = min(max(KS), len(rows))
            found = exact_search(data.train[rows], data.test, data.metric, k)[0]
            yield Case(number, share, shape, mask, rows[found])
            number += 1


def _records(trial: Trial, filters: Filters, cases: Sequence[Case]) -> Iterator[Record]:
    """Yield what there is to measure; other forms of a filter at the first setting."""
    for build in trial.builds:
        ours = build.adapter.library == "ann" and build.label != EXACT
        for case in cases:
            for point in build.points:
                yield Record(build, point.search, case, PREPARED)
            if ours and case.shape == RANDOM:
                for form in filters.forms:
                    yield Record(build, build.points[0].search, case, form)


def _start(
    trial: Trial, records: Sequence[Record], stack: ExitStack
) -> Iterator[tuple[str, FilterWorker]]:
    """Build each index in a process of its own; the processes end with the stack."""
    for build in trial.builds:
        trial.progress.doing(f"building {build.label}")
        own = [record for record in records if record.build is build]
        exact = build.label == EXACT
        adapter = filtering.Exact if exact else filtering.find(build.adapter)
        reason = trial.why_not(adapter, build, "filter")
        if adapter is None or reason:
            _give_up(own, reason)
        else:
            masks = trial.folder / "masks.npy"
            context = trial.worker(FilterWorker, FilterJob, build, adapter, masks=masks)
            worker = stack.enter_context(context)
            try:
                worker.build()
                yield build.label, worker
            except WorkerError as error:
                _give_up(own, f"{error.kind}: {error}")
        trial.progress.done()


def _give_up(records: Sequence[Record], status: str) -> None:
    for record in records:
        record.status = status


def _slow(record: Record) -> bool:
    """Whether a query takes so long that one round of them tells enough."""
    return bool(record.samples) and record.p50s[0] > _SLOW_US


def _measure(
    trial: Trial, worker: FilterWorker, records: Sequence[Record], number: int
) -> None:
    """Measure all settings of an index in a case once."""
    form = ""
    took: float | None = None
    for record in records:
        if record.status != "ok" or _slow(record):
            continue
        try:
            if record.form != form:
                form = record.form
                took = worker.among(record.case.number, form)
            sample = worker.measure(record.search, trial.config.seed + number)
            if not record.samples:
                _require_fair(trial, record, sample)
            record.samples.append(sample)
            record.resolve_us += [] if took is None else [took]
        except WorkerError as error:
            record.status = f"{error.kind}: {error}"
        except ValueError as error:
            record.status = f"refused: {error}"


def _require_fair(trial: Trial, record: Record, sample: Sample) -> None:
    """Raise ValueError for an answer or a clock that is no good."""
    data, ids = trial.data, sample.ids
    failing = (ids >= 0) & ~record.case.mask[ids]
    if failing.any():
        query, rank = np.argwhere(failing)[0]
        raise ValueError(
            f"answers must pass the filter, {int(failing.any(axis=1).sum())} of "
            f"{len(ids):,} do not: query {query} has {ids[query, rank]}"
        )
    if reason := refusal(sample, data.train, data.test, data.metric):
        raise ValueError(reason)


def _lines(trial: Trial, records: Sequence[Record]) -> Iterator[Line]:
    exact = {
        record.case.number: record
        for record in records
        if record.build.label == EXACT and record.samples
    }
    for record in records:
        case, measured = record.case, bool(record.samples)
        beside = exact.get(case.number)
        yield Line(
            **trial.about(record.build, record.search) | {"status": record.status},
            share=case.share,
            shape=case.shape,
            form=record.form,
            passing=int(case.mask.sum()),
            rounds=len(record.samples),
            **(_numbers(trial, record, beside) if measured else {}),
        )


def _numbers(trial: Trial, record: Record, exact: Record | None) -> Mapping[str, Any]:
    data, samples, nq = trial.data, record.samples, len(trial.data.test)
    latencies = percentiles.of_rounds(record.latency_us)
    columns = {field.name for field in fields(Line)} & latencies.keys()
    times: Sequence[float | None] = (None, None, None)
    if exact is not None:
        p50s = float(np.median(record.latency_us)), float(np.median(exact.latency_us))
        times = quotient(p50s, (record.p50s, exact.p50s))
    return {
        "recall_at_10": _recall(data, record.case, samples[0].ids),
        **{name: latencies[name] for name in columns},
        **dict(zip(("times", "times_low", "times_high"), times, strict=True)),
        "resolve_us": _middle(record.resolve_us) if record.resolve_us else None,
        "qps": nq / _middle([sample.batch_s for sample in samples]),
        "qps_1thread": nq / _middle([sample.batch_1_s for sample in samples]),
    }


def _middle(values: Sequence[float]) -> float:
    return float(np.median(values))


def _recall(data: Dataset, case: Case, ids: Ids) -> float:
    """Return recall@10 among what passes."""
    rows = np.flatnonzero(case.mask)
    places = np.where(ids < 0, -1, np.searchsorted(rows, ids))
    neighbors = np.searchsorted(rows, case.neighbors)
    X = data.train[rows]
    return float(recall(places, neighbors, X, data.test, data.metric)[:, -1].mean())
