"""What a trace tells, against the search that it is of and against plain oracles."""

from itertools import pairwise

import numpy as np
import pytest

import ann
from ann import hnsw
from ann.kernels import answer
from ann.kernels.record import Walked
from tests.ann import reference
from tests.ann.data import clustered, gaussian, integers
from tests.ann.process import python
from tests.ann.reference import METRICS
from tests.ann.test_answer import CASES, NAMES, Q, X, made

NLIST = 8
# Each codec and metric; refinement is a search's last step, in whatever it is.
SOME = [case for case in CASES if case[2] or case[1] == "float32" or case[3] == "l2"]


def effort(structure):
    return {"Flat": {}, "IVF": {"nprobe": 3}, "HNSW": {"ef_search": 25}}[structure]


def searched(index, queries, **options):
    """Return ids, distances and counts of each query searched for by itself."""
    counts = np.full(len(queries), -1)
    ids, distances = index.search(
        queries, threads=1, distance_computations=counts, **options
    )
    return ids, distances, counts


def check(index, queries=Q, **options):
    """Compare traces with the search, bit for bit, and return them."""
    traces = index.trace(queries, **options)
    rows = zip(*searched(index, queries, **options), strict=True)
    for q, trace, (ids, distances, count) in zip(queries, traces, rows, strict=True):
        lone_ids, lone = index.search(q, **options)
        for expected_ids, expected in ((ids, distances), (lone_ids, lone)):
            np.testing.assert_array_equal(trace.ids, expected_ids)
            np.testing.assert_array_equal(
                trace.distances.view(np.int32), expected.view(np.int32)
            )
        assert (trace.ids.dtype, trace.distances.dtype) == (np.int64, np.float32)
        assert trace.distance_computations == count
    return traces


# --- any index ------------------------------------------------------------------------


@pytest.mark.parametrize(("structure", "codec", "refine", "metric"), SOME)
def test_a_trace_has_the_answer_and_the_counts(structure, codec, refine, metric):
    index = made(structure, codec, refine, metric, NAMES)
    k = 7
    for trace in check(index, k=k, **effort(structure)):
        exact = NLIST if structure == "IVF" else 0
        if codec == "float32":
            assert (trace.estimated, trace.exact) == (0, trace.distance_computations)
        else:
            assert trace.estimated > 0
            assert trace.exact == exact + (refine or 0) * k


@pytest.mark.parametrize("structure", ["Flat", "IVF", "HNSW"])
def test_an_empty_index_has_done_nothing(structure):
    index = getattr(ann, structure)()
    for trace in index.trace(Q[:2], k=3):
        assert list(trace.ids) == [-1, -1, -1]
        assert trace.distance_computations == 0
        assert trace.distances.tolist() == [np.inf] * 3
    assert len(index.trace(Q[0])) == 1
    assert index.trace(Q[:0]) == []


def test_an_empty_index_has_no_steps_and_no_visits():
    [walk], [lists] = ann.HNSW().trace(Q[0]), ann.IVF().trace(Q[0])
    assert (walk.hops, len(walk.scored), len(walk.pool)) == (0, 0, 0)
    assert (lists.visits, lists.centroids) == ((), 0)


@pytest.mark.parametrize("structure", ["Flat", "IVF", "HNSW"])
def test_one_vector_and_more_neighbours_than_there_are(structure):
    index = getattr(ann, structure)()
    index.add(X[:1])
    [trace] = check(index, Q[:1], k=5)
    assert trace.ids.tolist() == [0, -1, -1, -1, -1]


@pytest.mark.parametrize("structure", ["Flat", "IVF", "HNSW"])
def test_arguments_are_checked_as_by_search(structure):
    index = made(structure)
    wrong = [(Q[:, :5], {}), (Q, {"k": 0}), (np.full((1, 16), np.nan), {})]
    if structure == "HNSW":
        wrong += [(Q, {"ef_search": 9}), (Q, {"ef_search": 20.5}), (Q, {"epsilon": -1})]
    if structure == "IVF":
        wrong += [(Q, {"nprobe": 9}), (Q, {"nprobe": 0}), (Q, {"patience": 0})]
    for queries, options in wrong:
        with pytest.raises(ValueError, match="must"):
            index.search(queries, **options)
        with pytest.raises(ValueError, match="must"):
            index.trace(queries, **options)


def test_a_zero_query_under_cosine_is_refused():
    with pytest.raises(ValueError, match="zero vector"):
        made(metric="cosine").trace(np.zeros(16))


def test_a_batch_s_traces_are_those_of_its_queries():
    index = made()
    for q, trace in zip(Q, index.trace(Q.astype(np.float64)), strict=True):
        [one] = index.trace(q)
        assert one.steps == trace.steps
        np.testing.assert_array_equal(one.scored.ids, trace.scored.ids)


