import numpy as np
import pytest

from experiments.yardstick import Yardstick


def test_its_work_is_a_small_search():
    stick = Yardstick()
    stick.work()
    expected = stick._table[stick._rows] @ stick._query
    np.testing.assert_allclose(stick._scores, expected, rtol=1e-5)
    np.testing.assert_array_equal(stick._table, Yardstick()._table)


def test_it_takes_longer_where_the_same_work_does(monkeypatch):
    stick = Yardstick()
    once, work = stick.us(), stick.work
    monkeypatch.setattr(stick, "work", lambda: [work() for _ in range(4)])
    assert stick.us() == pytest.approx(4 * once, rel=0.5)
