"""Play a runbook: every index of a config, step by step, in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from experiments import datasets, indexes, provenance, results
from experiments.fairness import refusal
from experiments.percentiles import PERCENTS, of_rounds
from experiments.plan import Build, Experiment, Plan, canonical, written
from experiments.progress import Progress
from experiments.recall import recall
from experiments.streaming import updatable
from experiments.streaming.bench import StreamJob, StreamWorker
from experiments.streaming.live import State, Truth, find_truth, states
from experiments.streaming.runbook import Runbook
from experiments.worker import WorkerError

if TYPE_CHECKING:
    from experiments.datasets import Dataset
    from experiments.measure import Sample


@dataclass(frozen=True, kw_only=True)
class Line:
    """One step of one index; the fields are the columns of ``steps.csv``.

    A step that changes the index has one line for ``points`` vectors that it inserted,
    deleted or replaced in ``step_s`` seconds on ``threads`` threads. A step that
    searches has one for each setting: recall against the exact neighbours among the
    ``live`` vectors, latency of one query at a time on one thread
    (:mod:`experiments.percentiles`), and in ``step_s`` all queries as a batch on
    ``threads`` threads.
    ``deletes`` says whether deleted vectors are "removed" by the library or "filtered"
    out of the answers of an index that still holds them.
    """

    dataset: str
    metric: str
    d: int
    nq: int
    library: str
    family: str
    index: str
    label: str
    build_params: str
    k: int
    threads: int
    seed: int
    step: int
    operation: str
    points: int
    live: int
    search_params: str = ""
    deletes: str = ""
    step_s: float | None = None
    recall_at_1: float | None = None
    recall_at_5: float | None = None
    recall_at_10: float | None = None
    p50_us: float | None = None
    p95_us: float | None = None
    p99_us: float | None = None
    rounds: int = 0
    index_bytes: int | None = None
    status: str = "ok"


def run(
    plan: Plan,
    runbooks: Mapping[str, Runbook],
    out: Path,
    console: Console,
    command: str,
) -> list[Line]:
    """Play runbooks; write lines and provenance into a directory.

    Parameters
    ----------
    plan : the datasets and their indexes
    runbooks : by the name of a dataset in the plan
    out : a directory that :func:`experiments.results.claim` made ready
    console : where to say how it goes
    command : what the user typed, for the provenance
    """
    stamp = provenance.collect(plan.config, plan.threads, command)
    stamp |= {"datasets": [], "runbooks": {}, "status": "unfinished"}
    lines: list[Line] = []
    builds = sum(len(experiment.builds) for experiment in plan.experiments)
    try:
        with Progress(console, builds) as progress:
            for experiment in plan.experiments:
                entry = experiment.dataset
                progress.doing(f"loading {entry.name}")
                runbook = runbooks[entry.name]
                data = datasets.load(
                    entry.name,
                    n=entry.n,
                    nq=entry.nq,
                    metric=entry.metric,
                    seed=plan.config.seed,
                    progress=progress.bar,
                )
                progress.doing("exact neighbours of each step")
                truth = find_truth(runbook, data)
                stamp["datasets"].append(provenance.dataset(data, entry.name))
                stamp["runbooks"][data.name] = _summary(runbook)
                play = _trial(experiment, plan, runbook, data, truth, progress, out)
                for line in play:
                    lines.append(line)
                    results.write_table(out / results.STEPS, lines)
        stamp["status"] = "finished"
    finally:
        stamp["ended"] = provenance.now()
        results.write_table(out / results.STEPS, lines)
        results.write_json(out / results.PROVENANCE, stamp)
    return lines


def _trial(
    experiment: Experiment,
    plan: Plan,
    runbook: Runbook,
    data: Dataset,
    truth: Truth,
    progress: Progress,
    out: Path,
) -> Iterator[Line]:
    """Yield the lines of every index on one dataset."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory("", "ann-")))
        np.save(folder / "train.npy", data.train[: runbook.rows])
        np.save(folder / "test.npy", data.test)
        for build in experiment.builds:
            progress.doing(build.label)
            player = Player(build, plan, runbook, data, folder, out)
            for line in player.play(truth):
                if line.status != "ok":
                    progress.print(_what(line), style="yellow")
                yield line
            progress.done()


