"""What all studies ask of an index beyond a run. This runs inside a worker process."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from experiments.measure import WARM_UP, Bench, Job
from experiments.worker import Worker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from experiments.adapter import Params


@dataclass(frozen=True)
class TrustJob(Job):
    """What a worker builds."""

    def open(self) -> TrustBench:
        """Return the bench of this job."""
        return TrustBench(self)


@dataclass(frozen=True)
class Found:
    """The answers of all queries as one batch, on all threads."""

    ids: NDArray[np.int64]
    seconds: float


class TrustBench(Bench):
    """One index that is searched for its answers."""

    def find(self, params: Params) -> Found:
        """Search for all queries at once."""
        job = self._job
        search = self._index.searcher(params, job.k, job.threads)
        with threadpool_limits(job.threads):
            search(self._Q[:WARM_UP])
            start = perf_counter()
            answer = search(self._Q)
            seconds = perf_counter() - start
        return Found(self._index.ids(answer), seconds)

    def problems(self) -> str | None:
        """Return what an audit finds, where the library has one."""
        return self._index.problems()


class TrustWorker(Worker):
    """A process that holds one index."""

    def find(self, params: Params) -> Found:
        """Search for all queries at once."""
        found: Found = self._call("find", params)
        return found

    def problems(self) -> str | None:
        """Return what an audit finds, where the library has one."""
        found: str | None = self._call("problems")
        return found
