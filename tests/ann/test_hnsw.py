from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import ann
from ann.insertion import new_scratch
from ann.kernels import graph as kernels
from ann.kernels.stores import ROWS
from tests.ann import reference
from tests.ann.data import clustered, gaussian, integers
from tests.ann.reference import KEYS, METRICS

X, Q = gaussian(1500, 12), gaussian(60, 12, seed=1)


def random_graph(n, width, seed, n_upper=0):
    """A graph of random rows, some of them short; the first points have two layers."""
    rng = np.random.default_rng(seed)

    def rows(count, among):
        links = np.full((count, width), -1, np.int32)
        for i, row in enumerate(links):
            others = np.setdiff1d(np.arange(among), [i])
            degree = min(rng.integers(1, width + 1), len(others))
            row[:degree] = rng.permutation(others)[:degree]
        return links

    base, upper = rows(n, n), rows(n_upper, n_upper)
    upper_row = np.arange(n, dtype=np.int32)
    return kernels.Graph(base, upper, upper_row, entry_point=0, top=1)


def links_of(links):
    return lambda node: [int(other) for other in links[node] if other >= 0]


# --- kernels against oracles ----------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("ef", [1, 2, 10, 150])
def test_search_layer_equals_the_oracle(key, ef):
    n, width, d = 120, 5, 3
    V, queries = integers(n, d, seed=3), integers(15, d, seed=4)  # with many ties
    graph, work = random_graph(n, width, seed=ef), new_scratch(n, ef, width, d, d)
    store = ROWS[key](V)
    table = reference.keys(key, queries, V)
    for r, start in enumerate(np.random.default_rng(1).integers(n, size=15)):
        first = np.float32(table[r, start])
        size, scored = kernels.search_layer(
            graph, store, queries[r], 0, np.int32(start), first, ef, work
        )
        pool, expected_scored = reference.search_layer(
            links_of(graph.base), lambda i, r=r: table[r, i], int(start), ef
        )
        found = zip(work.keys[:size], work.ids[:size] & 0x7FFFFFFF, strict=True)
        assert list(found) == pool
        assert scored == expected_scored


