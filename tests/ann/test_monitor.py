"""A monitor: what it notices, what it leaves alone, and what it costs."""

import json
import logging
import math
import os
import re
import sys
import threading
import time
import urllib.error
import urllib.request
from itertools import pairwise

import numpy as np
import pytest

import ann
from ann import truth
from ann.monitor import Ledger, Settings, evidence, exposition, opened, watcher
from ann.monitor.following import LEARNT, Stream
from tests.ann import reference
from tests.ann.data import clustered, gaussian
from tests.ann.process import ROOT

D, N = 24, 2000
OFFSET = 30 * np.abs(gaussian(1, D, seed=9)[0])  # what encoders have in common


def unit(X):
    return reference.unit(X).astype(np.float32)


def contents(n, seed):
    """Meanings: near those that the index holds."""
    rng, base = np.random.default_rng(seed), clustered(N, D, seed=1)
    noise = 0.2 * rng.standard_normal((n, D))
    return (base[rng.integers(N, size=n)] + noise).astype(np.float32)


def encoded(meanings):
    return unit(meanings)


def encoded_without_normalisation(meanings, seed=0):
    """The same, with a step left out: the offset stays in, and the length."""
    length = np.random.default_rng(seed).uniform(40, 80, (len(meanings), 1))
    return (length * unit(meanings + OFFSET / 10)).astype(np.float32)


@pytest.fixture(scope="module")
def index():
    X = encoded(clustered(N, D, seed=1))
    return ann.HNSW("ip", M=12, ef_construction=80, norm_check="off").add(X)


@pytest.fixture
def graph():
    """A graph that a test may damage."""
    X = clustered(N, D, seed=1)
    return ann.HNSW("cosine", M=12, ef_construction=80).add(X)


def one_by_one(monitor, Q, **effort):
    for q in Q:
        monitor.search(q, **effort)
    return monitor.flush()


@pytest.fixture
def by_hand(monkeypatch):
    """Leave all work to ``flush``: no thread looks at a part of the calls before."""
    monkeypatch.setattr(watcher.Watcher, "_wake", lambda self: None)


def codes(monitor):
    return [(alert.code, alert.cause) for alert in monitor.alerts]


# --- the incident ---------------------------------------------------------------------


def test_the_incident_is_silent_without_a_monitor_and_named_by_one(index, by_hand):
    before, after = contents(1500, seed=2), contents(1000, seed=3)
    right = index.exact(encoded(after))[0]
    wrong = encoded_without_normalisation(after)
    assert reference.recall(index.search(encoded(after))[0], right) > 0.95
    assert reference.recall(index.search(wrong)[0], right) < 0.5  # and no error

    monitor = ann.Monitor(index, share=0.01, seed=0)
    one_by_one(monitor, encoded(before))
    assert monitor.alerts == ()
    one_by_one(monitor, wrong)
    first = monitor.alerts[0]
    assert (first.code, first.cause) == ("norms", "queries")
    assert 0 < first.query - len(before) <= 300  # of the 1,000 that it may take
    assert first.baseline == pytest.approx(1)
    assert 40 < first.value < 80
    assert "must stay within 5% of their mean 1, got" in first.sentence
    assert "normalises them may be missing" in first.sentence
    assert ("recall", "index") not in codes(monitor)
    assert monitor.report().standing[0] == "norms"
    monitor.close()


def test_no_false_alarm_in_100_000_clean_queries(index, by_hand):
    monitor = ann.Monitor(index, share=0.01, k=10, queue=2000, seed=1)
    for seed in range(20):
        monitor.search(encoded(contents(5000, seed=100 + seed)))
    report = monitor.flush().report()
    monitor.close()
    assert report.queries == 100_000
    assert report.checked + report.counts["dropped"] == report.counts["sampled"]
    assert report.checked > 900
    assert not math.isnan(report.baseline)
    assert report.low <= report.recall <= report.high
    assert monitor.alerts == ()


# --- whose fault ----------------------------------------------------------------------


