"""Searches while the index changes, changes that are broken off, forks and spawns."""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import ann
import ann.insertion
from tests.ann import reference
from tests.ann.data import clustered, gaussian

CHANGES = int(os.environ.get("ANN_CHANGES", 40))
FEWEST = 50  # searches of each thread, however quick the changes are
D = 24
KINDS = {
    "Flat": (lambda: ann.Flat(), {}),
    "IVF": (lambda: ann.IVF(nlist=20), {"nprobe": 20}),
    "HNSW": (lambda: ann.HNSW(M=12, ef_construction=80), {"ef_search": 80}),
    "HNSW SQ8": (
        lambda: ann.HNSW(M=12, ef_construction=80, codec=ann.SQ(8), refine=3),
        {"ef_search": 80},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_many_search_while_one_adds_and_removes(kind):
    make, effort = KINDS[kind]
    stays, comes = clustered(3000, D, seed=1), clustered(3000, D, seed=2)
    Q = stays[::100] + 0.01
    index = make().add(stays, ids=np.arange(3000))
    true = reference.exact("l2", Q, np.concatenate([stays, comes]), 10)[1][:, -1]
    given, failures, counts = [3000], [], []
    ended = threading.Event()

    def search(seed):
        rng, near, total, count = np.random.default_rng(seed), 0, 0, 0
        while not failures and (count < FEWEST or not ended.is_set()):
            count += 1
            some = rng.choice(len(Q), rng.choice([1, 4, 16]), replace=False)
            alone = rng.random() < 0.5
            asked = Q[some[0]] if alone else Q[some]
            filtered = {"filter": np.arange(0, 3000, 2)} if rng.random() < 0.2 else {}
            ids, distances = index.search(asked, 10, **effort, **filtered)
            ids, distances = np.atleast_2d(ids), np.atleast_2d(distances)
            if ids.shape != (1 if alone else len(some), 10):
                failures.append(("shape", ids.shape))
            for row, at in zip(ids, distances, strict=True):
                if len(set(row.tolist())) < 10 and (row >= 0).all():
                    failures.append(("twice", row))
                if ((row < -1) | (row >= given[0])).any() or (np.diff(at) < 0).any():
                    failures.append(("unknown", row, at))
                if filtered and (row % 2 == 1).any():
                    failures.append(("filtered", row))
            if not filtered:
                last = true[some[:1] if alone else some]
                near += int((distances <= last[:, None] * 1.0001).sum())
                total += distances.size
        counts.append((near, total))

    def change():
        try:
            for number in range(CHANGES):
                if failures:
                    break
                change_once(np.random.default_rng(number))
        finally:
            ended.set()

    def change_once(rng):
        n = int(rng.integers(1, 200))
        ids = np.arange(given[0], given[0] + n)
        given[0] += n
        index.add(comes[rng.integers(3000, size=n)], ids=ids)
        if rng.random() < 0.5:
            index.update(ids[: n // 3], comes[: n // 3])
        index.remove(ids)
        if rng.random() < 0.1:
            index.compact()

    threads = [threading.Thread(target=search, args=(s,)) for s in range(8)]
    threads.append(threading.Thread(target=change))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
    # Of the ten nearest of all that ever was inside, most come from what stays.
    near, total = np.sum(counts, axis=0)
    assert total > 500
    assert index.ntotal == 3000
    assert index.check().ok, index.check()
    quiet = index.search(Q, 10, **effort)[1]
    assert near / total > (quiet <= true[:, None] * 1.0001).mean() - 0.01


def recall(index, X, Q, **effort):
    ids, _ = index.search(Q, 10, **effort)
    return reference.recall(ids, reference.exact("l2", Q, X, 10)[0])


@pytest.mark.parametrize("after", [0, 1, 40, 300, 2000])
def test_a_graph_keeps_what_was_in_when_an_add_is_broken_off(after):
    X, Q = gaussian(3000, D, seed=1), gaussian(30, D, seed=2)
    index = ann.HNSW(M=10, ef_construction=60).add(X[:500])

    def stop(done, n):
        assert n == 2500
        if done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.add(X[500:], progress=stop)
    count = index.ntotal
    assert after <= count - 500 < after + 200
    assert index.check().ok, index.check()
    distances = index.search(X, 1, ef_search=100)[1]
    inside = distances[:, 0] == 0
    assert inside[:500].mean() > 0.99
    assert abs(inside.sum() - count) < 0.01 * count + 1
    missing = np.flatnonzero(~inside)
    missing = missing[missing >= 500]
    index.add(X[missing], ids=missing + 10_000)
    assert recall_of_all(index, X, Q) > 0.97
    assert index.compact().check().ok


def recall_of_all(index, X, Q):
    distances = index.search(Q, 10, ef_search=200)[1]
    return (distances <= reference.exact("l2", Q, X, 10)[1] * 1.00001).mean()


@pytest.mark.parametrize("where", ["insert_points", "link_back"])
def test_a_thread_that_fails_amid_a_batch_leaves_a_sound_graph(where, monkeypatch):
    X = gaussian(1500, D)
    index = ann.HNSW(M=8, ef_construction=50).add(X[:300])
    kernel, calls = getattr(ann.insertion.kernels, where), []

    def breaks(*arguments):
        calls.append(0)
        if len(calls) == 30:
            raise MemoryError
        return kernel(*arguments)

    monkeypatch.setattr(ann.insertion.kernels, where, breaks)
    with pytest.raises(MemoryError):
        index.add(X[300:])
    monkeypatch.undo()
    assert 300 <= index.ntotal < 1500
    assert index.check().ok, index.check()
    assert (
        index.search(X[:300], 1, ef_search=60)[0][:, 0] == np.arange(300)
    ).mean() > 0.97


@pytest.mark.parametrize("kind", ["Flat", "IVF"])
def test_others_take_all_of_an_add_or_nothing(kind):
    X = gaussian(600, D)
    index = KINDS[kind][0]().add(X[:300])
    before = index.search(X, 5)

    def stop(done, n):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.add(X[300:], progress=stop)
    for a, b in zip(index.search(X, 5), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert index.add(X[300:]).ntotal == 600
    empty = KINDS[kind][0]()
    with pytest.raises(KeyboardInterrupt):
        empty.add(X, progress=stop)
    for a, b in zip(
        empty.add(X).search(X, 5), KINDS[kind][0]().add(X).search(X, 5), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_progress_is_told_up_to_the_end():
    told = []
    ann.HNSW(M=4).add(gaussian(500, 8), progress=lambda *at: told.append(at))
    assert told[-1] == (500, 500)
    assert told == sorted(told)
    assert len(told) > 10


# --- processes ------------------------------------------------------------------------

_shared = None


def _answer(queries):
    return _shared.search(queries, 5)[0]


def _take(index):
    global _shared
    _shared = index


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("kind", ["Flat", "HNSW"])
def test_a_fork_after_a_search_searches_and_changes(kind):
    X = gaussian(2000, D)
    index = KINDS[kind][0]().add(X)
    expected = index.search(X[:64], 5)[0]
    index._writer.acquire()  # as if another thread were changing it
    try:
        _take(index)
        fork = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(2, fork, _add_one) as pool:  # ends if that fails
            answers = list(pool.map(_answer, [X[:64], X[:64]]))
    finally:
        index._writer.release()
    for answer in answers:
        np.testing.assert_array_equal(answer, expected)
    assert index.ntotal == 2000


def _add_one():
    _shared.add(np.full((1, D), 5.0))
    assert _shared.ntotal == 2001


@pytest.mark.parametrize("kind", ["IVF", "HNSW SQ8"])
def test_a_spawned_pool_searches_alike(kind):
    X = gaussian(1000, D)
    index = KINDS[kind][0]().add(X)
    expected = index.search(X[:20], 5)[0]
    with multiprocessing.get_context("spawn").Pool(1, _take, (index,)) as pool:
        np.testing.assert_array_equal(pool.map(_answer, [X[:20]])[0], expected)
