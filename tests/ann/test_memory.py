"""Bytes a vector, as the README states them."""

import math

import pytest

import ann
from ann.kernels.sketch import bits
from tests.ann.data import gaussian

N, D, NLIST = 6000, 96, 20
X = gaussian(N, D)
ROW = {"SQ8": 96, "SQ4": 48, "PQ8": 24, "PQ4": 12, "RaBitQ1": 28, "RaBitQ4": 88}
CODECS = {
    "SQ8": lambda: ann.SQ(8),
    "SQ4": lambda: ann.SQ(4),
    "PQ8": lambda: ann.PQ(m=24),
    "PQ4": lambda: ann.PQ(m=24, nbits=4),
    "RaBitQ1": lambda: ann.RaBitQ(1),
    "RaBitQ4": lambda: ann.RaBitQ(4),
}


def code(name):
    return ROW[name] if name else 4 * D


def flat(name, metric):
    return code(name) + (0 if name else 8)


def hnsw(name, metric, M=16):
    squares = 4 if name in ("SQ8", "SQ4") and metric == "cosine" else 0
    return code(name) + 8 * M + 5 + 4 * M / (M - 1) + squares


def ivf(name, metric):
    shadow = D + 16 if metric != "l1" else 0
    filled = {"PQ4": 32, "RaBitQ1": 32, "RaBitQ4": 32, None: 16}.get(name, 1)
    slots = NLIST * math.ceil(N / NLIST / filled + 0.5) * filled / N
    own = 4 + (4 * D + shadow) * NLIST / N
    own += 4 if name in ("PQ8", "PQ4") and metric == "l2" else 0
    rows = 4 * D + shadow * slots if name is None else code(name) * slots
    return rows + own


CASES = [
    (ann.Flat, {}, flat),
    (ann.HNSW, {"ef_construction": 20}, hnsw),
    (ann.IVF, {"nlist": NLIST}, ivf),
]


@pytest.mark.parametrize("metric", ["l2", "cosine", "l1"])
@pytest.mark.parametrize("name", [None, *CODECS])
@pytest.mark.parametrize(("structure", "options", "formula"), CASES)
def test_memory_is_what_the_formula_says(structure, options, formula, name, metric):
    codec = CODECS[name]() if name else None
    if name in ("RaBitQ1", "RaBitQ4") and metric == "l1":
        pytest.skip("it does not serve l1")
    index = structure(metric, codec=codec, **options).add(X)
    learned = sum(array.nbytes for array in index._codec.arrays())
    measured = (index.nbytes - learned) / N
    assert measured == pytest.approx(formula(name, metric), rel=0.1)
    if name == "SQ8":
        refined = structure(metric, codec=CODECS[name](), refine=2, **options).add(X)
        assert refined.nbytes == index.nbytes + X.nbytes
        how = {"refine": 2, "refine_dtype": "float16"}
        half = structure(metric, codec=CODECS[name](), **how, **options).add(X)
        assert half.nbytes == index.nbytes + X.nbytes // 2


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_rows_of_neighbours_are_what_the_formula_says(metric):
    options = {"ef_construction": 20, "codec": ann.SQ(8)}
    plain, index = ann.HNSW(metric, **options).add(X), ann.QG(metric, **options).add(X)
    degree, roots, sketch = 32, 256, index._held.near.frame.sketch
    one = 8 + bits(sketch) / 8
    once = roots * one + sum(a.nbytes for a in sketch[:4]) + 4 * D  # axes, centre
    rows = N * degree * one
    assert index.nbytes == plain.nbytes + rows + once
