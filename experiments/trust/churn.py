"""Churn: a share of the vectors goes, and comes back under the same ids, many times.

The vectors are the same after every round, so that the index of the beginning is a
fresh build of them. Another at the end, of the same vectors in another order, tells how
far two fresh builds lie apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from experiments.measure import SMALL
from experiments.recall import recall
from experiments.trust import changing
from experiments.trust.bench import Found, TrustBench, TrustJob, TrustWorker
from experiments.trust.subject import Subject
from experiments.worker import WorkerError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.adapter import Params
    from experiments.config import Churn
    from experiments.plan import Build, Plan
    from experiments.trust.trial import Trial

    Ids = NDArray[np.int64]

BUILT, CHURNED, FRESH = "built", "churned", "fresh"


@dataclass(frozen=True, kw_only=True)
class Line(Subject):
    """One setting of an index after a round; the columns of ``churn.csv``.

    ``stage`` is "built" before the first round, "churned", or "fresh" for the other
    build at the end. ``removed`` vectors went in ``remove_s`` seconds and came back in
    ``add_s``, without compilation; of a build, ``add_s`` is all of it. ``qps`` is of
    one batch on all threads. ``index_bytes`` is the size at its greatest: before or
    after the adding; ``rss_bytes`` the memory of the process in the end. ``problems``
    is what the library's own audit found after the removal or after the adding, nothing
    if all is sound, and "–" where there is no audit.
    """

    stage: str
    round: int
    removed: int = 0
    remove_s: float | None = None
    add_s: float | None = None
    recall_at_10: float | None = None
    qps: float | None = None
    index_bytes: int | None = None
    rss_bytes: int | None = None
    problems: str = ""


@dataclass(frozen=True)
class Turn:
    """What a round took, and what it left."""

    removed: int
    remove_s: float | None
    add_s: float
    index_bytes: int
    rss_bytes: int
    problems: str


@dataclass(frozen=True)
class ChurnJob(TrustJob):
    """What a worker builds."""

    def open(self) -> ChurnBench:
        """Return the bench of this job."""
        return ChurnBench(self)


class ChurnBench(TrustBench):
    """One index that loses vectors and gets them back."""

    _index: changing.Changing

    def __init__(self, job: ChurnJob) -> None:
        super().__init__(job)
        self._X = self._index.prepare(np.asarray(np.load(job.train, mmap_mode="r")))

    def _rehearse(self, X: NDArray[np.float32]) -> None:
        super()._rehearse(X)
        job, share = self._job, np.arange(len(X[:SMALL]) // 4)
        small = job.adapter(job.metric, job.params.small(), job.seed)
        small.add(X, job.threads)
        for _ in range(3):  # enough for the index to close up
            self._change(small, X, share)

    def start(self) -> Turn:
        """Build the index."""
        return self._turn(None, self.build().build_s, [self._problems()])

    def turn(self, ids: Ids, params: Params) -> Turn:
        """Remove vectors and add them again; no search in between may find one."""
        index, X, threads = self._index, self._X, self._job.threads
        before = self._clock.seconds
        with threadpool_limits(threads):
            start = perf_counter()
            index.take(ids, threads)
            remove_s = perf_counter() - start - (self._clock.seconds - before)
            between = self._problems(), index.nbytes
            self._require_gone(ids, params)
            before = self._clock.seconds
            start = perf_counter()
            index.put(X[ids], ids, threads)
            add_s = perf_counter() - start - (self._clock.seconds - before)
        problems = [between[0], self._problems()]
        return self._turn((len(ids), remove_s), add_s, problems, between[1])

    def fresh(self, order: Ids) -> Turn:
        """Build another index of the same vectors, in some order; forget the first."""
        job, X = self._job, self._X[order]
        other: Any = job.adapter(job.metric, job.params, job.seed)
        self._index = other
        with threadpool_limits(job.threads):
            start = perf_counter()
            self._index.put(X, order, job.threads)
            add_s = perf_counter() - start
        return self._turn(None, add_s, [self._problems()])

    def _change(self, index: Any, X: NDArray[np.float32], ids: Ids) -> None:
        index.take(ids, self._job.threads)
        index.put(X[ids], ids, self._job.threads)

    def _require_gone(self, ids: Ids, params: Params) -> None:
        dead = np.isin(self.find(params).ids, ids)
        if dead.any():
            many = f"{int(dead.any(axis=1).sum())} of {len(dead):,} hold one"
            raise ValueError(f"answers must hold nothing that was removed, {many}")

    def _problems(self) -> str:
        found = self._index.problems()
        return "–" if found is None else found

    def _turn(
        self,
        removed: tuple[int, float] | None,
        add_s: float,
        problems: list[str],
        before: int = 0,
    ) -> Turn:
        count, seconds = removed or (0, None)
        return Turn(
            removed=count,
            remove_s=seconds,
            add_s=add_s,
            index_bytes=max(before, self._index.nbytes),
            rss_bytes=psutil.Process().memory_info().rss,
            problems="; ".join(dict.fromkeys(filter(None, problems))),
        )


class ChurnWorker(TrustWorker):
    """A process that holds one index that changes."""

    def start(self) -> Turn:
        """Build the index."""
        turn: Turn = self._call("start")
        return turn

    def turn(self, ids: Ids, params: Params) -> Turn:
        """Remove vectors and add them again."""
        turn: Turn = self._call("turn", ids, params)
        return turn

    def fresh(self, order: Ids) -> Turn:
        """Build another index of the same vectors."""
        turn: Turn = self._call("fresh", order)
        return turn


def steps(plan: Plan, churn: Churn) -> int:
    """Return how many steps of progress a study has."""
    builds = sum(len(experiment.builds) for experiment in plan.experiments)
    return builds * (churn.rounds + 2)


def play(trial: Trial, churn: Churn) -> Iterator[list[Line]]:
    """Yield all lines so far, each time there are more."""
    lines: list[Line] = []
    for build in trial.builds:
        trial.progress.doing(build.label)
        for more in _rounds(trial, churn, build):
            lines += more
            yield lines
            trial.progress.done()


def _rounds(trial: Trial, churn: Churn, build: Build) -> Iterator[list[Line]]:
    """Yield the lines of each round of an index."""
    adapter = changing.find(build.adapter)
    reason = trial.why_not(adapter, build, "remove vectors")
    if adapter is None or reason:
        yield [Line(**trial.about(build), stage=BUILT, round=0, status=reason)]
        return
    n, config = len(trial.data.train), trial.config
    rng = np.random.default_rng(config.seed)  # the same vectors for every index
    params = build.points[-1].search
    stage, number = BUILT, 0
    with trial.worker(ChurnWorker, ChurnJob, build, adapter) as worker:
        try:
            yield _searched(trial, build, worker, worker.start(), stage, number)
            stage = CHURNED
            for number in range(1, churn.rounds + 1):
                ids = rng.choice(n, max(1, round(churn.share * n)), replace=False)
                turn = worker.turn(ids, params)
                yield _searched(trial, build, worker, turn, stage, number)
            stage, order = FRESH, rng.permutation(n)
            turn = worker.fresh(order)
            yield _searched(trial, build, worker, turn, stage, number)
        except WorkerError as error:
            status = f"{error.kind}: {error}"
            about = trial.about(build)
            yield [Line(**about, stage=stage, round=number, status=status)]


def _searched(
    trial: Trial,
    build: Build,
    worker: ChurnWorker,
    turn: Turn,
    stage: str,
    number: int,
) -> list[Line]:
    """Return a line for each setting of the index as it is now."""
    lines = []
    for point in build.points:
        found = worker.find(point.search)
        lines.append(
            Line(
                **trial.about(build, point.search),
                **vars(turn),
                stage=stage,
                round=number,
                recall_at_10=_recall(trial, found),
                qps=len(found.ids) / found.seconds,
            )
        )
    return lines


def _recall(trial: Trial, found: Found) -> float:
    data = trial.data
    of = recall(found.ids, data.neighbors, data.train, data.test, data.metric)
    return float(of[:, -1].mean())
