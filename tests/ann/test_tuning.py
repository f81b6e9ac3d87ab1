import dataclasses
import itertools
import math

import numpy as np
import pytest

import ann
from ann.tuning import UnreachableError, bench, betting, candidates, wish
from ann.tuning.bench import Latency, Truth, in_turns
from ann.tuning.candidates import EXACT, FAST, SMALL, Candidate
from ann.tuning.contest import STRIDE, Entry
from ann.tuning.verdict import verdict
from tests.ann import known_latencies
from tests.ann.data import clustered, integers

N, D, NQ = 1500, 16, 400


@pytest.fixture(name="data", scope="module")
def _data():
    vectors = clustered(N + NQ, D, spread=1.0)
    mixed = vectors[np.random.default_rng(1).permutation(N + NQ)]
    return mixed[:N], mixed[N:]


@pytest.fixture(name="clock")
def _clock(monkeypatch):
    known_latencies.replace(monkeypatch)


@pytest.fixture(name="few")
def _few(monkeypatch):
    """Leave only one graph and one set of lists to try: few kernels to compile."""
    monkeypatch.setattr(candidates, "FAST", (FAST[2], FAST[4]))


def tuned(data, **how):
    return ann.tune(*data, **{"target_recall": 0.9, "budget": None, **how})


# --- the bound ------------------------------------------------------------------------


def recalls(rng, n, mean):
    """Draw recalls of ten: most queries find all, some much less."""
    hard = rng.random(n) < 0.4
    return np.where(hard, rng.binomial(10, 1 - (1 - mean) / 0.4, n) / 10, 1.0)