# --- untraced searches stay what they are ---------------------------------------------


@pytest.mark.parametrize("structure", ["IVF", "HNSW"])
def test_tracing_adds_no_code_to_what_an_untraced_search_runs(structure):
    index = made(structure)
    index.search(Q[0])
    index.search(Q)
    untraced = answer.prepare, answer.search, answer.finish_all
    before = [list(kernel.signatures) for kernel in untraced]
    codes = dict(index._state.codes)
    index.trace(Q)
    index.search(Q[0])
    assert [list(kernel.signatures) for kernel in untraced] == before
    assert index._state.codes == codes
    assert all("record" not in str(signature) for signature in before[1])


COMPILED = """
import ann
from ann.kernels import answer
from tests.ann.data import gaussian

index = ann.HNSW(M=4, ef_construction=10).add(gaussian(50, 4))
index.search(gaussian(1, 4))
index.trace(gaussian(1, 4))
for kernel in (answer.search, answer.search_recorded):
    [signature] = kernel.signatures
    print(kernel.inspect_llvm(signature).count("Walked"))
index.search(gaussian(1, 4), epsilon=0.1, taper=True)
for signature in answer.search.signatures:
    print(answer.search.inspect_llvm(signature).count("Taper"))
"""


def test_an_untraced_walk_is_compiled_without_a_recorder_or_a_taper():
    counts = map(int, python(COMPILED, ANN_NUMBA_CACHE="0").split())
    untraced, traced, plain, tapered = counts
    assert untraced == plain == 0
    assert min(traced, tapered) > 0


def test_searches_and_traces_may_take_turns():
    index = made()
    before = index.search(Q, ef_search=30)
    index.trace(Q, ef_search=60)
    np.testing.assert_array_equal(index.search(Q, ef_search=30), before)


# --- walks ----------------------------------------------------------------------------


@pytest.fixture(scope="module", params=METRICS)
def whole(request):
    """An index of whole numbers, whose keys are exact, with many ties."""
    V = integers(700, 6, seed=1) + (7 if request.param == "cosine" else 0)
    names = np.random.default_rng(3).permutation(700) + 5000
    index = ann.HNSW(request.param, M=3, ef_construction=20, seed=2)
    return index.add(V[:500], names[:500]).add(V[500:], names[500:]), V, names


def links_of(index, node, layer):
    g = index._held.graph
    row = g.base[node] if layer == 0 else g.upper[g.upper_row[node] + layer - 1]
    return [int(other) for other in row if other >= 0]


def walked(index, table, ef):
    """Return steps, scored nodes and pool by the plain oracles, on an index's graph."""
    g, steps, scored = index._held.graph, [], []

    def key_of(node):
        scored.append(node)
        return table[node]

    def neighbours(node, layer=0):
        steps.append((layer, node))
        return links_of(index, node, layer)

    start = reference.descend(
        neighbours, table.__getitem__, g.entry_point, range(g.top, 0, -1)
    )
    upper = list(steps)
    pool, count = reference.search_layer(neighbours, key_of, start, ef)
    return upper, steps[len(upper) :], scored, pool, count


@pytest.mark.parametrize("ef", [1, 12, 80])
@pytest.mark.parametrize("whole", ["l2", "ip", "l1"], indirect=True)
def test_a_walk_is_the_oracles(whole, ef):
    """Under cosine vectors are no whole numbers, and ties are rounded."""
    index, V, _ = whole
    queries = integers(25, 6, seed=9)
    table = reference.keys(index._metric.key, queries, V)
    for r, trace in enumerate(check(index, queries, k=1, ef_search=ef)):
        upper, base, scored, pool, count = walked(index, table[r], ef)
        assert [(s.layer, s.position) for s in trace.entry] == upper
        assert [(s.layer, s.position) for s in trace.steps] == base
        assert trace.hops == len(upper) + len(base)
        below = trace.steps[0].first  # the oracle scores the start anew
        assert list(trace.scored.positions[below:]) == scored[1:]
        assert len(trace.scored) - below == count
        assert list(trace.pool.positions) == [node for _, node in pool]


def test_distances_are_those_of_the_metric(whole):
    index, V, _ = whole
    queries = integers(10, 6, seed=8, low=1)
    expected = reference.distances(index.metric, queries, V)
    for r, trace in enumerate(index.trace(queries, ef_search=30)):
        for nodes in (trace.scored, trace.pool):
            true = expected[r, nodes.positions]
            np.testing.assert_allclose(nodes.distances, true, rtol=1e-5, atol=1e-6)
        for step in trace.entry + trace.steps:
            true = expected[r, step.position]
            assert step.distance == pytest.approx(true, rel=1e-5, abs=1e-6)