def test_a_damaged_index_is_told_from_queries_out_of_distribution(graph, by_hand):
    monitor = ann.Monitor(graph, share=0.05, seed=0)
    monitor.learn(contents(600, seed=4), ef_search=20)
    one_by_one(monitor, contents(500, seed=5), ef_search=20)
    assert monitor.alerts == ()
    assert graph.check().ok
    graph._held.graph.base[:, 2:] = -1
    one_by_one(monitor, contents(1000, seed=6), ef_search=20)
    monitor.close()
    assert ("recall", "index") in codes(monitor)
    assert {cause for _, cause in codes(monitor)} == {"index"}
    fall = next(alert for alert in monitor.alerts if alert.code == "recall")
    assert fall.value <= fall.baseline - 0.03
    assert "call index.check()" in fall.sentence
    assert not graph.check().ok


def test_queries_out_of_distribution_are_told_from_a_damaged_index(graph, by_hand):
    monitor = ann.Monitor(graph, share=0.05, seed=0)
    strangers = gaussian(1000, D, seed=7)  # of no cluster, and as long as the others
    length = np.linalg.norm(contents(1000, seed=4), axis=1, keepdims=True)
    monitor.learn(contents(600, seed=4))
    one_by_one(monitor, contents(500, seed=5))
    one_by_one(monitor, (length * unit(strangers)).astype(np.float32))
    monitor.close()
    first = monitor.alerts[0]
    assert (first.code, first.cause) == ("scores", "queries")
    assert first.value < first.baseline - 0.05
    assert "the index does not miss better ones" in first.sentence
    assert "index" not in {cause for _, cause in codes(monitor)}


def test_an_unknown_cause_is_said_to_be_unknown():
    ledger = Ledger(Settings("cosine"))
    rng = np.random.default_rng(0)
    follow(ledger, rng, 2000, mean=0.8)
    follow(ledger, rng, 4000, mean=0.6)
    assert list(ledger.alerts) == []
    assert ledger.report().standing == ()
    follow(ledger, rng, 2000, mean=0.6)
    [alert] = ledger.alerts
    assert (alert.code, alert.cause) == ("scores", "unknown")
    assert ledger.report().standing == ("scores",)


def test_less_effort_is_a_fall_of_recall(index, by_hand):
    monitor = ann.Monitor(index, share=0.2, drop=0.01, baseline=1.0, seed=0)
    Q = encoded(contents(1000, seed=8))
    one_by_one(monitor, Q, ef_search=64)
    assert monitor.alerts == ()
    found = reference.recall(index.search(Q, ef_search=10)[0], index.exact(Q)[0])
    assert found < 0.98
    one_by_one(monitor, Q, ef_search=10)
    monitor.close()
    assert codes(monitor) == [("recall", "index")]


# --- figures, without an index --------------------------------------------------------


def follow(ledger, rng, n, mean=0.8, size=1.0, spread=0.05):
    """Hand over norms and scores of ``n`` queries; return the new alerts."""
    norms = size * rng.lognormal(0, 0.2, n)
    return ledger.follow(norms, rng.normal(mean, spread, n))


def judge(ledger, rng, n, recall, gap=0.0):
    alerts = []
    for value in rng.binomial(10, recall, n) / 10:
        alerts += ledger.judge(value, gap, ledger.queries)
    return alerts


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2", "l1"])
def test_clean_figures_raise_nothing_whatever_they_are(metric):
    ledger, rng = Ledger(Settings(metric)), np.random.default_rng(1)
    size = {"cosine": 1.0, "ip": -70.0}.get(metric, 1e-3)
    for _ in range(40):
        norms = rng.choice([3.0, 3.1, 90.0], 1000) * (1 + 1e-7 * rng.random(1000))
        scores = size * rng.beta(5, 2, 1000)
        assert ledger.follow(norms, scores) == []
        assert judge(ledger, rng, 10, 0.93) == []


