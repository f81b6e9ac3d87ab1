import os
import time

import fakes
import numpy as np
import pytest

from experiments.measure import Job
from experiments.worker import Worker, WorkerError, thread_environment


@pytest.fixture(name="start")
def _start(tmp_path):
    rng = np.random.default_rng(0)
    for name, n in (("train", 300), ("test", 40)):
        X = rng.standard_normal((n, 6)).astype(np.float32)
        np.save(tmp_path / f"{name}.npy", X)
    workers = []

    def start(
        adapter=fakes.Brute, timeout_s=None, threads=1, environment=None, **build
    ):
        job = Job(
            adapter=adapter,
            metric="l2",
            params=adapter.Build(**build),
            seed=0,
            train=tmp_path / "train.npy",
            test=tmp_path / "test.npy",
            k=10,
            threads=threads,
            environment=environment or {},
        )
        workers.append(Worker(job, tmp_path / "log", timeout_s))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


def alive(worker):
    return worker._process.is_alive()


def test_a_worker_builds_and_measures(start):
    worker = start(threads=2)
    built = worker.build()
    assert built.index_bytes == 300 * 6 * 4
    assert built.peak_rss_bytes > 10e6
    assert built.compile_s == 0
    sample = worker.measure(fakes.Brute.Search(), seed=1)
    assert sample.latency_us.shape == (40,)
    assert (sample.latency_us > 0).all()
    assert sample.ids.shape == (40, 10)
    assert sample.compiled == 0
    assert min(sample.batch_s, sample.batch_1_s) > 0
    assert worker.count(fakes.Brute.Search(share=0.5)).tolist() == [150] * 40


def test_answers_are_in_the_order_of_the_queries(start):
    worker = start()
    worker.build()
    first, second = (worker.measure(fakes.Brute.Search(), seed) for seed in (1, 2))
    np.testing.assert_array_equal(first.ids, second.ids)


def test_threads_are_set_before_any_library_loads(start):
    before = dict(os.environ)
    worker = start(adapter=fakes.Environment, threads=7)
    worker.build()
    assert thread_environment(7).items() <= worker.count(None).items()
    assert dict(os.environ) == before


def test_a_job_s_environment_is_its_process_s_alone(start, monkeypatch):
    monkeypatch.setenv("ANN_SIMD", "avx2")
    worker = start(fakes.Environment, environment={"ANN_WITHOUT": "x", "ANN_SIMD": ""})
    worker.build()
    seen = worker.count(None)
    assert (seen["ANN_WITHOUT"], seen["ANN_SIMD"]) == ("x", "")
    assert os.environ["ANN_SIMD"] == "avx2"
    assert "ANN_WITHOUT" not in os.environ


def test_an_exception_is_reported_in_one_line_and_the_worker_lives(start):
    worker = start(fault="raise")
    with pytest.raises(WorkerError, match=r"^RuntimeError: asked to fail$") as caught:
        worker.build()
    assert not caught.value.fatal
    assert "Traceback" in worker.log()
    assert alive(worker)


def test_a_death_is_reported_with_its_cause_and_last_words(start):
    worker = start()
    worker.build()
    with pytest.raises(WorkerError, match=r"SIGKILL\).*last words") as caught:
        worker.measure(fakes.Brute.Search(fault="die"), seed=0)
    assert caught.value.kind == "out of memory"
    with pytest.raises(WorkerError) as caught:
        worker.measure(fakes.Brute.Search(), seed=0)
    assert caught.value.fatal


def test_a_call_that_hangs_is_ended(start):
    worker = start(timeout_s=1, fault="hang")
    with pytest.raises(WorkerError, match="no answer within 1 s") as caught:
        worker.build()
    assert caught.value.kind == "timed out"
    assert not alive(worker)


def test_closing_ends_a_busy_worker(start):
    worker = start()
    worker.build()
    worker._pipe.send(("measure", fakes.Brute.Search(fault="hang"), 0))
    while "hanging" not in worker.log():
        assert alive(worker)
        time.sleep(0.01)
    worker.close()
    assert not alive(worker)
