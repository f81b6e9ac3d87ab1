import fakes
import numpy as np

from experiments import yardstick
from experiments.yardstick import Yardstick


def test_its_work_is_a_small_search():
    stick = Yardstick()
    stick.work()
    expected = stick._table[stick._rows] @ stick._query
    np.testing.assert_allclose(stick._scores, expected, rtol=1e-5)
    np.testing.assert_array_equal(stick._table, Yardstick()._table)


def test_it_is_the_median_of_what_the_work_takes(monkeypatch):
    stick, clock, calls = Yardstick(), fakes.Clock(), []
    clock.replace(monkeypatch, yardstick)

    def work():
        calls.append(0)
        clock.sleep(1.0 if len(calls) % 3 == 0 else 0.002)  # a third is disturbed

    monkeypatch.setattr(stick, "work", work)
    assert stick.us() == 2000 + clock.TICK_NS / 1e3
    assert len(calls) == yardstick.REPEATS
