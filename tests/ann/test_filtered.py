"""Walks among what passes a filter, and lists of it, against plain oracles."""

from functools import cache

import numpy as np
import pytest

import ann
from ann import duplicates, filters
from ann.filters import Filter
from ann.hnsw import _query_size
from ann.insertion import new_scratch
from ann.kernels import filtered
from tests.ann import reference
from tests.ann.data import clustered, gaussian, integers
from tests.ann.reference import METRICS
from tests.ann.test_answer import CODECS
from tests.ann.test_listed import check, found, passing, places, prepared, some

NEVER = (-1.0, -1.0)
UNLIMITED = 10**9


def memory(index, ef):
    """Return working memory for filtered walks."""
    (n, M0), d = index._held.graph.base.shape, index.d
    own = new_scratch(n, ef, 2 * M0, _query_size(index._codec, d), d)
    return filtered.FilteredScratch(own, np.empty(filtered.THROUGH + M0, np.int32))


def walked(index, selected, queries, k=10, ef=64, most=None, stop=NEVER):
    """Return keys, positions and counts of filtered walks."""
    walk, lead = index._state.structure, None
    if walk.same.size:
        lead = duplicates.leaders(walk.same)
    structure = filters.filtered_walk(walk, selected, lead)
    if most is not None:
        structure = structure._replace(most=most)
    keys, ids, scored = found(structure, queries, memory(index, ef), k, (ef, *stop))
    for row, of in zip(ids, keys, strict=True):
        real = row[row >= 0]
        assert np.isin(real, selected.positions).all()
        assert len(set(real.tolist())) == len(real)
        assert (row[len(real) :] == -1).all()
        assert (of[len(real) :] == np.inf).all()
        np.testing.assert_array_equal(
            np.lexsort((real, of[: len(real)])), np.arange(len(real))
        )
    return keys, ids, scored


def best(table, selected, k):
    """Return the k best of what passes; ``table`` has the key of every vector."""
    return reference.nearest(table[:, selected.positions], k, selected.positions)


def different(n, d, seed):
    """Return vectors of integers, none of which comes twice: each is a node."""
    many = integers(2 * n, d, seed=seed)
    first = np.sort(np.unique(many, axis=0, return_index=True)[1])[:n]
    assert len(first) == n
    return many[first]


# --- the walk, step by step -----------------------------------------------------------

V, QUERIES = different(900, 6, seed=1), integers(25, 6, seed=9)


@cache
def whole(metric="l2"):
    return ann.HNSW(metric, M=4, ef_construction=20, seed=2).add(V)


def oracle(index, selected, row, ef, most):
    """Return pool and count of a plain filtered walk on an index's graph."""
    g, positions = index._held.graph, selected.positions.tolist()
    among, m = set(positions), len(positions)
    M0 = g.base.shape[1]
    before = [1]  # the entry point

    def links(node, layer=0):
        links = g.base[node] if layer == 0 else g.upper[g.upper_row[node] + layer - 1]
        linked = [int(other) for other in links if other >= 0]
        before[0] += len(linked) if layer else 0
        return linked

    def around(node, seen):
        return reference.gather(
            links, among.__contains__, node, seen, M0,
            lambda size: size <= filtered.THROUGH,
        )  # fmt: skip

    def seeds(met):
        count = filtered.SEEDS if met >= M0 // 2 else filtered.MORE_SEEDS
        count = min(m, count)
        return {positions[(2 * s + 1) * m // (2 * count)] for s in range(count)}

    key_of = row.tolist().__getitem__
    start = reference.descend(links, key_of, g.entry_point, range(g.top, 0, -1))
    return reference.search_filtered(
        around, among.__contains__, key_of, start, seeds, ef, most, before[0]
    )


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.02])
@pytest.mark.parametrize("metric", ["l2", "ip", "l1"])
def test_a_walk_is_the_oracle_s(metric, share):
    index, selected = whole(metric), some(share, len(V))
    table = reference.keys(index._metric.key, QUERIES, V)
    for ef in (1, 12, 80):
        k = min(10, ef)
        _, ids, scored = walked(index, selected, QUERIES, k, ef, UNLIMITED)
        for r in range(len(QUERIES)):
            pool, count = oracle(index, selected, table[r], ef, UNLIMITED)
            if len(pool) >= min(k, len(selected)):
                assert [i for i in ids[r] if i >= 0] == [i for _, i in pool[:k]]
                assert scored[r] == count
            else:
                assert scored[r] == count + len(selected)


