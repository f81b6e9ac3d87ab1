"""Scans that let in what passes, and scores of that alone, against plain oracles."""

import numpy as np
import pytest

import ann
from ann import exact, filters
from ann.filters import Filter
from ann.kernels import answer
from ann.kernels.scan import Everything, FlatScratch
from ann.kernels.shadow import Shadow
from ann.kernels.stores import ROWS
from ann.memory import aligned
from ann.metrics import metric as metric_named
from tests.ann import reference
from tests.ann.data import clustered, gaussian, integers
from tests.ann.process import python
from tests.ann.reference import METRICS
from tests.ann.test_answer import CODECS

N, NLIST = 700, 9
X, Q = integers(N, 16, seed=1), integers(15, 16, seed=2)  # with many ties
X[:, 0] += 9  # none is zero
Q[:, 0] += 9
SHARES = (0.5, 0.1, 0.01)
CASES = [
    (codec, metric)
    for codec in CODECS
    for metric in METRICS
    if codec != "OPQ4" or metric == "l2"
]
# A scan is one function for most stores: some of them, and those with one of their own.
SCANS = [("float32", "l2"), ("SQ8", "ip"), ("PQ8", "l1"), ("PQ4", "l2"), ("OPQ4", "l2")]
IN_LISTS = [case for case in CASES if case[0] != "SQ4" and case != ("SQ8", "cosine")]


def some(share, n=N, seed=0):
    """Return a filter that a share of all passes."""
    rng = np.random.default_rng(seed)
    count = max(1, round(share * n))
    return Filter(np.sort(rng.choice(n, count, replace=False)).astype(np.int32), n)


