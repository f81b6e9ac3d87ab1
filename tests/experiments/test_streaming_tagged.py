"""Vectors under tags, in libraries that remove and in those that do not."""

import itertools

import fakes
import numpy as np
import pytest

from experiments import indexes, ours
from experiments.streaming import tagged, updatable
from experiments.streaming.tagged import Tagged

D, K = 5, 10


class Keeps(fakes.Growing):
    """Exact search that cannot remove."""

    removes = False


def stream(adapter, tags=400, vectors=2000, metric="l2", **build):
    return Tagged(adapter(metric, adapter.Build(**build), 0), tags, vectors)


def check(stream, search, live, Q, k=K, exact=True):
    """Compare answers with exact search among ``{tag: vector}``."""
    ids = stream.ids(stream.searcher(search, k, 1)(Q))
    assert ids.shape == (len(Q), k)
    tags = np.array(sorted(live))
    X = np.array([live[tag] for tag in tags])
    distances = np.linalg.norm(X[None] - Q[:, None], axis=2)
    expected = tags[np.argsort(distances, axis=1, kind="stable")[:, :k]]
    expected = np.pad(
        expected, ((0, 0), (0, k - expected.shape[1])), constant_values=-1
    )
    assert set(ids.ravel().tolist()) <= set(live) | {-1}
    agree = (ids == expected).mean()
    assert agree == 1 if exact else agree > 0.95


CASES = [
    (fakes.Growing, {}, {}, tagged.REMOVED),
    (Keeps, {}, {}, tagged.FILTERED),
    (updatable.Flat, {}, {}, None),
    (updatable.HNSW, {"M": 8}, {"ef_search": 40}, None),
    (updatable.IVF, {"nlist": 5}, {"nprobe": 5}, None),
    (updatable.Hnswlib, {"M": 8}, {"ef_search": 200}, tagged.REMOVED),
    (updatable.FaissIVFFlat, {"nlist": 5}, {"nprobe": 5}, tagged.REMOVED),
]


@pytest.mark.parametrize(
    ("adapter", "build", "search", "deletes"), CASES, ids=lambda case: str(case)[:40]
)
def test_a_random_life_answers_as_a_dictionary_does(adapter, build, search, deletes):
    pytest.importorskip(adapter.library)
    rng = np.random.default_rng(1)
    one, live = stream(adapter, **build), {}
    exact = adapter not in (updatable.HNSW, updatable.Hnswlib)
    params = adapter.Search(**search)
    Q = rng.standard_normal((15, D)).astype(np.float32)

    def insert(tags):
        X = rng.standard_normal((len(tags), D)).astype(np.float32)
        one.insert(tags, X, 1)
        live.update(zip(tags, X, strict=True))

    def delete(tags):
        one.delete(tags)
        for tag in tags:
            del live[tag]

    insert(range(250))
    check(one, params, live, Q, exact=exact)
    for start in (0, 40, 120):
        delete(range(start, start + 40))
        check(one, params, live, Q, exact=exact)
        insert(range(start + 10, start + 20))  # a tag comes back with another vector
        insert(range(250 + start, 250 + start + 10))
        check(one, params, live, Q, exact=exact)
    assert one.live == len(live)
    assert one.deletes == (deletes or one.deletes)
    assert one.nbytes > 0


def test_a_search_that_filters_asks_for_more_until_it_has_enough():
    one = stream(Keeps)
    line = np.arange(200, dtype=np.float32)[:, None] * np.ones(D, np.float32)
    one.insert(range(200), line, 1)
    one.delete(range(100))  # all that is near the first query
    search = one.searcher(Keeps.Search(), K, 1)
    Q = line[[0, 150]]
    ids = one.ids(search(Q))
    assert ids[0].tolist() == list(range(100, 110))
    assert set(ids[1]) == set(range(145, 155)) | set(ids[1][-1:])
    asked = one._index.asked
    assert asked[0][0] == 2  # both queries
    assert [nq for nq, _ in asked[1:]] == [1] * (len(asked) - 1)  # the first one alone
    widths = [k for _, k in asked]
    assert widths[0] < 60
    assert widths[-1] >= 110
    assert all(b == min(2 * a, 200) for a, b in itertools.pairwise(widths))


def test_fewer_live_than_asked_for_are_padded():
    one = stream(Keeps)
    X = np.random.default_rng(0).standard_normal((30, D)).astype(np.float32)
    one.insert(range(30), X, 1)
    one.delete(range(3, 30))
    ids = one.ids(one.searcher(Keeps.Search(), K, 1)(X[:4]))
    assert [sorted(row) for row in ids.tolist()] == [[-1] * 7 + [0, 1, 2]] * 4
    one.delete(range(3))
    assert (one.ids(one.searcher(Keeps.Search(), K, 1)(X[:4])) == -1).all()


def test_while_nothing_is_dead_the_library_answers_alone():
    one = stream(Keeps)
    X = np.random.default_rng(0).standard_normal((30, D)).astype(np.float32)
    one.insert(range(5, 35), X, 1)
    assert one.searcher(Keeps.Search(), K, 1)(X[:2]).tolist() == [
        *one._index.searcher(Keeps.Search(), K, 1)(X[:2]).tolist()
    ]
    assert one.ids(one.searcher(Keeps.Search(), K, 1)(X[:2]))[:, 0].tolist() == [5, 6]


def test_most_queries_are_asked_once_where_the_dead_lie_by_chance():
    rng = np.random.default_rng(0)
    for share in (0.9, 0.5, 0.1):
        fetch = tagged._expected(K, share)
        assert (rng.binomial(fetch, share, 20_000) < K).mean() < 0.01
        assert fetch < 3 * K / share
    assert tagged._expected(K, 1.0) == K


def test_ours_removes_as_soon_as_the_library_does(monkeypatch):
    one = stream(updatable.Flat)
    X = np.random.default_rng(0).standard_normal((30, D)).astype(np.float32)
    one.insert(range(30), X, 1)
    had = hasattr(one._index._index, "remove")
    assert one.deletes == (tagged.REMOVED if had else tagged.FILTERED)
    removed = []
    monkeypatch.setattr(
        type(one._index._index),
        "remove",
        lambda self, ids: removed.append(ids.tolist()),
        raising=False,
    )
    assert one.deletes == tagged.REMOVED
    one.delete(range(4, 7))
    assert removed == [[4, 5, 6]]


def test_which_indexes_are_driven():
    assert updatable.find(ours.HNSW) is updatable.HNSW
    assert updatable.find(indexes.KINDS["hnswlib", "HNSW"]) is updatable.Hnswlib
    assert updatable.find(indexes.KINDS["faiss", "IVFFlat"]) is updatable.FaissIVFFlat
    assert updatable.find(indexes.KINDS["usearch", "HNSW"]) is None
    with pytest.raises(NotImplementedError):
        updatable.Updatable.remove(object(), np.arange(3))
