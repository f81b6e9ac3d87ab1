"""Groups of equal vectors, against a dictionary."""

import numpy as np
import pytest

from ann import duplicates
from ann.duplicates import Seen


def vectors(n, kinds=40, seed=0):
    return np.random.default_rng(seed).integers(kinds, size=(n, 1)).astype(np.float32)


def first_of(X):
    """Return the first position of an equal vector, for each."""
    known = {}
    return np.array([known.setdefault(float(x), i) for i, x in enumerate(X[:, 0])])


def grouped(X):
    """Return the lists of followers of all ``X``."""
    lead = first_of(X)
    leaders = np.where(lead < np.arange(len(X)), lead, -1).astype(np.int32)
    same = np.full(len(X), -1, np.int32)
    duplicates.follow(same, 0, leaders)
    return same


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_the_first_of_equals_leads(dtype):
    X = np.repeat(vectors(400, 100), 3, axis=1).astype(dtype)
    seen, lead = Seen(X[:0], np.empty(0, bool)), first_of(X)
    for a, b in ((0, 30), (30, 31), (31, 400)):  # the table grows between
        found = seen.leaders(X[:b], np.full(b - a, -1, np.int32))
        new = np.arange(a, b)
        np.testing.assert_array_equal(found, np.where(lead[a:b] < new, lead[a:b], -1))


def test_who_does_not_lead_is_not_found_again():
    X = vectors(100, 100)
    X[50:] = X[:50]
    lead = np.arange(100) % 2 == 0
    seen = Seen(X, lead)
    X = np.concatenate([X, X[:50]])
    found = seen.leaders(X, np.full(50, -1, np.int32))
    assert (found[::2] >= 0).all()
    assert lead[found[(found >= 0) & (found < 100)]].all()
    equal = found >= 0
    np.testing.assert_array_equal(X[found[equal]], X[100:][equal])


@pytest.mark.parametrize("n", [1, 50, 299, 300])
def test_groups_that_grow_lead_to_the_same_vectors(n):
    """A search of the first n meets lists that have got more members since."""
    X = vectors(300)
    np.testing.assert_array_equal(
        duplicates.leaders(grouped(X), n), first_of(X)[:n].astype(np.int32)
    )


def test_groups_without_some_of_their_members():
    X, rng = vectors(300), np.random.default_rng(1)
    same, dead = grouped(X), rng.random(300) < 0.4
    leaders, successors = duplicates.taken_out(same, dead)
    assert dead[leaders].all()
    assert not dead[successors].any()
    np.testing.assert_array_equal(X[leaders], X[successors])
    # What stands at a leader's place is now its successor, and the other way round.
    gone = dead.copy()
    gone[leaders], gone[successors] = False, True
    lead = duplicates.leaders(same, 300)
    for value in np.unique(X):
        left = np.flatnonzero((X[:, 0] == value) & ~gone)
        assert len(set(lead[left].tolist())) <= 1
        assert not len(left) or lead[left[0]] in left