@pytest.mark.parametrize(
    ("metric", "before", "after"),
    [("cosine", 0.8, 0.74), ("cosine", 0.5, 0.56), ("l2", 0.01, 0.011), ("ip", -9, -8)],
)
def test_scores_that_move_by_more_than_allowed_are_noticed(metric, before, after):
    ledger, rng = Ledger(Settings(metric)), np.random.default_rng(2)
    spread = 0.05 * (1 if metric == "cosine" else abs(before))
    follow(ledger, rng, 3000, before, spread=spread)
    assert judge(ledger, rng, 4, 0.95) == []
    for _ in range(40):  # 4 % of the queries are checked
        follow(ledger, rng, 50, after, spread=spread)
        judge(ledger, rng, 2, 0.95)
    [alert] = ledger.alerts
    assert (alert.code, alert.cause) == ("scores", "queries")
    assert alert.baseline == pytest.approx(before, rel=0.02)
    assert alert.value == pytest.approx(after, rel=0.02)


def test_scores_that_move_by_less_are_left_alone():
    ledger, rng = Ledger(Settings("cosine")), np.random.default_rng(3)
    follow(ledger, rng, 3000, 0.8)
    for _ in range(50):
        follow(ledger, rng, 1000, 0.78)
        judge(ledger, rng, 10, 0.95)
    assert list(ledger.alerts) == []


def test_what_the_index_misses_makes_a_change_of_scores_its_fault():
    ledger, rng = Ledger(Settings("cosine")), np.random.default_rng(4)
    follow(ledger, rng, 3000, 0.8)
    follow(ledger, rng, 200, 0.6)
    assert list(ledger.alerts) == []  # until a few were checked
    judge(ledger, rng, 2, 0.95, gap=0.2)
    assert list(ledger.alerts) == []
    [alert] = judge(ledger, rng, 1, 0.95, gap=0.2)
    assert (alert.code, alert.cause) == ("scores", "index")
    assert "call index.check()" in alert.sentence


def test_an_alert_is_raised_once_and_again_after_things_were_well():
    ledger, rng = Ledger(Settings("ip")), np.random.default_rng(5)
    follow(ledger, rng, 1000)
    raised = [
        [a.code for a in follow(ledger, rng, 2000, size=size)]
        for size in (1, 60, 60, 1, 1, 1, 60)
    ]
    assert raised == [[], ["norms"], [], [], [], [], ["norms"]]
    assert ledger.raised == {"norms": 2, "scores": 0, "recall": 0}


def test_a_fall_of_recall_takes_few_checked_queries():
    ledger, rng = Ledger(Settings("l2")), np.random.default_rng(6)
    assert judge(ledger, rng, 1000, 0.89) == []
    checked = 0
    while not judge(ledger, rng, 1, 0.12):
        checked += 1
    assert checked < 12  # at 1 %, about 1,000 queries
    alert = ledger.alerts[-1]
    assert alert.value < 0.5
    assert alert.baseline == pytest.approx(0.89, abs=0.02)
    assert alert.limit == 0.03


def test_a_small_fall_of_recall_takes_more():
    ledger, rng = Ledger(Settings("l2", baseline=0.95)), np.random.default_rng(7)
    assert judge(ledger, rng, 2000, 0.95) == []
    assert judge(ledger, rng, 2000, 0.94) == []  # less than three points
    assert [a.code for a in judge(ledger, rng, 1000, 0.90)] == ["recall"]


def test_a_detector_is_a_cusum_of_the_capital_of_bets():
    rng = np.random.default_rng(8)
    values, told = rng.random(300), rng.standard_normal(300)
    detector = evidence.Detector(0.55, 1e9)
    ends = [0, 1, 40, 41, 160, 300]
    for a, b in pairwise(ends):
        assert detector.take(values[a:b], told[a:b]) is None
        saved = detector.saved()
        for i, share in enumerate([0.05, 0.15, 0.35, 0.6, 0.9]):
            capital, segment = 0.0, []
            for value, x in zip(values[:b], told[:b], strict=True):
                if capital <= 0:
                    capital, segment = 0.0, []
                capital += math.log(1 + share / 0.55 * (value - 0.55))
                segment.append(x)
            assert saved["capital"][i] == pytest.approx(capital, abs=1e-9)
            assert saved["counts"][i] == len(segment)
            assert saved["sums"][i] == pytest.approx(sum(segment), abs=1e-9)


