"""The measurements of one index that changes. This runs inside a worker process."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from experiments.measure import SMALL, WARM_UP, Bench, Job
from experiments.streaming.tagged import Tagged
from experiments.worker import Worker

if TYPE_CHECKING:
    from experiments.streaming.runbook import Step


@dataclass(frozen=True)
class StreamJob(Job):
    """What a worker builds; see :class:`experiments.streaming.tagged.Tagged`."""

    tags: int = 0
    vectors: int = 0

    def open(self) -> StreamBench:
        """Return the bench of this job."""
        return StreamBench(self)


@dataclass(frozen=True)
class Applied:
    """What a step cost that changed the index, without the compilation in it."""

    seconds: float
    index_bytes: int
    deletes: str


class StreamBench(Bench):
    """One index that changes, and its queries."""

    def __init__(self, job: StreamJob) -> None:
        super().__init__(job)
        X = np.asarray(np.load(job.train, mmap_mode="r"))
        self._X = self._index.prepare(X)
        self._stream = self._tagged(self._index, job.tags, job.vectors)
        if job.adapter.jit:
            self._rehearse_changes()
        self._index = self._stream

    @staticmethod
    def _tagged(index: Any, tags: int, vectors: int) -> Tagged:
        return Tagged(index, tags, vectors)

    def _rehearse_changes(self) -> None:
        """Compile what a stream of changes needs, on a small index."""
        job, X = self._job, self._X[:SMALL]
        first = range(len(X) - len(X) // 4)
        later = range(len(first), len(X))
        small = job.adapter(job.metric, job.params.small(), job.seed)
        stream = self._tagged(small, len(X), len(X))
        for tags in (first, later):
            if tags:
                stream.insert(tags, X[tags.start : tags.stop], job.threads)
        for deleted in (range(0), range(len(X) // 8)):
            stream.delete(deleted)
            for threads in {1, job.threads}:
                search = stream.searcher(job.adapter.Search().small(), job.k, threads)
                search(self._Q[:WARM_UP])
                search(self._rows[0])

    def apply(self, step: Step) -> Applied:
        """Take a step that changes the index."""
        stream, threads = self._stream, self._job.threads
        X = self._X[step.rows.start : step.rows.stop]
        compiled_s = self._clock.seconds
        with threadpool_limits(threads):
            start = perf_counter()
            if step.operation in ("delete", "replace"):
                stream.delete(step.tags)
            if step.operation in ("insert", "replace"):
                stream.insert(step.tags, X, threads)
            seconds = perf_counter() - start
        seconds -= self._clock.seconds - compiled_s
        return Applied(seconds, stream.nbytes, stream.deletes)


class StreamWorker(Worker):
    """A process that holds one index that changes."""

    def apply(self, step: Step) -> Applied:
        """Take a step that changes the index."""
        applied: Applied = self._call("apply", step)
        return applied