DRAWS = {
    "coins": lambda rng, n, mean: (rng.random(n) < mean).astype(float),
    "recalls": recalls,
    "beta": lambda rng, n, mean: rng.beta(20 * mean, 20 * (1 - mean), n),
    "rare zeros": lambda rng, n, mean: 1.0 - (rng.random(n) < 1 - mean),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize(("mean", "n"), [(0.95, 100), (0.99, 400)])
def test_the_bound_exceeds_the_mean_no_more_often_than_it_may(name, mean, n):
    rng, draw, runs = np.random.default_rng(7), DRAWS[name], 250
    share = betting.share(draw(rng, n // 2, mean), mean)
    above = sum(
        betting.lower(draw(rng, n, mean), 0.9, share) > mean for _ in range(runs)
    )
    assert above / runs <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / runs)


def test_the_bound_is_not_far_below_the_mean():
    rng, n = np.random.default_rng(3), 1000
    far = []
    for _ in range(50):
        seen, values = recalls(rng, 500, 0.96), recalls(rng, n, 0.96)
        lower = betting.lower(values, 0.95, betting.share(seen, 0.95))
        far.append((values.mean() - lower) * math.sqrt(n) / values.std())
    assert 1.0 < np.median(far) < 2.6  # a normal one, which promises too much: 1.645


def test_perfect_answers_give_what_a_closed_form_says():
    for target, confidence in [(0.95, 0.95), (0.99, 0.95), (0.9, 0.99)]:
        n = betting.fewest(target, confidence)
        assert betting.lower(np.ones(n), confidence, 0.9) >= target
        assert betting.lower(np.ones(n - 1), confidence, 0.9) < target
    m = betting.lower(np.ones(200), 0.95, 0.5)
    assert 200 * math.log1p(0.5 * (1 / m - 1)) == pytest.approx(math.log(20))


def test_nothing_is_promised_of_answers_that_are_all_wrong():
    assert betting.lower(np.zeros(500), 0.95, 0.5) == 0.0
    assert not betting.promising(np.zeros(50), 0.9, 10_000, 0.95)
    assert betting.promising(np.ones(33), 0.95, betting.fewest(0.95, 0.95), 0.95)


def test_more_judges_are_convinced_by_less():
    values = recalls(np.random.default_rng(0), 500, 0.96)
    assert not betting.promising(values, 0.95, 50, 0.95)
    assert betting.promising(values, 0.95, 5000, 0.95)


# --- the verdict ----------------------------------------------------------------------


class Drawn:
    """Stands for a truth: the recall of a setting has a known mean."""

    def __init__(self, rng, size):
        self.rng, self.size = rng, size

    def recall(self, index, setting):
        return recalls(self.rng, self.size, setting["mean"])


def asked(**how):
    known = dict(
        metric="l2", k=10, target_recall=0.95, confidence=0.9, objective="latency",
        max_bytes_per_vector=None, max_latency_ms=None, budget=None, seed=0, use=None,
        threads=1,
    )  # fmt: skip
    return wish.wish(**(known | how))


def test_though_many_settings_are_tested_the_risk_is_that_of_one():
    rng, runs, wrong, taken = np.random.default_rng(5), 200, 0, []
    ladder = [{"mean": mean} for mean in np.linspace(0.93, 0.985, 12)]
    choosers, judges = Drawn(rng, 200), Drawn(rng, 400)
    entry = Entry(Candidate("HNSW"), object(), ladder, rung=12 - STRIDE)
    for _ in range(runs):
        found = verdict(entry, choosers, judges, asked())
        if found is not None:
            taken.append(found.setting["mean"])
            assert found.lower >= 0.95
            wrong += found.setting["mean"] < 0.95
    assert len(taken) > 0.95 * runs
    assert wrong / runs <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / runs)
    assert np.median(taken) < 0.975  # and it does go down


def test_a_verdict_may_be_that_nothing_will_do():
    rng = np.random.default_rng(0)
    ladder = [{"mean": 0.93}, {"mean": 0.94}]
    entry = Entry(Candidate("HNSW"), object(), ladder, rung=1)
    assert verdict(entry, Drawn(rng, 200), Drawn(rng, 300), asked()) is None


# --- recall and latency ---------------------------------------------------------------


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine", "l1"])
def test_equal_vectors_count_whatever_their_ids(metric):
    X = integers(60, 4) + 0.5
    X = np.concatenate([X, X])
    exact = ann.Flat(metric).add(X)
    truth = Truth(exact, X, X[:20] + 0.25, 5, 1)
    turned = ann.Flat(metric).add(X[::-1].copy(), ids=np.arange(120)[::-1].copy())
    np.testing.assert_array_equal(truth.recall(turned, {}), 1.0)
    other = ann.Flat(metric).add(X, ids=np.roll(np.arange(120), 60))
    np.testing.assert_array_equal(truth.recall(other, {}), 1.0)
    wrong = ann.Flat(metric).add(X, ids=np.roll(np.arange(120), 1))
    assert truth.recall(wrong, {}).mean() < 0.7


def test_latency_is_of_all_queries_and_compared_where_nothing_disturbed_it():
    quiet, noisy = np.full(400, 1000), np.full(400, 50_000)
    found = Latency.of([quiet, noisy, noisy, quiet, noisy])
    assert found == (50.0, 50.0, 1.0, 400)
    cut = Latency.of([quiet[:30], noisy])
    assert (cut.queries, math.isnan(cut.p99_us)) == (30, True)


def test_1_query_in_100_is_slower_than_p99():
    rng = np.random.default_rng(0)
    rounds = [rng.permutation(400) * 1000 + 1000 * i for i in range(5)]
    found = Latency.of(rounds)
    us = np.concatenate(rounds) / 1e3
    assert (us > found.p99_us).mean() == 0.01
    assert (us > found.p50_us).mean() == pytest.approx(0.5, abs=0.001)
    fewer = [turn[:367] for turn in rounds]  # and however many rounds
    assert math.isnan(Latency.of(fewer * 10).p99_us)


def test_all_are_timed_in_turns_and_slow_ones_are_cut_short(monkeypatch):
    order = []

    class Slow:
        def __init__(self, name):
            self.name = name

        def search(self, q, k, **setting):
            order.append(self.name)

    ticks = itertools.count(step=60_000_000)  # 60 ms between two looks at the clock
    monkeypatch.setattr(bench, "now_ns", lambda: next(ticks))
    pairs = [(Slow("a"), {}), (Slow("b"), {})]
    both = in_turns(pairs, np.zeros((100, 2), np.float32), 5, 50)
    assert [latency.p50_us for latency in both] == [60_000, 60_000]
    turns = [name for name, _ in itertools.groupby(order)]
    assert turns == ["a", "b", "a"]  # b began the second round, right after its turn
    assert len(order) < 4 * (20 + 10)


# --- candidates -----------------------------------------------------------------------


def test_ladders_rise_and_are_within_what_search_takes(data):
    X, Q = data
    for candidate in (*FAST, *SMALL, EXACT):
        for ladder in candidate.ladders(N, 10, "l2"):
            values = [list(setting.values()) for setting in ladder]
            assert values == sorted(values)
        assert len(list(candidate.ladders(N, 10, "ip"))) == 1
    index = FAST[4].make("l2", N, D, 0).add(X)
    *_, ladder = FAST[4].ladders(N, 10, "l2")
    assert index.search(Q[0], 5, **ladder[-1])[0].shape == (5,)


def test_bytes_are_never_less_than_was_said(data):
    for candidate in (FAST[2], FAST[4], EXACT):
        index = candidate.make("l2", N, D, 0).add(data[0])
        assert candidate.least_bytes(D) <= index.nbytes / N


def test_neighbours_are_others_nearby():
    assert {near.M for near in candidates.around(Candidate("HNSW", M=16))} == {8, 32}
    assert [near.M for near in candidates.around(Candidate("HNSW", M=8))] == [16]
    lists = candidates.around(Candidate("IVF", per_root=4))
    assert {near.per_root for near in lists} == {2, 8}
    assert candidates.around(EXACT) == []
    fine = candidates.around(Candidate("HNSW", "SQ4", 2, M=16))
    assert Candidate("HNSW", "SQ4", 4, M=16) in fine


# --- all of it ------------------------------------------------------------------------


def test_the_choice_holds_on_queries_that_it_never_saw(data, few, clock):
    X, Q = data
    found = tuned((X, Q[:200]), target_recall=0.9)
    ids, _ = found.index.search(Q[200:], 10, **found.search_params)
    true, _ = ann.Flat().add(X).search(Q[200:], 10)
    fresh = (ids[:, :, None] == true[:, None, :]).any(axis=2).mean()
    assert found.index.ntotal == N
    assert found.index.norm_check == "warn"
    assert found.target_recall <= found.lower_bound <= found.recall <= 1
    assert fresh >= 0.9
    assert found.choosers + found.judges == 200
    assert found.nbytes == found.index.nbytes
    assert found.params == found.index.params
    assert found.tried[0].fate == "chosen"
    assert {each.name.split("(")[0] for each in found.tried} == {"Flat", "HNSW", "IVF"}


def test_a_clock_that_is_always_the_same_gives_the_same_choice(data, few, clock):
    first, second = repr(tuned(data, threads=1)), repr(tuned(data, threads=2))
    assert first == second
    assert repr(tuned(data, seed=1)) != first


def test_the_letter_says_what_was_chosen_and_why(data, few, clock):
    found = tuned(data, use="recommendation", target_recall=None)
    letter = " ".join(repr(found).split())
    assert "Tuned for latency: 1,500 vectors of 16 dimensions, l2" in letter
    assert f"least {found.lower_bound:.4f}, with 95 % confidence" in letter
    assert "recall@10 0.85, confidence 0.95" in letter
    assert "for recommendation" in letter
    assert "133 queries chose, 267 others judged" in letter
    assert f"Runner-up: {found.runner_up.name}" in letter
    for each in found.tried:
        assert each.name in letter
    assert max(map(len, repr(found).splitlines())) <= 88


def test_memory_takes_the_smallest_that_will_do(data, clock, monkeypatch):
    small = (SMALL[3], *FAST[4:])
    monkeypatch.setattr(candidates, "SMALL", small)
    found = tuned(data, objective="memory", target_recall=0.8)
    assert found.params["codec"] == {"kind": "SQ", "bits": 8}
    assert found.nbytes / N < 4 * D
    assert "takes the fewest bytes" in repr(found)
    larger = [each for each in found.tried if each.fate.startswith("larger")]
    assert {each.name for each in larger} == {"Flat", "IVF(nlist=4√n)"}


def test_exact_search_steps_in_though_it_is_larger(data, clock, monkeypatch):
    monkeypatch.setattr(candidates, "SMALL", SMALL[3:4])
    recall = Truth.recall

    def worse(self, index, setting):
        values = recall(self, index, setting)
        return values - 0.4 if len(values) == 267 else values

    monkeypatch.setattr(Truth, "recall", worse)
    found = tuned(data, objective="memory", target_recall=0.8)
    assert isinstance(found.index, ann.Flat)
    assert found.params["codec"] is None
    assert [each.name for each in found.tried] == ["Flat", "Flat on SQ8"]


def test_exact_search_needs_no_proof(data, clock, monkeypatch):
    monkeypatch.setattr(candidates, "FAST", ())
    found = tuned(data)
    assert (found.recall, found.lower_bound, found.tests) == (1.0, 1.0, 0)
    assert found.search_params == {}
    assert "every vector is looked at" in repr(found)


def test_limits_that_nothing_keeps_are_an_error(data, few, clock):
    rule = r"max_bytes_per_vector=3, got 0\.9: Flat has recall 1.000: takes 72 bytes"
    with pytest.raises(UnreachableError, match=rule):
        tuned(data, max_bytes_per_vector=3)
    with pytest.raises(UnreachableError, match=r"max_latency_ms=1e-06.*1 query in 100"):
        tuned(data, max_latency_ms=1e-6)


def test_a_budget_ends_builds_and_what_was_left_is_told(data, clock, monkeypatch):
    now, built, add = [0], [], ann.HNSW.add

    def tick():
        now[0] += 100
        return now[0]

    monkeypatch.setattr(bench, "now_ns", tick)

    def slow(self, *args, **kwargs):
        now[0] += 10_000_000_000
        built.append(self)
        return add(self, *args, **kwargs)

    monkeypatch.setattr(ann.HNSW, "add", slow)
    graphs = (FAST[2], FAST[2]._replace(M=8), FAST[4])
    monkeypatch.setattr(candidates, "FAST", graphs)
    found = tuned(data, budget=15)
    assert len(built) == 1  # another would have ended after 20 s
    fates = {each.name: each.fate for each in found.tried}
    assert fates["HNSW(M=8)"] == "not tried: the budget was used up"
    assert "IVF(nlist=4√n)" not in repr(found).split("used up before: ")[1]
    assert "HNSW(M=8)" in repr(found).split("used up before: ")[1]
    built.clear()
    found = tuned(data, budget=5)
    assert len(built) == 1  # one build is all that a budget is exceeded by
    assert found.seconds == pytest.approx(10, abs=0.1)
    fates = {each.name: each.fate for each in found.tried}
    assert fates["IVF(nlist=4√n)"] == "not tried: the budget was used up"
    tuned(data, budget=1e-9)
    assert len(built) == 1


def test_exact_search_steps_in_where_the_best_does_not_convince(
    data, few, clock, monkeypatch
):
    recall = Truth.recall

    def worse(self, index, setting):
        values = recall(self, index, setting)
        return values - 0.4 if len(values) == 267 else values

    monkeypatch.setattr(Truth, "recall", worse)
    found = tuned(data)
    assert found.tests == 0
    assert isinstance(found.index, ann.Flat)
    fates = {each.fate for each in found.tried}
    assert "not convincing on the queries held out" in fates


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"target_recall": 1.0}, r"target_recall must be in \(0, 1\), as ann.Flat"),
        ({"target_recall": 0}, r"target_recall must be in \(0, 1\)"),
        ({"confidence": 1}, r"confidence must be in \(0, 1\), as no sample"),
        ({"objective": "fun"}, "objective must be latency or memory, got 'fun'"),
        ({"use": "games"}, "use must be one of rag, .*, got 'games'"),
        ({"budget": 0}, "budget must be > 0, got 0"),
        ({"max_bytes_per_vector": -1}, "max_bytes_per_vector must be finite and >= 0"),
        ({"max_latency_ms": "slow"}, "max_latency_ms must be a real number"),
        ({"k": 0}, "k must be >= 1, got 0"),
        ({"k": 2000}, "X must have at least k=2000 rows, got 1500"),
        ({"metric": "near"}, "metric must be one of"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_a_mistake_names_the_rule(data, how, message):
    with pytest.raises(ValueError, match=message):
        tuned(data, **how)


def test_too_few_queries_are_refused_with_their_number(data, few, clock):
    X, Q = data
    needed = math.ceil(betting.fewest(0.95, 0.95) * 1.5) + 1
    with pytest.raises(ValueError, match=f"queries must be at least {needed} for"):
        tuned((X, Q[: needed - 1]), target_recall=0.95)
    assert tuned((X, Q[:needed]), target_recall=0.95).lower_bound >= 0.95
    parts = wish.split(Q[:needed], D, asked(confidence=0.95))
    assert len(parts.judge) >= betting.fewest(0.95, 0.95)
    with pytest.raises(ValueError, match="queries must have d=16 columns, got 3"):
        tuned((X, Q[:, :3]))


def test_the_parts_are_disjoint_and_of_the_seed(data):
    Q = np.arange(5000, dtype=np.float32)[:, None]
    first, again = (wish.split(Q, 1, asked()) for _ in range(2))
    np.testing.assert_array_equal(first.judge, again.judge)
    assert not set(first.judge[:, 0]) & set(first.choose[:, 0])
    assert (len(first.choose), len(first.judge)) == (1000, 2000)
    other = wish.split(Q, 1, asked(seed=1))
    assert not np.array_equal(first.judge, other.judge)


def test_presets_are_fixed_and_give_a_target(data):
    assert list(ann.PRESETS) == [use.name for use in ann.PRESETS.values()]
    for use in ann.PRESETS.values():
        assert 0 < use.recall[0] <= use.recall[1] <= 1
        assert 0 < use.latency_ms[0] <= use.latency_ms[1]
        assert asked(use=use.name, target_recall=None).target == use.recall[0]
    assert asked(use="rag", target_recall=None).most_us == 100_000
    assert asked(use="rag", max_latency_ms=5).most_us == 5000
    assert asked(use="rag", target_recall=0.99).target == 0.99
    with pytest.raises(dataclasses.FrozenInstanceError):
        ann.PRESETS["rag"].recall = (0.1, 0.2)
    with pytest.raises(TypeError):
        ann.PRESETS["mine"] = ann.PRESETS["rag"]
