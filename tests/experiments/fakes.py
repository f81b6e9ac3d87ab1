"""A library to test the harness with: exact search that can be told to go wrong."""

import os
import signal
import time

import numpy as np
from pydantic import Field

from experiments import measure
from experiments.adapter import Adapter, Params
from experiments.streaming.updatable import Updatable
from experiments.worker import Worker

HANGING = b"hanging\n"  # the last words of a worker that hangs


class Brute(Adapter):
    """Exact l2 search among the first ``share`` of the vectors."""

    library = "fakes"
    kind = "Brute"
    metrics = ("l2",)

    class Build(Params):
        M: int = Field(4, ge=1)
        fault: str | None = None

    class Search(Params):
        share: float = Field(1.0, gt=0, le=1)
        fault: str | None = None

    def __init__(self, metric, build, seed):
        self.build, self.seed = build, seed

    @classmethod
    def family(cls, build):
        return "Flat"

    def add(self, X, threads):
        go_wrong(self.build.fault)
        self.X = np.array(X)

    def searcher(self, search, k, threads):
        X = self.X[: max(k, int(search.share * len(self.X)))]

        def find(Q):
            go_wrong(search.fault)
            D = np.linalg.norm(X[None] - Q[:, None], axis=2)
            return np.argsort(D, axis=1, kind="stable")[:, :k]

        return find

    def ids(self, answer):
        return answer

    def distance_computations(self, Q, search, k):
        return np.full(len(Q), int(search.share * len(self.X)))

    @property
    def nbytes(self):
        return self.X.nbytes


class Elsewhere(Brute):
    """An index of a library that is nowhere installed."""

    library = "no_such_library"
    kind = "Brute"


def go_wrong(fault):
    match fault:
        case "raise":
            raise RuntimeError("asked to\nfail")
        case "die":
            os.write(2, b"last words\n")
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            os.write(2, HANGING)
            time.sleep(600)


def give_up_on_what_hangs(monkeypatch):
    """Let a call time out as soon as its worker hangs, and no other call ever."""

    def is_in_time(worker):
        while not worker._pipe.poll(0.01):
            if HANGING.decode() in worker.log():
                return False
        return True

    monkeypatch.setattr(Worker, "_is_in_time", is_in_time)


class Environment(Brute):
    """Says in which environment it was started, for want of a better place."""

    def distance_computations(self, Q, search, k):
        return dict(os.environ)


class Called(Brute):
    """An index whose search is to call ``find`` and answer nothing of use."""

    def find(self, Q):
        raise NotImplementedError

    def searcher(self, search, k, threads):
        def call(Q):
            self.find(Q)
            return np.zeros((len(Q), k), np.int64)

        return call


class Clock:
    """A clock that moves only when it is read, by a tick, and when a search sleeps.

    What measures by it finds the same at every run, however busy the machine is.
    """

    TICK_NS = 1000

    def __init__(self, cores=1):
        self.cores, self.now_ns, self.busy_ns = cores, 0, 0

    def perf_counter_ns(self):
        self.now_ns += self.TICK_NS
        self.busy_ns += self.cores * self.TICK_NS
        return self.now_ns

    def perf_counter(self):
        return self.perf_counter_ns() / 1e9

    def process_time(self):
        return self.busy_ns / 1e9

    def sleep(self, seconds):
        self.now_ns += round(seconds * 1e9)

    def replace(self, monkeypatch, *modules):
        """Put it in the place of the clock that modules have imported."""
        for module in modules:
            for name in ("perf_counter_ns", "perf_counter", "process_time", "sleep"):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, getattr(self, name))


class Sleeper(Called):
    """The first coordinate of each query says for how many milliseconds."""

    def find(self, Q):
        measure.sleep(float(Q[:, 0].sum()) / 1000)


class SlowStart(Called):
    """The first calls of each kind take long, as where something is loaded."""

    def searcher(self, search, k, threads):
        self.slow = {True, False}
        return super().searcher(search, k, threads)

    def find(self, Q):
        if (len(Q) > 1) in self.slow:
            self.slow.discard(len(Q) > 1)
            measure.sleep(0.3)


class Compiled(Called):
    """A search that Numba compiles in the first call, or in each if it is ``eager``."""

    jit = True

    class Search(Params):
        eager: bool = False

    def add(self, X, threads):
        import numba

        self.add_one = numba.njit(lambda x: x + 1)
        self.add_one(1.5)
        super().add(X, threads)

    def searcher(self, search, k, threads):
        self.eager = search.eager
        return super().searcher(search, k, threads)

    def find(self, Q):
        import numba

        self.add_one(1)
        if self.eager:
            numba.njit(lambda x: x + 2)(1)


class Faulty(Brute):
    """Answers with ids that are none."""

    kind = "Faulty"

    def ids(self, answer):
        return answer * 0 + len(self.X)


class Planted(Brute):
    """Exact search with a fault that an instrument has to find."""

    kind = "Planted"
    jit = True  # so that compilation is watched

    def searcher(self, search, k, threads):
        find = super().searcher(Brute.Search(), k, threads)

        def call(Q):
            match search.fault:
                case "two threads":
                    # As the clock would go with many of them: with two, a pause
                    # between two looks at it could hide the second.
                    measure.process_time = lambda: 1000 * time.perf_counter()
                case "compiles":
                    import numba

                    numba.njit(lambda x: x + 3)(1)
                case "changes queries":
                    Q += 1
            return find(Q)

        self.fault = search.fault
        return call

    def ids(self, answer):
        if self.fault == "duplicates":
            return np.repeat(answer[:, :1], answer.shape[1], axis=1)
        if self.fault == "ids out of range":
            return answer + len(self.X)
        return answer

    def distances(self, answer):
        if self.fault == "wrong distances":
            return np.zeros(answer.shape, np.float32)
        return None


class Growing(Updatable, Brute):
    """Exact search that vectors can be added to and removed from."""

    kind = "Growing"
    removes = True

    def __init__(self, metric, build, seed):
        super().__init__(metric, build, seed)
        self.numbers, self.asked = np.empty(0, np.int64), []

    def add(self, X, threads):
        go_wrong(self.build.fault if self._count else None)
        before = np.empty((0, X.shape[1]), np.float32) if not self._count else self.X
        self.X = np.concatenate([before, X])
        self.numbers = np.append(self.numbers, self._numbers(X))

    def remove(self, numbers):
        keep = ~np.isin(self.numbers, numbers)
        if self.build.fault != "forgets to remove":
            self.X, self.numbers = self.X[keep], self.numbers[keep]

    def searcher(self, search, k, threads):
        find = super().searcher(search, k, threads)

        def call(Q):
            self.asked.append((len(Q), k))
            found = self.numbers[find(Q)]
            missing = k - found.shape[1]
            return np.pad(found, ((0, 0), (0, missing)), constant_values=-1)

        return call


class Pauses(Called):
    """Pauses at every so many calls."""

    class Search(Params):
        every: int = 1000
        ms: float = 0

    def searcher(self, search, k, threads):
        self.calls, self.search = 0, search
        return super().searcher(search, k, threads)

    def find(self, Q):
        self.calls += 1
        if self.calls % self.search.every == 0:
            measure.sleep(self.search.ms / 1000)