def test_a_walk_that_takes_too_long_is_given_up_for_all_that_passes():
    index, selected = whole(), some(0.3, len(V))
    table = reference.keys("l2", QUERIES, V)
    exact = best(table, selected, 10)
    given_up = 0
    for most in (0, 100, 200, UNLIMITED):
        keys, ids, scored = walked(index, selected, QUERIES, 10, 30, most)
        for r in range(len(QUERIES)):
            pool, count = oracle(index, selected, table[r], 30, most)
            if pool:
                assert ids[r].tolist() == [i for _, i in pool[:10]]
                assert scored[r] == count
            else:
                given_up += 1
                assert scored[r] == count + len(selected)
                np.testing.assert_array_equal(ids[r], exact[0][r])
                np.testing.assert_array_equal(keys[r], exact[1][r].astype("f4"))
    assert len(QUERIES) < given_up < 4 * len(QUERIES)


# --- few, none, all -------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["float32", "SQ8", "PQ4"])
def test_more_are_sought_than_pass(codec):
    index = ann.HNSW(M=6, ef_construction=30, codec=CODECS[codec]())
    X, Q = gaussian(400, 16, seed=1), gaussian(10, 16, seed=2)
    index.add(X)
    everything = Filter(np.arange(400, dtype=np.int32), 400)
    keys, ids, _ = walked(index, everything, Q, 400, 400, 0)  # all, exactly
    for count in (0, 1, 7, 19):
        selected = some(count / 400, 400) if count else Filter(np.empty(0, "i4"), 400)
        expected = passing(keys, ids, selected, 20)
        for most in (0, UNLIMITED):
            got = walked(index, selected, Q, 20, 64, most)
            check(got, expected)
            assert ((got[1] >= 0).sum(axis=1) == len(selected)).all()


@cache
def real(metric="l2", codec="float32"):
    """An index of clusters, which came in no order, and queries from the same."""
    X = np.random.default_rng(5).permutation(clustered(5100, 16, seed=3, clusters=40))
    index = ann.HNSW(metric, M=12, ef_construction=60, codec=CODECS[codec]())
    index.add(X[:5000])
    return index, X[:5000], prepared(metric, X[5000:])


def recall_of(ids, true):
    return reference.recall([row[row >= 0] for row in ids], [t[t >= 0] for t in true])


@cache
def table(metric):
    _, X, Q = real(metric)
    X = prepared(metric, X)
    return reference.keys({"ip": "dot", "cosine": "dot"}.get(metric, metric), Q, X)


@pytest.mark.parametrize("metric", METRICS)
def test_where_all_pass_recall_is_that_without_a_filter(metric):
    index, X, Q = real(metric)
    selected = Filter(np.arange(len(X), dtype=np.int32), len(X))
    true = best(table(metric), selected, 10)[0]
    count = np.empty(len(Q), np.int64)
    for ef in (10, 20, 64):
        plain = index.search(Q, ef_search=ef, distance_computations=count)[0]
        _, ids, scored = walked(index, selected, Q, 10, ef)
        assert recall_of(ids, true) >= recall_of(plain, true) - 0.003
        assert scored.mean() < 1.3 * count.mean() + filtered.SEEDS


def selections(X):
    """Return filters of each selectivity: at random, one region, one corner."""
    n, rng = len(X), np.random.default_rng(0)
    near = np.argsort(((X - X[17]) ** 2).sum(axis=1))
    corner = np.argsort(X[:, 0])
    for share in (0.5, 0.1, 0.01, 0.001):
        count = round(n * share)
        for name, chosen in (
            ("random", rng.permutation(n)),
            ("region", near),
            ("corner", corner),
            ("far", near[::-1]),
        ):
            yield f"{name} {share}", Filter(np.sort(chosen[:count]).astype("i4"), n)


@pytest.mark.parametrize("metric", METRICS)
def test_recall_holds_at_every_selectivity(metric):
    index, X, Q = real(metric)
    M0 = index._held.graph.base.shape[1]
    walks = []
    for name, selected in selections(X):
        if metric == "ip" and name != "random 0.5":
            continue  # ``HNSW`` does not walk there: see the next test
        true = best(table(metric), selected, 10)[0]
        _, ids, scored = walked(index, selected, Q, 10, 64, UNLIMITED)
        assert recall_of(ids, true) >= 0.95, name
        # With its limit a walk costs at most about twice what all that passes does.
        _, ids, scored = walked(index, selected, Q, 10, 64)
        assert recall_of(ids, true) >= 0.95, name
        assert scored.max() <= 2 * len(selected) + 300, name
        if filters.walk_pays(len(X), len(selected), 20, M0):
            walks.append(name)
            ef = filters.pool(20, len(X), len(selected))
            assert walked(index, selected, Q, 10, ef)[2].mean() < len(selected), name
    assert "random 0.5" in walks
    assert not any("0.01" in name or "0.001" in name for name in walks)


