import csv
import types

import fakes
import numpy as np
import pytest
from test_measure import _bench, _clock  # noqa: F401
from test_runner import SHARES, _measure  # noqa: F401

from experiments import under_load
from experiments.config import Load
from experiments.peers import dummy


@pytest.fixture(name="built")
def _built(bench, clock):
    def built(adapter):
        made = bench(adapter)
        made.build()
        return made

    return built


def test_a_slow_answer_is_paid_for_by_those_behind_it(built):
    bench = built(fakes.Pauses)
    offered = bench.offer(fakes.Pauses.Search(every=20, ms=50), 0.5, 1.0, 0)
    assert len(offered.latency_us) == pytest.approx(200, rel=0.2)
    slow = offered.service_us > 40_000
    assert 5 <= slow.sum() <= 15
    behind = (offered.latency_us > 10_000) & ~slow
    assert behind.sum() > 2 * slow.sum()  # ten arrive during each pause
    assert np.median(offered.service_us) < 5_000


def test_latency_is_service_where_nobody_waits(built):
    bench = built(fakes.Pauses)
    offered = bench.offer(fakes.Pauses.Search(every=1, ms=1), 0.05, 0.9, 1)
    waited = offered.latency_us - offered.service_us
    assert (waited > -1).all()
    assert np.median(waited) < 500
    assert offered.achieved_qps == pytest.approx(offered.offered_qps, rel=0.6)


def test_more_than_can_be_served_piles_up(built):
    bench = built(fakes.Pauses)
    offered = bench.offer(fakes.Pauses.Search(every=1, ms=10), 2, 0.5, 0)
    assert 150 < offered.offered_qps < 205
    assert offered.achieved_qps < 110
    first, last = offered.latency_us[:20].mean(), offered.latency_us[-20:].mean()
    assert last > 5 * first


def test_the_unit_is_what_the_loop_sustains_however_quick_the_search(built):
    bench = built(dummy.Nothing)
    quickest = 1e6 / bench.measure(dummy.Nothing.Search(), 0).latency_us.min()
    offered = bench.offer(dummy.Nothing.Search(), 0.7, 0.03, 0)
    assert offered.achieved_qps == pytest.approx(offered.offered_qps, rel=0.05)
    assert offered.offered_qps < 0.7 * quickest


def record(build, recall, mean_us, failure=None):
    return types.SimpleNamespace(
        build=types.SimpleNamespace(build_id=build),
        recall_at_10=recall,
        latency_us=np.full(9, mean_us),
        failure=failure,
        samples=[0],
    )


def test_the_quickest_setting_that_reaches_the_recall_is_chosen():
    records = [
        record("a", 0.90, 10.0),
        record("a", 0.99, 30.0),
        record("a", 0.96, 20.0),
        record("b", 0.94, 10.0),
        record("c", 0.97, 10.0, "refused: …"),
        record("d", 0.95, 15.0),
    ]
    chosen = under_load.chosen(records, Load(recall=0.95))
    assert chosen == [records[2], records[5]]


def test_a_run_writes_what_each_load_did(measure):
    table = {"recall": 0.9, "fractions": [0.2, 0.6], "seconds": 0.3}
    got = measure([SHARES, {"label": "other", "build": {"M": 5}}], load=table)
    with (got.out / "load.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert sorted((line["label"], line["fraction"]) for line in lines) == [
        ("fakes Brute", "0.2"), ("fakes Brute", "0.6"),
        ("other", "0.2"), ("other", "0.6"),
    ]  # fmt: skip
    for line in lines:
        assert float(line["recall_at_10"]) == 1
        assert float(line["p50_us"]) >= float(line["service_p50_us"])
        assert float(line["offered_qps"]) > 0