class Player:
    """One index of a plan, and the steps it takes.

    Parameters
    ----------
    build : the index and the settings to search it with
    plan : what it is part of
    runbook : the steps
    data : the vectors
    folder : where ``train.npy`` and ``test.npy`` are
    out : where to keep whatever a failing worker had to say
    """

    def __init__(
        self,
        build: Build,
        plan: Plan,
        runbook: Runbook,
        data: Dataset,
        folder: Path,
        out: Path,
    ) -> None:
        self._build, self._plan, self._data = build, plan, data
        self._runbook, self._folder, self._out = runbook, folder, out
        self._deletes = ""
        self._bytes: int | None = None

    def play(self, truth: Truth) -> Iterator[Line]:
        """Yield the lines of every step, up to one that is not "ok"."""
        adapter = updatable.find(self._build.adapter)
        first = next(states(self._runbook))
        if adapter is None:
            known = f"{self._build.adapter.library} {self._build.adapter.kind}"
            yield self._line(first, status=f"skipped: {known} is driven by no runbook")
            return
        if reason := indexes.why_not(adapter, self._data.metric):
            yield self._line(first, status=f"skipped: {reason}")
            return
        worker = StreamWorker(
            self._job(adapter),
            self._folder / f"{self._build.build_id}.log",
            self._plan.config.timeout_s,
        )
        try:
            for state in states(self._runbook, truth):
                for line in self._step(worker, state):
                    yield line
                    if line.status != "ok":  # not to be trusted with the rest
                        results.keep_failure(self._out, _what(line), worker.log())
                        return
        finally:
            worker.close()

    def _job(self, adapter: type[updatable.Updatable]) -> StreamJob:
        return StreamJob(
            adapter=adapter,
            metric=self._data.metric,
            params=self._build.params,
            seed=self._build.seed,
            train=self._folder / "train.npy",
            test=self._folder / "test.npy",
            k=self._plan.config.k,
            threads=self._plan.threads,
            tags=self._runbook.tags,
            vectors=self._runbook.vectors,
        )

    def _step(self, worker: StreamWorker, state: State) -> Iterator[Line]:
        if state.step.operation == "search":
            for point in self._build.points:
                yield self._search(worker, state, point.search)
            return
        try:
            applied = worker.apply(state.step)
        except WorkerError as error:
            yield self._line(state, status=f"{error.kind}: {error}")
            return
        self._deletes, self._bytes = applied.deletes, applied.index_bytes
        yield self._line(state, step_s=applied.seconds)

    def _search(self, worker: StreamWorker, state: State, search: Any) -> Line:
        seed, rounds = self._plan.config.seed, self._plan.config.rounds
        setting = {"search_params": canonical(written(search))}
        try:
            samples = [worker.measure(search, seed + i) for i in range(rounds)]
            found = self._found(samples, state)
        except (WorkerError, ValueError) as error:
            kind = error.kind if isinstance(error, WorkerError) else "refused"
            return self._line(state, **setting, status=f"{kind}: {error}")
        latencies = of_rounds(np.array([sample.latency_us for sample in samples]))
        return self._line(
            state,
            **setting,
            **found,
            **{f"{name}_us": latencies[f"{name}_us"] for name in PERCENTS},
            rounds=rounds,
            step_s=float(np.median([sample.batch_s for sample in samples])),
        )

    def _found(self, samples: Sequence[Sample], state: State) -> dict[str, float]:
        """Return recall, or raise ValueError where an answer or a clock is no good."""
        if state.neighbors is None:
            raise RuntimeError("a state that is searched has its neighbours")
        X, Q, metric = self._data.train[state.rows], self._data.test, self._data.metric
        for sample in samples:
            answer = replace(sample, ids=state.positions(sample.ids))
            if reason := refusal(answer, X, Q, metric):
                raise ValueError(reason)
        ids = state.positions(samples[0].ids)
        recalls = recall(ids, state.neighbors, X, Q, metric).mean(axis=0)
        names = ("recall_at_1", "recall_at_5", "recall_at_10")
        return dict(zip(names, recalls.tolist(), strict=True))

    def _line(self, state: State, **numbers: Any) -> Line:
        build, data, step = self._build, self._data, state.step
        return Line(
            dataset=data.name,
            metric=data.metric,
            d=data.train.shape[1],
            nq=len(data.test),
            **build.columns(),
            k=self._plan.config.k,
            threads=self._plan.threads,
            step=step.number,
            operation=step.operation,
            points=len(step.tags),
            live=len(state.tags),
            deletes=self._deletes,
            index_bytes=self._bytes,
            **numbers,
        )


def _what(line: Line) -> str:
    return f"{line.label}, step {line.step}: {line.status}"


def _summary(runbook: Runbook) -> dict[str, Any]:
    """Return the steps as a provenance has them."""
    return {
        "section": runbook.section,
        "max_pts": runbook.max_pts,
        "steps": [
            [
                step.operation,
                *((step.tags.start, step.tags.stop) if step.tags else ()),
                *((step.rows.start, step.rows.stop) if step.rows else ()),
            ]
            for step in runbook.steps
        ],
    }