def test_a_detector_goes_on_where_it_was_saved():
    rng = np.random.default_rng(12)
    values = 0.4 + 0.6 * rng.random(400)
    whole, alarms = evidence.Detector(0.6, 1e5), []
    for a in range(0, 400, 20):
        after = evidence.Detector(0.6, 1e5)
        after.restore(json.loads(json.dumps(whole.saved())))
        piece = values[a : a + 20]
        alarms.append(whole.take(piece, piece))
        assert after.take(piece, piece) == alarms[-1]
        assert after.evidence == whole.evidence
    assert any(alarms)


@pytest.mark.parametrize(("draw", "least"), [("random", 0), ("coin", 1)])
def test_false_alarms_are_as_rare_as_promised(draw, least):
    rng, null, length = np.random.default_rng(9), 0.5, 500.0
    detector, n, alarms = evidence.Detector(null, length), 50_000, 0
    values = rng.random(n) if draw == "random" else 1.0 * (rng.random(n) < 0.5)
    for a in range(0, n, 5):
        alarms += detector.take(values[a : a + 5], values[a : a + 5]) is not None
    assert least <= alarms <= n / length


def test_an_interval_of_recall_holds_the_mean_as_often_as_it_says():
    rng, held = np.random.default_rng(10), 0
    shares = np.array([0.0, 0.9, 1.0])
    for _ in range(500):
        values = rng.choice(shares, 1000, p=[0.02, 0.2, 0.78])
        low, high = evidence.wilson(values, 10, 1.96)
        held += low <= 0.96 <= high
    assert 0.92 <= held / 500 <= 0.99
    assert evidence.wilson(np.ones(100), 10, 1.96)[0] < 0.97  # not certain
    coin = np.repeat([0.0, 1.0], 50)
    low, high = evidence.wilson(coin, 1, 1.96)  # the textbook's
    assert (low, high) == pytest.approx((0.4038, 0.5962), abs=1e-4)


# --- an answer beside the truth -------------------------------------------------------


def test_recall_counts_what_is_as_near_whatever_its_id():
    true_ids, true = np.array([[1, 2, 3]]), np.array([[0.1, 0.2, 0.3]], "f4")
    asked = np.array([[1, 7, 9]]), np.array([[0.1, 0.3, 0.4]], "f4")
    assert truth.recalls(*asked, true_ids, true, 0.0) == pytest.approx(2 / 3)
    assert truth.recalls(*asked, true_ids, None, 0.0) == pytest.approx(1 / 3)


def test_recall_is_of_the_neighbours_that_there_are():
    inf = np.inf
    true_ids, true = np.array([[4, -1], [-1, -1]]), np.array([[1, inf], [inf, inf]])
    shares = truth.recalls(true_ids, true, true_ids, true, 0.0)
    assert shares[0] == 1
    assert np.isnan(shares[1])
    nothing = np.array([[-1, -1]]), np.array([[inf, inf]])
    assert truth.recalls(*nothing, true_ids[:1], true[:1], 0.0) == 0
    assert truth.gaps(nothing[1], true[:1]).tolist() == [0]
    assert truth.gaps(true[1:], true[1:]).tolist() == [0]
    assert truth.gaps(np.array([[3.0]]), np.array([[1.0]])).tolist() == [2]


def test_a_truth_of_ones_own_sees_what_codes_have_lost(graph):
    X = clustered(N, D, seed=1)
    rough = ann.Flat("cosine", codec=ann.SQ(4)).add(X)
    Q, reports = contents(200, seed=11), []
    for given in (None, ann.Flat("cosine").add(X).exact):
        with ann.Monitor(rough, share=1.0, truth=given) as monitor:
            monitor.search(Q)
            reports.append(monitor.flush().report())
    assert reports[0].recall == 1
    assert reports[1].recall < 0.95
    assert [report.checked for report in reports] == [200, 200]


# --- the live path --------------------------------------------------------------------


