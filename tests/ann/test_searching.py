"""Exact search of any index: what its structure may miss."""

import numpy as np
import pytest

import ann
from tests.ann import reference
from tests.ann.data import clustered, gaussian
from tests.ann.reference import METRICS

D = 24
X, Q = clustered(600, D, seed=1), gaussian(9, D, seed=2)
MAKE = {
    "Flat": lambda metric, **options: ann.Flat(metric, **options),
    "IVF": lambda metric, **options: ann.IVF(metric, nlist=10, **options),
    "HNSW": lambda metric, **options: ann.HNSW(
        metric, M=4, ef_construction=20, **options
    ),
}


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("case", [*METRICS, "l2 refined"])
def test_exact_equals_the_oracle(kind, case):
    metric, _, refined = case.partition(" ")
    options = {"codec": ann.SQ(8), "refine": 1} if refined else {}
    index = MAKE[kind](metric, **options).add(X, ids=np.arange(600) + 1000)
    index.remove(np.arange(1000, 1100))
    expected = reference.exact(metric, Q, X[100:], 7, ids=np.arange(1100, 1600))
    for queries, mine in ((Q, slice(None)), (Q[0], 0)):
        ids, distances = index.exact(queries, 7)
        np.testing.assert_array_equal(ids, expected[0][mine])
        np.testing.assert_allclose(distances, expected[1][mine], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", MAKE)
def test_exact_of_codes_is_what_flat_finds_by_them(kind):
    codec = ann.SQ(8)
    codec.train(X)
    index, flat = (MAKE[name]("l2", codec=codec).add(X) for name in (kind, "Flat"))
    ids, distances = index.exact(Q)
    expected = flat.search(Q)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_allclose(distances, expected[1], rtol=1e-5)


def test_exact_needs_no_links():
    index = MAKE["HNSW"]("l2").add(X)
    right = index.exact(Q)
    index._held.graph.base[:] = -1
    assert reference.recall(index.search(Q)[0], right[0]) < 0.5
    np.testing.assert_array_equal(index.exact(Q)[0], right[0])


@pytest.mark.parametrize("kind", MAKE)
def test_exact_of_nothing_and_of_few(kind):
    index = MAKE[kind]("l2")
    assert index.exact(Q, 3)[0].tolist() == [[-1] * 3] * len(Q)
    index.add(X[:10])
    ids, distances = index.exact(Q, 11, threads=2)
    assert (ids[:, 10] == -1).all()
    assert np.isinf(distances[:, 10]).all()
    assert sorted(ids[0, :10]) == list(range(10))
    index.remove(np.arange(10))
    assert index.exact(Q[0], 3)[0].tolist() == [-1] * 3
    with pytest.raises(ValueError, match="k must be in"):
        index.exact(Q, 0)


@pytest.mark.parametrize("kind", MAKE)
def test_exact_and_filtered_searches_do_not_mix_up_their_code(kind):
    index = MAKE[kind]("l2", codec=ann.SQ(8), refine=1).add(X)
    few = np.arange(40)
    exact, filtered = index.exact(Q), index.search(Q, filter=few)
    for row, q in enumerate(Q):
        for _ in range(2):
            np.testing.assert_array_equal(index.exact(q)[0], exact[0][row])
            found = index.search(q, filter=few)
            np.testing.assert_array_equal(found[0], filtered[0][row])