def test_ids_are_the_users(whole):
    index, _, names = whole
    [trace] = index.trace(integers(1, 6, seed=4, low=1), ef_search=30)
    for nodes in (trace.scored, trace.pool):
        np.testing.assert_array_equal(nodes.ids, names[nodes.positions])
    for step in trace.entry + trace.steps:
        assert step.id == names[step.position]
    assert set(trace.pool.ids[:10]) == set(trace.ids)  # ties are ordered by id at last


def test_a_node_is_scored_through_a_link_of_its_parent(whole):
    index, _, names = whole
    place = {int(name): i for i, name in enumerate(names)}
    for trace in index.trace(integers(5, 6, seed=5, low=1), ef_search=30):
        steps = trace.entry + trace.steps
        assert trace.parents[0] == -1
        assert trace.scored.positions[0] == index._held.graph.entry_point
        assert steps[0].first == 1
        for step, after in zip(steps, [*steps[1:], None], strict=True):
            stop = step.first + step.scored
            assert stop == (after.first if after else len(trace.scored))
            assert set(trace.parents[step.first : stop]) <= {step.id}
            linked = links_of(index, place[step.id], step.layer)
            assert set(trace.scored.positions[step.first : stop]) <= set(linked)
            if step.layer > 0:
                assert step.scored == len(linked)


def test_the_pool_only_gets_better_and_bounds_what_is_expanded(whole):
    index, _, _ = whole
    for trace in index.trace(integers(5, 6, seed=5, low=1), ef_search=12):
        worst = [step.worst for step in trace.steps]
        assert worst == sorted(worst, reverse=True)
        assert worst[-1] == trace.pool.distances[-1]
        seen = 1 + sum(step.scored for step in trace.steps)
        assert seen > len(trace.pool) == 12
        full = [step for step in trace.steps if np.isfinite(step.worst)]
        assert all(step.distance <= before.worst for before, step in pairwise(full))
        nearest = [step.worst for step in trace.entry]
        assert nearest == sorted(nearest, reverse=True)


def test_the_pool_has_room_until_ef_nodes_were_scored(whole):
    index, _, _ = whole
    [trace] = index.trace(integers(1, 6, seed=6, low=1), ef_search=200)
    for step in trace.steps:
        below = step.first + step.scored - trace.steps[0].first + 1
        assert (step.worst == np.inf) == (below < 200)


def test_every_member_of_the_last_pool_was_expanded(whole):
    index, _, _ = whole
    for trace in index.trace(integers(5, 6, seed=7, low=1), ef_search=20):
        expanded = [step.id for step in trace.steps]
        assert len(set(expanded)) == len(expanded)
        assert set(trace.pool.ids) <= set(expanded)


@pytest.mark.parametrize("metric", ["l2", "cosine", "l1"])
def test_a_walk_that_distance_ends(metric):
    """What is farther than (1 + epsilon) times the k-th best is not expanded."""
    index, epsilon, k = made(metric=metric), 0.1, 4
    short = check(index, k=k, epsilon=epsilon)
    for trace, whole in zip(short, index.trace(Q, k=k, ef_search=len(X)), strict=True):
        assert trace.hops < whole.hops
        limit = (1 + epsilon) ** (2 if metric == "cosine" else 1) * trace.distances[-1]
        assert trace.steps[-1].worst == pytest.approx(limit, rel=1e-4)
        left = np.setdiff1d(trace.pool.positions, [s.position for s in trace.steps])
        distance = dict(zip(trace.pool.positions, trace.pool.distances, strict=True))
        assert all(distance[position] > limit * (1 - 1e-5) for position in left)


@pytest.mark.parametrize("room", [(0, 0), (1, 1), (256, 5), (3, 4096)])
def test_a_record_that_is_too_small_is_made_anew(monkeypatch, room):
    index = made()
    expected = index.trace(Q, ef_search=60)
    monkeypatch.setattr(hnsw, "_STEPS", room[0])
    monkeypatch.setattr(hnsw, "_SCORED", room[1])
    for one, other in zip(expected, check(index, ef_search=60), strict=True):
        assert (one.entry, one.steps) == (other.entry, other.steps)
        np.testing.assert_array_equal(one.scored.ids, other.scored.ids)
        np.testing.assert_array_equal(one.parents, other.parents)
        np.testing.assert_array_equal(one.pool.distances, other.pool.distances)