def test_search_hands_on_the_answer_untouched(index):
    Q = encoded(contents(50, seed=12))
    counts = np.zeros(50, np.int64)
    with ann.Monitor(index, share=1.0, k=5, queue=1000) as monitor:
        for asked in (Q, Q[0], Q[:1], Q.astype(float), Q[0].tolist()):
            for options in ({}, {"k": 3}, {"ef_search": 20}, {"filter": [1, 2]}):
                mine, its = (
                    s(asked, **options) for s in (monitor.search, index.search)
                )
                np.testing.assert_array_equal(mine[0], its[0])
                np.testing.assert_array_equal(mine[1], its[1])
        monitor.search(Q, distance_computations=counts)
        with pytest.raises(ValueError, match="Q must have d=24 columns, got 3"):
            monitor.search(Q[:, :3])
        report = monitor.flush().report()
    assert counts.min() > 0
    assert report.queries == 4 * (50 + 1 + 1 + 50 + 1) + 50
    assert report.checked == 3 * (50 + 1 + 1 + 50 + 1) + 50  # filters are not judged
    assert report.scores.count == report.checked
    assert report.counts["errors"] == 0
    assert report.norms.p50 == pytest.approx(1)
    monitor.search(Q)
    assert monitor.report().queries == report.queries  # it is closed


def test_what_is_sampled_is_a_copy(index):
    Q, lock = encoded(contents(20, seed=13)), threading.Event()

    def late(q, k):
        assert lock.wait(600)
        return index.exact(q, k)

    with ann.Monitor(index, share=1.0, truth=late) as monitor:
        for asked in (Q, Q[0]):
            ids, distances = monitor.search(asked, ef_search=100)
            asked[:], ids[:], distances[:] = 0, 0, 0
        lock.set()
        report = monitor.flush().report()
    assert report.recall > 0.99
    assert report.norms.p50 == pytest.approx(1)
    assert report.scores.p50 > 0.5


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_each_query_is_sampled_by_itself(index, share):
    n, size = 21_000, 7
    picked = [[], []]
    for chosen in picked:
        monitor = ann.Monitor(index, share=share, seed=5)
        for a in range(0, n, size):
            chosen += [a + row for row in monitor._picks(size)]
    assert picked[0] == picked[1]
    spread = math.sqrt(n * share * (1 - share))
    assert abs(len(picked[0]) - n * share) <= 4 * spread
    assert len(set(picked[0])) == len(picked[0])
    places = np.bincount(np.array(picked[0]) % size, minlength=size)
    assert places.min() > places.mean() - 5 * math.sqrt(places.mean())


def test_a_query_is_noted_in_a_few_calls(index, by_hand):
    """Some sixteen calls of small functions: three microseconds when measured."""
    q, calls = encoded(contents(1, seed=14))[0], []
    monitor = ann.Monitor(index, share=0.01)
    answer = index.search(q)
    sys.setprofile(lambda frame, event, argument: calls.append(event))
    try:
        for _ in range(500):
            monitor._note(q, answer, False)
    finally:
        sys.setprofile(None)
    monitor.close()
    assert sum(event in ("call", "c_call") for event in calls) < 20 * 500


def test_many_threads_may_search(index):
    Q, failures = encoded(contents(100, seed=15)), []
    expected = index.search(Q)
    monitor = ann.Monitor(index, share=0.1)

    def work():
        for i in range(100):
            ids, _ = monitor.search(Q[i] if i % 2 else Q)
            if not np.array_equal(ids, expected[0][i] if i % 2 else expected[0]):
                failures.append(i)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    monitor.metrics()
    for thread in threads:
        thread.join()
    report = monitor.flush().report()
    monitor.close()
    assert failures == []
    assert report.queries == 4 * (50 + 50 * 100)
    counts = report.counts
    assert report.checked + counts["dropped"] == counts["sampled"]
    assert counts["sampled"] == pytest.approx(0.1 * report.queries, rel=0.1)
    assert counts["unseen"] == counts["errors"] == 0


def test_queues_are_bounded_and_what_they_turn_away_is_counted(index, monkeypatch):
    monkeypatch.setattr(watcher, "INBOX", 30)
    began, go_on = threading.Event(), threading.Event()

    def slow(Q, k):
        began.set()
        assert go_on.wait(600)
        return index.exact(Q, k)

    q = encoded(contents(1, seed=16))[0]
    monitor = ann.Monitor(index, share=1.0, queue=4, truth=slow)
    monitor.search(q)
    assert began.wait(600)
    for _ in range(99):
        monitor.search(q)
    assert len(monitor._watcher._inbox) == 30
    go_on.set()
    report = monitor.flush().report()
    monitor.close()
    assert report.queries == 31
    assert report.counts["unseen"] == 69
    assert report.counts["sampled"] == 31
    assert report.checked == 5
    assert report.counts["dropped"] == 26


