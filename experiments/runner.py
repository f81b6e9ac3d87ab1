"""Run a plan: build, measure in interleaved rounds, keep everything that was found."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from experiments import datasets, indexes, provenance, results
from experiments.measure import Job
from experiments.plan import Build, Experiment, Plan, canonical, written
from experiments.progress import Progress
from experiments.recall import check_truth, recall
from experiments.results import Record, Row
from experiments.worker import Worker, WorkerError

if TYPE_CHECKING:
    from experiments.datasets import Dataset


def run(plan: Plan, out: Path, console: Console, command: str) -> list[Row]:
    """Measure everything in a plan; what is done is on disk even when interrupted.

    Parameters
    ----------
    plan : what to build and measure
    out : a directory that :func:`experiments.results.claim` made ready
    console : where to say how it goes
    command : what the user typed, for the provenance

    Returns
    -------
    rows : as written; those that failed or were skipped say so in their status
    """
    records: list[Record] = []
    stamp = provenance.collect(plan.config, plan.threads, command)
    stamp |= {"datasets": [], "status": "unfinished"}

    def save() -> None:
        results.write_rows(out / results.ROWS, [record.row() for record in records])
        results.write_rounds(out / results.ROUNDS, records)
        results.write_json(out / results.PROVENANCE, stamp)

    try:
        with Progress(console, plan.steps) as progress:
            for experiment in plan.experiments:
                trial = Trial(experiment, plan, out / results.FAILURES, progress)
                records += trial.records
                data = trial.load()
                if data is None:
                    continue
                stamp["datasets"].append(_identity(data, experiment.dataset.name))
                with ExitStack() as stack:
                    trial.build(data, stack)
                    save()
                    for number in range(plan.config.rounds):
                        trial.measure(data, number)
                        save()
        stamp["status"] = "finished"
    finally:
        stamp["ended"] = provenance.now()
        save()
        results.write_per_query(out / results.PER_QUERY, records)
    return [record.row() for record in records]


class Trial:
    """One dataset and its indexes: built one after another, measured in turns.

    Parameters
    ----------
    experiment : the dataset and its builds
    plan : what they are part of
    failures : file for whatever a failing worker had to say
    progress : where to say how it goes
    """

    def __init__(
        self, experiment: Experiment, plan: Plan, failures: Path, progress: Progress
    ) -> None:
        self._experiment, self._plan = experiment, plan
        self._failures, self._progress = failures, progress
        self._workers: dict[str, Worker] = {}
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
            "seed": config.seed,
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

    def build(self, data: Dataset, stack: ExitStack) -> None:
        """Build every index in a worker of its own; the workers end with the stack."""
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory("", "ann-")))
        train, test = folder / "train.npy", folder / "test.npy"
        np.save(train, data.train)
        np.save(test, data.test)
        for build in self._experiment.builds:
            if reason := indexes.why_not(build.adapter, data.metric):
                self._give_up(self._of(build), f"skipped: {reason}", build.label)
            else:
                self._progress.doing(f"building {build.label}")
                config = self._plan.config
                job = Job(
                    adapter=build.adapter,
                    metric=data.metric,
                    params=build.params,
                    seed=config.seed,
                    train=train,
                    test=test,
                    k=config.k,
                    threads=build.threads or self._plan.threads,
                    environment=build.environment,
                )
                log = folder / f"{build.build_id}.log"
                worker = Worker(job, log, config.timeout_s)
                stack.callback(worker.close)
                self._build(build, worker)
            self._progress.done()

    def _build(self, build: Build, worker: Worker) -> None:
        try:
            built = worker.build()
        except WorkerError as error:
            self._failed(self._of(build), worker, error, build.label)
            worker.close()
            return
        self._workers[build.build_id] = worker
        for record in self._of(build):
            record.built = built
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
            if record.failure:
                continue
            self._progress.doing(
                f"round {number + 1}/{config.rounds} {record.build.label}"
            )
            self._measure(record, data, seed)
            self._progress.done()

    def _measure(self, record: Record, data: Dataset, seed: int) -> None:
        worker, search = self._workers[record.build.build_id], record.point.search
        try:
            sample = worker.measure(search, seed)
            if record.recalls is None:
                record.recalls = recall(
                    sample.ids, data.neighbors, data.train, data.test, data.metric
                )
                record.computations = worker.count(search)
            record.samples.append(sample)
            record.turns.append(self._turn)
            self._turn += 1
        except (WorkerError, ValueError) as error:
            fatal = isinstance(error, WorkerError) and error.fatal
            lost = self._of(record.build) if fatal else [record]
            what = f"{record.build.label} {canonical(written(search))}"
            self._failed(lost, worker, error, what)

    def _of(self, build: Build) -> list[Record]:
        return [record for record in self.records if record.build is build]

    def _failed(
        self, records: list[Record], worker: Worker, error: Exception, what: str
    ) -> None:
        self._give_up(records, f"failed: {error}", what)
        with self._failures.open("a", encoding="utf-8") as file:
            file.write(f"{what}: {error}\n{worker.log()}\n")

    def _give_up(self, records: list[Record], status: str, what: str) -> None:
        rounds = self._plan.config.rounds
        for record in records:
            record.failure = record.failure or status
            self._progress.done(rounds - len(record.samples))
        self._progress.print(f"{what}: {status}", style="yellow")


def _turns(recalls: Sequence[float], rng: np.random.Generator) -> list[int]:
    """Return positions in a random order that keeps equal hundredths together.

    Each hundredth of recall has a random place, and so has each position within it.
    """
    hundredths = np.floor(100 * np.asarray(recalls)).astype(int)
    order = rng.permutation(len(hundredths))
    places = rng.permutation(101)
    kept = np.argsort(places[hundredths[order]], kind="stable")
    return [int(i) for i in order[kept]]


def _identity(data: Dataset, name: str) -> dict[str, str]:
    """Say which data these are; a file by its name, without this machine's folders."""
    path = Path(name).expanduser()
    return {
        "name": data.name,
        "metric": data.metric,
        "fingerprint": data.fingerprint,
        "source": data.source.replace(str(path), path.name),
    }
