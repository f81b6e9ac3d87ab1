"""The quantized graph as an index."""

import numpy as np
import pytest

import ann
from ann import parallel
from tests.ann import reference
from tests.ann.data import clustered, gaussian

N, D = 1200, 24
X = clustered(N, D, spread=0.6)
Q = clustered(100, D, seed=0, spread=0.7)
CODECS = {"float32": {}, "SQ8": {"codec": ann.SQ(8), "refine": 2}}


def made(metric="l2", codec="SQ8", **more):
    return ann.QG(metric, M=8, ef_construction=60, **CODECS[codec], **more)


def truth(metric, k=10, rows=X):
    return ann.Flat(metric).add(rows).search(Q, k)[0]


@pytest.mark.parametrize(
    ("metric", "codec"),
    [("l2", "SQ8"), ("cosine", "SQ8"), ("ip", "SQ8"), ("l2", "float32")],
)
def test_it_finds_what_is_near(metric, codec):
    index, exact = made(metric, codec).add(X), ann.Flat(metric).add(X)
    ids, distances = index.search(Q, ef_search=100)
    assert reference.recall(ids, truth(metric)) > 0.97
    true = dict(zip(*map(tuple, exact.search(Q[0], N)), strict=True))
    expected = [true[i] for i in ids[0]]
    np.testing.assert_allclose(distances[0], expected, rtol=1e-5, atol=1e-5)
    for r in (0, 7):
        alone = index.search(Q[r], ef_search=100)
        np.testing.assert_array_equal(alone[0], ids[r])


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_of_few_vectors_none_is_missing(metric):
    """A pool no larger than the index: a newer estimate must drop no one."""
    for n in range(1, 14):
        rows, queries = gaussian(n, 24, seed=n), gaussian(20, 24, seed=50 + n)
        ids, distances = made(metric, "float32").add(rows).search(queries, k=n)
        expected = ann.Flat(metric).add(rows).search(queries, k=n)
        np.testing.assert_array_equal(ids, expected[0])
        np.testing.assert_allclose(distances, expected[1], rtol=1e-5, atol=1e-5)


def test_nodes_are_scored_once_a_step_and_more_with_a_larger_pool():
    index, scored = made().add(X), np.zeros(len(Q), np.int64)
    work = []
    for ef in (10, 20, 80):
        index.search(Q, ef_search=ef, distance_computations=scored)
        assert (scored >= ef).all()
        work.append(scored.mean())
    assert work == sorted(work)
    assert work[-1] < 130  # 20 of them for the way in, and 20 to be refined


def test_rows_have_room_for_twice_m_up_to_a_multiple_of_32():
    for M, degree in ((2, 32), (16, 32), (17, 64)):
        index = ann.QG(M=M, ef_construction=20).add(X[:200])
        near, base = index._held.near.nodes, index._held.graph.base
        assert near.degree == degree
        linked = base[:, 0] >= 0
        assert (near.links[linked, 0] == base[linked, 0]).all()


def test_what_is_removed_is_in_no_row():
    index = made().add(X)
    index.remove(np.arange(0, N, 3))
    gone = np.arange(0, N, 3)
    ids, _ = index.search(Q, ef_search=100)
    assert not np.isin(ids, gone).any()
    kept = np.setdiff1d(np.arange(N), gone)
    links = index._held.near.nodes.links[kept, :32]
    assert not np.isin(links, gone).any()
    expected = ann.Flat().add(X[kept], kept).search(Q)[0]
    assert reference.recall(ids, expected) > 0.97
    index.add(X[gone], gone).compact()
    assert reference.recall(index.search(Q, ef_search=100)[0], truth("l2")) > 0.97
    assert index.check().ok


def test_an_index_that_was_emptied_begins_anew():
    index = made(codec="float32").add(X[:300] + 50).remove(np.arange(300)).compact()
    assert (index.search(Q[:3])[0] == -1).all()
    index.add(X)
    np.testing.assert_allclose(index._held.near.frame.centre, X.mean(axis=0), atol=0.1)
    ids, _ = index.search(Q, ef_search=100)
    assert reference.recall(ids - 300, truth("l2")) > 0.97


def test_threads_are_kept_to(monkeypatch):
    seen, run = [], parallel.run

    def spy(work, n, chunk, threads):
        seen.append(threads)
        run(work, n, chunk, threads)

    monkeypatch.setattr(parallel, "run", spy)
    made().add(X[:200], threads=1).remove([3], threads=1).compact(threads=1)
    assert set(seen) == {1}


@pytest.mark.filterwarnings("ignore::ann.fit.CodecWarning")  # clusters one by one
def test_what_comes_later_is_found():
    index = made("cosine").add(X[:700])
    for start in range(700, N, 100):
        index.add(X[start : start + 100])
    assert reference.recall(index.search(Q, ef_search=100)[0], truth("cosine")) > 0.97


def test_equal_vectors_are_all_found():
    index = made().add(np.repeat(X[:200], 5, axis=0))
    ids, distances = index.search(X[:50], k=5, ef_search=50)
    assert (distances == 0).all()
    np.testing.assert_array_equal(np.sort(ids), np.arange(250).reshape(50, 5))


@pytest.mark.parametrize("mmap", [False, True])
def test_a_file_answers_alike(mmap, tmp_path):
    index = made("cosine").add(X, ids=np.arange(N) * 3)
    index.remove([3, 30]).save(tmp_path / "index")
    other = ann.load(tmp_path / "index", mmap=mmap)
    for mine, theirs in zip(index.search(Q), other.search(Q), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert other.params == index.params
    more, new = gaussian(50, D, seed=9), np.arange(5000, 5050)
    mine, theirs = index.add(more, new).search(Q), other.add(more, new).search(Q)
    np.testing.assert_array_equal(mine[0], theirs[0])


def test_filters_epsilon_and_radius():
    index = made().add(X)
    some = np.arange(0, N, 2)
    ids, _ = index.search(Q, filter=some, ef_search=100)
    expected = ann.Flat().add(X[some], some).search(Q)[0]
    assert reference.recall(ids, expected) > 0.97
    assert reference.recall(index.search(Q, epsilon=0.5)[0], truth("l2")) > 0.9
    found, _ = index.range_search(Q, 3.0, ef_search=100)
    within, _ = ann.Flat().add(X).range_search(Q, 3.0)
    assert sum(map(len, found)) > 0.97 * sum(map(len, within))
    index.calibrate(X[::20] + 0.1)
    assert reference.recall(index.search(Q, target_recall=0.9)[0], truth("l2")) > 0.8


def test_a_trace_tells_the_steps():
    index = made().add(X)
    [trace] = index.trace(Q[0], ef_search=50)
    np.testing.assert_array_equal(trace.ids, index.search(Q[0], ef_search=50)[0])
    assert len(trace.steps) > 40
    roots = index._held.near.roots
    assert trace.steps[0].id in roots.links[0, : roots.degree]


def test_what_it_cannot_do_is_refused():
    with pytest.raises(
        ValueError, match="QG must have metric l2, ip or cosine, got 'l1'"
    ):
        ann.QG("l1")
    with pytest.raises(ValueError, match=r"QG must have an ann.SQ or no codec, got PQ"):
        ann.QG(codec=ann.PQ(4))


@pytest.mark.parametrize("n", [0, 1, 2, 40])
def test_few_vectors(n):
    index = made().add(X[:n])
    ids, _ = index.search(Q[:5], k=10)
    assert ((ids >= 0).sum(axis=1) == min(n, 10)).all()
