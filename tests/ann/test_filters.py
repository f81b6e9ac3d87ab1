"""What a user gives as a filter, and which strategy it is searched by."""

import numpy as np
import pytest

from ann import filters
from ann.filters import resolve

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


# --- ids ------------------------------------------------------------------------------


def test_ids_pass_in_any_order_and_however_often():
    assert passing([5, 0, 2, 5], 6) == [0, 2, 5]
    assert passing([2**62, 3, 3, 0], 7, NAMES) == [1, 3, 4]


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
