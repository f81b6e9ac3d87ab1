"""Switches: what is off changes nothing but time and memory."""

import pytest

from ann.kernels.tricks import COMPILED, TRICKS
from tests.ann.process import python

RESULTS = """
import hashlib
import ann
from tests.ann.data import gaussian

X, Q = gaussian(600, 24, seed=1), gaussian(20, 24, seed=2)
digest = hashlib.sha256()
for index in [
    ann.Flat(),
    ann.Flat("cosine", codec=ann.SQ(4)),
    ann.HNSW("l2", M=6, ef_construction=30, codec=ann.SQ(), refine=2),
]:
    index.add(X[:500]).add(X[500:])
    for found in (index.search(Q), index.search(Q[0])):
        for array in found:
            digest.update(array)
print(digest.hexdigest())
"""


GRAPH = """
import sys
import ann
from tests.ann.data import gaussian

codec = ann.SQ() if sys.argv[1] == "codes" else None
index = ann.HNSW("l2", M=6, ef_construction=30, codec=codec).add(gaussian(600, 24))
print(hash(index._held.graph.base.tobytes()))
"""


@pytest.fixture(scope="module")
def with_all():
    return python(RESULTS, ANN_WITHOUT="")


# Each choice of those inside of kernels compiles all kernels anew: they go together.
@pytest.mark.parametrize(
    "tricks",
    [
        *sorted(TRICKS.keys() - COMPILED - {"build-on-codes"}),
        ",".join(sorted(COMPILED)),
    ],
)
def test_results_are_the_same_without(tricks, with_all):
    assert python(RESULTS, ANN_WITHOUT=tricks) == with_all


def test_a_graph_of_codes_is_built_on_floats_without_the_trick():
    def graph(kind, off):
        return python(GRAPH, kind, ANN_WITHOUT=off, PYTHONHASHSEED="0")

    on_floats = graph("floats", "")
    assert graph("codes", "") != on_floats
    assert graph("codes", "build-on-codes") == on_floats


def test_an_unknown_trick_is_refused_with_those_known():
    failed = python("import ann.kernels.tricks", check=False, ANN_WITHOUT="magic")
    result = failed.stderr
    assert "ANN_WITHOUT must name tricks among ['" in result
    assert "got ['magic']" in result


def test_each_choice_has_a_cache_of_its_own():
    code = "from ann.kernels import _jit; print(_jit.cache_folder().name)"
    with_all, without = python(code), python(code, ANN_WITHOUT="prefetch")
    assert without == with_all + "-no-prefetch"
    assert python(code, ANN_WITHOUT="huge-pages") == with_all  # kernels are the same
