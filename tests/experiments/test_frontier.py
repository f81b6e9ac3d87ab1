import math

import pytest

from experiments.frontier import frontier, read_at

RECALL = [0.80, 0.90, 0.96, 0.99]
COST = [10.0, 20.0, 40.0, 160.0]


def test_between_settings_the_logarithm_is_linear():
    reading = read_at(0.93, RECALL, COST)
    assert (reading.below, reading.above) == (1, 2)
    assert reading.of(COST) == pytest.approx(math.sqrt(20 * 40))
    assert reading.of([1, 100, 1, 1]) == pytest.approx(10)
    assert reading.gap == pytest.approx(0.06)
    assert reading.mark == "~"


def test_a_setting_at_the_recall_is_its_own_reading():
    reading = read_at(0.96, RECALL, COST)
    assert reading.of(COST) == 40
    assert reading.mark == ""


def test_nothing_is_extrapolated():
    assert read_at(0.995, RECALL, COST) is None
    assert read_at(0.9, [], []) is None
    bound = read_at(0.7, RECALL, COST)
    assert bound.of(COST) == 10
    assert bound.mark == "≤"


def test_beaten_and_unmeasured_settings_are_left_out():
    recall = [0.90, 0.91, 0.92, 0.93]
    cost = [10.0, 50.0, math.nan, 20.0]
    reading = read_at(0.915, recall, cost)
    assert (reading.below, reading.above) == (0, 3)
    assert read_at(0.925, [0.92], [math.nan]) is None


def test_a_measure_that_is_missing_gives_no_value():
    reading = read_at(0.93, RECALL, COST)
    assert math.isnan(reading.of([1.0, math.nan, 1.0, 1.0]))


def test_rates_are_read_on_their_own_frontier():
    rates = [100.0, 50.0, 25.0, 5.0]
    reading = read_at(0.93, RECALL, [-rate for rate in rates])
    assert reading.of(rates) == pytest.approx(math.sqrt(50 * 25))


def test_of_equal_points_the_first_is_on_the_frontier():
    assert frontier([0.9, 0.9, 0.5], [1, 1, 2]) == [0]