def test_what_does_not_fit_is_counted_and_not_written():
    room = hnsw._room(2, 3)
    guarded = Walked(room.used, *(np.full(9, -7, a.dtype)[: a.size] for a in room[1:]))
    index = made()
    desk = index._borrow(index._state, 5, (30, -1.0, -1.0, None))
    desk.query[0] = Q[0]
    hnsw._walk_once(index._state, desk, (30, -1.0, -1.0, None), guarded)
    [trace] = index.trace(Q[0], ef_search=30)
    assert guarded.used.tolist() == [trace.hops, len(trace.scored), len(trace.pool)]
    for array in guarded[1:]:
        assert (array.base[array.size :] == -7).all()
        assert (array != -7).all()


@pytest.mark.parametrize("codec", ["SQ8", "PQ8"])
def test_a_walk_on_codes_tells_estimates(codec):
    index = made(codec=codec, refine=3)
    true = reference.distances("l2", Q, X)
    off = 0.0
    for r, trace in enumerate(index.trace(Q, ef_search=40)):
        positions = trace.scored.positions
        off += np.abs(trace.scored.distances - true[r, positions]).sum()
        np.testing.assert_allclose(
            trace.distances, true[r, trace.ids], rtol=1e-5, atol=1e-6
        )
        assert trace.estimated == len(trace.scored)
    assert off > 0


# --- lists ----------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_lists_are_visited_in_order_of_their_centroids(metric):
    index = made("IVF", metric=metric, names=NAMES)
    table = reference.distances(metric, Q, index.centroids)
    if metric == "cosine":  # 1 − ⟨q, c⟩: centroids are what they are
        table = 1 + reference.keys("dot", reference.unit(Q), index.centroids)
    for r, trace in enumerate(check(index, nprobe=NLIST)):
        visited = [visit.list for visit in trace.visits]
        assert visited == np.argsort(table[r]).tolist()
        assert trace.centroids == NLIST
        distances = [visit.distance for visit in trace.visits]
        np.testing.assert_allclose(distances, np.sort(table[r]), rtol=1e-4, atol=1e-5)
        ids = np.concatenate([visit.ids for visit in trace.visits])
        np.testing.assert_array_equal(np.sort(ids), np.sort(NAMES))
        assert NLIST + sum(visit.size for visit in trace.visits) == trace.exact


@pytest.mark.parametrize("k", [1, 10, 90])
def test_the_last_candidate_after_each_list_is_brute_force_s(k):
    index = made("IVF", names=NAMES)
    place = {int(name): i for i, name in enumerate(NAMES)}
    table = reference.distances("l2", Q, X)
    for r, trace in enumerate(check(index, k=k, nprobe=5)):
        seen, previous = [], None
        for visit in trace.visits:
            seen += [place[int(name)] for name in visit.ids]
            order = sorted(seen, key=lambda i: (table[r, i], i))
            last = order[k - 1] if len(order) >= k else None
            expected = np.inf if last is None else table[r, last]
            assert visit.worst == pytest.approx(expected, rel=1e-5)
            assert visit.changed == (last != previous)
            previous = last


def test_patience_ends_a_search_after_quiet_lists():
    V = clustered(2000, 16, seed=3)
    index = ann.IVF(nlist=30).add(V)
    ends = []
    for trace in check(index, V[::100], k=5, nprobe=30, patience=4):
        changed = [visit.changed for visit in trace.visits]
        ends.append(len(changed))
        if len(changed) < 30:
            assert changed[-4:] == [False] * 4
            assert changed[-5]
    assert min(ends) < 30


def test_an_empty_list_is_a_visit():
    V = np.repeat(integers(4, 16, seed=1), 30, axis=0)  # four places, eight lists
    index = ann.IVF(nlist=8).add(V)
    sizes = [visit.size for visit in index.trace(V[0], k=3, nprobe=8)[0].visits]
    assert sum(sizes) == len(V)
    assert 0 in sizes
    check(index, V[::30], k=3, nprobe=8)


def test_the_residuals_of_a_list_are_told_in_the_metric_s_units():
    index = made("IVF", "PQ8", refine=5)
    true = reference.distances("l2", Q, X)
    for r, trace in enumerate(index.trace(Q, k=2, nprobe=NLIST)):
        worst = trace.visits[-1].worst
        tenth = np.sort(true[r])[9]
        assert worst == pytest.approx(tenth, rel=0.5)


def test_centroids_are_a_copy():
    index = made("IVF")
    index.centroids[:] = 0
    assert index.centroids.any()
    assert index.centroids.shape == (NLIST, 16)


def test_a_flat_index_scores_everything():
    [trace] = ann.Flat("l1").add(gaussian(50, 4)).trace(gaussian(1, 4, seed=2), k=3)
    assert (trace.exact, trace.estimated) == (50, 0)
