import time

import fakes
import numpy as np
import pytest

from experiments import measure
from experiments.measure import Bench, Job, clock_us, peak_rss_bytes


@pytest.fixture(name="bench")
def _bench(tmp_path):
    def bench(adapter, threads=1, Q=None):
        X = np.random.default_rng(0).standard_normal((300, 6)).astype(np.float32)
        np.save(tmp_path / "train.npy", X)
        np.save(tmp_path / "test.npy", X[:10] if Q is None else Q)
        files = tmp_path / "train.npy", tmp_path / "test.npy"
        return Bench(Job(adapter, "l2", adapter.Build(), 0, *files, 10, threads))

    return bench


def test_latency_is_that_of_each_query_in_its_place(bench):
    milliseconds = np.random.default_rng(1).permutation(10) * 4 + 2
    bench = bench(fakes.Sleeper, Q=milliseconds.astype(np.float32)[:, None])
    bench.build()
    sample = bench.measure(fakes.Sleeper.Search(), seed=3)
    assert (sample.latency_us > milliseconds * 1000).all()
    slow, quick = milliseconds > 21, milliseconds < 19
    assert sample.latency_us[slow].mean() > 2 * sample.latency_us[quick].mean()
    assert sample.batch_s > milliseconds.sum() / 1000
    assert sample.cores < 0.5  # asleep


def test_the_yardstick_comes_after_the_build_and_beside_the_sample(bench):
    bench = bench(fakes.Brute)
    bench.build()
    assert "_yardstick" not in vars(bench)  # nor is its memory in the build's peak
    assert bench.measure(fakes.Brute.Search(), seed=0).yardstick_us > 1


def test_a_second_busy_core_shows(bench, monkeypatch):
    monkeypatch.setattr(measure, "process_time", lambda: 2 * time.perf_counter())
    bench = bench(fakes.Brute)
    bench.build()
    assert bench.measure(fakes.Brute.Search(), seed=0).cores == pytest.approx(
        2, abs=0.1
    )


def test_compilation_is_apart_from_the_build(bench):
    bench = bench(fakes.Compiled)
    built = bench.build()
    sample = bench.measure(fakes.Compiled.Search(), seed=0)
    assert built.compile_s > 0.01
    assert built.build_s < built.compile_s / 2
    assert sample.compiled == 0
    assert sample.compile_s > built.compile_s


def test_compilation_while_the_clock_runs_is_counted(bench):
    bench = bench(fakes.Compiled)
    bench.build()
    assert bench.measure(fakes.Compiled.Search(eager=True), seed=0).compiled >= 11


def test_a_slow_first_call_is_no_part_of_the_times(bench):
    bench = bench(fakes.SlowStart, threads=2)
    bench.build()
    sample = bench.measure(fakes.SlowStart.Search(), seed=0)
    assert sample.latency_us.max() < 200_000
    assert max(sample.batch_s, sample.batch_1_s) < 0.2


def test_short_batches_are_repeated(monkeypatch):
    calls = []
    monkeypatch.setattr(measure, "LEAST_S", 0.05)
    seconds = measure._batch(lambda Q: calls.append(time.sleep(0.01)), None)
    assert 2 <= len(calls) <= 5
    assert seconds > 0.01


def test_the_clock_itself_costs_next_to_nothing():
    assert 0 < clock_us() < 20


def test_peak_memory_is_of_this_process():
    block = np.ones(30_000_000, np.uint8)
    assert peak_rss_bytes() > block.nbytes