def test_what_the_watcher_does_by_itself(index):
    raised = threading.Event()
    monitor = ann.Monitor(index, share=1.0, on_alert=lambda alert: raised.set())
    Q = encoded(contents(LEARNT, seed=17))
    for row in range(0, LEARNT, 100):
        monitor.search(Q[row : row + 100])
    for q in 50 * Q[:200]:
        monitor.search(q)
    assert raised.wait(600)  # nobody called flush
    monitor.close()
    assert not monitor._watcher._thread.is_alive()


def test_the_piece_that_ends_learning_is_evidence_beyond_it():
    stream, norms = Stream(Settings("ip"), absolute=False), np.ones(LEARNT + 156)
    norms[LEARNT:] = 50
    assert stream.take(norms[: LEARNT - 100]) is None
    move = stream.take(norms[LEARNT - 100 :])
    assert move is not None
    assert (move.baseline, move.value) == (1, 50)


def test_checks_keep_to_their_budget(index, by_hand, monkeypatch):
    now_s = [1000.0]
    monkeypatch.setattr(watcher, "now_s", lambda: now_s[0])

    def slow(Q, k):
        now_s[0] += 0.02
        return index.exact(Q, k)

    monitor = ann.Monitor(index, share=1.0, budget=0.01, truth=slow)
    work, checked = monitor._watcher.work, []
    for q in encoded(contents(24, seed=18)):
        monitor.search(q)
    for rest_s in (0, 1.9, 0.1, 1.0, 0.9, 0.1):  # 99 times 0.02 s is due after a check
        now_s[0] += rest_s
        work()
        checked.append(monitor.report().checked)
    assert checked == [8, 8, 16, 16, 16, 24]
    assert monitor._watcher.pause_s() == watcher._PATIENCE_S  # nothing waits
    for q in encoded(contents(8, seed=18)):
        monitor.search(q)
    work()
    now_s[0] += 1.9
    assert monitor._watcher.pause_s() == pytest.approx(0.08)
    monitor.close()
    assert monitor.report().checked == 24


def test_failures_are_counted_and_watching_goes_on(index, caplog):
    def broken(*arguments):
        raise RuntimeError("no truth today")

    Q = encoded(contents(LEARNT, seed=19))
    monitor = ann.Monitor(index, share=1.0, truth=broken, on_alert=broken)
    with caplog.at_level(logging.WARNING, "ann.monitor"):
        monitor.search(Q[:8])
        monitor.flush()
        failed = monitor.report().counts["errors"]
        monitor._watcher._truth = None
        monitor.learn(Q)
        monitor.search(50 * Q)
        report = monitor.flush().report()
    monitor.close()
    assert failed == 1
    assert report.counts["errors"] == failed + len(report.alerts)
    assert report.alerts[0].sentence in caplog.text
    assert report.checked > 0


def test_an_index_may_change_meanwhile():
    X = clustered(N, D, seed=1)
    changing = ann.HNSW("cosine", M=12, ef_construction=80).add(X[:1000])
    with ann.Monitor(changing, share=1.0) as monitor:
        monitor.search(X[:50])
        changing.remove(np.arange(1000))
        monitor.flush()
        monitor.search(X[:5])  # finds nothing
        changing.add(X[1000:])
        report = monitor.search(X[1500:1600]) and monitor.flush().report()
    assert report.counts["errors"] == 0
    assert report.queries == 155
    assert report.scores.count == 150


# --- restarts -------------------------------------------------------------------------


