"""A library to test the harness with: exact search that can be told to go wrong."""

import os
import signal
import time

import numpy as np
from pydantic import Field

from experiments.adapter import Adapter, Params


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
            time.sleep(600)


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


class Sleeper(Called):
    """The first coordinate of each query says for how many milliseconds."""

    def find(self, Q):
        time.sleep(float(Q[:, 0].sum()) / 1000)


class SlowStart(Called):
    """The first calls of each kind take long, as where something is loaded."""

    def searcher(self, search, k, threads):
        self.slow = {True, False}
        return super().searcher(search, k, threads)

    def find(self, Q):
        if (len(Q) > 1) in self.slow:
            self.slow.discard(len(Q) > 1)
            time.sleep(0.3)


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
