"""Whole indexes at every vector level: against plain oracles, and against each other.

A level is chosen when the kernels are imported, so each answers in a process of its
own. All levels must give the same bits: sums of integers are exact, and sums of floats
have one order (see ``ann.kernels.simd``).
"""

import json
import os

import numpy as np
import pytest

from ann.kernels._jit import LEVELS
from tests.ann import reference
from tests.ann.levels import CODECS, NQ, STRUCTURES, Case, vectors
from tests.ann.process import python

EVERYTHING = os.environ.get("ANN_LEVELS") == "all"
D = 21
ANSWER = """
import sys
from tests.ann.levels import answer
answer(*sys.argv[1:])
"""

SMALL = [
    Case(structure, codec, "l2", "real" if n % 2 else "whole", D, n, n + 3, True)
    for structure in STRUCTURES
    for codec in ("float32", "SQ8")
    for n in range(41)
]
FULL = [
    Case(structure, codec, metric, data, 28, n, k, False)
    for structure in STRUCTURES
    for codec in CODECS
    for metric in reference.METRICS
    for data in ("real", "whole")
    for n, k in ((0, 2), (1, 4), (7, 7), (40, 45), (300, 300))
]


def answers(cases, folder):
    """Return for each level what it answers, a list of dicts of arrays."""
    found = {}
    for level in LEVELS:
        path = folder / f"{level}.npz"
        python(ANSWER, json.dumps(cases), path, timeout=3600, ANN_SIMD=level)
        with np.load(path) as arrays:
            found[level] = [{} for _ in cases]
            for key in arrays:
                number, name = key.split()
                found[level][int(number)][name] = arrays[key]
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return answers(SMALL, tmp_path_factory.mktemp("levels"))


def grid(X, Q):
    """Return the steps in which SQ8 has rows and queries."""
    largest = (X.max(axis=0) - X.min(axis=0)).max() if len(X) else 0.0
    return largest / 255, np.abs(Q).max() / 127


def bound(case, X, Q):
    """Return how far distances may be from the true ones, (NQ, n)."""
    d, rounding = case.d, (case.d + 20) * 2.0**-24
    norms = np.linalg.norm(Q, axis=1)[:, None] * np.linalg.norm(X, axis=1)
    scale = norms if case.metric in ("ip", "cosine") else None
    if case.metric == "cosine":
        X, Q, scale = reference.unit(X), reference.unit(Q), np.ones_like(norms)
    true = reference.distances(case.metric, Q, X)
    limit = rounding * (np.abs(true) if scale is None else scale)
    if case.codec == "float32":
        return limit
    row, query = grid(X, Q)
    if case.metric == "l2":  # half a step each of both, in every component
        return limit + 1.01 * np.sqrt(d) * row + rounding
    if case.metric == "l1":
        return limit + 1.01 * d * row + rounding
    lengths = np.sqrt(d) / 2 * np.array([row, query])
    of_rows = lengths[0] * np.linalg.norm(Q, axis=1)[:, None]
    of_queries = lengths[1] * (np.linalg.norm(X, axis=1) + lengths[0])
    return limit + 1.01 * (of_rows + of_queries) + rounding


def check(case, answer):
    """Check the answer of a case that asks for all vectors, or for more than there are.

    Each is there once, as far as it is within a bound, and nothing that is nearer by
    more than that comes later: ids are those of the oracle but for ties. A graph of
    many vectors with few links each may lead to some of them from nowhere.
    """
    X, Q = vectors(case)
    n, k, every = case.n, case.k, (answer["ids"], answer["distances"])
    assert every[0].shape == every[1].shape == (NQ, k)
    true, limit = reference.distances(case.metric, Q, X), bound(case, X, Q)
    least = n if n <= 40 or case.structure in ("Flat", "IVF") else 0.98 * n
    for r, (ids, distances) in enumerate(zip(*every, strict=True)):
        found = (ids >= 0).sum()
        assert found >= least
        assert (ids[found:] == -1).all()
        assert (distances[found:] == np.inf).all()
        ids, distances = ids[:found], distances[:found]
        assert len(np.unique(ids)) == found
        np.testing.assert_array_equal(np.lexsort((ids, distances)), np.arange(found))
        if case.codec in ("float32", "SQ8"):
            assert (np.abs(true[r, ids] - distances) <= limit[r, ids]).all()


@pytest.mark.parametrize("level", LEVELS)
def test_small_indexes_answer_as_the_oracle_does(small, level):
    for case, answer in zip(SMALL, small[level], strict=True):
        if not answer:
            assert (case.structure, case.n) == ("IVF", 0), case
            continue
        check(case, answer)


def same(cases, found):
    """Check that all levels answer alike, bit for bit."""
    for level in LEVELS[1:]:
        for case, one, other in zip(cases, found[LEVELS[0]], found[level], strict=True):
            assert one.keys() == other.keys(), (level, case)
            for name in one:
                np.testing.assert_array_equal(
                    one[name], other[name], f"{level} {case} {name}"
                )


def test_small_indexes_answer_alike_at_every_level(small):
    same(SMALL, small)


# --- in ``make thorough`` -------------------------------------------------------------

thorough = pytest.mark.skipif(not EVERYTHING, reason="ANN_LEVELS=all switches this on")


@thorough
@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_structure_codec_and_metric(structure, tmp_path):
    cases = [case for case in FULL if case.structure == structure]
    found = answers(cases, tmp_path)
    same(cases, found)
    answered = 0
    for case, answer in zip(cases, found[LEVELS[0]], strict=True):
        if answer:
            answered += 1
            check(case, answer)
    assert answered > len(cases) / 4


RECALL = """
import sys
import numpy as np
import ann
from tests.ann.data import clustered
from tests.ann.levels import CODECS
structure, codec, path = sys.argv[1:]
X = np.random.default_rng(0).permutation(clustered(20_500, 48, spread=0.7))
index = getattr(ann, structure)("l2", **CODECS[codec]()).add(X[:20_000])
np.save(path, index.search(X[20_000:], k=10)[0])
"""


@thorough
@pytest.mark.parametrize("codec", ["float32", "SQ8"])
@pytest.mark.parametrize("structure", ["IVF", "HNSW", "QG"])
def test_recall_is_the_same_at_every_level(structure, codec, tmp_path):
    path, found = tmp_path / "flat.npy", {}
    python(RECALL, "Flat", "float32", path)
    true = np.load(path)
    for level in LEVELS:
        path = tmp_path / f"{level}.npy"
        python(RECALL, structure, codec, path, timeout=3600, ANN_SIMD=level)
        found[level] = reference.recall(np.load(path), true)
    assert max(found.values()) - min(found.values()) <= 0.002
    assert min(found.values()) > 0.5
