"""The measurements of one index. This runs inside a worker process.

Two numbers describe a search setting. *Latency*: one query at a time, one thread, the
clock read before and after each call. *Throughput*: all queries in one call. Neither
shares its time with garbage collection, with the unpacking of answers, with
compilation or with the computation of recall.
"""

from __future__ import annotations

import gc
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import cycle
from pathlib import Path
from time import perf_counter, perf_counter_ns, process_time, sleep
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from experiments.adapter import Adapter, Params
from experiments.peers import levels
from experiments.yardstick import Yardstick

SMALL = 1000  # vectors in the build that warms the compiler up
WARM_UP = 100  # queries before those that are timed
LONG_WAIT_NS = 2_000_000  # between queries
CAPACITY = 1 / 3  # of the time of a load: for measuring what is sustained
LEAST_S = 0.05  # for batches; a shorter time is mostly that of waking threads up


@dataclass(frozen=True)
class Job:
    """What a worker builds; vectors are files, to be mapped and not copied."""

    adapter: type[Adapter]
    metric: str
    params: Params
    seed: int
    train: Path
    test: Path
    k: int
    threads: int
    environment: Mapping[str, str] = field(default_factory=dict)

    def open(self) -> Bench:
        """Return what a worker measures this job with."""
        return Bench(self)


@dataclass(frozen=True)
class Built:
    """What building cost, and what was built.

    ``build_s`` is without the compilation in it; ``version`` and ``vector_level`` are
    those of the library (:mod:`experiments.peers.levels`).
    """

    build_s: float
    compile_s: float
    index_bytes: int
    peak_rss_bytes: int
    version: str
    vector_level: str


@dataclass(frozen=True)
class Sample:
    """One round of one search setting.

    ``ids`` and ``distances`` (of an index whose distances are exact) are the answers of
    the very searches that were timed. ``cores`` is the processor time of the latency
    loop over its duration: above one, the search was not single-threaded. ``compiled``
    counts compilations in timed regions, and ``changed`` says whether the queries are
    other than before. ``compile_s`` is the worker's total so far. ``yardstick_us`` is
    what a fixed piece of work took just before (:mod:`experiments.yardstick`).
    """

    latency_us: NDArray[np.float64]
    ids: NDArray[np.int64]
    distances: NDArray[np.float32] | None
    batch_s: float
    batch_1_s: float
    cores: float
    compiled: int
    changed: bool
    compile_s: float
    yardstick_us: float


@dataclass(frozen=True)
class Offered:
    """Queries that came at their own times: from when each was due, and from its start.

    ``offered_qps`` is how many were due a second on average, ``achieved_qps`` how many
    were answered, up to the last answer.
    """

    offered_qps: float
    achieved_qps: float
    latency_us: NDArray[np.float64]
    service_us: NDArray[np.float64]


class Clock(Protocol):
    """How long and how often a compiler ran."""

    seconds: float
    count: int


class NoCompiler:
    """The clock of a library that does not compile at run time."""

    seconds = 0.0
    count = 0


class Bench:
    """One built index and its queries."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._clock = _compile_clock(job.adapter)
        self._index = job.adapter(job.metric, job.params, job.seed)
        self._Q = self._index.prepare(np.load(job.test))
        self._rows = [self._Q[i : i + 1] for i in range(len(self._Q))]
        self._checksum = self._sum_up()

    @cached_property
    def _yardstick(self) -> Yardstick:
        """Made after the build, so that its memory is not in the build's peak."""
        return Yardstick()

    def _sum_up(self) -> int:
        return zlib.crc32(np.ascontiguousarray(self._Q).data)

    def build(self) -> Built:
        """Warm the compiler up on a small index, then build the real one."""
        job = self._job
        X = self._index.prepare(np.asarray(np.load(job.train, mmap_mode="r")))
        if job.adapter.jit:
            self._rehearse(X[:SMALL])
        compiled_s = self._clock.seconds
        with _undisturbed(job.threads):
            start = perf_counter()
            self._index.add(X, job.threads)
            build_s = perf_counter() - start
        peak = peak_rss_bytes()
        compile_s = self._clock.seconds
        build_s -= compile_s - compiled_s
        return Built(
            build_s=build_s,
            compile_s=compile_s,
            index_bytes=self._index.nbytes,
            peak_rss_bytes=peak,
            version=levels.version(job.adapter),
            vector_level=levels.vector_level(self._index),
        )

    def _rehearse(self, X: NDArray[np.float32]) -> None:
        job = self._job
        index = job.adapter(job.metric, job.params.small(), job.seed)
        index.add(X, job.threads)
        for threads in {1, job.threads}:
            search = index.searcher(job.adapter.Search().small(), 10, threads)
            search(self._Q[:WARM_UP])
            search(self._rows[0])

    def measure(self, params: Params, seed: int) -> Sample:
        """Measure one search setting once.

        Parameters
        ----------
        params : the setting
        seed : for the order of the queries
        """
        k, threads = self._job.k, self._job.threads
        order = np.random.default_rng(seed).permutation(len(self._rows))
        search = self._index.searcher(params, k, 1)
        with _undisturbed(1):
            yardstick_us = self._yardstick.us()
            search(self._Q[:WARM_UP])
            for i in order[:WARM_UP]:
                search(self._rows[i])
            compiled = self._clock.count
            latency_us, answers, cores = _one_by_one(search, self._rows, order)
            batch_1_s = batch_s = _batch(search, self._Q)
            compiled = self._clock.count - compiled
        if threads > 1:
            search = self._index.searcher(params, k, threads)
            with _undisturbed(threads):
                search(self._Q[:WARM_UP])
                before = self._clock.count
                batch_s = _batch(search, self._Q)
                compiled += self._clock.count - before
        distances = [self._index.distances(answer) for answer in answers]
        given = [part for part in distances if part is not None]
        return Sample(
            latency_us=latency_us,
            ids=np.concatenate([self._index.ids(answer) for answer in answers]),
            distances=np.concatenate(given) if len(given) == len(answers) else None,
            batch_s=batch_s,
            batch_1_s=batch_1_s,
            cores=cores,
            compiled=compiled,
            changed=self._sum_up() != self._checksum,
            compile_s=self._clock.seconds,
            yardstick_us=yardstick_us,
        )

    def offer(
        self, params: Params, fraction: float, seconds: float, seed: int
    ) -> Offered:
        """Offer queries at random times to one thread, whether it keeps up or not.

        A user does not wait for others' answers before asking: latency counts from when
        a query was due, so that one slow answer is paid for by all that wait behind it
        (Tene's coordinated omission).

        Parameters
        ----------
        params : the setting
        fraction : of the rate that the very loop which offers them sustains, measured
            just before; queries arrive as a Poisson process
        seconds : for how long
        seed : of the times and of the order of the queries
        """
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self._rows))
        search = self._index.searcher(params, self._job.k, 1)
        with _undisturbed(1):
            for i in order[:WARM_UP]:
                search(self._rows[i])
            rate = fraction * _capacity(search, self._rows, order, CAPACITY * seconds)
            count = max(1, round(rate * seconds))
            due_ns = np.cumsum(rng.exponential(1e9 / rate, count)).astype(np.int64)
            order = np.resize(order, count)
            begun_ns, done_ns = _on_time(search, self._rows, order, due_ns)
        return Offered(
            offered_qps=rate,
            achieved_qps=count / (done_ns[-1] / 1e9),
            latency_us=(done_ns - due_ns) / 1e3,
            service_us=(done_ns - begun_ns) / 1e3,
        )

    def count(self, params: Params) -> NDArray[np.int64] | None:
        """Return each query's distance computations, where the library counts them."""
        return self._index.distance_computations(self._Q, params, self._job.k)


