"""Work shared among threads: kernels release the GIL, Python hands out the chunks.

A chunk writes only its own rows and its limits do not depend on the number of threads,
so neither does any result.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

_SHARES, _MOST = 4, 256  # chunks that each thread has at least; queries of one

Ranges = Iterator[tuple[int, int]]


def available() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Chunks:
    """An iterator over ``range(0, n)`` in chunks that several threads may share."""

    def __init__(self, n: int, size: int) -> None:
        self._n, self._size, self._next = n, size, 0
        self._lock = threading.Lock()

    def __iter__(self) -> Ranges:
        while True:
            with self._lock:
                start = self._next
                self._next = min(self._n, start + self._size)
                stop = self._next
            if start >= stop:
                return
            yield start, stop

    def end(self) -> None:
        with self._lock:
            self._next = self._n


_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def _forget_threads() -> None:
    """Start anew in a forked child: it inherits the objects but not their threads."""
    global _pool, _pool_lock, _blas
    _pool, _pool_lock, _blas = None, threading.Lock(), _SerialBlas()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def _submit(work: Callable[[], None]) -> Any:
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(32, available()), "ann")
        return _pool.submit(work)


def chunk(n: int, least: int, threads: int) -> int:
    """Return how many queries a thread is handed at a time: at least so many.

    A call of a search kernel takes 5 to 10 us, for it looks at the type of each array:
    of 16 queries on a quantized graph that was 6 % of the time.
    """
    return max(least, min(_MOST, n // (_SHARES * threads)))


def run(work: Callable[[Ranges], None], n: int, chunk: int, threads: int) -> None:
    """Call ``work(ranges)`` in up to ``threads`` threads, the caller's among them.

    Each call takes ``(start, stop)`` pairs from its iterator until none is left;
    together they cover ``range(n)`` once. An exception, Ctrl-C included, ends the
    hand-out and is raised here when all threads have stopped.
    """
    helpers = min(threads, -(-n // chunk)) - 1
    if helpers <= 0:
        work(iter([(a, min(n, a + chunk)) for a in range(0, n, chunk)]))
        return
    chunks = _Chunks(n, chunk)

    def guarded() -> None:
        try:
            work(iter(chunks))
        except BaseException:
            chunks.end()
            raise

    others = [_submit(guarded) for _ in range(helpers)]
    try:
        guarded()
    finally:
        for future in others:
            if not future.cancel():
                future.exception()
    for future in others:
        if not future.cancelled():
            future.result()


class _SerialBlas:
    """Counts who wants BLAS held to one thread; the limit is the whole process's."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._users = 0
        self._limits: list[tuple[Callable[..., Any], Any]] = []
        # threadpoolctl lets only the thread that set OpenBLAS's limit change or lift
        # it: a thread of ours then, unless the caller's has set one.
        self._setter = ThreadPoolExecutor(1, "ann-blas")

    def enter(self) -> None:
        with self.lock:
            if self._users == 0:
                self._limits = [(self._ours, self._ours(_limit_blas))]
                if not _blas_is_serial():
                    self._limits.append((_here, _limit_blas()))
            self._users += 1

    def leave(self) -> None:
        with self.lock:
            self._users -= 1
            if self._users == 0:
                for where, limit in self._limits:
                    where(limit.restore_original_limits)

    def _ours(self, call: Callable[[], Any]) -> Any:
        return self._setter.submit(call).result()


def _here(call: Callable[[], Any]) -> Any:
    return call()


def _limit_blas() -> Any:
    from threadpoolctl import threadpool_limits  # 20 ms, and only batches need it

    return threadpool_limits(limits=1, user_api="blas")


def _blas_is_serial() -> bool:
    from threadpoolctl import threadpool_info

    blas = (pool for pool in threadpool_info() if pool["user_api"] == "blas")
    return all(pool["num_threads"] == 1 for pool in blas)


_blas = _SerialBlas()


@contextmanager
def serial_blas() -> Iterator[None]:
    """Hold BLAS to one thread: ours are the parallel ones, and blocks stay the same.

    The limit begins with the first user and ends with the last, whichever threads they
    are in.
    """
    held = _blas
    held.enter()
    try:
        yield
    finally:
        held.leave()
