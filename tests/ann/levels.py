"""Vector levels: what tests compare in one process, or run in one for each level."""

import json
from typing import NamedTuple

import numpy as np

import ann
from ann.kernels._jit import LEVELS
from tests.ann.data import gaussian, integers

# Products of bytes have an instruction at AVX-512, the best level, alone: where only
# these depend on the level, those below it have one variant.
WITH_AND_WITHOUT_VNNI = list(dict.fromkeys([LEVELS[0], LEVELS[-1]]))

NQ = 6
STRUCTURES = {
    "Flat": lambda metric, n, **of: ann.Flat(metric, **of),
    "IVF": lambda metric, n, **of: ann.IVF(metric, nlist=max(1, min(n, 3)), **of),
    "HNSW": lambda metric, n, **of: ann.HNSW(metric, M=4, **of),
    "QG": lambda metric, n, **of: ann.QG(metric, M=4, **of),
}
CODECS = {
    "float32": lambda: {},
    "SQ8": lambda: {"codec": ann.SQ(8)},
    "SQ4": lambda: {"codec": ann.SQ(4)},
    "PQ8": lambda: {"codec": ann.PQ(m=7, nbits=8)},
    "PQ4": lambda: {"codec": ann.PQ(m=7, nbits=4)},
    "RaBitQ1": lambda: {"codec": ann.RaBitQ(1)},
    "RaBitQ4": lambda: {"codec": ann.RaBitQ(4)},
}


class Case(NamedTuple):
    """An index and what it is asked."""

    structure: str
    codec: str
    metric: str
    data: str  #: "real", or "whole" numbers with many equal distances
    d: int
    n: int
    k: int
    alone: bool  #: whether some queries are asked one by one, too


def vectors(case):
    """Return the rows (n, d) and the queries (NQ, d) of a case."""
    of = gaussian if case.data == "real" else integers
    return of(case.n, case.d, seed=case.n), of(NQ, case.d, seed=1000 + case.n)


def _answer(case):
    X, Q = vectors(case)
    made, codec = STRUCTURES[case.structure], CODECS[case.codec]
    try:
        index = made(case.metric, case.n, **codec()).add(X)
    except ValueError:  # refused, at every level
        return {}
    whole = {"nprobe": max(1, min(case.n, 3))} if case.structure == "IVF" else {}
    ids, distances = index.search(Q, k=case.k, **whole)
    for q, i, distance in zip(Q[:2], ids, distances, strict=False):
        if case.alone:
            one = index.search(q, k=case.k, **whole)
            np.testing.assert_array_equal(one, (i, distance))
    return {"ids": ids, "distances": distances}


def answer(cases, path):
    """Write the answers of cases, a JSON list, to an npz file, at the level in force.

    Nothing is written of a case that is refused.
    """
    arrays = {}
    for number, case in enumerate(json.loads(cases)):
        for name, array in _answer(Case(*case)).items():
            arrays[f"{number} {name}"] = array
    np.savez(path, **arrays)
