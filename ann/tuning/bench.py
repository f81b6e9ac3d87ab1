"""Recall of answers, latency of lone queries, and the budget's clock."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ann import truth
from ann.flat import Flat
from ann.index import Index
from ann.tuning.candidates import Setting

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Search = Callable[[Floats], object]

now_ns = time.perf_counter_ns
# Queries, of which the greatest and the least latency enclose the 99th percentile with
# 95 % confidence: 0.99 ** 368 < 0.025.
TAIL_NEEDS = 368
_WARM_UP = 10  # queries
_LONG_NS = 100_000_000  # of a turn, which is then cut short, …
_FEWEST = 20  # … but not below so many queries
_FEWEST_TURNS, _PATIENCE_NS = 2, 1_000_000_000  # likewise of all turns of an index


class Stopwatch:
    """Tells how much of a budget has gone."""

    def __init__(self, budget_s: float) -> None:
        self._budget_s, self._start_ns = budget_s, now_ns()

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was made."""
        return (now_ns() - self._start_ns) / 1e9

    def leaves(self, seconds: float) -> bool:
        """Whether so much is left."""
        return self.elapsed_s + seconds <= self._budget_s


class Latency(NamedTuple):
    """Microseconds of a lone query on one thread.

    Parameters
    ----------
    p50_us, p99_us : float
        Percentiles of all single queries of all rounds; NaN where ``queries`` are fewer
        than ``TAIL_NEEDS``, which no number of rounds makes up for.
    undisturbed_us : float
        The median over queries of each one's lower quartile over rounds, by which
        candidates are compared. On a machine that is busy with something else half of
        the time a median over rounds is now that of the one half and now that of the
        other: choices by it were up to 40 % wrong.
    queries : int
        That were timed, in every round.
    """

    p50_us: float
    p99_us: float
    undisturbed_us: float
    queries: int

    @classmethod
    def of(cls, ns: Sequence[NDArray[np.int64]]) -> "Latency":
        """Summarise rounds of the same queries, of which some may have been cut."""
        count = min(map(len, ns))
        us = np.array([turn[:count] for turn in ns]) / 1e3
        p99 = float(np.quantile(us, 0.99)) if count >= TAIL_NEEDS else float("nan")
        undisturbed = float(np.median(np.quantile(us, 0.25, axis=0)))
        return cls(float(np.median(us)), p99, undisturbed, count)


class Truth:
    """Queries and what exact search finds: what recall is measured against.

    An answer counts if it is as near as the k-th true neighbour, whatever its id: of
    equal vectors any is right. Distances are computed anew in float64, so an index that
    only estimates them is judged by what it found.

    Parameters
    ----------
    exact : Flat   of float32 vectors X, ids 0..n-1
    X : (n, d) float32
    Q : (nq, d) float32
    """

    def __init__(self, exact: Flat, X: Floats, Q: Floats, k: int, threads: int) -> None:
        self.Q, self._X, self._metric = Q, X, exact.metric
        self._k, self._threads = k, threads
        self._ids, _ = exact.search(Q, min(k, exact.ntotal), threads=threads)
        last, self._sizes = self._distances(np.arange(len(Q)), self._ids[:, -1])
        self._last = last[:, None]

    def recall(self, index: Index, setting: Setting) -> Doubles:
        """Return each query's recall@k (nq,) of a search."""
        ids, _ = index.search(self.Q, self._k, threads=self._threads, **setting)
        other = (ids >= 0) & ~(ids[:, :, None] == self._ids[:, None, :]).any(axis=2)
        distances = np.full(ids.shape, np.inf)
        distances[other], _ = self._distances(np.nonzero(other)[0], ids[other])
        return truth.recalls(ids, distances, self._ids, self._last, self._sizes)

    def _distances(
        self, rows: NDArray[np.int64], ids: NDArray[np.int64]
    ) -> tuple[Doubles, Doubles]:
        """Return distances of some queries to a vector each, and what rounds them."""
        q, x = self.Q[rows].astype(np.float64), self._X[ids].astype(np.float64)
        if self._metric in ("l1", "l2"):
            order = 1 if self._metric == "l1" else 2
            return np.linalg.norm(q - x, order, axis=1), np.zeros(len(rows))
        norms = np.linalg.norm(q, axis=1) * np.linalg.norm(x, axis=1)
        dot = np.einsum("ij,ij->i", q, x)
        if self._metric == "cosine":
            return 1 - dot / norms, np.ones(len(rows))
        return -dot, norms


def in_turns(
    contestants: Sequence[tuple[Index, Setting]],
    Q: Floats,
    k: int,
    rounds: int,
) -> list[Latency]:
    """Time lone queries of several settings in turns, so that all meet one machine.

    Parameters
    ----------
    contestants : indexes, each with a setting
    Q : (nq, d) float32      asked by all, in this order
    rounds : how often, at most
    """
    searches = [_lone(index, setting, k) for index, setting in contestants]
    rows = list(Q)
    turns: list[list[NDArray[np.int64]]] = [[] for _ in searches]
    with _undisturbed():
        start = now_ns()
        for turn in range(rounds):
            for i in np.roll(np.arange(len(searches)), turn).tolist():
                turns[i].append(_one_by_one(searches[i], rows))
            late = now_ns() - start > _PATIENCE_NS * len(searches)
            if late and turn + 1 >= _FEWEST_TURNS:
                break
    return [Latency.of(of) for of in turns]


def _lone(index: Index, setting: Setting, k: int) -> Search:
    return lambda q: index.search(q, k, **setting)


def _one_by_one(search: Search, rows: Sequence[Floats]) -> NDArray[np.int64]:
    """Return nanoseconds of each query, of the first few where they take long."""
    taken: list[int] = []
    begin = now_ns()
    for row in rows[:_WARM_UP]:
        search(row)
        if now_ns() - begin > _LONG_NS:
            break
    begin = now_ns()
    for row in rows:
        start = now_ns()
        search(row)
        stop = now_ns()
        taken.append(stop - start)
        if stop - begin > _LONG_NS and len(taken) >= _FEWEST:
            break
    return np.array(taken)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold garbage collection back."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
