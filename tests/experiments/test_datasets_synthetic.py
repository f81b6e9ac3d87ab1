"""The synthetic families, whose intrinsic dimension the estimate finds again."""

import numpy as np
import pytest

from ann.dimension import local_intrinsic_dimension
from experiments import datasets
from experiments.datasets import synthetic


@pytest.mark.parametrize(
    "name",
    [
        "synthetic-manifold-64d-8i-20k",
        "synthetic-manifold-24d-3i-20k",
        "synthetic-manifold-128d-14i-50k",
        "synthetic-clusters-64d-8i-20k",
        "synthetic-cube-16d-8i-20k",
        "synthetic-cube-8d-8i-20k",
        "synthetic-heavytail-64d-8i-20k",
    ],
)
def test_intrinsic_dimension_is_about_the_stated_one(name, tmp_path):
    stated = synthetic.parse(name).i
    found = datasets.load(name, nq=200, metric="l2", cache=tmp_path)
    estimate = local_intrinsic_dimension(found.distances).mean()
    assert estimate == pytest.approx(stated, rel=0.2)
    assert len(np.unique(found.train[:, -1])) > 19_000  # all d dimensions are used


def test_names_state_everything():
    found = synthetic.parse("synthetic-clusters-64d-8i-20k")
    assert found == synthetic.Family("clusters", d=64, i=8, n=20_000)
    assert synthetic.parse("synthetic-cube-3d-3i-1m").n == 1_000_000
    assert synthetic.parse("synthetic-cube-3d-3i-7").n == 7


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("synthetic-torus-8d-2i-1k", "must be synthetic-{manifold"),
        ("synthetic-cube-8d-2i", "for example 'synthetic-manifold-128d-14i-1m'"),
        ("synthetic-cube-8d-9i-1k", r"i must be in \[1, d=8\], got 9"),
        ("synthetic-cube-8d-0i-1k", r"i must be in \[1, d=8\], got 0"),
        ("synthetic-cube-8d-2i-0k", "n must be at least 1, got 0"),
    ],
)
def test_bad_names(name, message):
    with pytest.raises(ValueError, match=message):
        synthetic.generate(name)


@pytest.mark.parametrize("family", ["manifold", "clusters", "cube", "heavytail"])
def test_seeded_and_independent_of_the_number_of_queries(family):
    name = f"synthetic-{family}-12d-4i-3000"
    one, again = (synthetic.generate(name, nq, seed=5) for nq in (10, 20))
    assert one.train.shape == (3000, 12)
    assert one.test.shape == (10, 12)
    assert one.train.dtype == one.test.dtype == np.float32
    assert np.array_equal(one.train, again.train)
    assert not np.array_equal(one.train, synthetic.generate(name, 10, seed=6).train)
    assert not np.isin(one.test[:, 0], one.train[:, 0]).any()


def test_norms_of_heavytail_are_log_normal_and_its_metric_is_ip():
    found = synthetic.generate("synthetic-heavytail-32d-8i-20k", seed=1)
    norms = np.linalg.norm(found.train, axis=1)
    assert found.metric == "ip"
    assert np.log(norms).std() == pytest.approx(0.5, rel=0.05)
    assert norms.max() > 5 * np.median(norms)


def test_clusters_are_apart_and_a_cube_is_a_cube():
    clusters = synthetic.generate("synthetic-clusters-32d-4i-10k", 1).train
    gaps = np.linalg.norm(clusters - clusters[0], axis=1)
    assert ((gaps > 0) & (gaps < 8)).sum() == pytest.approx(1000, rel=0.2)  # its own
    cube = synthetic.generate("synthetic-cube-6d-6i-10k", 1).train
    assert 0 <= cube.min() < 0.001
    assert 0.999 < cube.max() <= 1


def test_queries_must_be_some():
    with pytest.raises(ValueError, match="nq must be at least 1, got 0"):
        synthetic.generate("synthetic-cube-3d-3i-7", nq=0)
