"""Vectors that come and go: every structure, codec and metric against a dictionary.

Efforts are such that every search is exact, but for what codes alone can tell.
ANN_STEPS=100000 lets indexes live for as many steps, other ones each time.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

import ann
from tests.ann import reference
from tests.ann.data import gaussian, integers

D, K = 16, 5
ALL = 10_000
KINDS = {
    "Flat": (lambda m: ann.Flat(m), {}),
    "Flat SQ8": (lambda m: ann.Flat(m, codec=ann.SQ(8), refine=100), {}),
    "Flat PQ4": (lambda m: ann.Flat(m, codec=ann.PQ(8, nbits=4), refine=100), {}),
    "IVF": (lambda m: ann.IVF(m, nlist=4), {"nprobe": 4}),
    "IVF PQ4": (
        lambda m: ann.IVF(m, nlist=4, codec=ann.PQ(8, nbits=4), refine=100),
        {"nprobe": 4},
    ),
    "HNSW": (lambda m: ann.HNSW(m, M=8, ef_construction=60), {"ef_search": ALL}),
    "HNSW SQ8": (
        lambda m: ann.HNSW(m, M=8, ef_construction=60, codec=ann.SQ(8), refine=100),
        {"ef_search": ALL},
    ),
}
METRICS = ["l2", "ip", "cosine", "l1"]


def made(kind, metric="l2"):
    make, effort = KINDS[kind]
    return make(metric), effort


def check(index, effort, held, Q, k=K, **options):
    """Compare a search with an exact one among ``held``, a dictionary."""
    ids, distances = index.search(Q, k, **effort, **options)
    names = np.array(sorted(held), np.int64)
    X = np.array([held[i] for i in names.tolist()], np.float32).reshape(-1, D)
    true, expected = reference.exact(index.metric, Q, X, min(k, len(X)), names)
    assert ids.shape == distances.shape == (len(Q), k)
    found = min(k, len(X))
    assert (ids[:, found:] == -1).all()
    assert np.isinf(distances[:, found:]).all()
    np.testing.assert_allclose(distances[:, :found], expected, rtol=1e-4, atol=1e-5)
    assert np.isin(ids[:, :found], names).all()
    for row in ids[:, :found]:
        assert len(set(row.tolist())) == found
    return true


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_who_was_removed_is_not_found_and_the_others_are(kind, metric):
    X, Q = gaussian(300, D, seed=1), gaussian(20, D, seed=2)
    index, effort = made(kind, metric)
    index.add(X)
    held = dict(enumerate(X))
    rng = np.random.default_rng(3)
    for _ in range(3):
        gone = rng.choice(sorted(held), 40, replace=False)
        assert index.remove(gone) is index
        for i in gone.tolist():
            del held[i]
        check(index, effort, held, Q)
        check(index, effort, held, Q[0:1])
    assert index.ntotal == len(index) == 180
    check(index.compact(), effort, held, Q)
    new = gaussian(30, D, seed=4)
    index.add(new)
    held.update({300 + i: x for i, x in enumerate(new)})
    check(index, effort, held, Q)
    assert index.check().ok, index.check()


@pytest.mark.parametrize("kind", KINDS)
def test_all_may_go_and_others_come(kind):
    X, Q = gaussian(120, D, seed=1), gaussian(5, D, seed=2)
    index, effort = made(kind)
    index.add(X).remove(np.arange(120))
    assert index.ntotal == 0
    for queries in (Q, Q[0]):
        ids, distances = index.search(queries, 3, **effort)
        assert (ids == -1).all()
        assert np.isinf(distances).all()
    assert index.check().ok
    index.add(X[:50], ids=np.arange(50) + 7)
    check(index, effort, {i + 7: x for i, x in enumerate(X[:50])}, Q)
    index.remove(np.arange(50) + 7).compact()
    index.add(X[50:])
    check(index, effort, {120 + 50 + i: x for i, x in enumerate(X[50:])}, Q)


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_moves_vectors_and_keeps_their_ids(kind):
    X, Q = gaussian(200, D, seed=1), gaussian(10, D, seed=2)
    index, effort = made(kind)
    index.add(X)
    held = dict(enumerate(X))
    new = gaussian(25, D, seed=5)
    some = np.random.default_rng(0).choice(200, 25, replace=False)
    index.update(some, new)
    held.update(dict(zip(some.tolist(), new, strict=True)))
    check(index, effort, held, Q)
    assert index.ntotal == 200
    for ids, X2, match in (
        ([1, 999], new[:2], "ids must be in the index, got 999"),
        ([1, 1], new[:2], "ids must be unique, got 1"),
        ([1], new[:2], r"ids must have shape \(2,\), got \(1,\)"),
        ([1, 2], new[:2, :3], f"X must have d={D} columns, got 3"),
        ([1, 2], new[:2] * np.nan, "X must be finite"),
    ):
        with pytest.raises(ValueError, match=match):
            index.update(ids, X2)
    check(index, effort, held, Q)


@pytest.mark.parametrize("kind", KINDS)
def test_removing_what_is_not_there_changes_nothing(kind):
    index, effort = made(kind)
    with pytest.raises(ValueError, match="ids must be in the index, got 0"):
        index.remove([0])
    X = gaussian(60, D)
    index.add(X).remove([])
    for wrong in ([60], [-1], [1, 1], [0.0], [[1]]):
        with pytest.raises(ValueError, match="ids must"):
            index.remove(wrong)
    check(index, effort, dict(enumerate(X)), X[:5])


def test_a_graph_takes_its_memory_back_by_itself():
    X = gaussian(400, D)
    index = ann.HNSW("l2", M=8).add(X)
    for turn in range(6):
        index.remove(np.arange(turn * 200, turn * 200 + 200))
        index.add(X[:200])
    assert index.ntotal == 400
    assert index._state.names.n <= 800
    assert index.compact()._state.names.n == 400
    ids, distances = index.search(X[:200], 2, ef_search=100)
    assert (distances == [0, 0]).all()
    assert set(ids.ravel().tolist()) == set(range(1200, 1600))


@pytest.mark.parametrize("kind", ["HNSW", "HNSW SQ8", "IVF"])
@pytest.mark.parametrize("threads", [2, 4])
def test_changes_are_the_same_at_any_number_of_threads(kind, threads):
    X, results = gaussian(600, D, seed=3), []
    for count in (1, threads):
        index, effort = made(kind)
        index.add(X[:500], threads=count).remove(np.arange(0, 300, 2), threads=count)
        index.add(X[500:], threads=count).compact(threads=count)
        effort = {"ef_search": 10} if kind != "IVF" else {"nprobe": 1}
        results.append(index.search(X, 5, **effort))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


# --- within a radius ------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["Flat", "IVF", "HNSW"])
def test_a_range_search_finds_all_within(kind, metric):
    X, Q = integers(300, D, seed=1), gaussian(15, D, seed=2)
    X[(X == 0).all(axis=1)] = 1
    index, effort = made(kind, metric)
    index.add(X)
    table = reference.distances(metric, Q, X)
    for share in (0.002, 0.05, 0.6):
        radius = float(np.quantile(table, share))
        ids, distances = index.range_search(Q, radius, **effort)
        one, at = index.range_search(Q[3], radius, **effort)
        np.testing.assert_array_equal(one, ids[3])
        np.testing.assert_array_equal(at, distances[3])
        for r in range(len(Q)):
            near = np.abs(table[r] - radius) < 1e-4
            inside = set(np.flatnonzero((table[r] <= radius) & ~near).tolist())
            assert inside <= set(ids[r].tolist())
            assert set(ids[r].tolist()) <= inside | set(np.flatnonzero(near).tolist())
            assert (np.diff(distances[r]) >= 0).all()
            assert (distances[r] <= radius).all()


def test_a_range_search_of_nothing():
    ids, distances = ann.Flat().range_search(np.zeros((2, 3)), 1.0)
    assert [len(i) for i in ids] == [len(d) for d in distances] == [0, 0]
    for wrong in ("1", None, np.nan, np.inf, True):
        with pytest.raises(ValueError, match="radius must be"):
            ann.Flat().range_search(np.zeros((2, 3)), wrong)


# --- filters --------------------------------------------------------------------------


# A kernel of a filtered search compiles for 10 s and more: pairs of kind and metric.
FILTERED = [(kind, "l2") for kind in KINDS]
FILTERED += [("Flat", "ip"), ("IVF", "l1"), ("IVF PQ4", "ip"), ("HNSW", "cosine")]


@pytest.mark.parametrize(("kind", "metric"), FILTERED)
def test_a_filtered_search_finds_the_best_of_what_passes(kind, metric):
    X, Q = gaussian(400, D, seed=1), gaussian(13, D, seed=2)
    names = np.random.default_rng(5).permutation(1000)[:400]
    index, effort = made(kind, metric)
    index.add(X, ids=names)
    held = dict(zip(names.tolist(), X, strict=True))
    for i in names[:30].tolist():
        del held[i]
    index.remove(names[:30])
    rng = np.random.default_rng(6)
    for share in (0.0, 0.01, 0.3, 0.9, 1.0):
        mask = rng.random(1000) < share
        passing = {i: x for i, x in held.items() if mask[i]}
        for wanted in (mask, np.flatnonzero(mask), lambda ids, m=mask: m[ids]):
            check(index, effort, passing, Q, filter=wanted)
        check(index, effort, passing, Q[:1], filter=mask)


@pytest.mark.parametrize("kind", ["Flat", "IVF", "HNSW"])
def test_filters_that_cannot_be(kind):
    index, _ = made(kind)
    index.add(gaussian(100, D))
    for wrong in ([0.5], np.zeros((2, 100), bool), lambda ids: ids, lambda ids: [True]):
        with pytest.raises(ValueError, match="filter"):
            index.search(gaussian(1, D), filter=wrong)


# --- duplicates -----------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("codec", "refine"), [(None, None), ("SQ8", None), ("SQ8", 100)]
)
def test_hundreds_of_one_point_do_not_hide_the_others(metric, codec, refine):
    X, Q = gaussian(500, D, seed=1), gaussian(40, D, seed=2)
    many = np.concatenate([X[:250], np.repeat(X[:2], 300, axis=0), X[250:]])
    own = ann.SQ(8) if codec else None
    index = ann.HNSW(metric, M=8, ef_construction=60, codec=own, refine=refine)
    index.add(many[:200]).add(many[200:700]).add(many[700:])
    plain = ann.HNSW(metric, M=8, ef_construction=60, codec=own, refine=refine).add(X)
    distances = index.search(Q, 10, ef_search=200)[1]
    exact = ann.Flat(metric, codec=own, refine=refine).add(many)
    if codec is None or refine:
        assert (distances <= exact.search(Q, 10)[1] + 1e-4).mean() > 0.99
    ids, at = index.search(X[0], 310, ef_search=400)
    equal = np.array([0, *range(250, 550)])
    np.testing.assert_array_equal(ids[np.isin(ids, equal)], equal)
    assert len(set(at[np.isin(ids, equal)].tolist())) == 1
    assert index._held.graph.base.shape[0] >= len(many)
    assert (plain.search(Q, 10, ef_search=200)[1] < np.inf).all()


def test_of_equal_vectors_any_may_go():
    X = np.repeat(gaussian(60, D, seed=1), 5, axis=0)[
        np.random.default_rng(0).permutation(300)
    ]
    Q = gaussian(10, D, seed=2)
    index, effort = made("HNSW")
    index.add(X[:100]).add(X[100:])
    held, rng = dict(enumerate(X)), np.random.default_rng(1)
    while len(held) > 20:
        gone = rng.choice(sorted(held), 20, replace=False)
        index.remove(gone)
        for i in gone.tolist():
            del held[i]
        check(index, effort, held, Q)
        mask = rng.random(300) < 0.3
        check(index, effort, {i: x for i, x in held.items() if mask[i]}, Q, filter=mask)
        assert index.check().ok, index.check()
        if rng.random() < 0.3:
            index.compact()
        if rng.random() < 0.5:
            back = [i for i in range(300) if i not in held][:8]
            index.add(X[back], ids=back)
            held.update({i: X[i] for i in back})
            check(index, effort, held, Q)


# --- anything in any order ------------------------------------------------------------


class Life(RuleBasedStateMachine):
    """An index and a dictionary live the same life."""

    @initialize(
        kind=st.sampled_from(sorted(KINDS)),
        metric=st.sampled_from(METRICS),
        seed=st.integers(0, 2**16),
    )
    def begin(self, kind, metric, seed):
        self.rng = np.random.default_rng(seed)
        self.index, self.effort = made(kind, metric)
        self.held, self.next = {}, 0
        self.folder = tempfile.TemporaryDirectory()
        self.add(40)

    def vectors(self, n):
        X = self.rng.standard_normal((n, D)).astype(np.float32)
        if self.held and self.rng.random() < 0.3:  # some that are there already
            X[: n // 2] = self.rng.choice(list(self.held.values()), n // 2)
        return X

    def some(self, most):
        count = min(len(self.held), most)
        return self.rng.choice(sorted(self.held), count, replace=False)

    @rule(n=st.integers(0, 12))
    def add(self, n):
        X, ids = self.vectors(n), self.next + self.rng.permutation(n)
        self.index.add(X, ids=ids)
        self.next += n
        self.held.update(dict(zip(ids.tolist(), X, strict=True)))

    @rule(n=st.integers(0, 15))
    def remove(self, n):
        ids = self.some(n)
        self.index.remove(ids)
        for i in ids.tolist():
            del self.held[i]

    @rule(n=st.integers(0, 4))
    def update(self, n):
        ids = self.some(n)
        X = self.vectors(len(ids))
        self.index.update(ids, X)
        self.held.update(dict(zip(ids.tolist(), X, strict=True)))

    @rule(k=st.integers(1, 12), nq=st.sampled_from([1, 3, 14]))
    def search(self, k, nq):
        Q = self.rng.standard_normal((nq, D)).astype(np.float32)
        check(self.index, self.effort, self.held, Q, k)

    @rule(k=st.integers(1, 12), share=st.sampled_from([0.05, 0.5, 1.0]))
    def search_some(self, k, share):
        Q = self.rng.standard_normal((2, D)).astype(np.float32)
        mask = self.rng.random(self.next + 1) < share
        passing = {i: x for i, x in self.held.items() if mask[i]}
        check(self.index, self.effort, passing, Q, k, filter=mask)

    @rule(mmap=st.booleans())
    def save_and_load(self, mmap):
        path = Path(self.folder.name) / "index.ann"
        self.index.save(path)
        self.index = ann.load(path, mmap=mmap)

    @rule()
    def compact(self):
        self.index.compact()

    @precondition(lambda self: len(self.held) > 0)
    @rule()
    def check_up(self):
        health = self.index.check()
        assert health.ok or self.index.metric == "ip", health
        self.index.repair()
        assert self.index.check().ok

    @invariant()
    def counts(self):
        if hasattr(self, "index"):
            assert self.index.ntotal == len(self.held)

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=int(os.environ.get("ANN_STEPS", "2400")) // 60,
    stateful_step_count=60,
    deadline=None,
    derandomize="ANN_STEPS" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
