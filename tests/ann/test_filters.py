"""What a user gives as a filter, and which strategy it is searched by."""

import gc
import pickle
import weakref

import numpy as np
import pytest

import ann
from ann import filters
from ann.filters import resolve
from tests.ann.data import gaussian

NAMES = np.array([7, 3, 100, 0, 2**62, 4, 2])


def passing(*arguments, **options):
    """Return the positions that a filter resolves to, having checked its parts."""
    selected = resolve(*arguments, **options)
    positions = selected.positions
    assert positions.dtype == np.int32
    assert (np.diff(positions) > 0).all()
    assert selected.allowed.dtype == np.uint8
    assert selected.allowed.shape == (selected.n,)
    np.testing.assert_array_equal(np.flatnonzero(selected.allowed), positions)
    assert len(selected) == len(positions) == selected.allowed.sum()
    return positions.tolist()


# --- masks ----------------------------------------------------------------------------


def test_a_mask_is_over_ids():
    assert passing(np.array([True, False, True]), 3) == [0, 2]
    mask = np.zeros(2**10, bool)
    mask[[100, 2, 7, 50]] = True
    assert passing(mask, 7, NAMES) == [0, 2, 6]


def test_what_was_added_since_a_mask_was_made_does_not_pass():
    assert passing(np.array([True, True]), 4) == [0, 1]
    assert passing(np.ones(5, bool), 7, NAMES) == [1, 3, 5, 6]
    assert passing(np.zeros(0, bool), 4) == []


def test_a_mask_may_be_longer_than_there_are_ids():
    assert passing([True, False, True, True, True], 3) == [0, 2]


@pytest.mark.parametrize("n", [0, 1, 7, 8, 63, 64, 65, 129, 700])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_masks_of_any_length_and_layout(n, share):
    rng = np.random.default_rng(n)
    room = np.zeros(2 * n + 3, bool)
    unaligned, every_other = room[3 : 3 + n], np.zeros(2 * n, bool)[::2]
    unaligned[:] = every_other[:] = rng.random(n) < share
    expected = np.flatnonzero(every_other).tolist()
    assert passing(every_other, n) == expected
    assert passing(unaligned, n) == expected
    readonly = unaligned.copy()
    readonly.flags.writeable = False
    assert passing(readonly, n) == expected


def test_a_mask_whose_bytes_are_not_1_writes_no_more_than_there_is_room_for():
    wild = np.arange(256, dtype=np.uint8).view(bool)
    positions = resolve(wild, 256).positions
    assert (np.diff(positions) > 0).all()
    assert set(positions.tolist()) <= set(range(1, 256))


# --- ids ------------------------------------------------------------------------------


def test_ids_pass_in_any_order_and_however_often():
    assert passing([5, 0, 2, 5], 6) == [0, 2, 5]
    assert passing([2**62, 3, 3, 0], 7, NAMES) == [1, 3, 4]


def test_0_and_1_are_ids_where_none_is_repeated():
    for ids in ([0], [1], [0, 1], [1, 0], [0, 1, 2], [1, 1, 2, 0], [0, -1, 1]):
        assert passing(ids, 6) == sorted({i for i in ids if i >= 0})


def test_other_ids_than_there_are_pass_nothing():
    huge = np.array([2**64 - 1, 2**63, 1], np.uint64)
    for names in (None, NAMES):
        assert passing([-1, -(2**63), 2**40], 7, names) == []
        assert passing([], 7, names) == []
    assert passing(huge, 7) == [1]
    assert passing(huge, 7, NAMES) == []


@pytest.mark.parametrize("dtype", ["i1", "u1", ">i4", "u8", "i8"])
def test_ids_of_any_integer_type(dtype):
    assert passing(np.array([3, 100, 2], dtype), 7, NAMES) == [1, 2, 6]
    assert passing(np.array([3, 100, 2], dtype), 7) == [2, 3]