def test_states_survive_a_restart(index, tmp_path):
    path = tmp_path / "watch.json"
    options = {"share": 0.2, "path": path, "seed": 3}
    Q = encoded(contents(1500, seed=20))
    with ann.Monitor(index, **options) as monitor:
        one_by_one(monitor, Q)
        monitor.search(60 * Q[:40])
        one_by_one(monitor, 60 * Q[40:200])
        before = monitor.flush().report()
    assert before.standing[0] == "norms"
    assert path.stat().st_size < 250_000
    with ann.Monitor(index, **options) as monitor:
        after = monitor.report()
        assert after.alerts == before.alerts
        assert after.standing == before.standing
        for name in ("queries", "checked", "raised", "counts", "baseline"):
            assert getattr(after, name) == pytest.approx(getattr(before, name))
        for name in ("norms", "scores"):
            one, other = (vars(getattr(r, name)) for r in (before, after))
            assert other == pytest.approx(one, rel=1e-5)
        one_by_one(monitor, 60 * Q[:300])
        assert monitor.report().raised["norms"] == 1  # it stands already
    assert opened(path).report().queries == before.queries + 300


def test_states_are_written_now_and_then(index, tmp_path):
    path = tmp_path / "watch.json"
    monitor = ann.Monitor(index, share=1.0, path=path, save_every_s=0.0)
    monitor.search(encoded(contents(10, seed=21)))
    monitor.flush()
    assert opened(path).report().checked == 10
    monitor.close()


def test_a_file_of_something_else_is_refused(index, tmp_path):
    path = tmp_path / "watch.json"
    for text in ("", "[1]", "{}", '{"format": 2}', '{"format": 1, "settings": {}}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="must be what a monitor saved"):
            ann.Monitor(index, path=path)
        with pytest.raises(ValueError, match="must be what a monitor saved"):
            opened(path)
        assert path.read_text() == text
    path.unlink()
    ann.Monitor(index, path=path).close()
    with pytest.raises(ValueError, match="k must be 5, as asked for, got 10"):
        ann.Monitor(index, path=path, k=5)
    state = json.loads(path.read_text())
    del state["norms"]["learnt"]
    path.write_text(json.dumps(state))
    with pytest.raises(ValueError, match="learnt"):
        ann.Monitor(index, path=path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_watches_for_itself(index, tmp_path):
    path = tmp_path / "watch.json"
    Q = encoded(contents(20, seed=22))
    monitor = ann.Monitor(index, share=1.0, budget=1.0, path=path)
    monitor.search(Q)
    monitor.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for q in Q:
                monitor.search(q)
            deadline = time.monotonic() + 600  # its thread does nothing
            while monitor.report().checked < 40 and time.monotonic() < deadline:
                time.sleep(0.01)
            monitor.close()
            code = int(monitor.report().checked < 40 or path.exists())
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    monitor.close()
    assert opened(path).report().checked == 20


# --- what is asked of it --------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0}, "share must be > 0, got 0"),
        ({"share": 1.5}, "share must be <= 1, got 1.5"),
        ({"k": 0}, "k must be >= 1, got 0"),
        ({"window": 5}, r"window must be in \[10, 1000000\], got 5"),
        ({"learn": 3}, r"learn must be in \[20, 1000000\], got 3"),
        ({"budget": 2}, "budget must be <= 1, got 2"),
        ({"queue": 0}, "queue must be >= 1, got 0"),
        ({"run_length": 10}, "run_length must be finite and >= 10000, got 10"),
        ({"baseline": 95}, "baseline must be <= 1, got 95"),
        ({"on_alert": "me"}, "on_alert must be a function, got 'me'"),
        ({"truth": 1}, "truth must be a function, got 1"),
    ],
)
def test_a_parameter_out_of_range_is_refused(index, options, message):
    with pytest.raises(ValueError, match=message):
        ann.Monitor(index, **options)


def test_it_is_of_an_index_and_learns_from_enough(index):
    with pytest.raises(ValueError, match=r"index must be an ann.Index, got list"):
        ann.Monitor([1.0])
    with ann.Monitor(index) as monitor:
        with pytest.raises(
            ValueError, match="at least 100 queries to learn from, got 9"
        ):
            monitor.learn(encoded(contents(9, seed=23)))
        monitor.learn(encoded(contents(200, seed=23)))
        assert monitor.report().baseline > 0.9
        assert monitor.report().norms.baseline == pytest.approx(1)
        monitor.learn()
        assert math.isnan(monitor.report().baseline)
        assert math.isnan(monitor.report().norms.baseline)


