"""From candidates to an answer, and a lone query against the same one in a batch."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import ann
from ann.kernels import answer
from ann.kernels.stores import ROWS
from tests.ann import reference
from tests.ann.data import gaussian, integers
from tests.ann.reference import METRICS

KEY = {"l2": "l2", "ip": "dot", "cosine": "dot", "l1": "l1"}
INF = np.float32(np.inf)

# --- finish, against a plain oracle ---------------------------------------------------


def finish(metric, keys, ids, k, q=None, rows=None, names=None, n=1000):
    """Run the kernel on candidates; return ids, distances and the count."""
    originals = None if rows is None else ROWS[KEY[metric]](rows)
    final = answer.Final(METRICS.index(metric), n, originals, names)
    q = np.zeros(1, np.float32) if q is None else q
    distances, found = np.full(k, np.nan, np.float32), np.full(k, -7, np.int64)
    keys, ids = np.array(keys, np.float32), np.array(ids, np.int32)
    rescored = answer.finish(final, q, keys, ids, distances, found)
    return found, distances, rescored


def expected(metric, keys, ids, k, q=None, rows=None, names=None):
    taken = np.array([i for i in ids if i >= 0], np.int64)
    values = np.array(keys, np.float64)[: len(taken)]
    if rows is not None:
        values = reference.keys(KEY[metric], q[None], rows[taken])[0]
    order = np.lexsort((taken, values))[:k]
    taken, values = taken[order], values[order]
    if metric == "l2":
        values = np.sqrt(np.maximum(values, 0))
    elif metric == "cosine":
        values = np.maximum(1 + values, 0)
    names = np.arange(1000) if names is None else names
    return reference.nearest(values[None].astype(np.float32), k, names[taken])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("refined", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_finish_equals_the_oracle(metric, refined, named):
    rng = np.random.default_rng(0)
    rows = integers(300, 4, seed=1)  # with many ties
    names = rng.permutation(300) + 2**40 if named else None
    for k in (1, 5, 30):
        for n in (0, 1, 4, 5, 30, 60):
            q = integers(1, 4, seed=n)[0]
            ids = rng.choice(300, n, replace=False)
            values = rng.integers(0, 9, n) if metric == "l1" else -rng.integers(0, 9, n)
            order = np.lexsort((ids, values))
            keys, ids = values[order], ids[order]
            keys = np.concatenate([keys, [np.inf] * 3])
            ids = np.concatenate([ids, [-1] * 3])
            extra = {"q": q, "rows": rows if refined else None, "names": names}
            true_ids, true = expected(metric, keys, ids, k, **extra)
            found, distances, rescored = finish(metric, keys, ids, k, **extra)
            np.testing.assert_array_equal(found, true_ids[0])
            np.testing.assert_array_equal(distances, true[0].astype(np.float32))
            assert rescored == (n if refined else 0)


def presented(metric, *keys):
    return list(finish(metric, keys, range(len(keys)), len(keys))[1])


def test_keys_become_distances():
    assert presented("l2", 0, 4, np.inf) == [0, 2, np.inf]
    assert presented("l1", 0, 4, np.inf) == [0, 4, np.inf]
    assert presented("ip", -4, 0, np.inf) == [-4, 0, np.inf]
    assert presented("cosine", -1, 0, np.inf) == [0, 1, np.inf]


def test_what_rounding_takes_below_zero_is_zero():
    below = np.nextafter(np.float32(-1), np.float32(-2))
    assert presented("cosine", below, -1) == [0, 0]
    assert presented("l2", -1e-6, -0.0, 0) == [0, 0, 0]
    for metric, key in (("cosine", below), ("l2", -1e-6)):
        assert not np.signbit(presented(metric, key)).any()


def test_missing_candidates_stay_missing():
    for metric in METRICS:
        found, distances, _ = finish(metric, [INF, INF], [-1, -1], 3)
        assert list(found) == [-1, -1, -1]
        assert (distances == np.inf).all()


@pytest.mark.parametrize("refined", [False, True])
def test_candidates_that_came_later_are_not_seen(refined):
    """A walk may meet vectors that an add is putting in; they have no names yet."""
    rows, names = np.zeros((9, 4), np.float32), np.arange(6) + 100
    extra = {"q": rows[0], "rows": rows if refined else None, "names": names}
    found, distances, rescored = finish(
        "l1", np.zeros(7), [5, 8, 0, 6, 3, 7, -1], 5, n=6, **extra
    )
    assert list(found) == [100, 103, 105, -1, -1]
    assert list(distances) == [0, 0, 0, np.inf, np.inf]
    assert rescored == 3 * refined


def test_names_replace_positions_and_order_equal_distances():
    names = np.array([50, 40, 30, 20, 2**62])
    found, distances, _ = finish("l1", [1, 1, 2, 2, 2], [0, 1, 2, 3, 4], 5, names=names)
    assert list(found) == [40, 50, 20, 30, 2**62]
    assert list(distances) == [1, 1, 2, 2, 2]


def test_keys_that_become_one_distance_are_ordered_by_id():
    keys = 2e6 + 0.125 * np.arange(3)  # neighbours in float32
    found, distances, _ = finish("l2", keys, [7, 3, 5], 3)
    assert len(set(distances)) == 1
    assert list(found) == [3, 5, 7]


def test_finish_all_is_finish_of_each_row():
    rows, Q = integers(50, 4, seed=1), integers(6, 4, seed=2)
    keys, ids = np.zeros((6, 9), np.float32), np.arange(54, dtype=np.int32)
    ids = (ids % 50).reshape(6, 9)
    ids[2, 4:] = -1
    final = answer.Final(0, 50, ROWS["l2"](rows), None)
    distances, found = np.empty((6, 5), np.float32), np.empty((6, 5), np.int64)
    scored = np.full(6, 100)
    answer.finish_all(final, Q, keys, ids, distances, found, scored)
    assert list(scored) == [109, 109, 104, 109, 109, 109]
    for r in range(6):
        one = finish("l2", keys[r], ids[r], 5, Q[r], rows)
        np.testing.assert_array_equal(found[r], one[0])
        np.testing.assert_array_equal(distances[r], one[1])


# --- a lone query ---------------------------------------------------------------------

X, Q = gaussian(400, 16, seed=1), gaussian(25, 16, seed=2)
NAMES = np.random.default_rng(0).permutation(400) + 1000
STRUCTURES = {
    "Flat": (ann.Flat, {}),
    "IVF": (ann.IVF, {"nlist": 8}),
    "HNSW": (ann.HNSW, {"M": 6, "ef_construction": 30}),
}
CODECS = {
    "float32": lambda: None,
    "SQ8": lambda: ann.SQ(),
    "SQ4": lambda: ann.SQ(bits=4),
    "PQ8": lambda: ann.PQ(m=4),
    "PQ4": lambda: ann.PQ(m=8, nbits=4),
    "OPQ4": lambda: ann.PQ(m=4, nbits=4, opq=True),
}
CASES = [
    (structure, codec, refine, metric)
    for structure in STRUCTURES
    for codec in CODECS
    for refine in (None, 3)
    for metric in METRICS
    if not (codec == "float32" and refine) and not (codec == "OPQ4" and metric == "l1")
]


def made(structure="HNSW", codec="float32", refine=None, metric="l2", names=None):
    cls, options = STRUCTURES[structure]
    index = cls(metric, codec=CODECS[codec](), refine=refine, **options)
    return index.add(X, names)


def check_lone(index, queries=Q, **search):
    """Compare each query by itself with its row of a batch, bit for bit."""
    ids, distances = index.search(queries, **search)
    for q, row_ids, row in zip(queries, ids, distances, strict=True):
        one_ids, one = index.search(q, **search)
        assert (one_ids.dtype, one.dtype) == (np.int64, np.float32)
        np.testing.assert_array_equal(one_ids, row_ids)
        np.testing.assert_array_equal(one.view(np.int32), row.view(np.int32))


@pytest.mark.parametrize(("structure", "codec", "refine", "metric"), CASES)
def test_a_lone_query_is_a_row_of_a_batch(structure, codec, refine, metric):
    index = made(structure, codec, refine, metric, NAMES)
    check_lone(index, k=7)
    check_lone(index, k=1)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("codec", ["float32", "SQ8"])
def test_it_need_not_have_names_and_may_ask_for_more_than_there_is(structure, codec):
    index = made(structure, codec)
    check_lone(index, k=500)
    few = STRUCTURES[structure][0](codec=CODECS[codec](), **STRUCTURES[structure][1])
    few.add(X[:9])
    check_lone(few, k=12)
    assert (few.search(Q[0], k=12)[0][9:] == -1).all()


def test_pools_of_any_size():
    for refine in (1, 2.5, 100):
        index = made("HNSW", "SQ8", refine)
        for k, ef in ((1, 1), (3, 3), (3, 50), (12, 12), (10, 400), (5, 6), (300, 400)):
            check_lone(index, Q[:8], k=k, ef_search=ef)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("metric", ["l2", "ip", "l1"])
def test_ties_are_ordered_by_name(structure, metric):
    cls, options = STRUCTURES[structure]
    V = integers(400, 6, low=-1, high=2)
    everything = {"HNSW": {"ef_search": 400}, "IVF": {"nprobe": 8}, "Flat": {}}
    index = cls(metric, **options).add(V, NAMES)
    queries = integers(10, 6, seed=1, low=-1, high=2)
    check_lone(index, queries, k=50)
    true = reference.distances(metric, queries, V)
    for q, row in zip(queries, true, strict=True):
        ids, distances = index.search(q, k=400, **everything[structure])
        found = ids >= 0  # a graph may leave some out
        assert found.mean() > 0.9
        ties = np.diff(distances[found]) == 0
        assert (np.diff(ids[found])[ties] > 0).all()
        own = row[np.argsort(NAMES)][ids[found] - 1000]
        np.testing.assert_allclose(distances[found], own, rtol=1e-6)


FORMS = {
    "float64": lambda q: q.astype(np.float64),
    "big-endian": lambda q: q.astype(">f4"),
    "list": lambda q: q.tolist(),
    "tuple": lambda q: tuple(q),
    "every other": lambda q: np.repeat(q, 2)[::2],
    "reversed": lambda q: q[::-1].copy()[::-1],
    "subclass": lambda q: q.copy().view(Own),
    "read-only": lambda q: np.frombuffer(q.tobytes(), np.float32),
    "unaligned": lambda q: np.frombuffer(b"\0" + q.tobytes(), np.uint8)[1:].view("f4"),
}


class Own(np.ndarray):
    """A subclass, which may do as it likes."""


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("codec", ["float32", "SQ8"])
def test_other_forms_of_a_query_find_the_same(form, codec):
    index = made("HNSW", codec, metric="cosine", names=NAMES)
    for q in Q[:5]:
        before = q.copy()
        other = FORMS[form](q)
        found, expected = index.search(other, k=5), index.search(q, k=5)
        np.testing.assert_array_equal(found, expected)
        assert found[0].shape == (5,)
        np.testing.assert_array_equal(other, before)
        np.testing.assert_array_equal(q, before)


def spoilt(value):
    q = Q[3].copy()
    q[5] = value
    return q


REFUSED = {
    "nan": ("l2", spoilt(np.nan), "Q must be finite .* nan in row 0, column 5"),
    "inf": ("l1", spoilt(np.inf), "Q must be finite .* inf in row 0, column 5"),
    "-inf": ("cosine", spoilt(-np.inf), "Q must be finite .* -inf in row 0, column 5"),
    "zero": ("cosine", np.zeros(16, np.float32), "no zero vector .* row 0"),
    "long": ("ip", spoilt(2e18), r"Q must have norms <= 1e\+18, .* 2e\+18 in row 0"),
    "narrow": ("l2", Q[0, :15].copy(), "Q must have d=16 columns, got 15"),
    "0-d": ("l2", np.float32(1), r"Q must have shape \(n, d\)"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("codec", ["float32", "SQ4"])
def test_a_lone_query_is_refused_as_a_batch_is(structure, codec, case):
    metric, q, message = REFUSED[case]
    index = made(structure, codec, None if codec == "float32" else 2, metric)
    before = index.search(Q, k=5)
    for query in (q, q[None] if q.ndim else q):
        with pytest.raises(ValueError, match=message):
            index.search(query)
    np.testing.assert_array_equal(index.search(Q, k=5), before)
    check_lone(index, k=5)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("metric", METRICS)
def test_long_and_short_queries_that_are_not_refused(structure, metric):
    index = made(structure, metric=metric)
    scales = [1e-38, 1e-25, 1e17] + [1e25] * (metric == "cosine")
    for scale in scales:
        check_lone(index, Q[:5] * np.float32(scale), k=5)
    if metric != "cosine":
        check_lone(index, np.zeros((1, 16), np.float32), k=5)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_other_arguments_are_checked_for_a_lone_query(structure):
    index = made(structure)
    for wrong, message in (({"k": 0}, "k must be"), ({"threads": 0}, "threads must")):
        with pytest.raises(ValueError, match=message):
            index.search(Q[0], **wrong)
    with pytest.raises(ValueError, match="distance_computations must be"):
        index.search(Q[0], distance_computations=np.zeros(2, np.int64))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_what_equals_the_last_k_is_checked_all_the_same(structure):
    index = made(structure)
    for k, wrong in ((1, True), (5, 5.0), (5, np.float32(5))):
        index.search(Q[0], k)
        index.search(Q[0], k)
        with pytest.raises(ValueError, match="k must be an integer"):
            index.search(Q[0], wrong)


def test_options_that_equal_the_last_are_checked_all_the_same():
    hnsw, ivf = made("HNSW"), made("IVF")
    for _ in range(2):
        hnsw.search(Q[0], ef_search=30, epsilon=0.0, taper=True)
        ivf.search(Q[0], nprobe=4, patience=2)
    with pytest.raises(ValueError, match="ef_search must be an integer"):
        hnsw.search(Q[0], ef_search=30.0, epsilon=0.0, taper=True)
    with pytest.raises(ValueError, match="taper must be"):
        hnsw.search(Q[0], ef_search=30, epsilon=0.0, taper=1)
    with pytest.raises(ValueError, match="nprobe must be an integer"):
        ivf.search(Q[0], nprobe=4.0, patience=2)


def test_options_may_change_from_query_to_query():
    hnsw, ivf = made("HNSW", "SQ8", 2), made("IVF", "SQ8", 2)
    for _ in range(2):
        for k, ef in ((5, 10), (5, 300), (3, 10), (40, 300), (5, 10)):
            check_lone(hnsw, Q[:4], k=k, ef_search=ef)
            check_lone(hnsw, Q[:4], k=k, ef_search=ef, epsilon=0.1)
            check_lone(hnsw, Q[:4], k=k, ef_search=ef, filter=range(100))
        for k, nprobe in ((5, 1), (5, 8), (40, 2)):
            check_lone(ivf, Q[:4], k=k, nprobe=nprobe)
        hnsw.exact(Q[0], 5)
    assert len(hnsw._state.spare) == 1


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("threads", [None, 1])
@pytest.mark.parametrize("q", [Q[0], Q[:1]], ids=["1-d", "2-d"])
def test_what_was_asked_before_is_not_looked_at_again(
    structure, threads, q, monkeypatch
):
    index, k = made(structure), 300
    expected = index.search(q, k, threads=threads)
    plan, (desk,) = index._state.plan, index._state.spare
    monkeypatch.setattr(index, "_search", None)  # the long way
    np.testing.assert_array_equal(index.search(q, k, threads=threads), expected)
    assert index._state.plan is plan
    assert index._state.spare == [desk]


def test_a_new_calibration_is_seen_by_the_next_lone_query():
    index = made("HNSW")
    index.calibrate(X[:50] + np.float32(0.01), k=3)
    for q in Q[:2]:
        index.search(q, k=3, target_recall=1.0)
    index.calibrate(4 * Q, k=3)
    again = pickle.loads(pickle.dumps(index))
    assert again._state.plan is None
    one, other = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for q in Q:
        found = index.search(q, k=3, target_recall=1.0)
        again.search(q, k=3, target_recall=1.0, distance_computations=one)
        index.search(q, k=3, target_recall=1.0, distance_computations=other)
        np.testing.assert_array_equal(found, again.search(q, k=3, target_recall=1.0))
        assert one == other


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(("codec", "refine"), [("float32", None), ("SQ8", 3)])
def test_a_lone_query_is_counted(structure, codec, refine):
    index = made(structure, codec, refine)
    many, one = np.zeros(25, np.int64), np.zeros(1, np.int64)
    index.search(Q, k=4, distance_computations=many)
    for r in range(25):
        found = index.search(Q[r], k=4, distance_computations=one)
        assert one == many[r]
        np.testing.assert_array_equal(found, index.search(Q[r], k=4))
        np.testing.assert_array_equal(found, index.search(Q[r], k=4, threads=2))


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("codec", ["float32", "SQ8"])
def test_an_addition_is_seen_by_the_next_lone_query(structure, codec):
    cls, options = STRUCTURES[structure]
    quiet, busy = (
        cls("cosine", codec=CODECS[codec](), refine=2 if codec != "float32" else None,
            **options)
        for _ in range(2)
    )  # fmt: skip
    parts = [(0, 40, None), (40, 41, None), (41, 200, None), (200, 400, NAMES[200:])]
    for a, b, names in parts:  # from the last one on, the index has names
        quiet.add(X[a:b], names)
        busy.add(X[a:b], names)
        ids, _ = busy.search(X[b - 1], k=3)
        assert ids[0] == (b - 1 if names is None else NAMES[399])
        busy.search(Q[0], k=30)
    check_lone(busy, k=5)
    np.testing.assert_array_equal(busy.search(Q), quiet.search(Q))
    for q in Q:
        np.testing.assert_array_equal(busy.search(q), quiet.search(q))


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(("codec", "refine"), [("float32", None), ("SQ8", 2)])
def test_four_threads_with_lone_queries(structure, codec, refine):
    index = made(structure, codec, refine)
    serial = [index.search(q, k=5) for q in Q]
    fresh = made(structure, codec, refine)  # which the four are the first to search

    def caller(number):
        rng = np.random.default_rng(number)
        return all(
            np.array_equal(fresh.search(Q[r], k=5), serial[r])
            for r in rng.integers(len(Q), size=150)
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(caller, range(4)))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_pools_of_different_size_take_turns(structure):
    index = made(structure, "SQ8", 2)
    fresh = {k: made(structure, "SQ8", 2).search(Q[0], k=k) for k in (1, 200, 10)}
    for k in (1, 200, 10, 200, 1, 10):
        np.testing.assert_array_equal(index.search(Q[0], k=k), fresh[k])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("structure", ["Flat", "HNSW"])
def test_an_empty_index_finds_nothing(structure, metric):
    index = STRUCTURES[structure][0](metric)
    for queries in (Q[0], Q[:1]):
        ids, distances = index.search(queries, k=3)
        assert (ids == -1).all()
        assert (distances == np.inf).all()
    assert index.add(X[:0]).search(Q[0], k=3)[0].shape == (3,)


def test_answers_are_the_callers_own():
    index = made()
    ids, distances = index.search(Q[0], k=5)
    kept = ids.copy(), distances.copy()
    for q in Q[1:]:
        index.search(q, k=5)
    np.testing.assert_array_equal((ids, distances), kept)
    ids[:], distances[:] = 0, 0
    np.testing.assert_array_equal(index.search(Q[0], k=5), kept)


@pytest.mark.parametrize("codec", ["float32", "SQ8"])
def test_an_index_that_was_searched_can_be_copied(codec):
    from copy import deepcopy

    index = made(codec=codec)
    before = index.search(Q[0], k=5)
    other = deepcopy(index)
    other.add(X + 1)
    np.testing.assert_array_equal(index.search(Q[0], k=5), before)
    check_lone(other, k=5)
    check_lone(index, k=5)


def test_an_index_that_was_searched_can_be_pickled():
    import pickle

    index = made()
    before = index.search(Q[0], k=5)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(index)).search(Q[0], k=5), before
    )


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_batch_of_one_is_a_lone_query_with_another_shape(structure):
    index = made(structure)
    for found, expected in zip(index.search(Q[:1]), index.search(Q[0]), strict=True):
        assert found.shape == (1, 10)
        np.testing.assert_array_equal(found[0], expected)
