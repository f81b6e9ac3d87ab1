import numpy as np
import pytest
from scipy.stats import spearmanr

from experiments import datasets
from experiments.difficulty import difficulty


def made(metric, train, test):
    order = {"l2": 2, "l1": 1}.get(metric)
    if order:
        D = np.array([np.linalg.norm(train - q, ord=order, axis=1) for q in test])
    else:
        dots = test @ train.T
        norms = np.linalg.norm(test, axis=1)[:, None] * np.linalg.norm(train, axis=1)
        D = 1 - dots / norms if metric == "cosine" else -dots
    near = np.argsort(D, axis=1)[:, :50]
    return datasets.Dataset(
        "x", metric, train, test, near, np.take_along_axis(D, near, 1), "", ""
    )


def vectors(d, n=4000, nq=60, seed=0):
    X = np.random.default_rng(seed).standard_normal((n + nq, d)).astype(np.float32)
    return X[:n], X[n:]


@pytest.mark.parametrize("metric", ["l2", "l1", "cosine"])
def test_more_dimensions_are_harder(metric):
    easy, hard = (difficulty(made(metric, *vectors(d))) for d in (4, 32))
    assert np.median(hard.lid) > 2 * np.median(easy.lid)
    assert np.median(hard.contrast) < np.median(easy.contrast)
    assert (easy.contrast > 1).all()


def test_the_dimension_of_a_square_is_two():
    X = np.random.default_rng(1).random((20_000, 2)).astype(np.float32)
    inner = np.random.default_rng(2).uniform(0.2, 0.8, (50, 2)).astype(np.float32)
    assert np.median(difficulty(made("l2", X, inner)).lid) == pytest.approx(2, rel=0.15)


def test_outliers_have_little_contrast():
    X, Q = vectors(8)
    Q = np.concatenate([Q, Q * 10])
    found = difficulty(made("l2", X, Q))
    assert found.contrast[60:].max() < np.median(found.contrast[:60])
    assert spearmanr(found.contrast, np.linalg.norm(Q, axis=1))[0] < -0.5


def test_inner_products_have_neither():
    found = difficulty(made("ip", *vectors(8)))
    assert np.isnan(found.lid).all()
    assert np.isnan(found.contrast).all()
    assert len(found.lid) == 60
