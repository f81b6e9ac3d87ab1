"""What p50, p95 and p99 are, and how sure they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from experiments import percentiles, statistics

LATENCIES = st.floats(1e-3, 1e9, width=64)
ROUNDS = st.tuples(st.integers(1, 6), st.integers(1, 500)).flatmap(
    lambda shape: arrays.arrays(np.float64, shape, elements=LATENCIES, fill=LATENCIES)
)


@settings(deadline=None)
@given(ROUNDS)
def test_a_point_lies_within_its_own_interval(latency_us):
    columns = percentiles.of_rounds(latency_us)
    for name in percentiles.NAMES:
        value, low, high = (columns[f"{name}_us{end}"] for end in ("", "_low", "_high"))
        enough = latency_us.shape[1] >= statistics.fewest(
            percentiles.PERCENTS[name.removeprefix(percentiles.MEDIAN)]
        )
        assert (value is not None) == (low is not None) == (high is not None) == enough
        if enough:
            assert low <= value <= high


@pytest.mark.parametrize("percent", [50, 95, 99])
def test_the_ends_enclose_the_percentile_at_every_size_and_number_of_rounds(percent):
    for nq in range(statistics.fewest(percent), 3000, 7):
        for rounds in (1, 2, 3, 5, 7):
            ranks = np.arange(float(nq * rounds))
            value, low, high = statistics.percentile(ranks, percent, nq)
            assert low <= value <= high


def test_percentiles_are_of_all_rounds_and_query_medians_of_queries():
    rng = np.random.default_rng(0)
    latency_us = rng.lognormal(3, 0.3, (3, 1000))
    latency_us[1, ::20] *= 20  # a round in which 1 query in 20 was disturbed
    columns = percentiles.of_rounds(latency_us)
    medians = np.median(latency_us, axis=0)
    for name, percent in percentiles.PERCENTS.items():
        assert columns[f"{name}_us"] == np.percentile(latency_us, percent)
        assert columns[f"query_median_{name}_us"] == np.percentile(medians, percent)
    assert columns["mean_us"] == pytest.approx(latency_us.mean())
    assert (latency_us > columns["p99_us"]).mean() == 0.01  # 1 query in 100
    assert columns["query_median_p99_us"] < columns["p99_us"] / 1.5


def test_rounds_of_the_same_queries_make_no_interval_narrower():
    once = np.random.default_rng(0).permutation(np.arange(1.0, 1001.0))
    one = percentiles.pooled(once[None], "p99")
    five = percentiles.pooled(np.tile(once, (5, 1)), "p99")
    assert one[1:] == five[1:] == (983, 997)
    assert five.value == pytest.approx(one.value, abs=1)
    assert percentiles.pooled(np.tile(once[:367], (99, 1)), "p99") is None


@pytest.mark.parametrize("percent", [50, 95, 99])
def test_intervals_cover_though_rounds_repeat_their_queries(percent):
    rng = np.random.default_rng(0)
    truth, covered = np.quantile(rng.lognormal(size=10**6), percent / 100), 0
    for _ in range(300):
        hard = rng.lognormal(size=600)
        rounds = hard * rng.normal(1, 1e-3, (5, 600))
        _, low, high = statistics.percentile(rounds.ravel(), percent, 600)
        covered += low <= truth <= high
    assert covered / 300 > 0.93


def test_what_is_too_little_is_said():
    assert percentiles.too_few(368) == ""
    assert percentiles.too_few(200) == "p99 needs 368 queries, 200 were asked."
    assert percentiles.too_few(40) == (
        "p95 needs 72 queries, p99 needs 368 queries, 40 were asked."
    )
    assert percentiles.too_few(40, ["p50"]) == ""


def test_side_by_side_stands_what_all_know():
    new = {"p50": 1.0, "query_median_p50": 1.0}
    old = {"query_median_p50": 1.0, "query_median_p99": 2.0, "p99": 3.0}
    few = {}  # its queries were too few for any
    assert percentiles.common("p50", [new, new, few]) == "p50"
    assert percentiles.common("p50", [new, old]) == "query_median_p50"
    assert percentiles.common("p99", [new, old]) == "p99"
    assert percentiles.remarks([1000], [new]) == []
    [told] = percentiles.remarks([1000], [new, old])
    assert told.endswith("keep no p50 of all single queries.")
    few, told = percentiles.remarks([1000, 40], [old], ["p50", "p99"])
    assert few == "p99 needs 368 queries, 40 were asked."


def test_names_say_what_they_are():
    assert percentiles.words("p99") == "p99"
    assert percentiles.meaning("p99") == "1 query in 100 is slower"
    assert percentiles.words("query_median_p95") == "query-median p95"
    assert percentiles.meaning("query_median_p95") == "1 in 20 is slower"