def test_the_documented_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, names = (ROOT / "docs" / "monitor.md").read_text(), {}
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "docs/monitor.md", "exec"), names)
    assert opened("index.watch.json").report().baseline > 0.5


# --- Prometheus, and a page -----------------------------------------------------------

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
LINE = re.compile(rf"({NAME})(?:\{{((?:{LABEL},)*{LABEL})?\}})? (\S+)")


def parsed(text):
    """Read the text format strictly: ``{family: (type, {(name, labels): value})}``."""
    assert text.endswith("\n")
    families, current = {}, None
    lines = iter(text[:-1].split("\n"))
    for line in lines:
        if line.startswith("# HELP "):
            current = line.split(" ", 3)[2]
            assert current not in families, "a family comes once"
            assert len(line.split(" ", 3)) == 4
            kind = re.fullmatch(
                rf"# TYPE ({NAME}) (counter|gauge|summary)", next(lines)
            )
            assert kind is not None
            assert kind[1] == current
            families[current] = kind[2], {}
            continue
        match = LINE.fullmatch(line)
        assert match is not None, line
        name, labels, value = match.groups()
        suffixes = (
            ("", "_sum", "_count") if families[current][0] == "summary" else ("",)
        )
        assert name in [current + suffix for suffix in suffixes], "lines are grouped"
        pairs = tuple(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""))
        assert len(dict(pairs)) == len(pairs)
        samples = families[current][1]
        assert (name, pairs) not in samples
        samples[name, pairs] = float(value)
    for name, (kind, samples) in families.items():
        assert samples
        assert (kind == "counter") == name.endswith("_total")
        if kind == "summary":
            assert all("quantile" in dict(p) for n, p in samples if n == name)
    return families


def test_metrics_are_in_the_text_format(index):
    name = 'a "quoted" \\ name\nof two lines'
    with ann.Monitor(index, share=0.5, name=name) as monitor:
        empty = parsed(monitor.metrics())
        one_by_one(monitor, encoded(contents(300, seed=24)))
        families = parsed(monitor.metrics())
    assert families.keys() == empty.keys()
    [(_, labels)] = families["ann_monitor_recall"][1]
    assert labels == (("monitor", r"a \"quoted\" \\ name\nof two lines"),)

    def value(family, suffix="", *more):
        _, samples = families[f"ann_monitor_{family}"]
        return samples[f"ann_monitor_{family}{suffix}", (*labels, *more)]

    report = monitor.report()
    assert value("queries_total") == 300 == value("query_norm", "_count")
    assert value("recall") == report.recall
    assert value("recall_low") < value("recall_high")
    assert value("query_norm", "", ("quantile", "0.5")) == pytest.approx(1)
    assert value("top1_score", "", ("quantile", "0.99")) == report.scores.p99
    assert value("alert", "", ("rule", "recall")) == 0
    assert math.isnan(value("top1_score_baseline"))  # being learnt
    assert families["ann_monitor_alerts_total"][0] == "counter"


def test_several_monitors_share_their_families(index):
    report = ann.Monitor(index).report()
    families = parsed(exposition.text([("one", report), ("other", report)]))
    assert len(families["ann_monitor_recall"][1]) == 2


def fetched(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.headers, answer.read().decode()


def test_a_server_shows_metrics_and_a_page(index):
    monitor = ann.Monitor(index, share=1.0, name="<books>")
    Q = encoded(contents(LEARNT + 300, seed=25))
    one_by_one(monitor, Q[:LEARNT])
    one_by_one(monitor, 50 * Q[LEARNT:])
    with monitor.serve(port=0) as server:
        headers, text = fetched(server.url + "metrics")
        assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert parsed(text)["ann_monitor_queries_total"]
        assert text == monitor.metrics()
        headers, page = fetched(server.url)
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetched(server.url + "other")
    monitor.close()
    assert "alert: norms" in page
    assert "&lt;books&gt;" in page
    assert "<polyline" in page
    assert "http" not in page.replace("http-equiv", "")  # nothing from elsewhere
    with pytest.raises(urllib.error.URLError):
        fetched(server.url)