def test_names_are_looked_up_where_that_is_possible():
    places = {int(name): i for i, name in enumerate(NAMES)}
    asked = []

    def find(ids):
        asked.append(ids)
        return np.array([places.get(int(i), -1) for i in ids], np.int32)

    assert passing([2, 100, 5, 2], 7, NAMES, find=find) == [2, 6]
    assert asked[0].tolist() == [2, 100, 5, 2]
    assert passing([9], 7, NAMES, find=find) == []


# --- functions ------------------------------------------------------------------------


@pytest.mark.parametrize("names", [None, NAMES])
def test_a_function_is_called_once_with_all_ids(names):
    calls = []

    def even(ids):
        calls.append(ids)
        return ids % 2 == 0

    expected = [0, 2, 4, 6] if names is None else [2, 3, 4, 5, 6]
    assert passing(even, 7, names) == expected
    [ids] = calls
    np.testing.assert_array_equal(ids, np.arange(7) if names is None else NAMES)
    assert ids.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 1


def test_a_function_s_own_errors_are_not_hidden():
    def broken(ids):
        raise KeyError("colour")

    with pytest.raises(KeyError, match="colour"):
        resolve(broken, 5)


# --- vectors that were removed --------------------------------------------------------


@pytest.mark.parametrize("names", [None, np.arange(6) + 10])
def test_nothing_that_was_removed_passes(names):
    alive = np.array([1, 1, 0, 1, 0, 1], bool)
    first = 0 if names is None else 10
    assert passing(np.ones(20, bool), 6, names, alive) == [0, 1, 3, 5]
    assert passing(np.arange(3) + first, 6, names, alive) == [0, 1]

    def even(ids):
        assert ids.tolist() == [i + first for i in (0, 1, 3, 5)]
        return ids % 2 == 0

    assert passing(even, 6, names, alive) == [0]


def test_an_id_that_was_given_anew_is_the_vector_that_lives():
    names, alive = np.array([5, 6, 5]), np.array([False, True, True])
    assert passing([5], 3, names, alive) == [2]
    assert passing(np.ones(6, bool), 3, names, alive) == [2]


