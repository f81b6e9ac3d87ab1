"""Indexes in files of every format so far, which every later version has to load.

``python -m tests.ann.kept NAME`` writes those of this version, ``NAME-KIND.ann``, and
what they answer, ``NAME.json``, to tests/ann/fixtures: once for each new format.
"""

import json
import sys
from pathlib import Path

import numpy as np

import ann

HOME = Path(__file__).parent / "fixtures"
N, D, K = 60, 8, 5
KINDS = {
    "flat": lambda: ann.Flat("l1", codec=ann.SQ(4), refine=3),
    "ivf": lambda: ann.IVF("cosine", nlist=4, codec=ann.PQ(4, nbits=4), refine=4),
    "ivf-pq8": lambda: ann.IVF("l2", nlist=3, codec=ann.PQ(2, nbits=8)),
    "hnsw": lambda: ann.HNSW("l2", M=4, ef_construction=20),
    "hnsw-sq8": lambda: ann.HNSW("ip", M=4, ef_construction=20, codec=ann.SQ(8)),
}


def vectors(n, seed):
    """Return (n, D) whole numbers, with duplicates."""
    rng = np.random.default_rng(seed)
    X = rng.integers(-9, 10, size=(n, D)).astype(np.float32) + 0.5
    X[n // 2 : n // 2 + 5] = X[0]
    return X


def answers(index):
    """Return what an index answers, as plain lists."""
    effort = {"nprobe": 2} if index.__class__.__name__ == "IVF" else {}
    ids, distances = index.search(vectors(10, seed=1), K, **effort)
    return {"ids": ids.tolist(), "distances": distances.tolist()}


def write(name):
    """Write this version's indexes and their answers."""
    found = {}
    for kind, make in KINDS.items():
        index = make().add(vectors(N, seed=0), ids=np.arange(N) * 7)
        index.remove([7, 70]).add(vectors(9, seed=2), ids=np.arange(1000, 1009))
        index.save(HOME / f"{name}-{kind}.ann")
        found[kind] = answers(index)
    (HOME / f"{name}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    write(sys.argv[1])