@pytest.mark.parametrize("stretch", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("wanted", [1, 6])
def test_a_stretched_search_equals_the_oracle(stretch, wanted):
    n, width, d = 300, 5, 3
    V, queries = integers(n, d, seed=3), integers(15, d, seed=4)
    graph, work = random_graph(n, width, seed=1), new_scratch(n, n, width, d, d)
    store, table = ROWS["l2"](V), reference.keys("l2", queries, V)
    fewer = 0
    for r, start in enumerate(np.random.default_rng(1).integers(n, size=15)):
        first = np.float32(table[r, start])
        size, scored = kernels.search_layer(
            graph, store, queries[r], 0, np.int32(start), first, n, work, None, wanted,
            np.float32(stretch), np.float32(0.0),
        )  # fmt: skip
        pool, expected = reference.search_layer(
            links_of(graph.base), lambda i, r=r: table[r, i], int(start), n, wanted,
            lambda key: np.float32(key + np.float32(stretch) * key),
        )  # fmt: skip
        found = zip(work.keys[:size], work.ids[:size] & 0x7FFFFFFF, strict=True)
        assert list(found)[:wanted] == pool[:wanted]
        assert scored == expected
        assert size <= len(pool)
        fewer += size < len(pool)
    assert fewer or stretch == 2.0


@pytest.mark.parametrize("links", [0, 2, 5, 9])
def test_a_tapered_search_equals_the_oracle(links):
    n, width, d, wanted = 300, 5, 3, 6
    V, queries = integers(n, d, seed=3), integers(15, d, seed=4)
    graph, work = random_graph(n, width, seed=1), new_scratch(n, n, width, d, d)
    store, table = ROWS["l2"](V), reference.keys("l2", queries, V)
    taper, scores = kernels.Taper(0.5, links), {}
    for r, start in enumerate(np.random.default_rng(1).integers(n, size=15)):
        first = np.float32(table[r, start])
        size, scored = kernels.search_layer(
            graph, store, queries[r], 0, np.int32(start), first, n, work, None, wanted,
            np.float32(2.0), np.float32(0.0), taper,
        )  # fmt: skip
        pool, expected = reference.search_layer(
            links_of(graph.base), lambda i, r=r: table[r, i], int(start), n, wanted,
            lambda key: 3.0 * key, lambda key: 1.5 * key, links,
        )  # fmt: skip
        found = zip(work.keys[:size], work.ids[:size] & 0x7FFFFFFF, strict=True)
        assert list(found)[:wanted] == pool[:wanted]
        assert scored == expected
        whole = reference.search_layer(
            links_of(graph.base), lambda i, r=r: table[r, i], int(start), n, wanted,
            lambda key: 3.0 * key,
        )[1]  # fmt: skip
        scores[r] = whole - scored
    assert any(scores.values()) == (links < width)


def test_search_layer_walks_the_layer_it_is_told():
    V = integers(60, 3, seed=5)
    graph, work = random_graph(60, 4, seed=2, n_upper=30), new_scratch(60, 8, 4, 3, 3)
    table = reference.keys("l2", V[:1], V)[0]
    for layer, links in ((0, graph.base), (1, graph.upper)):
        size, _ = kernels.search_layer(
            graph,
            ROWS["l2"](V),
            V[0],
            layer,
            np.int32(7),
            np.float32(table[7]),
            8,
            work,
        )
        pool, _ = reference.search_layer(links_of(links), lambda i: table[i], 7, 8)
        assert list(work.ids[:size] & 0x7FFFFFFF) == [node for _, node in pool]


@pytest.mark.parametrize("key", KEYS)
def test_descend_ends_where_nothing_around_is_nearer(key):
    V, queries = integers(60, 3, seed=6), integers(20, 3, seed=7)
    graph = random_graph(60, 4, seed=3, n_upper=60)
    for query in queries:
        table = reference.keys(key, query[None], V)[0]
        first = np.float32(table[11])
        node, found, scored = kernels.descend(
            graph, ROWS[key](V), query, 1, 1, np.int32(11), first
        )
        expected = reference.descend(
            lambda i, layer: links_of(graph.upper)(i),
            lambda i, table=table: table[i],
            11,
            [1],
        )
        assert (node, found) == (expected, table[expected])
        assert scored >= len(links_of(graph.upper)(11))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("limit", [1, 4, 16])
def test_select_neighbors_equals_the_oracle(key, limit):
    V = integers(200, 4, seed=8)
    store, between = ROWS[key](V), reference.keys(key, V, V)
    rng = np.random.default_rng(limit)
    for point in range(30):
        ids = rng.choice(np.setdiff1d(np.arange(200), [point]), 40, replace=False)
        ids = ids[np.lexsort((ids, between[point, ids]))].astype(np.int32)
        keys, out = between[point, ids].astype(np.float32), np.empty(16, np.int32)
        marks = np.where(rng.random(40) < 0.5, kernels.EXPANDED, 0).astype(np.int32)
        kernels.select_neighbors(store, keys, ids | marks, 40, limit, out)
        expected = reference.select_neighbors(
            list(zip(keys, ids, strict=True)), lambda a, b: between[a, b], limit
        )
        assert list(out) == expected + [-1] * (16 - len(expected))


def test_select_neighbors_of_nobody_is_an_empty_row():
    out = np.zeros(3, np.int32)
    nothing = np.empty(0, np.float32), np.empty(0, np.int32)
    kernels.select_neighbors(ROWS["l2"](X), *nothing, 0, 3, out)
    assert list(out) == [-1, -1, -1]


# --- what a built graph is ------------------------------------------------------------


@pytest.fixture(
    scope="module",
    params=[("l2", 8), ("ip", 8), ("cosine", 3), ("l1", 5), ("l2", 2)],
    ids=lambda p: f"{p[0]}-M{p[1]}",
)
def index(request):
    metric, M = request.param
    index = ann.HNSW(metric, M=M, ef_construction=40, seed=4)
    return index.add(X[:40]).add(X[40:])


def layers(index):
    """Yield each layer's number, its members and the link rows of those."""
    graph, levels = index._held.graph, index._held.levels[: index.ntotal].astype(int)
    yield 0, np.arange(index.ntotal), graph.base[: index.ntotal]
    for layer in range(1, graph.top + 1):
        nodes = np.flatnonzero(levels >= layer)
        yield layer, nodes, graph.upper[graph.upper_row[nodes] + layer - 1]


def test_degrees_are_bounded(index):
    M = index.params["M"]
    for layer, _, rows in layers(index):
        assert rows.shape[1] == (2 * M if layer == 0 else M)
        degrees = (rows >= 0).sum(axis=1)
        for row, degree in zip(rows, degrees, strict=True):
            assert (row[degree:] == -1).all()  # links first, then nothing
        assert (degrees >= 1).all() or len(rows) == 1


def test_links_lead_to_others_once_and_only_to_members_of_the_layer(index):
    for _, nodes, rows in layers(index):
        members = set(nodes)
        for node, row in zip(nodes, rows, strict=True):
            links = [int(other) for other in row if other >= 0]
            assert node not in links
            assert len(set(links)) == len(links)
            assert members.issuperset(links)


def test_the_entry_point_is_on_the_top_layer(index):
    levels = index._held.levels[: index.ntotal]
    assert levels[:40].max() < levels.max()  # it moved in the second addition
    assert index._held.graph.top == levels.max()
    assert levels[index._held.graph.entry_point] == levels.max()


def test_rows_of_the_upper_layers_do_not_overlap(index):
    n, levels = index.ntotal, index._held.levels[: index.ntotal].astype(int)
    starts = index._held.graph.upper_row[:n]
    used = np.concatenate(
        [np.arange(s, s + m) for s, m in zip(starts, levels, strict=True)]
    )
    np.testing.assert_array_equal(np.sort(used), np.arange(levels.sum()))
    assert len(index._held.graph.upper) >= levels.sum()


@pytest.mark.parametrize("M", [2, 4, 16])
def test_levels_fall_off(M):
    n = 20_000
    levels = ann.HNSW(M=M)._draw_levels(np.random.default_rng(0), n)
    for level in range(1, 6):
        share = float(M) ** -level
        sigma = (share * (1 - share) / n) ** 0.5
        assert abs((levels >= level).mean() - share) < 4 * sigma + 1 / n


def test_links_lead_to_near_vectors(index):
    rank = reference.distances(index.metric, X[:200], X).argsort().argsort()
    for layer, nodes, rows in layers(index):
        if layer == 0:
            ranks = [rank[i, row[row >= 0]].mean() for i, row in enumerate(rows[:200])]
            assert np.mean(ranks) < len(nodes) / 8  # at random it is a half


def strongly_connected(base):
    backwards = [[] for _ in base]
    for node, row in enumerate(base):
        for other in row[row >= 0]:
            backwards[other].append(node)
    n = len(base)
    return (
        len(reference.reachable(base, 0)) == len(reference.reachable(backwards, 0)) == n
    )


@pytest.mark.parametrize("metric", METRICS)
def test_a_pool_of_all_vectors_is_exact_search(metric):
    V = X[:400] if metric != "ip" else reference.unit(X[:400]) * 3
    index = ann.HNSW(metric, M=16, ef_construction=60).add(V)
    assert strongly_connected(index._held.graph.base[:400])
    flat = ann.Flat(metric).add(V)
    for k in (1, 10, 400):
        got = index.search(Q, k=k, ef_search=400)
        np.testing.assert_array_equal(got, flat.search(Q, k=k))
    few = index.search(Q[0], k=450, ef_search=450)  # more than there are
    np.testing.assert_array_equal(few, flat.search(Q[0], k=450))


def test_search_finds_what_the_walk_on_its_graph_finds(index):
    graph, key = index._held.graph, index._metric.key
    upper = {
        (layer, int(node)): [int(other) for other in row if other >= 0]
        for layer, nodes, rows in layers(index)
        for node, row in zip(nodes, rows, strict=True)
    }
    V = reference.unit(X) if index.metric == "cosine" else X
    queries = reference.unit(Q) if index.metric == "cosine" else Q
    table = reference.keys(key, queries, V)
    same = []
    for r in range(len(Q)):

        def key_of(node, r=r):
            return table[r, node]

        start = reference.descend(
            lambda node, layer: upper[layer, node],
            key_of,
            graph.entry_point,
            range(graph.top, 0, -1),
        )
        pool, _ = reference.search_layer(lambda node: upper[0, node], key_of, start, 30)
        ids, _ = index.search(Q[r], k=10, ef_search=30)
        same.append(list(ids) == [node for _, node in pool[:10]])
    assert np.mean(same) > 0.95  # a rounded tie may lead elsewhere


# --- recall ---------------------------------------------------------------------------

FLOORS = {"l2": 0.99, "cosine": 0.99, "l1": 0.99, "ip": 0.97}


@pytest.mark.parametrize("data", [gaussian, clustered])
@pytest.mark.parametrize("metric", METRICS)
def test_recall_floor(metric, data):
    """Clustered data come sorted by cluster."""
    V, queries = (
        data(3000, 16, seed=1),
        data(100, 16, seed=1) + gaussian(100, 16, 2) / 5,
    )
    true, _ = reference.exact(metric, queries, V, 10)
    index = ann.HNSW(metric, M=12, ef_construction=80).add(V)
    found = {ef: index.search(queries, ef_search=ef)[0] for ef in (10, 100)}
    assert reference.recall(found[10], true) >= 0.6
    assert reference.recall(found[100], true) >= FLOORS[metric]


@pytest.mark.parametrize("metric", METRICS)
def test_parts_are_as_good_as_the_whole(metric):
    V, queries = clustered(2000, 16, seed=2), clustered(200, 16, seed=2)
    true, _ = reference.exact(metric, queries, V, 10)
    whole, halves, drops = (ann.HNSW(metric, M=8, ef_construction=60) for _ in range(3))
    whole.add(V)
    halves.add(V[:1000]).add(V[1000:])
    for a in range(0, 2000, 125):
        drops.add(V[a : a + 125])
    recall = [
        reference.recall(i.search(queries, ef_search=40)[0], true)
        for i in (whole, halves, drops)
    ]
    assert min(recall[1:]) >= recall[0] - 0.05


def test_a_cluster_that_comes_later_is_well_connected():
    rng = np.random.default_rng(0)
    centre = 1.5 * rng.standard_normal(16)
    new, queries = (
        (centre + 0.3 * rng.standard_normal((n, 16))).astype(np.float32)
        for n in (30, 60)
    )
    old = clustered(12_000, 16, seed=2, clusters=200)
    true, _ = ann.Flat().add(old).add(new).search(queries)
    index = ann.HNSW(M=8, ef_construction=40).add(old).add(new)
    ids, _ = index.search(queries, ef_search=40)
    assert reference.recall(ids, true) > 0.95


def test_one_vector_at_a_time():
    index = ann.HNSW(M=4, ef_construction=30)
    for i in range(150):
        index.add(X[i : i + 1])
        assert index.ntotal == i + 1
    ids, distances = index.search(X[:150], k=1, ef_search=40)
    assert (ids[:, 0] == np.arange(150)).mean() > 0.98
    assert (distances[ids[:, 0] == np.arange(150)] == 0).all()


def test_a_larger_pool_finds_no_less():
    index = ann.HNSW(M=6, ef_construction=40).add(X)
    true, _ = reference.exact("l2", Q, X, 10)
    recall = [
        reference.recall(index.search(Q, ef_search=ef)[0], true)
        for ef in (10, 40, 160, 640)
    ]
    assert recall == sorted(recall)
    assert recall[-1] > 0.995


def test_distance_computations_are_what_was_scored():
    index = ann.HNSW(M=6, ef_construction=40).add(X)
    few, many = np.full(60, -1), np.full(60, -1)
    index.search(Q, ef_search=10, distance_computations=few)
    index.search(Q, ef_search=200, distance_computations=many)
    assert (few > 10).all()
    assert (few < many).all()
    assert many.max() < len(X)
    index = ann.HNSW(M=16).add(X[:1])
    index.search(Q, distance_computations=few)
    assert (few == 1).all()


# --- a graph that is built on codes ---------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_a_graph_on_codes_is_nearly_as_good(metric):
    V, queries = gaussian(3000, 32, seed=1), gaussian(150, 32, seed=2)
    true, _ = reference.exact(metric, queries, V, 10)
    options = {"M": 12, "ef_construction": 80}

    def recall(**codec):
        index = ann.HNSW(metric, **codec, **options).add(V[:2500]).add(V[2500:])
        return reference.recall(index.search(queries, ef_search=80)[0], true)

    exact = recall()
    assert exact > 0.8
    assert recall(codec=ann.SQ(8), refine=4) > exact - 0.01
    assert recall(codec=ann.SQ(4), refine=6) > exact - 0.03


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("bits", [8, 4])
def test_only_codes_decide_the_graph(metric, bits):
    lean, refined, decoded = (
        ann.HNSW(metric, M=6, ef_construction=40, codec=ann.SQ(bits), refine=refine)
        for refine in (None, 3, None)
    )
    codec = ann.SQ(bits).train(reference.unit(X) if metric == "cosine" else X)
    for index in (lean, refined, decoded):
        index._set(codec=codec.copy())
    for part in (X[:800], X[800:]):
        lean.add(part)
        refined.add(part)
        if metric != "cosine":  # which would scale what is decoded anew
            decoded.add(codec.decode(codec.encode(part)))
    np.testing.assert_array_equal(lean._held.graph.base, refined._held.graph.base)
    if metric != "cosine":
        np.testing.assert_array_equal(lean._held.packed, decoded._held.packed)
        np.testing.assert_array_equal(lean._held.graph.base, decoded._held.graph.base)


@pytest.mark.parametrize("metric", METRICS)
def test_an_addition_decodes_no_earlier_codes(metric, monkeypatch):
    decoded, decode = [], ann.SQ._decode

    def spy(self, codes, threads):
        decoded.append(len(codes))
        return decode(self, codes, threads)

    monkeypatch.setattr(ann.SQ, "_decode", spy)
    index = ann.HNSW(metric, M=6, ef_construction=40, codec=ann.SQ())
    index.add(X[:1000]).add(X[1000:1100]).add(X[1100:1101])
    # How well codes fit is looked at in new vectors, 500 of the first; and norms are
    # taken of them, where the product needs them.
    looked_at, squared = [500, 100, 1], [1000, 100, 1]
    expected = looked_at + squared if metric in ("ip", "cosine") else looked_at
    assert sorted(decoded) == sorted(expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("bits", [8, 4])
def test_a_pool_of_all_codes_scores_as_a_scan_does(metric, bits):
    index = ann.HNSW(metric, M=16, ef_construction=60, codec=ann.SQ(bits)).add(X[:300])
    flat = ann.Flat(metric, codec=ann.SQ(bits)).add(X[:300])
    assert len(reference.reachable(index._held.graph.base[:300], 0)) > 290
    ids, distances = index.search(Q, k=300, ef_search=300)
    flat_ids, flat_distances = flat.search(Q, k=300)
    for r in range(len(Q)):
        found = ids[r] >= 0
        assert found.mean() > 0.95
        kept = np.isin(flat_ids[r], ids[r][found])
        np.testing.assert_array_equal(ids[r][found], flat_ids[r][kept])
        np.testing.assert_array_equal(distances[r][found], flat_distances[r][kept])


# --- edges ----------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n", [1, 2, 3, 20])
def test_very_few_vectors(metric, n):
    flat, index = ann.Flat(metric).add(X[:n]), ann.HNSW(metric).add(X[:n])
    for k in (1, 5):
        np.testing.assert_array_equal(index.search(Q, k=k), flat.search(Q, k=k))


@pytest.mark.parametrize("metric", METRICS)
def test_duplicates_do_not_hide_the_rest(metric):
    V = np.concatenate([np.repeat(X[:1], 100, axis=0), X[1:400]])
    V = V[np.random.default_rng(0).permutation(len(V))]
    index = ann.HNSW(metric, M=16, ef_construction=60).add(V)
    ids, distances = index.search(np.concatenate([X[:1], Q]), k=20, ef_search=120)
    assert (ids >= 0).all()
    for row in ids:
        assert len(set(row)) == 20
    true, _ = reference.exact(metric, Q, V, 20)
    if metric != "ip":
        np.testing.assert_allclose(distances[0], 0, atol=1e-6)
    assert reference.recall(ids[1:], true) > 0.95


def test_nothing_but_duplicates():
    index = ann.HNSW(M=4, ef_construction=30).add(np.repeat(X[:1], 300, axis=0))
    ids, distances = index.search(X[0], k=10, ef_search=50)
    assert len(set(ids)) == 10
    assert (ids >= 0).all()
    assert not distances.any()


EPSILONS = (0.0, 0.05, 0.2, 1.0)


@pytest.mark.parametrize("metric", ["l2", "cosine", "l1"])
@pytest.mark.parametrize("codec", [None, ann.SQ(bits=8)])
def test_epsilon_takes_more_where_more_is_needed(metric, codec):
    X = np.concatenate([gaussian(2000, 20, seed=1) + 0.5, clustered(2000, 20, seed=2)])
    queries = np.concatenate([gaussian(60, 20, seed=3) + 0.5, X[2000:2060] + 0.01])
    index = ann.HNSW(metric, M=8, ef_construction=60, codec=codec).add(X)
    true = ann.Flat(metric).add(X).search(queries)[0]
    effort, found = [], []
    for epsilon in EPSILONS:
        counts = np.empty(120, np.int64)
        ids, _ = index.search(queries, epsilon=epsilon, distance_computations=counts)
        effort.append(counts.mean())
        found.append(reference.recall(ids, true))
    assert effort == sorted(effort)
    assert found[0] < found[-1]
    assert found[-1] > (0.99 if codec is None else 0.85)


@pytest.mark.parametrize("metric", ["l2", "cosine", "l1"])
def test_a_large_epsilon_is_none(metric):
    X, queries = gaussian(1500, 12, seed=1), gaussian(40, 12, seed=2)
    index = ann.HNSW(metric, M=6, ef_construction=40).add(X)
    expected = index.search(queries, ef_search=50)
    got = index.search(queries, ef_search=50, epsilon=1e6)
    np.testing.assert_array_equal(got, expected)
    alone = [index.search(q, ef_search=50, epsilon=0.1) for q in queries]
    together = index.search(queries, ef_search=50, epsilon=0.1, threads=2)
    np.testing.assert_array_equal([ids for ids, _ in alone], together[0])


def test_epsilon_means_the_same_under_l2_and_cosine():
    X, queries = reference.unit(gaussian(1500, 12)), reference.unit(gaussian(40, 12, 1))
    X, queries = X.astype(np.float32), queries.astype(np.float32)
    counts = {}
    for metric in ("l2", "cosine"):
        index = ann.HNSW(metric, M=6, ef_construction=40).add(X)
        counts[metric] = np.empty(40, np.int64)
        index.search(queries, epsilon=0.1, distance_computations=counts[metric])
    assert counts["l2"].mean() == pytest.approx(counts["cosine"].mean(), rel=0.05)


def test_duplicates_of_the_query_end_a_search_with_epsilon():
    X = np.repeat(integers(200, 6), 20, axis=0)
    index = ann.HNSW("l2", M=8, ef_construction=100).add(X)
    ids, distances = index.search(X[::20], k=5, epsilon=0.0)
    assert (distances[:, 0] == 0).mean() > 0.95
    assert (ids >= 0).all()


def test_epsilon_is_checked(index):
    for epsilon in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"epsilon must be finite and >= 0, got"):
            index.search(Q, epsilon=epsilon)
    other = ann.HNSW("ip").add(X)
    with pytest.raises(ValueError, match=r"epsilon needs l2, cosine or l1, got 0.1 u"):
        other.search(Q, epsilon=0.1)


def test_ef_search_is_checked(index):
    with pytest.raises(ValueError, match=r"ef_search must be >= k=11, got 10"):
        index.search(Q, k=11, ef_search=10)
    with pytest.raises(ValueError, match=r"ef_search must be an integer, got 20.0"):
        index.search(Q, ef_search=20.0)
    np.testing.assert_array_equal(index.search(Q), index.search(Q, ef_search=64))
    np.testing.assert_array_equal(
        index.search(Q, k=70), index.search(Q, k=70, ef_search=70)
    )


# --- scratch memory -------------------------------------------------------------------


@pytest.mark.parametrize(
    "order",
    [
        [*range(1, 9), *[0] * 247, *range(1, 60)],  # marks of 255 searches ago
        [*[0] * 250, *range(1, 60)],  # no marks yet where the count starts anew
        [*[0] * 505, *range(1, 60)],
    ],
)
def test_visited_marks_outlast_their_byte(order):
    other, index = (ann.HNSW(M=6, ef_construction=40).add(X) for _ in range(2))
    expected, _ = other.search(Q, ef_search=30, threads=1)
    for turn, r in enumerate(order):
        ids, _ = index.search(Q[r], ef_search=30)
        np.testing.assert_array_equal(ids, expected[r], err_msg=f"search {turn}")


def test_scratch_follows_the_pool_and_the_graph():
    index = ann.HNSW(M=4, ef_construction=20).add(X[:300])
    for ef in (10, 500, 20, 300):
        fresh = ann.HNSW(M=4, ef_construction=20).add(X[:300])
        np.testing.assert_array_equal(
            index.search(Q, ef_search=ef), fresh.search(Q, ef_search=ef)
        )


@pytest.mark.parametrize("metric", ["l2", "l1"])
def test_searches_between_additions_change_nothing(metric):
    """Hubs gather more reverse edges at once than a pool of ``4 M`` holds."""
    V = np.concatenate([5 * clustered(10_000, 8, seed=1), gaussian(2000, 8) / 10])
    quiet, busy = (ann.HNSW(metric, M=2, ef_construction=4) for _ in range(2))
    for a in range(0, 12_000, 2000):
        quiet.add(V[a : a + 2000])
        busy.add(V[a : a + 2000])
        busy.search(V[:20], ef_search=900)
    np.testing.assert_array_equal(quiet._held.graph.base, busy._held.graph.base)


def test_many_threads_search_at_once(index):
    expected = index.search(Q, k=10, ef_search=30, threads=1)

    def caller(number):
        threads = number % 3 + 1
        return all(
            np.array_equal(
                index.search(Q, k=10, ef_search=30, threads=threads), expected
            )
            for _ in range(10)
        )

    def single(number):
        r = number % len(Q)
        return np.array_equal(
            index.search(Q[r], k=10, ef_search=30), np.array(expected)[:, r]
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(caller, range(16)))
        assert all(pool.map(single, range(400)))
