"""Run a plan: build, measure in interleaved rounds, keep everything that was found."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from rich.console import Console

from experiments import (
    datasets,
    indexes,
    per_query,
    provenance,
    results,
    store,
    under_load,
)
from experiments.config import Config, Load
from experiments.difficulty import Difficulty, difficulty
from experiments.fairness import refusal
from experiments.measure import Job, Offered, Sample
from experiments.plan import Build, Experiment, Plan, canonical, written
from experiments.progress import Progress
from experiments.recall import check_truth, others, recall
from experiments.results import Found, Record, Row
from experiments.store import Store
from experiments.worker import Worker, WorkerError

if TYPE_CHECKING:
    from experiments.datasets import Dataset


class Race(Protocol):
    """Runs that take turns, by one name; see :mod:`experiments.race`."""

    name: str

    def hand_over(self) -> None:
        """Let the others act, and wait."""


def run(
    plan: Plan,
    out: Path,
    console: Console,
    command: str,
    budget_s: float | None = None,
    race: Race | None = None,
) -> list[Row]:
    """Measure everything in a plan; what is done is on disk even when killed.

    Parameters
    ----------
    plan : what to build and measure
    out : a directory that :func:`experiments.results.claim` made ready; rounds that an
        unfinished run left there under the same circumstances are not measured again
    console : where to say how it goes
    command : what the user typed, for the provenance
    budget_s : stop building after six tenths of so many seconds, and measuring after
        all of them; what was left out says so, and the run can be gone on with
    race : what this run hands over to after every build and every measurement

    Returns
    -------
    rows : as written; those that failed or were skipped say so in their status
    """
    records: list[Record] = []
    difficulties: dict[str, Difficulty] = {}
    loads: list[under_load.Line] = []
    stamp = provenance.collect(plan.config, plan.threads, command)
    stamp |= {"datasets": [], "status": "unfinished"}
    if race is not None:
        stamp["race"] = race.name
    budget = Budget(budget_s)

    def save() -> None:
        results.write_rows(out / results.ROWS, [record.row() for record in records])
        results.write_rounds(out / results.ROUNDS, records)
        results.write_json(out / results.PROVENANCE, stamp)

    save()
    try:
        with Progress(console, plan.steps) as progress:
            for experiment in plan.experiments:
                trial = Trial(experiment, plan, out, progress, budget, race)
                records += trial.records
                data = trial.load()
                if data is None:
                    continue
                stamp["datasets"].append(
                    provenance.dataset(data, experiment.dataset.name)
                )
                difficulties[data.name] = difficulty(data)
                with ExitStack() as stack:
                    trial.recover(data, stamp)
                    trial.build(data, stack)
                    save()
                    for number in range(plan.config.rounds):
                        trial.measure(data, number)
                        save()
                    loads += trial.load_up()
        if not any(map(budget.cut, records)):
            stamp["status"] = "finished"
    finally:
        stamp["ended"] = provenance.now()
        per_query.write(out / results.PER_QUERY, records)
        per_query.write_latencies(out / results.LATENCIES, records)
        per_query.write_answers(out / results.ANSWERS, records)
        per_query.write_difficulty(out / results.QUERIES, difficulties)
        if loads:
            results.write_table(out / results.LOAD, loads)
        results.write_rows(out / results.ROWS, [record.row() for record in records])
        results.write_rounds(out / results.ROUNDS, records)
        stamp["sha256"] = results.sums(out)
        results.write_json(out / results.PROVENANCE, stamp)
    if stamp["status"] == "finished":
        store.discard(out / results.PIECES)
    return [record.row() for record in records]


class Budget:
    """Seconds that a run may take, from its creation on."""

    BUILDING = 0.6  # share of them: an index that is not measured is of no use

    def __init__(self, seconds: float | None) -> None:
        self.seconds, self._start = seconds, time.monotonic()

    def left(self, share: float = 1.0) -> float:
        """Return the seconds that are left of a share of the budget."""
        if self.seconds is None:
            return math.inf
        return share * self.seconds - (time.monotonic() - self._start)

    @property
    def spent(self) -> str:
        """What a row says that was left out."""
        return f"over budget: {self.seconds:g} s were spent"

    def cut(self, record: Record) -> bool:
        """Return whether a record was left out for want of time."""
        return record.failure == self.spent if self.seconds else False


class Trial:
    """One dataset and its indexes: built one after another, measured in turns.

    Parameters
    ----------
    experiment : the dataset and its builds
    plan : what they are part of
    out : where the run keeps what it has, and whatever a failing worker had to say
    progress : where to say how it goes
    budget : when to stop
    race : whom to take turns with
    """

    def __init__(
        self,
        experiment: Experiment,
        plan: Plan,
        out: Path,
        progress: Progress,
        budget: Budget,
        race: Race | None = None,
    ) -> None:
        self._experiment, self._plan, self._race = experiment, plan, race
        self._out, self._progress, self._budget = out, progress, budget
        self._store: Store | None = None
        self._workers: dict[str, Worker] = {}
        self._instances: dict[str, str] = {}  # of a build, this process's name
        self._turn = 0  # measurements so far
        entry, config = experiment.dataset, plan.config
        self._common: dict[str, Any] = {
            "dataset": entry.name,
            "metric": entry.metric or "",
            "n": entry.n or 0,
            "d": 0,
            "nq": entry.nq or 0,
            "k": config.k,
            "threads": plan.threads,
        }
        self.records = [
            Record(self._common, build, point)
            for build in experiment.builds
            for point in build.points
        ]

    def load(self) -> Dataset | None:
        """Return the dataset, or None if it cannot be had or its truth is not true."""
        entry = self._experiment.dataset
        self._progress.doing(f"loading {entry.name}")
        try:
            data = datasets.load(
                entry.name,
                n=entry.n,
                nq=entry.nq,
                metric=entry.metric,
                seed=self._plan.config.seed,
                progress=self._progress.bar,
            )
            check_truth(data.neighbors, data.train, data.test, data.metric)
        except (OSError, ValueError) as error:
            self._give_up(self.records, f"failed: {error}", entry.name)
            self._progress.done(len(self._experiment.builds))
            return None
        n, d = data.train.shape
        self._common |= {"dataset": data.name, "metric": data.metric}
        self._common |= {"n": n, "d": d, "nq": len(data.test)}
        return data

    def recover(self, data: Dataset, stamp: Mapping[str, Any]) -> None:
        """Take what an unfinished run has left."""
        context = store.context(stamp, data.fingerprint)
        self._store = Store(self._out / results.PIECES, context)
        if rounds := self._store.recover(self.records):
            self._progress.print(f"{data.name}: {rounds} rounds were measured before")
            self._progress.done(rounds)
        turns = [turn for record in self.records for turn in record.turns]
        self._turn = max(turns, default=-1) + 1

    def build(self, data: Dataset, stack: ExitStack) -> None:
        """Build every index in a worker of its own; the workers end with the stack."""
        folder = stack.enter_context(store.workplace(self._out / results.PIECES))
        train, test = folder / "train.npy", folder / "test.npy"
        np.save(train, data.train)
        np.save(test, data.test)
        config = self._plan.config
        for build in self._experiment.builds:
            records = self._of(build)
            if reason := indexes.why_not(build.adapter, data.metric):
                self._give_up(records, f"skipped: {reason}", build.label)
            elif self._load is None and all(
                len(record.samples) >= config.rounds for record in records
            ):
                pass  # measured before
            elif (left := self._budget.left(Budget.BUILDING)) <= 0:
                self._give_up(records, self._budget.spent, build.label)
            else:
                self._progress.doing(f"building {build.label}")
                job = Job(
                    adapter=build.adapter,
                    metric=data.metric,
                    params=build.params,
                    seed=build.seed,
                    train=train,
                    test=test,
                    k=config.k,
                    threads=build.threads or self._plan.threads,
                    environment=build.environment,
                )
                log = folder / f"{build.build_id}.log"
                timeout_s = min(config.timeout_s or math.inf, left)
                worker = Worker(job, log, None if math.isinf(timeout_s) else timeout_s)
                stack.callback(worker.close)
                self._build(build, worker)
                worker.timeout_s = config.timeout_s
            self._progress.done()
            self._hand_over()

    def _build(self, build: Build, worker: Worker) -> None:
        try:
            built = worker.build()
        except WorkerError as error:
            self._failed(self._of(build), worker, error, build.label)
            worker.close()
            return
        self._workers[build.build_id] = worker
        self._instances[build.build_id] = uuid.uuid4().hex
        records = self._of(build)
        if records[0].built is None:
            for record in records:
                record.built = built
            self._kept.keep_built(build.build_id, built)
        compiled = f" + {built.compile_s:.1f} s of compilation"
        self._progress.print(
            f"{build.label}: built in {built.build_s:.1f} s"
            f"{compiled if build.adapter.jit else ''}, "
            f"{built.index_bytes / 1e6:,.1f} MB"
        )

    def measure(self, data: Dataset, number: int) -> None:
        """Measure every point once, in an order of this round's own.

        From the second round on, points of like recall follow each other: they are the
        ones that are compared, and the machine has changed least between them.
        """
        config = self._plan.config
        rng = np.random.default_rng((config.seed, number))
        for i in _turns([record.recall_at_10 for record in self.records], rng):
            record, seed = self.records[i], int(rng.integers(2**32))
            if not (record.failure or len(record.samples) > number):
                self._measure_within_budget(record, data, number, seed)
            self._hand_over()

    def _measure_within_budget(
        self, record: Record, data: Dataset, number: int, seed: int
    ) -> None:
        label = record.build.label
        if self._budget.left() > 0:
            rounds = self._plan.config.rounds
            self._progress.doing(f"round {number + 1}/{rounds} {label}")
            self._measure(record, data, seed)
            self._progress.done()
        elif not record.samples:
            self._give_up([record], self._budget.spent, label)

    def _hand_over(self) -> None:
        if self._race is not None:
            self._race.hand_over()

    def load_up(self) -> list[under_load.Line]:
        """Offer queries at the config's loads to the best setting of every build."""
        if self._load is None or self._budget.left() <= 0:
            return []
        self._progress.doing("offering loads")
        chosen = under_load.chosen(self.records, self._load)
        seconds = self._load.seconds

        def offer(record: Record, fraction: float, seed: int) -> Offered:
            worker = self._workers[record.build.build_id]
            return worker.offer(record.point.search, fraction, seconds, seed)

        found: list[under_load.Line] = []
        try:
            found += under_load.lines(chosen, self._load, self._plan.config.seed, offer)
        except WorkerError as error:
            self._progress.print(f"load: {error.kind}: {error}", style="yellow")
        return found

    @property
    def _load(self) -> Load | None:
        config = self._plan.config
        return config.load if isinstance(config, Config) else None

    def _measure(self, record: Record, data: Dataset, seed: int) -> None:
        build, search = record.build, record.point.search
        worker, what = self._workers[build.build_id], _what(record)
        try:
            sample = worker.measure(search, seed)
            if record.found is None:
                record.found = self._find(record, sample, worker, data)
            reason = refusal(sample, data.train, data.test, data.metric)
        except (WorkerError, ValueError) as error:
            fatal = isinstance(error, WorkerError) and error.fatal
            lost = self._of(build) if fatal else [record]
            self._failed(lost, worker, error, what)
            return
        if reason:
            self._give_up([record], f"refused: {reason}", what)
            return
        record.take(sample, self._turn, self._instances[build.build_id])
        self._turn += 1
        self._kept.keep_sample(record)

    def _find(
        self, record: Record, sample: Sample, worker: Worker, data: Dataset
    ) -> Found:
        """Say how good the answers are, from a setting's first round."""
        answers = sample.ids, data.neighbors, data.train, data.test, data.metric
        recalls = recall(*answers)
        strict, ab = others(*answers)
        counts = worker.count(record.point.search)
        found = Found(sample.ids, recalls, strict, ab, counts)
        self._kept.keep_found(record.point.row_id, found)
        return found

    @property
    def _kept(self) -> Store:
        if self._store is None:
            raise RuntimeError("recover comes first")
        return self._store

    def _of(self, build: Build) -> list[Record]:
        return [record for record in self.records if record.build is build]

    def _failed(
        self, records: list[Record], worker: Worker, error: Exception, what: str
    ) -> None:
        kind = error.kind if isinstance(error, WorkerError) else "failed"
        self._give_up(records, f"{kind}: {error}", what)
        results.keep_failure(self._out, f"{what}: {error}", worker.log())

    def _give_up(self, records: list[Record], status: str, what: str) -> None:
        rounds = self._plan.config.rounds
        for record in records:
            record.failure = record.failure or status
            self._progress.done(rounds - len(record.samples))
        self._progress.print(f"{what}: {status}", style="yellow")


def _what(record: Record) -> str:
    return f"{record.build.label} {canonical(written(record.point.search))}"


def _turns(recalls: Sequence[float], rng: np.random.Generator) -> list[int]:
    """Return positions in a random order that keeps equal hundredths together.

    Each hundredth of recall has a random place, and so has each position within it.
    """
    hundredths = np.floor(100 * np.asarray(recalls)).astype(int)
    order = rng.permutation(len(hundredths))
    places = rng.permutation(101)
    kept = np.argsort(places[hundredths[order]], kind="stable")
    return [int(i) for i in order[kept]]
