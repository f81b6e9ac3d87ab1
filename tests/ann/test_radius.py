"""What a radius takes in, where rounding counts."""

import numpy as np
import pytest

import ann
from tests.ann.data import clustered, gaussian

X, Q = clustered(2000, 20, seed=3, spread=1.0), gaussian(9, 20, seed=4)
MAKE = {
    "Flat": ann.Flat,
    "IVF": lambda *a, **k: ann.IVF(*a, nlist=4, **k),
    "HNSW": ann.HNSW,
    "QG": ann.QG,
}


@pytest.mark.parametrize("d", [1, 2, 19, 100, 777])
@pytest.mark.parametrize("codec", [None, ann.SQ(8)])
@pytest.mark.parametrize("name", ["Flat", "IVF", "HNSW", "QG"])
def test_a_radius_of_0_finds_the_vector_itself(name, codec, d):
    rows = clustered(150, d, seed=d, spread=0.2) + np.float32(0.01)
    index = MAKE[name]("cosine", codec=codec, refine=codec and 4).add(rows)
    effort = {"IVF": {"nprobe": 4}, "Flat": {}}.get(name, {"ef_search": 200})
    ids, distances = index.range_search(rows, 0, **effort)
    unit = rows / np.linalg.norm(rows.astype(float), axis=1, keepdims=True)
    for i, (found, at) in enumerate(zip(ids, distances, strict=True)):
        assert i in found
        assert not at.any()
        assert (np.linalg.norm(unit[found] - unit[i], axis=1) < 0.01).all()
    for i in (0, 77):
        found, at = index.range_search(rows[i], 0, **effort)
        np.testing.assert_array_equal(found, ids[i])
        assert not at.any()


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine", "l1"])
def test_other_radii_are_what_they_say(metric):
    index = ann.Flat(metric).add(X)
    every, apart = index.search(Q, len(X))
    radius = float(apart[:, 40].max())
    ids, distances = index.range_search(Q, radius)
    for r in range(9):
        inside = apart[r] <= radius
        np.testing.assert_array_equal(ids[r], every[r, inside])
        np.testing.assert_array_equal(distances[r], apart[r, inside])