def filters_of(n=N):
    yield from (some(share, n) for share in SHARES)
    yield Filter(np.arange(n, dtype=np.int32), n)
    yield Filter(np.arange(n // 3, n // 3 + 40, dtype=np.int32), n)
    yield Filter(np.empty(0, np.int32), n)


def found(structure, queries, scratch, k, effort=(0, 0)):
    """Return keys, positions and counts of a structure's search."""
    shape = len(queries), k
    keys, ids = np.empty(shape, np.float32), np.empty(shape, np.int32)
    scored = np.empty(len(queries), np.int64)
    answer.search(structure, queries, effort, scratch, keys, ids, scored)
    return keys, ids, scored


def passing(keys, ids, selected, k):
    """Return the first k of each row of a whole ranking that pass, padded."""
    best = np.full((len(ids), k), np.inf, np.float32), np.full((len(ids), k), -1)
    for row in range(len(ids)):
        own = np.flatnonzero(np.isin(ids[row], selected.positions))[:k]
        best[0][row, : len(own)] = keys[row, own]
        best[1][row, : len(own)] = ids[row, own]
    return best


def check(got, expected):
    np.testing.assert_array_equal(got[1], expected[1])
    np.testing.assert_array_equal(got[0].view(np.int32), expected[0].view(np.int32))


def prepared(metric, queries=Q):
    return metric_named(metric).prepare(queries, "Q")


def room(index):
    return index._scratch(index._state, (NLIST, NLIST))


def places(lists):
    """Return where in the lists each position is."""
    return np.argsort(lists.row_ids).astype(np.int32)


# --- everything -----------------------------------------------------------------------


@pytest.mark.parametrize(("codec", "metric"), CASES)
def test_of_everything_what_passes_is_found(codec, metric):
    index = ann.Flat(metric, codec=CODECS[codec]()).add(X)
    everything, queries = index._state.structure, prepared(metric)
    keys, ids, _ = found(everything, queries, room(index), N)
    for selected in filters_of():
        filtered = everything._replace(allowed=selected.allowed)
        listed = filters.listed(everything, selected)
        for k in (1, 10, N):
            expected = passing(keys, ids, selected, k)
            got = found(listed, queries, room(index), k)
            check(got, expected)
            assert (got[2] == len(selected)).all()
            if (codec, metric) in SCANS:
                got = found(filtered, queries, room(index), k)
                check(got, expected)
                assert (got[2] == N).all()


@pytest.mark.parametrize("metric", METRICS)
def test_float32_is_the_oracle_s(metric):
    index, queries = ann.Flat(metric).add(X), prepared(metric)
    for selected in filters_of():
        pos = selected.positions
        true = reference.exact(metric, Q, X[pos], 10, pos)
        listed = filters.listed(index._state.structure, selected)
        keys, ids, _ = found(listed, queries, room(index), 10)
        answer.present(METRICS.index(metric), keys.reshape(-1))
        np.testing.assert_allclose(keys, true[1], rtol=1e-5, atol=1e-6)
        if metric != "cosine":  # whose ties are rounded
            np.testing.assert_array_equal(ids, true[0])


@pytest.mark.parametrize("codec", ["float32", "SQ4", "PQ8", "PQ4"])
def test_a_batch_that_shares_tiles(codec):
    index = ann.Flat(codec=CODECS[codec]()).add(np.tile(X, (3, 1)))  # several tiles
    everything, n = index._state.structure, 3 * N
    size = index._codec.scan_query_size(16)
    keys, ids = exact.scan_rows(everything.store, n, Q, n, 2, size)
    for selected in (some(0.5, n), some(0.01, n)):
        buffers = aligned((len(Q), size), np.float32)
        got = np.empty((len(Q), 20), np.float32), np.empty((len(Q), 20), np.int32)
        exact.scan.scan_all(everything.store, n, Q, buffers, *got, selected.allowed)
        check(got, passing(keys, ids, selected, 20))
        listed = filters.listed(everything, selected)
        check(
            exact.search_listed(listed, Q, 20, 2, size),
            passing(keys, ids, selected, 20),
        )


def test_what_a_filter_has_no_place_for_does_not_pass():
    everything = Everything(ROWS["l2"](X), N, None, np.ones(100, np.uint8))
    scratch = FlatScratch(aligned((16,), np.float32), aligned((32,), np.float32))
    _, ids, _ = found(everything, Q, scratch, N)
    np.testing.assert_array_equal(
        np.sort(ids[:, :100]), np.tile(np.arange(100), (15, 1))
    )
    assert (ids[:, 100:] == -1).all()


# --- float32 rows, in a batch ---------------------------------------------------------


@pytest.mark.parametrize("key", ["l2", "dot", "l1"])
@pytest.mark.parametrize("nq", [1, 11, 40])
def test_among_rows_is_among_all_less_the_others(key, nq, monkeypatch):
    V, queries = gaussian(900, 20, seed=1), gaussian(nq, 20, seed=2)
    V[300:600] = V[:300]  # ties
    keys, ids = exact.search(key, V, queries, 900, 1)
    for gathered in (2**24, 20 * 64):  # at once, and 64 rows at a time
        monkeypatch.setattr(exact, "GATHERED", gathered)
        for selected in filters_of(900):
            for k in (1, 15, 100):
                pos = selected.positions
                got = exact.search_among(key, V, pos, queries, k, 2)
                check(got, passing(keys, ids, selected, k))


# --- lists ----------------------------------------------------------------------------

WIDE = clustered(N, 64, seed=1), clustered(15, 64, seed=2) + gaussian(15, 64)
FAR = np.random.default_rng(0).permutation(clustered(N, 64, spread=0.01))


def lists(codec, metric, V=X):
    index = ann.IVF(metric, nlist=NLIST, codec=CODECS[codec]())
    return index.add(V[:500]).add(V[500:])


def check_lists(index, queries, scans=True):
    whole, all_lists = index._state.structure, (NLIST, NLIST)
    keys, ids, _ = found(whole, queries, room(index), N, all_lists)
    for selected in filters_of():
        filtered = whole._replace(allowed=selected.allowed)
        listed = filters.listed_in_lists(whole, selected, places(whole))
        for k in (1, 10, N):
            expected = passing(keys, ids, selected, k)
            if scans:
                check(found(filtered, queries, room(index), k, all_lists), expected)
            got = found(listed, queries, room(index), k, all_lists)
            check(got, expected)
            own_lists = len(listed.owners) if whole.residual else 0
            assert (got[2] == len(selected) + own_lists).all()


@pytest.mark.parametrize(("codec", "metric"), IN_LISTS)
def test_of_lists_what_passes_is_found(codec, metric):
    check_lists(lists(codec, metric), prepared(metric), (codec, metric) in SCANS)


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("V", [WIDE[0], FAR], ids=["near", "far"])
def test_of_lists_with_shadows_what_passes_is_found(metric, V):
    index = lists("float32", metric, V)
    assert isinstance(index._state.structure.store, Shadow)
    check_lists(index, prepared(metric, WIDE[1]))


@pytest.mark.parametrize("codec", ["float32", "SQ8", "PQ8", "PQ4"])
@pytest.mark.parametrize("V", [X, WIDE[0]], ids=["narrow", "wide"])
def test_lists_that_are_read_once_for_all(codec, V):
    """List after list for a batch, against query after query."""
    index = lists(codec, "l2", V)
    queries = np.repeat(Q if V is X else WIDE[1], 2, axis=0)
    whole = index._state
    for selected in (some(0.5), some(0.1)):
        some_of = whole.structure._replace(allowed=selected.allowed)
        alone = found(some_of, queries, room(index), 10, (4, 4))
        keys, ids = np.empty((30, 10), np.float32), np.empty((30, 10), np.int32)
        results = keys, ids, np.empty(30, np.int64)
        index._search_together(whole.among(selected, some_of), queries, 4, 1, results)
        check((keys, ids), alone)
        assert np.isin(ids[ids >= 0], selected.positions).all()


# --- without a filter -----------------------------------------------------------------

COMPILED = """
import numpy as np
import ann
from ann.kernels import answer
from tests.ann.data import gaussian

X, Q = gaussian(100, 64), gaussian(1, 64)
results = np.empty((1, 5), "f4"), np.empty((1, 5), "i4"), np.empty(1, "i8")
for index in ann.Flat(codec=ann.SQ()), ann.Flat(codec=ann.PQ(8, 4)), ann.IVF(nlist=2):
    index.add(X)
    structure, scratch = index._state.structure, index._scratch(index._state, (2, 2))
    for allowed in (None, np.ones(100, np.uint8)):
        known = set(answer.search.signatures)
        filtered = structure._replace(allowed=allowed)
        answer.search(filtered, Q, (2, 2), scratch, *results)
        [signature] = set(answer.search.signatures) - known
        print(answer.search.inspect_llvm(signature).count("passes"), end=" ")
"""


def test_a_search_without_a_filter_is_compiled_without_one():
    """One by one, by blocks, by shadows."""
    counts = list(map(int, python(COMPILED, ANN_NUMBA_CACHE="0").split()))
    assert counts[0::2] == [0, 0, 0]
    assert all(counts[1::2])
