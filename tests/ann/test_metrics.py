import numpy as np
import pytest

import ann
from ann.metrics import metric, row_norms
from tests.ann.data import gaussian
from tests.ann.reference import METRICS

SPELLINGS = {
    "l2": ["l2", "euclidean", "Euclidean"],
    "ip": ["ip", "dot", "inner_product"],
    "cosine": ["cosine", "angular", "COSINE"],
    "l1": ["l1", "manhattan", "cityblock"],
}


@pytest.mark.parametrize("name", METRICS)
def test_all_spellings_name_one_metric(name):
    for spelling in SPELLINGS[name]:
        assert metric(spelling).name == name
        assert ann.Flat(spelling).metric == name


@pytest.mark.parametrize("wrong", ["l3", "", "hamming?", None, 2])
def test_unknown_metric_lists_the_known_ones(wrong):
    with pytest.raises(
        ValueError, match="metric must be one of l2, euclidean"
    ) as error:
        ann.Flat(wrong)
    assert str(error.value).endswith(f"got {wrong!r}")


@pytest.mark.parametrize("name", ["l2", "ip", "l1"])
def test_prepare_leaves_vectors_alone(name):
    X = gaussian(5, 3)
    np.testing.assert_array_equal(metric(name).prepare(X, "X"), X)


def test_cosine_scales_to_norm_one_and_leaves_the_original():
    X = gaussian(500, 7) * np.logspace(-18, 18, 500)[:, None].astype(np.float32)
    before = X.copy()
    prepared = metric("cosine").prepare(X, "X")
    assert prepared.dtype == np.float32
    assert prepared.flags.c_contiguous
    np.testing.assert_allclose(row_norms(prepared), 1, rtol=1e-6)
    np.testing.assert_allclose(prepared * row_norms(X)[:, None], X, rtol=1e-6)
    np.testing.assert_array_equal(X, before)


def test_cosine_names_the_zero_vector_and_its_row():
    X = gaussian(10_000, 2)
    X[9001] = 0
    message = "X must have no zero vector under the cosine metric, .* row 9001"
    with pytest.raises(ValueError, match=message):
        metric("cosine").prepare(X, "X")


def test_row_norms_do_not_overflow_or_vanish():
    X = np.array([[3e30, 4e30], [3e-30, 4e-30], [0, 0]], np.float32)
    np.testing.assert_allclose(row_norms(X), [5e30, 5e-30, 0], rtol=1e-6)


def test_similarity_turns_distances_into_scores():
    distances = [0.0, 0.25, 1.0, np.inf]
    scores = {name: ann.similarity(name, distances) for name in METRICS}
    assert list(scores["cosine"]) == [1, 0.75, 0, -np.inf]
    assert list(scores["ip"]) == [0, -0.25, -1, -np.inf]
    assert list(scores["l2"]) == list(scores["l1"])
    np.testing.assert_allclose(scores["l2"], [1, 0.8, 0.5, 0])
    assert all(s.dtype == np.float32 for s in scores.values())
    assert ann.similarity("dot", np.zeros((2, 3))).shape == (2, 3)
    with pytest.raises(ValueError, match="metric must be one of"):
        ann.similarity("nearness", distances)


def test_similarity_of_a_search_is_the_known_score():
    X = gaussian(50, 4)
    ids, distances = ann.Flat("ip").add(X).search(X[0], k=50)
    product = ann.similarity("ip", distances)
    np.testing.assert_allclose(product, X[ids] @ X[0], atol=1e-5)
    ids, distances = ann.Flat("cosine").add(X).search(X[0], k=50)
    cosine = X[ids] @ X[0] / (row_norms(X)[ids] * row_norms(X)[0])
    np.testing.assert_allclose(ann.similarity("cosine", distances), cosine, atol=1e-5)