@pytest.mark.parametrize("metric", METRICS)
def test_a_search_holds_recall_at_every_selectivity(metric):
    index, X, Q = real(metric)
    for name, selected in selections(X):
        true = best(table(metric), selected, 10)[0]
        ids, _ = index.search(Q, filter=selected.positions)
        assert recall_of(ids, true) >= 0.95, name


@pytest.mark.parametrize("codec", ["SQ8", "SQ4", "PQ8"])
def test_recall_of_what_codes_can_tell(codec):
    """Against all that passes scored by the same codes."""
    index, X, Q = real("l2", codec)
    everything = some(1.0, len(X))
    true = walked(index, everything, Q, 10, 64, 0)[1]
    without = recall_of(walked(index, everything, Q, 10, 64, UNLIMITED)[1], true)
    for name, selected in selections(X):
        if len(selected) > 10:
            true = walked(index, selected, Q, 10, 64, 0)[1]
            ids = walked(index, selected, Q, 10, 64, UNLIMITED)[1]
            assert recall_of(ids, true) >= without - 0.04, name


# --- odd graphs -----------------------------------------------------------------------


def on(index, **parts):
    """Put other links into an index, whose memory is then its own."""
    state = index._state
    graph = state.held.graph._replace(**parts)
    index._set(held=state.held._replace(graph=graph))
    index._state.structure = state.structure._replace(graph=graph)
    return index


def small():
    return ann.HNSW(M=4, ef_construction=20).add(V)


@pytest.mark.parametrize("share", [0.5, 0.05])
def test_what_no_link_leads_to_is_found_all_the_same(share):
    index, selected = small(), some(share, len(V))
    on(index, base=np.full_like(index._held.graph.base, -1), top=0)
    keys, ids, _ = walked(index, selected, QUERIES, 200, 200, UNLIMITED)
    true = best(reference.keys("l2", QUERIES, V), selected, 200)
    np.testing.assert_array_equal(ids, true[0])
    np.testing.assert_array_equal(keys, true[1].astype(np.float32))


@pytest.mark.parametrize("seed", range(5))
def test_links_that_lead_nowhere_end_a_row(seed):
    index, selected, rng = small(), some(0.5, len(V)), np.random.default_rng(seed)
    base = index._held.graph.base.copy()
    wild = rng.random(base.shape) < 0.2
    base[wild] = rng.choice([-2, -(2**31), 2**31 - 1, len(V), len(V) + 7], wild.sum())
    cut = np.where(np.cumsum((base < 0) | (base >= len(V)), axis=1) > 0, -1, base)
    got = walked(on(index, base=base), selected, QUERIES, 10, 30, UNLIMITED)
    expected = walked(on(index, base=cut), selected, QUERIES, 10, 30, UNLIMITED)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (got[1] >= 0).all()


def test_an_entry_point_that_fails_and_all_around_it():
    index, X, Q = real()
    entry = index._held.graph.entry_point
    order = np.argsort(((X - X[entry]) ** 2).sum(axis=1))
    selected = Filter(np.sort(order[-900:]).astype(np.int32), len(X))
    true = best(table("l2"), selected, 10)[0]
    near_entry = Q[np.argsort(((Q - X[entry]) ** 2).sum(axis=1))[:30]]
    own = best(reference.keys("l2", near_entry, X), selected, 10)[0]
    assert recall_of(walked(index, selected, Q, 10, 64, UNLIMITED)[1], true) >= 0.95
    assert (
        recall_of(walked(index, selected, near_entry, 10, 64, UNLIMITED)[1], own) >= 0.9
    )


def test_islands_are_no_harder_than_without_a_filter():
    """Far apart, and each has some that pass."""
    X = clustered(4000, 8, clusters=50, spread=0.02)
    X, Q = np.random.default_rng(1).permutation(X), X[::10] + gaussian(400, 8) / 100
    index, keys = ann.HNSW(M=6, ef_construction=30).add(X), reference.keys("l2", Q, X)
    plain = index.search(Q, k=5, ef_search=40)[0]
    recalls = []
    for seed in range(3):
        selected = some(0.1, len(X), seed)
        ef = filters.pool(40, len(X), len(selected))
        _, ids, _ = walked(index, selected, Q, 5, ef, UNLIMITED)
        recalls.append(recall_of(ids, best(keys, selected, 5)[0]))
    without = recall_of(plain, best(keys, some(1.0, len(X)), 5)[0])
    assert np.mean(recalls) >= without - 0.02


# --- memory and stops -----------------------------------------------------------------


def test_working_memory_serves_any_number_of_searches():
    index, selected = whole(), some(0.3, len(V))
    structure = filters.filtered_walk(index._state.structure, selected)
    many = np.tile(QUERIES, (24, 1))  # 600: the marks start anew twice
    got = found(structure, many, memory(index, 30), 10, (30, *NEVER))
    one = found(structure, QUERIES, memory(index, 30), 10, (30, *NEVER))
    for long, short in zip(got, one, strict=True):
        np.testing.assert_array_equal(long.reshape(24, *short.shape), [short] * 24)


