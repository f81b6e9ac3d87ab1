import math

import numpy as np
import pytest

from experiments import statistics


@pytest.mark.parametrize(("percent", "least"), [(50, 6), (95, 72), (99, 368)])
def test_a_percentile_needs_a_sample_that_supports_it(percent, least):
    values = np.arange(5000.0)
    assert statistics.percentile(values[: least - 1], percent) is None
    assert statistics.percentile(values[:least], percent) is not None
    assert statistics.percentile(values[:0], percent) is None


def test_the_interval_of_p99_of_a_thousand():
    interval = statistics.percentile(np.arange(1.0, 1001.0), 99)
    assert interval.value == pytest.approx(990.01)
    assert (interval.low, interval.high) == (983, 997)


def test_a_sample_may_be_worth_fewer_values_than_it_has():
    once = np.arange(1.0, 1001.0)
    five = statistics.percentile(np.repeat(once, 5), 99, independent=1000)
    assert (five.low, five.high) == (983, 997)  # as of the thousand alone
    assert statistics.percentile(np.repeat(once, 5), 99).low > 983
    assert statistics.percentile(np.repeat(once[:367], 99), 99, 367) is None
    assert statistics.percentile(np.repeat(once[:368], 99), 99, 368) is not None


@pytest.mark.parametrize(("percent", "least"), [(50, 6), (95, 72), (99, 368)])
def test_the_fewest_values_are_known_without_trying(percent, least):
    assert statistics.fewest(percent) == least
    assert statistics.percentile(np.arange(float(least)), percent) is not None
    assert statistics.percentile(np.arange(float(least - 1)), percent) is None


@pytest.mark.parametrize("percent", [0, 100, -1])
def test_percentiles_lie_inside(percent):
    with pytest.raises(ValueError, match=r"in \(0, 100\), got"):
        statistics.percentile(np.arange(9.0), percent)


@pytest.mark.parametrize("percent", [50, 95, 99])
def test_intervals_of_percentiles_cover(percent):
    rng = np.random.default_rng(0)
    truth = -math.log(1 - percent / 100)
    covered = 0
    for _ in range(400):
        interval = statistics.percentile(rng.exponential(size=600), percent)
        covered += interval.low <= truth <= interval.high
    assert covered / 400 > 0.93


def test_intervals_of_means_cover():
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        recalls = rng.binomial(10, 0.9, size=200) / 10
        interval = statistics.mean(recalls, seed)
        covered += interval.low <= 0.9 <= interval.high
    assert covered / 200 > 0.91


def test_a_sample_without_variance_has_an_interval_without_width():
    assert statistics.mean(np.ones(50)) == pytest.approx((1, 1, 1))


def test_pairs_cancel_what_they_share():
    rng = np.random.default_rng(2)
    base = rng.lognormal(sigma=1, size=1000)
    slower = base * rng.normal(1.15, 0.02, size=1000)
    ratio = statistics.paired_ratio(base, slower)
    assert 1.13 < ratio.low <= ratio.value <= ratio.high < 1.17
    shuffled = statistics.paired_ratio(base, rng.permutation(slower))
    assert shuffled.high - shuffled.low > 3 * (ratio.high - ratio.low)
    difference = statistics.paired_difference(base, base + 0.5)
    assert difference == pytest.approx((0.5, 0.5, 0.5))


def test_pairs_must_be_pairs():
    with pytest.raises(ValueError, match="same queries, got 3, 4"):
        statistics.paired_ratio(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="got 0, 0"):
        statistics.paired_difference(np.ones(0), np.ones(0))


def test_a_median_sways_with_the_round_it_hangs_on():
    assert statistics.sway([10, 11, 12]) == pytest.approx(0.5 / 11)
    assert statistics.sway([8, 12]) == pytest.approx(2 / 10)
    assert math.isnan(statistics.sway([10]))


def test_one_disturbed_round_among_others_that_agree_is_not_noise():
    assert statistics.sway([10, 10.2, 10.1, 10.3, 40]) < 0.02
    assert statistics.sway([10, 10.2, 40, 41]) > statistics.NOISY


def test_the_tail_of_a_mean():
    recalls = np.array([0.0] * 2 + [0.4] * 4 + [0.9] * 14 + [1.0] * 80)
    tail = statistics.tail(recalls)
    assert tail == pytest.approx((0.94, 0.94, 0.8, 0.4, 2))
    nine_tenths = statistics.tail(np.array([0.1 + 0.2 + 0.6]))  # a little less than 0.9
    assert nine_tenths.share_90 == 1


def test_deciles_go_from_easy_to_hard():
    difficulty = np.array([np.nan, *range(100), np.inf])
    values = np.array([9.0, *(1 - np.arange(100) / 200), 9.0])
    deciles = statistics.by_decile(values, difficulty)
    assert len(deciles) == 10
    assert deciles[0] == pytest.approx((4.5, 1 - 4.5 / 200))
    assert deciles[-1] == pytest.approx((94.5, 1 - 94.5 / 200))
    assert statistics.by_decile(values[:9], difficulty[:9]) == []
