"""Same seed, same data, same order: the same index at any number of threads."""

import json

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import ann
from tests.ann.data import gaussian
from tests.ann.process import python

BUILD = """
import hashlib, json, sys
import numpy as np
import ann
from tests.ann.data import clustered, gaussian, integers

X = np.concatenate([clustered(1100, 16, seed=1), integers(400, 16, seed=2)])
Q = np.concatenate([gaussian(40, 16, seed=3), X[::50]])
INDEXES = {
    "HNSW": lambda: ann.HNSW(M=6, ef_construction=40, seed=3),
    "HNSW ip": lambda: ann.HNSW("ip", M=3, ef_construction=10),
    "HNSW SQ8": lambda: ann.HNSW("cosine", M=8, ef_construction=40, codec=ann.SQ()),
    "HNSW SQ4": lambda: ann.HNSW(M=6, ef_construction=30, codec=ann.SQ(4), refine=2),
    "IVF": lambda: ann.IVF(nlist=20, seed=3),
    "IVF cosine": lambda: ann.IVF("cosine"),
    "IVF PQ": lambda: ann.IVF("cosine", nlist=20, codec=ann.PQ(m=4), refine=2),
    "HNSW PCA": lambda: ann.HNSW(M=6, transform=ann.PCA(8), codec=ann.SQ(4), refine=2),
    "IVF OPQ": lambda: ann.IVF(nlist=9, codec=ann.PQ(m=8, nbits=4, opq=True)),
    "QG": lambda: ann.QG("cosine", M=8, ef_construction=40, codec=ann.SQ()),
    "IVF RaBitQ": lambda: ann.IVF(nlist=9, codec=ann.RaBitQ(3)),
    "HNSW RaBitQ": lambda: ann.HNSW("ip", M=6, codec=ann.RaBitQ(5)),
}

def fingerprint(index, threads):
    digest = hashlib.sha256()
    arrays = [*index._arrays(), *index._codec.arrays(), index._state.contents.originals]
    if isinstance(index, ann.HNSW):  # what lies behind the vectors is unused
        n, graph = index.ntotal, index._held.graph
        rows = int(index._held.levels[:n].sum())
        arrays = [index._held.packed[:n], index._held.levels[:n], graph.base[:n]]
        arrays += [index._held.squares[:n]]
        arrays += [graph.upper[:rows], graph.upper_row[:n], *index._codec.arrays()]
        digest.update(f"{graph.entry_point} {graph.top}".encode())
    if isinstance(index, ann.QG):
        near, roots, frame, *_ = index._held.near
        arrays += [near.rows[:n], roots.rows, *frame.sketch[:4], frame.centre]
    arrays += index._transform.arrays() if index._transform else []
    for array in [*arrays, *index.search(Q, k=10, threads=threads)]:
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()

found = {}
for name, make in INDEXES.items():
    for threads in json.loads(sys.argv[1]):
        index = make()
        for a, b in [(0, 900), (900, 905), (905, 1500)]:
            index.add(X[a:b], threads=threads)
        found[f"{name}, {threads} threads"] = fingerprint(index, threads)
print(json.dumps(found))
"""


def by_index(printed):
    found = {}
    for name, value in json.loads(printed).items():
        found.setdefault(name.split(",")[0], set()).add(value)
    return found


def test_threads_and_processes_change_nothing():
    first = by_index(python(BUILD, "[1, 2, 4]", PYTHONHASHSEED="1"))
    assert len(first) == 12
    assert {name for name, values in first.items() if len(values) > 1} == set()
    second = by_index(
        python(BUILD, "[3]", PYTHONHASHSEED="2", OPENBLAS_NUM_THREADS="1")
    )
    assert {name for name in first if first[name] != second[name]} == set()


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: ann.HNSW(M=4, ef_construction=20, seed=seed),
        lambda seed: ann.IVF(nlist=10, seed=seed),
        lambda seed: ann.Flat(codec=ann.PQ(m=2, nbits=4, seed=seed)),
        lambda seed: ann.Flat(codec=ann.RaBitQ(2, seed=seed)),
    ],
    ids=["HNSW", "IVF", "PQ", "RaBitQ"],
)
def test_the_seed_decides(make):
    X = gaussian(400, 6)
    first, same, other = (make(seed).add(X) for seed in (1, 1, 2))

    def equal(a, b):
        arrays = zip(a._arrays(), b._arrays(), strict=True)
        return all(np.array_equal(x, y) for x, y in arrays)

    assert equal(first, same)
    assert not equal(first, other)


def test_a_rotation_does_not_depend_on_the_threads_of_blas():
    X = gaussian(6000, 64)
    trained = []
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            trained.append(ann.PQ(m=16, opq=True).train(X))
    np.testing.assert_array_equal(trained[0].rotation_, trained[1].rotation_)
    np.testing.assert_array_equal(trained[0].encode(X), trained[1].encode(X))


def test_global_random_state_is_neither_read_nor_written():
    X = gaussian(400, 6)

    def build():
        indexes = [
            ann.HNSW(M=4, ef_construction=20),
            ann.IVF(nlist=8, codec=ann.PQ(m=2, nbits=4, opq=True)),
        ]
        return [index.add(X).search(X, k=5) for index in indexes]

    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()  # noqa: NPY002
    first = build()
    after = np.random.get_state()  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    np.random.seed(2)  # noqa: NPY002
    for a, b in zip(first, build(), strict=True):
        np.testing.assert_array_equal(a, b)