@pytest.mark.parametrize("seed", range(20))
def test_every_form_is_what_plain_python_says(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    names = rng.choice(80, n, replace=False) if seed % 2 else None
    alive = rng.random(n) < 0.7 if seed % 3 else None
    own = range(n) if names is None else names.tolist()
    living = [i for i in range(n) if alive is None or alive[i]]
    mask = rng.random(int(rng.integers(0, 90))) < rng.random()
    ids = rng.integers(-5, 90, size=int(rng.integers(0, 50)))
    by_mask = [i for i in living if own[i] < len(mask) and mask[own[i]]]
    by_ids = [i for i in living if own[i] in set(ids.tolist())]
    assert passing(mask, n, names, alive) == by_mask
    assert passing(ids, n, names, alive) == by_ids
    assert passing(lambda given: np.isin(given, ids), n, names, alive) == by_ids


def test_an_empty_index_lets_nothing_pass():
    for wanted in ([1], np.ones(3, bool), lambda ids: ids > 0):
        assert passing(wanted, 0) == []


# --- what is refused ------------------------------------------------------------------

REFUSED = {
    "one for each query": (
        np.ones((3, 5), bool),
        r"one for all queries, got .*\(3, 5\)",
    ),
    "a number": (3, r"must be a mask \(m,\), .* got int of shape \(\)"),
    "floats": ([0.0, 1.0], "must be of bool or of integers, got dtype float64"),
    "bits": ([1, 0, 1], "got 3 integers that look like a mask: use mask.astype"),
    "bits of a byte": (np.ones(5, np.uint8), "got 5 integers that look like a mask"),
    "two bits": ([1, 1], "got 2 integers that look like a mask"),
    "text": (["a", "b"], "must be of bool or of integers, got dtype <U1"),
    "a set": ({1, 2}, r"must be a mask \(m,\), .* got set of shape \(\)"),
    "none": (None, r"must be a mask \(m,\), .* got NoneType of shape \(\)"),
    "a function of ids": (lambda ids: ids, "must return bool .* got int64"),
    "a function of one id": (
        lambda ids: True,
        r"of shape \(5,\), .* bool of shape \(\)",
    ),
    "a function of some": (lambda ids: ids[:2] > 0, r"\(5,\), .* bool of shape \(2,\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_filter_is_refused(case):
    wanted, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        resolve(wanted, 5)


# --- strategies -----------------------------------------------------------------------


def test_few_are_scored_and_many_are_walked_to():
    def pays(n, share, **options):
        return filters.walk_pays(n, round(n * share), 64, 32, **options)

    assert [pays(100_000, s) for s in (0.5, 0.1, 0.01, 0.001)] == [1, 1, 0, 0]
    assert [pays(10_000_000, s) for s in (0.5, 0.1, 0.01, 0.001)] == [1, 1, 1, 0]
    assert not filters.walk_pays(10**7, 64, 64, 32)  # no more than the pool holds
    assert not filters.walk_pays(10**7, 0, 64, 32)


def test_a_walk_pays_less_where_scoring_is_shared():
    assert filters.walk_pays(100_000, 10_000, 64, 32)
    assert not filters.walk_pays(100_000, 10_000, 64, 32, row=0.1)


@pytest.mark.parametrize(("ef", "M0"), [(10, 4), (64, 32), (500, 64)])
def test_once_a_walk_pays_it_pays_for_all_that_is_more(ef, M0):
    n = 1_000_000
    pays = [filters.walk_pays(n, m, ef, M0) for m in range(0, n + 1, 1000)]
    assert pays == sorted(pays)
    assert pays[-1]
    assert not pays[0]


def test_a_pool_is_the_wider_the_less_passes():
    pools = [filters.pool(64, 1000, passing) for passing in (1000, 500, 100, 10, 1)]
    assert pools == sorted(pools)
    assert pools[0] == 64
    assert pools[2] == 96  # 64 * 3 / 2


def test_the_larger_a_batch_the_less_a_row_costs():
    index = ann.Flat().add(gaussian(5, D))
    costs = [index._row_cost(nq) for nq in (1, 11, 12, 100, 10_000)]
    assert costs[:2] == [1.0, 1.0]
    assert costs[2] < 0.5
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] >= filters.SHARED
    assert ann.Flat(codec=ann.SQ())._row_cost(100) == 1.0  # codes are not shared


def test_as_much_that_passes_is_scanned_as_without_a_filter():
    assert filters.probes(16, 1000, 10_000, 10_000) == 16
    assert filters.probes(16, 1000, 10_000, 5_000) == 32
    assert filters.probes(16, 1000, 10_000, 3) == 1000
    assert filters.probes(16, 1000, 10_000, 0) == 1000
    assert filters.probes(3, 7, 10, 9) == 4


def test_lists_pay_for_many_and_rows_for_few():
    def pays(share):
        return filters.lists_pay(16, 1360, 115_647, round(115_647 * share))

    assert [pays(s) for s in (1.0, 0.5, 0.01, 0.001)] == [1, 1, 0, 0]


# --- filters that are made ready ------------------------------------------------------

D = 16
KINDS = {
    "Flat": lambda: ann.Flat(),
    "HNSW": lambda: ann.HNSW(M=4, ef_construction=20),
    "HNSW SQ8": lambda: ann.HNSW(M=4, ef_construction=20, codec=ann.SQ(8), refine=2),
    "IVF": lambda: ann.IVF(nlist=9),
    "IVF SQ8": lambda: ann.IVF(nlist=9, codec=ann.SQ(8), refine=2),
}


def both(index, Q, wanted):
    """Return what lone queries find, and what a batch does."""
    lone = [index.search(q, k=5, filter=wanted) for q in Q]
    return [np.stack(part) for part in zip(*lone, strict=True)], index.search(
        Q, k=5, filter=wanted
    )


def same(one, other):
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_allclose(one[1], other[1], rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prepared_filter_finds_what_its_parts_do(kind):
    X, Q = gaussian(700, D, seed=1), gaussian(14, D, seed=2)
    index, rng = KINDS[kind]().add(X), np.random.default_rng(3)
    for share in (0.0, 0.004, 0.02, 0.6, 1.0):
        mask = rng.random(700) < share
        prepared = index.prepare_filter(mask)
        lone, batch = both(index, Q, prepared)
        for raw in (mask, np.flatnonzero(mask)[::-1], lambda ids, m=mask: m[ids]):
            other, other_batch = both(index, Q, raw)
            same(lone, other)
            same(batch, other_batch)
        assert np.isin(lone[0][lone[0] >= 0], np.flatnonzero(mask)).all()
        if share < 0.05:  # few: exact, whoever asks
            count = min(5, int(mask.sum()))
            some = np.flatnonzero(mask)
            if count:
                found, at = ann.Flat().add(X[some]).search(Q, k=count)
                same((lone[0][:, :count], lone[1][:, :count]), (some[found], at))
            assert (lone[0][:, count:] == -1).all()
            same(lone, batch)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prepared_filter_means_the_same_after_a_change(kind):
    X, Q = gaussian(700, D, seed=1), gaussian(14, D, seed=2)
    index = KINDS[kind]().add(X[:400])
    for given in (np.arange(0, 1000, 50), lambda ids: ids % 50 == 0):
        prepared, held = index.prepare_filter(given), set(range(index.ntotal))
        for change in (
            lambda: index.remove([0, 100]),
            lambda: index.add(X[400:], ids=np.arange(400, 700)),
            lambda: index.compact(),
            lambda: index.add(X[:1], ids=[100]),
            lambda: index.remove(np.arange(400, 700)),
            lambda: index.remove([100]).add(X[[0, 100]], ids=[0, 100]),
        ):
            same(both(index, Q, prepared)[0], both(index, Q, given)[0])
            change()
            lone, batch = both(index, Q, prepared)
            same(lone, both(index, Q, given)[0])
            same(lone, batch)
        assert index.ntotal == len(held)


def test_what_becomes_of_an_array_does_not_change_what_was_prepared():
    X = gaussian(700, D, seed=1)
    index, ids, mask = ann.Flat().add(X), np.array([3, 8]), np.zeros(700, bool)
    mask[[3, 8]] = True
    first, second = index.prepare_filter(ids), index.prepare_filter(mask)
    ids[:] = 5
    mask[:] = True
    for prepared in (first, second):
        assert set(index.search(X[5], k=2, filter=prepared)[0].tolist()) == {3, 8}
    index.remove([3])
    assert index.search(X[5], k=2, filter=first)[0].tolist() == [8, -1]


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_filter_is_not_prepared(case):
    wanted, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        ann.Flat().add(gaussian(5, D)).prepare_filter(wanted)


def test_a_prepared_filter_serves_any_index_and_none_that_was():
    """It keeps no earlier state alive, nor does a state keep it."""
    X = gaussian(700, D, seed=1)
    one, other = ann.Flat().add(X), ann.Flat().add(X[:20])
    prepared = one.prepare_filter([2, 4, 30])
    assert set(other.search(X[0], k=3, filter=prepared)[0].tolist()) == {2, 4, -1}
    assert set(one.search(X[0], k=3, filter=prepared)[0].tolist()) == {2, 4, 30}
    state = weakref.ref(one._state)
    again = pickle.loads(pickle.dumps(one))
    assert set(again.search(X[0], k=3, filter=prepared)[0].tolist()) == {2, 4, 30}
    gc.disable()
    try:
        one.remove([4])
        assert state() is None
        assert set(one.search(X[0], k=3, filter=prepared)[0].tolist()) == {2, 30, -1}
        del prepared
        assert not one._state.prepared
    finally:
        gc.enable()


def test_lone_queries_share_code_and_memory_whatever_the_filter():
    X = gaussian(700, D, seed=1)
    index = ann.HNSW(M=4, ef_construction=20).add(X)
    for first in range(5):
        index.search(X[0], k=5, filter=[first, 10, 20])
    [[code, desks]] = zip(
        index._state.codes.values(), index._state.spares.values(), strict=True
    )
    assert len(code) == 4  # one of them is None, as there is no transform
    assert len(desks) == 1
