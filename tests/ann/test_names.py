"""Who is at which position: against a dictionary."""

import numpy as np
import pytest

from ann.names import Names


def filled(*parts):
    """Return names to which parts came one after another."""
    names = Names()
    for part in parts:
        if isinstance(part, int):
            names = names.extended(names.fresh(None, part), part)
        else:
            names = names.extended(names.fresh(part, len(part)), len(part))
    return names


def test_by_default_an_id_is_its_position():
    names = filled(3, 2)
    assert names.ids is None
    assert names.of_all.tolist() == [0, 1, 2, 3, 4]
    assert names.positions([4, 0]).tolist() == [4, 0]


def test_default_ids_go_on_where_the_arrivals_are():
    names = filled(2, [70, 30], 2)
    assert names.of_all.tolist() == [0, 1, 70, 30, 4, 5]
    assert names.find(np.array([30, 5, 6])).tolist() == [3, 5, -1]


def test_a_default_id_that_is_taken_is_refused():
    names = filled([1])
    with pytest.raises(ValueError, match="ids must be unique, got 1 more than once"):
        names.fresh(None, 1)


@pytest.mark.parametrize(
    ("ids", "rule"),
    [
        ([7], "must be unique, got 7"),
        ([9, 9], "must be unique, got 9"),
        ([-1], r"must be in \[0, 2\*\*63 - 1\], got -1"),
        ([0.5], "must be integers, got dtype float64"),
        ([[1]], r"must have shape \(1,\), got \(1, 1\)"),
        ([1, 2], r"must have shape \(1,\), got \(2,\)"),
        (["a"], "must be integers, got dtype <U1"),
        (np.array([2**63], np.uint64), r"must be in \[0, 2\*\*63 - 1\]"),
    ],
)
def test_ids_that_cannot_be(ids, rule):
    names = filled([7, 8])
    count = len(ids) if len(ids) == 2 and ids[0] == ids[-1] else 1
    with pytest.raises(ValueError, match="ids " + rule):
        names.fresh(ids, count)


def test_who_is_not_there_is_named():
    names = filled([7, 8]).without(np.array([0]))
    for ids, stranger in (([8, 5], 5), ([7], 7)):
        rule = f"ids must be in the index, got {stranger}, which is not"
        with pytest.raises(ValueError, match=rule):
            names.positions(ids)


def test_an_id_may_come_again_when_it_has_gone():
    names = filled([7, 8, 9]).without(np.array([0, 2]))
    names = names.extended(names.fresh([9, 7], 2), 2)
    assert names.find(np.array([7, 8, 9])).tolist() == [4, 1, 3]
    assert names.count == 3
    kept = names.kept(names.alive)
    assert kept.of_all.tolist() == [8, 9, 7]
    assert kept.arrived == 5


def test_exchanged_names_are_found_at_their_new_places():
    names = filled(4).exchanged(np.array([0]), np.array([3]))
    assert names.of_all.tolist() == [3, 1, 2, 0]
    assert names.positions([0, 3]).tolist() == [3, 0]
    assert names.exchanged(np.array([], int), np.array([], int)) is names


def test_a_long_life_agrees_with_a_dictionary():
    rng = np.random.default_rng(0)
    names, places, n = Names(), {}, 0
    for step in range(150):
        if places and rng.random() < 0.4:
            some = rng.choice(list(places), rng.integers(1, 1 + len(places) // 3 + 1))
            some = np.unique(some)
            names = names.without(names.positions(some))
            for i in some.tolist():
                del places[i]
        elif places and rng.random() < 0.1:
            names = names.kept(names.alive if names.alive is not None else [True] * n)
            order = sorted(places, key=places.get)
            places = {i: p for p, i in enumerate(order)}
            n = len(order)
        else:
            new = [i for i in rng.choice(4000, 60, replace=False) if i not in places]
            names = names.extended(names.fresh(new, len(new)), len(new))
            places.update({int(i): n + j for j, i in enumerate(new)})
            n += len(new)
        probe = rng.permutation(4000)[:500]
        expected = [places.get(int(i), -1) for i in probe]
        assert names.find(probe).tolist() == expected, step
        assert names.count == len(places)
