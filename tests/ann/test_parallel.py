import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from ann import parallel
from tests.ann.process import python


@pytest.mark.parametrize("n", [0, 1, 7, 64, 1000])
@pytest.mark.parametrize("chunk", [1, 16, 5000])
@pytest.mark.parametrize("threads", [1, 2, 4, 100])
def test_every_number_is_handed_out_once(n, chunk, threads):
    counts = np.zeros(n, np.int64)
    starts = []

    def work(ranges):
        for a, b in ranges:
            assert 0 < b - a <= chunk
            starts.append(a)
            counts[a:b] += 1

    parallel.run(work, n, chunk, threads)
    assert (counts == 1).all()
    assert sorted(starts) == list(range(0, n, chunk))  # whatever the threads


def test_no_more_threads_than_asked_for_or_than_chunks():
    for n, threads, expected in [(40, 3, 3), (2, 4, 2), (40, 1, 1)]:
        workers, everybody = set(), threading.Barrier(expected, timeout=600)

        def work(ranges, workers=workers, everybody=everybody):
            workers.add(threading.get_ident())
            everybody.wait()
            list(ranges)

        parallel.run(work, n, 1, threads)
        assert len(workers) == expected
        assert threading.get_ident() in workers


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("threads", [1, 3])
def test_an_exception_ends_the_hand_out_and_is_raised(error, threads):
    done, all_here = [], threading.Barrier(threads, timeout=600)
    at_five = threading.Event()

    def work(ranges):
        all_here.wait()
        for a, _ in ranges:
            done.append(a)
            if a == 5:
                at_five.set()
                raise error("at five")
            if at_five.is_set():
                time.sleep(0.001)  # gives way to the thread that is about to raise

    with pytest.raises(error, match="at five"):
        parallel.run(work, 10**6, 1, threads)
    assert len(done) < 10**6
    parallel.run(lambda ranges: done.clear() or list(ranges), 4, 1, threads)  # usable


def test_an_exception_of_a_helper_is_raised_when_all_have_stopped():
    mine, running = threading.get_ident(), []
    helper_failed = threading.Event()

    def work(ranges):
        running.append(1)
        try:
            next(ranges)
            if threading.get_ident() != mine:
                helper_failed.set()
                raise ValueError("a helper's")
            assert helper_failed.wait(600)
        finally:
            running.pop()

    with pytest.raises(ValueError, match="a helper's"):
        parallel.run(work, 2, 1, 2)
    assert not running


def test_runs_nest():
    counts = np.zeros((40, 10), np.int64)

    def outer(ranges):
        for a, b in ranges:

            def inner(columns, a=a, b=b):
                for c, e in columns:
                    counts[a:b, c:e] += 1

            parallel.run(inner, 10, 1, 4)

    parallel.run(outer, 40, 1, 4)
    assert (counts == 1).all()


def test_many_threads_run_at_once():
    # More callers than the pool has threads, each wanting helpers: none waits for ever.
    def caller(seed):
        total = np.zeros(1000, np.int64)

        def work(ranges):
            for a, b in ranges:
                total[a:b] += seed

        parallel.run(work, 1000, 7, 8)
        return (total == seed).all()

    with ThreadPoolExecutor(48) as pool:
        assert all(pool.map(caller, range(200)))


# --- BLAS -----------------------------------------------------------------------------


def blas_threads():
    libraries = ThreadpoolController().select(user_api="blas").info()
    return [library["num_threads"] for library in libraries]


def test_serial_blas_holds_and_restores_the_limit():
    before = blas_threads()
    with parallel.serial_blas():
        assert set(blas_threads()) == {1}
        with parallel.serial_blas():
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_serial_blas_restores_the_limit_after_an_exception():
    before = blas_threads()
    with pytest.raises(KeyError), parallel.serial_blas():
        raise KeyError
    assert blas_threads() == before


def test_serial_blas_ends_with_its_last_user():
    before = blas_threads()
    first_in, second_in, first_out = (threading.Event() for _ in range(3))
    seen = []

    def first():
        with parallel.serial_blas():
            first_in.set()
            second_in.wait(600)
        first_out.set()

    def second():
        first_in.wait(600)
        with parallel.serial_blas():
            second_in.set()
            first_out.wait(600)
            seen.extend(blas_threads())
            np.ones((50, 50)) @ np.ones((50, 50))

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(first), pool.submit(second)]:
            future.result()
    assert set(seen) == {1}
    assert blas_threads() == before


FORK = """
import os, threading
import numpy as np
import ann
from ann import parallel

X = np.random.default_rng(0).standard_normal((500, 8)).astype(np.float32)
index = ann.Flat().add(X)
expected = index.search(X, k=3, threads=4)

def meet(ranges):
    both.wait()
    list(ranges)

child = os.fork()
if child == 0:
    both = threading.Barrier(2, timeout=600)
    parallel.run(meet, 2, 1, 2)  # two threads, or the barrier breaks
    got = index.search(X, k=3, threads=4)
    os._exit(0 if all(map(np.array_equal, got, expected)) else 1)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_child_has_threads_of_its_own():
    assert python(FORK) == "0"
