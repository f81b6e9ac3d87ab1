import fakes
import numpy as np
import pytest

from experiments import compilation, measure, yardstick
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


@pytest.fixture(name="clock")
def _clock(monkeypatch):
    clock = fakes.Clock()
    clock.replace(monkeypatch, measure, yardstick, compilation)
    monkeypatch.setattr(measure, "LEAST_S", 1e-5)
    return clock


TICK_US, TICK_S = fakes.Clock.TICK_NS / 1e3, fakes.Clock.TICK_NS / 1e9


def test_latency_is_that_of_each_query_in_its_place(bench, clock):
    milliseconds = np.random.default_rng(1).permutation(10) * 4 + 2
    bench = bench(fakes.Sleeper, Q=milliseconds.astype(np.float32)[:, None])
    bench.build()
    sample = bench.measure(fakes.Sleeper.Search(), seed=3)
    np.testing.assert_allclose(sample.latency_us, milliseconds * 1000 + TICK_US)
    assert sample.batch_s == pytest.approx(milliseconds.sum() / 1000 + TICK_S)
    assert sample.cores < 0.01  # asleep


def test_the_yardstick_comes_after_the_build_and_beside_the_sample(bench, clock):
    bench = bench(fakes.Brute)
    bench.build()
    assert "_yardstick" not in vars(bench)  # nor is its memory in the build's peak
    assert bench.measure(fakes.Brute.Search(), seed=0).yardstick_us == TICK_US


def test_a_build_says_which_library_it_is_of(bench, monkeypatch):
    monkeypatch.setattr(fakes.Brute, "package", "numpy")
    monkeypatch.setattr(fakes.Brute, "vector_level", lambda index: "avx2")
    built = bench(fakes.Brute).build()
    assert (built.version, built.vector_level) == (np.__version__, "avx2")


@pytest.mark.parametrize("cores", [1, 2])
def test_a_second_busy_core_shows(bench, clock, cores):
    clock.cores = cores
    bench = bench(fakes.Brute)
    bench.build()
    sample = bench.measure(fakes.Brute.Search(), seed=0)
    assert sample.cores == pytest.approx(cores, rel=0.1)


def test_compilation_is_apart_from_the_build(bench, clock):
    bench = bench(fakes.Compiled)
    built = bench.build()
    sample = bench.measure(fakes.Compiled.Search(), seed=0)
    # A tick each: the rehearsal's build and search, and the build.
    assert built.compile_s == pytest.approx(3 * TICK_S)
    assert built.build_s == pytest.approx(2 * TICK_S)  # before and after compilation
    assert sample.compiled == 0
    assert sample.compile_s == pytest.approx(4 * TICK_S)


def test_compilation_while_the_clock_runs_is_counted(bench, clock):
    bench = bench(fakes.Compiled)
    bench.build()
    assert bench.measure(fakes.Compiled.Search(eager=True), seed=0).compiled >= 11


def test_a_slow_first_call_is_no_part_of_the_times(bench, clock):
    bench = bench(fakes.SlowStart, threads=2)
    bench.build()
    sample = bench.measure(fakes.SlowStart.Search(), seed=0)
    assert sample.latency_us.max() == TICK_US
    assert max(sample.batch_s, sample.batch_1_s) == pytest.approx(TICK_S)


@pytest.mark.parametrize(("least_s", "times"), [(0.05, 5), (0.005, 1)])
def test_short_batches_are_repeated(clock, monkeypatch, least_s, times):
    calls = []
    monkeypatch.setattr(measure, "LEAST_S", least_s)
    seconds = measure._batch(lambda Q: calls.append(clock.sleep(0.01)), None)
    assert len(calls) == times
    assert seconds == pytest.approx(0.01 + TICK_S)


def test_what_the_clock_itself_costs_is_one_look_at_it(clock):
    assert clock_us() == TICK_US


def test_peak_memory_is_of_this_process():
    block = np.ones(30_000_000, np.uint8)
    assert peak_rss_bytes() > block.nbytes