def test_a_walk_stops_where_all_that_is_left_is_too_far():
    index, _, Q = real()
    selected = some(0.5, 5000)
    true = best(table("l2"), selected, 10)[0]
    counts, recalls = [], []
    for stop in ((0.02, 0.0), (0.2, 0.0), (1.0, 0.0), NEVER):
        _, ids, scored = walked(index, selected, Q, 10, 300, UNLIMITED, stop)
        counts.append(scored.mean())
        recalls.append(recall_of(ids, true))
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] / 3
    assert recalls[0] < recalls[-1]
    assert recalls[-1] > 0.99


def test_what_was_looked_through_is_seen_and_what_waits_is_not():
    """No failing vector is looked through twice, and none is lost."""
    index = whole()
    selected = some(0.02, len(V))
    structure = filters.filtered_walk(index._state.structure, selected)
    scratch, links = memory(index, 10), index._held.graph.base
    epoch, seen, through = np.uint8(7), set(), []
    for node in range(0, 900, 50):
        n_found, met, looked = filtered.gather(
            structure, np.int32(node), epoch, scratch
        )

        def neighbours(at):
            through.append(at)
            return [int(other) for other in links[at] if other >= 0]

        expected, wanted_met, wanted_looked = reference.gather(
            neighbours, set(selected.positions.tolist()).__contains__, node, seen, 8,
            lambda size: size <= filtered.THROUGH,
        )  # fmt: skip
        assert scratch.walk.found[:n_found].tolist() == expected
        assert (met, looked) == (wanted_met, wanted_looked)
        marked = set(np.flatnonzero(scratch.walk.visited == 7).tolist())
        assert marked == seen
        assert n_found < 16
    again = set(through) - set(range(0, 900, 50))
    assert len(again) == len([t for t in through if t in again])


# --- lists ----------------------------------------------------------------------------


@cache
def in_lists(codec="float32"):
    _, X, Q = real()
    return ann.IVF(nlist=60, codec=CODECS[codec](), seed=1).add(X), X, Q


@pytest.mark.parametrize("codec", ["float32", "PQ8", "PQ4"])
def test_lists_hold_recall_and_give_way_where_little_of_them_passes(codec):
    index, X, Q = in_lists(codec)
    lists, nprobe = index._state.structure, 6
    listed_of_all = filters.listed_in_lists(lists, some(1.0, len(X)), places(lists))
    scratch = index._scratch(index._state, (60, 60))
    keys, ids, _ = found(listed_of_all, Q, scratch, len(X))
    plain = found(lists, Q, scratch, 10, (nprobe, nprobe))[1]
    without = recall_of(plain, ids[:, :10])
    exact = {}
    for name, selected in selections(X):
        true = passing(keys, ids, selected, 10)
        structure = filters.filtered_lists(lists, selected, nprobe, places(lists))
        probes = filters.probes(nprobe, 60, len(X), len(selected))
        got = found(structure, Q, scratch, 10, (probes, probes))
        assert recall_of(got[1], true[1]) >= min(without, 0.95), name
        scanned = found(structure.lists, Q, scratch, 10, (probes, probes))
        rows = found(structure, Q, scratch, 10, (probes, probes - 1))  # with patience
        own = len(selected) + (len(structure.listed.owners) if lists.residual else 0)
        fell_back = rows[2] == 60 + own
        assert (got[2][fell_back] == 60 + own).all()  # lists are looked at, not scanned
        np.testing.assert_array_equal(got[1][~fell_back], scanned[1][~fell_back])
        np.testing.assert_array_equal(got[1][fell_back], true[1][fell_back])
        exact[name] = fell_back.mean()
        share = len(selected) / len(X)
        if name.startswith("random") and share < 0.9 / filtered.THIN:
            assert (got[2][~fell_back] < scanned[2][~fell_back]).all()  # a part is read
    assert exact["random 0.5"] < 0.05
    assert exact["far 0.5"] > 0.1


def test_what_passes_of_some_lists_is_counted():
    index, X, _ = in_lists()
    lists, selected = index._state.structure, some(0.2, len(X))
    structure = filters.filtered_lists(lists, selected, 6, places(lists))
    assert structure.enough == 6 * len(X) // 120
    for some_lists in ([3], [5, 0, 59], list(range(60))):
        own = [
            lists.row_ids[lists.offsets[c] : lists.offsets[c + 1]] for c in some_lists
        ]
        count = int(np.isin(np.concatenate(own), selected.positions).sum())
        probes = np.array(some_lists, np.int32)
        assert filtered.count(structure, probes) == (count, sum(map(len, own)))
    assert count == len(selected)