def clock_us() -> float:
    """Return the latency that this harness measures of a search that does nothing."""
    rows = [np.empty((1, 1), np.float32)] * 1000
    return float(np.median(_one_by_one(len, rows, np.arange(1000))[0]))


def peak_rss_bytes() -> int:
    """Return this process's peak resident memory so far.

    It holds everything: the interpreter, the libraries, the compiler, the mapped
    training vectors that were touched, and the index. On Linux it is VmHWM, since
    getrusage's maximum can be inherited from the parent process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _compile_clock(adapter: type[Adapter]) -> Clock:
    if not adapter.jit:
        return NoCompiler()
    from experiments.compilation import CompileClock

    return CompileClock()


def _one_by_one(
    search: Callable[[Any], Any],
    rows: list[NDArray[np.float32]],
    order: NDArray[np.int64],
) -> tuple[NDArray[np.float64], list[Any], float]:
    latency_ns = np.zeros(len(rows), np.int64)
    answers: list[Any] = [None] * len(rows)
    begin, begin_cpu = perf_counter(), process_time()
    for i in order.tolist():
        row = rows[i]
        start = perf_counter_ns()
        answer = search(row)
        stop = perf_counter_ns()
        latency_ns[i] = stop - start
        answers[i] = answer
    cores = (process_time() - begin_cpu) / (perf_counter() - begin)
    return latency_ns / 1e3, answers, cores


def _capacity(
    search: Callable[[Any], Any],
    rows: list[NDArray[np.float32]],
    order: NDArray[np.int64],
    seconds: float,
) -> float:
    """Return how many queries a second ``_on_time`` answers that are all due at once.

    This counts what the loop does besides, which is as much as the quickest searches:
    one over their mean latency is a rate that nothing sustains.
    """
    answered, spent_ns = 0, 0
    for some in cycle(np.array_split(order, -(-len(order) // WARM_UP))):
        _, done_ns = _on_time(search, rows, some, np.zeros(len(some), np.int64))
        answered += len(some)
        spent_ns += int(done_ns[-1])
        if spent_ns >= seconds * 1e9:
            break
    return answered * 1e9 / spent_ns


def _on_time(
    search: Callable[[Any], Any],
    rows: list[NDArray[np.float32]],
    order: NDArray[np.int64],
    due_ns: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Search when each query is due, or at once if that is past; return both clocks."""
    begun, done = np.zeros(len(order), np.int64), np.zeros(len(order), np.int64)
    start = perf_counter_ns()
    for j, (i, due) in enumerate(zip(order.tolist(), due_ns.tolist(), strict=True)):
        row = rows[i]
        while (now := perf_counter_ns() - start) < due:
            if due - now > LONG_WAIT_NS:  # sleeping is not exact to the microsecond
                sleep((due - now - LONG_WAIT_NS) / 1e9)
        search(row)
        begun[j], done[j] = now, perf_counter_ns() - start
    return begun, done


def _batch(search: Callable[[Any], Any], Q: NDArray[np.float32]) -> float:
    """Return the median seconds of a batch, repeated while that takes no time."""
    seconds: list[float] = []
    begin = perf_counter()
    while not seconds or perf_counter() - begin < LEAST_S:
        start = perf_counter()
        search(Q)
        seconds.append(perf_counter() - start)
    return float(np.median(seconds))


@contextmanager
def _undisturbed(threads: int) -> Iterator[None]:
    """Hold garbage collection back and every BLAS and OpenMP to so many threads."""
    gc.collect()
    gc.disable()
    try:
        with threadpool_limits(threads):
            yield
    finally:
        gc.enable()
