import numpy as np
import pytest

from experiments.recall import check_truth, recall

METRICS = ("l2", "ip", "cosine", "l1")


def distance(metric, q, x):
    """The definitions, one pair at a time."""
    q, x = [float(v) for v in q], [float(v) for v in x]
    dot = sum(a * b for a, b in zip(q, x, strict=True))
    match metric:
        case "l2":
            return sum((a - b) ** 2 for a, b in zip(q, x, strict=True)) ** 0.5
        case "l1":
            return sum(abs(a - b) for a, b in zip(q, x, strict=True))
        case "ip":
            return -dot
    return 1 - dot / (sum(a * a for a in q) * sum(b * b for b in x)) ** 0.5


def exact(metric, X, Q, k):
    D = np.array([[distance(metric, q, x) for x in X] for q in Q])
    return np.argsort(D, axis=1, kind="stable")[:, :k], D


def oracle(ids, D, k):
    """Recall with ties, by counting; for distances far from rounding."""
    rates = []
    for answer, row in zip(ids, D, strict=True):
        limit = sorted(row)[min(k, len(row)) - 1] + 1e-9
        hits = {i for i in answer[:k] if i >= 0 and row[i] <= limit}
        rates.append(len(hits) / min(k, len(row)))
    return rates


@pytest.fixture(name="rng")
def _rng():
    return np.random.default_rng(7)


def vectors(rng, n, d=8):
    return rng.standard_normal((n, d)).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
def test_exact_neighbours_score_one(rng, metric):
    X, Q = vectors(rng, 60), vectors(rng, 9)
    ids, _ = exact(metric, X, Q, 10)
    assert (recall(ids, ids, X, Q, metric) == 1).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-4, 1, 3e3])
def test_exact_search_in_float32_scores_one(rng, metric, scale):
    X = (vectors(rng, 3000, 64) + 4) * np.float32(scale)
    Q = (vectors(rng, 50, 64) + 4) * np.float32(scale)
    A, B = X, Q
    if metric == "cosine":
        A = X / np.linalg.norm(X, axis=1, keepdims=True)
        B = Q / np.linalg.norm(Q, axis=1, keepdims=True)
    if metric in ("l2", "l1"):
        order = 2 if metric == "l2" else 1
        D = np.array([np.linalg.norm(X - q, ord=order, axis=1) for q in Q])
    else:
        D = -(B @ A.T)
    assert D.dtype == np.float32
    ids = np.argsort(D, axis=1)[:, :10]
    truth = np.argsort(distances64(metric, Q, X), axis=1)[:, :10]
    assert recall(ids, truth, X, Q, metric).min() == 1


def distances64(metric, Q, X):
    Q, X = Q.astype(np.float64), X.astype(np.float64)
    if metric in ("l2", "l1"):
        order = 2 if metric == "l2" else 1
        return np.array([np.linalg.norm(X - q, ord=order, axis=1) for q in Q])
    return -Q @ X.T / (np.linalg.norm(X, axis=1) if metric == "cosine" else 1)


@pytest.mark.parametrize("metric", METRICS)
def test_equals_counting_on_a_grid_full_of_ties(rng, metric):
    X = rng.integers(1, 4, (200, 3)).astype(np.float32)
    Q = rng.integers(1, 4, (20, 3)).astype(np.float32)
    truth, D = exact(metric, X, Q, 10)
    ids = rng.integers(-1, 200, (20, 12))
    ids[:, :6] = truth[:, rng.permutation(6)]
    got = recall(ids, truth, X, Q, metric)
    for j, k in enumerate((1, 5, 10)):
        np.testing.assert_allclose(got[:, j], oracle(ids, D, k))


def test_random_ids_score_as_many_as_chance_finds(rng):
    X, Q = vectors(rng, 500), vectors(rng, 400)
    truth = np.argsort([np.linalg.norm(X - q, axis=1) for q in Q], axis=1)[:, :10]
    ids = np.array([rng.permutation(500)[:10] for _ in Q])
    at_10 = recall(ids, truth, X, Q, "l2")[:, 2].mean()
    assert at_10 == pytest.approx(10 / 500, abs=0.006)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_near_misses_miss_at_any_scale(rng, scale):
    centre = 10 * vectors(rng, 1, 384)
    X = ((centre + vectors(rng, 2000, 384)) * scale).astype(np.float32)
    Q = ((centre + vectors(rng, 30, 384)) * scale).astype(np.float32)
    for metric in ("cosine", "l2", "l1"):
        ranks = np.argsort(distances64(metric, Q, X), axis=1)
        answer = np.concatenate([ranks[:, :7], ranks[:, 10:13]], axis=1)
        got = recall(answer, ranks[:, :10], X, Q, metric)[:, 2]
        assert got.mean() == pytest.approx(0.7, abs=0.005)


def test_inner_products_of_either_sign_keep_their_order():
    X = np.array([[1], [-1], [-2], [3], *[[-9]] * 8], np.float32)
    Q = np.array([[1], [-1]], np.float32)
    truth, _ = exact("ip", X, Q, 10)
    assert truth[0, :4].tolist() == [3, 0, 1, 2]
    worst_first = np.array(
        [[2, 1, 0, 3, 4, 5, 6, 7, 8, 9], [3, 0, 1, 2, *range(4, 10)]]
    )
    at_1, at_5, at_10 = recall(worst_first, truth, X, Q, "ip").T
    assert at_1.tolist() == [0, 0]
    assert at_5.tolist() == [1, 0.2]
    assert at_10.tolist() == [1, 0.8]


def test_orthogonal_vectors_tie_under_ip_up_to_rounding():
    # both products are 0 but for the rounding of terms of size 1
    X = np.array([[1, 1], [1, np.nextafter(np.float32(1), np.float32(2))]], np.float32)
    Q = np.array([[1, -1]], np.float32)
    answer, truth = np.array([[0]]), np.array([[1]])
    assert recall(answer, truth, X, Q, "ip", ks=(1,))[0, 0] == 1
    X[0, 1] = 1 - 1e-5  # now the first is closer by more than rounding
    assert recall(np.array([[0]]), np.array([[0]]), X, Q, "ip", ks=(1,))[0, 0] == 1
    assert recall(np.array([[1]]), np.array([[0]]), X, Q, "ip", ks=(1,))[0, 0] == 0


def test_a_duplicate_of_the_query_is_told_from_a_near_one():
    X = np.array([[1, 1], [1, 1 + 1e-6]], np.float32)
    Q = np.array([[1, 1]], np.float32)
    got = recall(np.array([[1, 0]]), np.array([[0, 1]]), X, Q, "l2", ks=(1, 2))
    assert got.tolist() == [[0, 1]]


def test_a_repeated_id_counts_once(rng):
    X, Q = vectors(rng, 50), vectors(rng, 3)
    truth, _ = exact("l2", X, Q, 10)
    ids = np.repeat(truth[:, :1], 10, axis=1)
    assert recall(ids, truth, X, Q, "l2").tolist() == [[1, 0.2, 0.1]] * 3


def test_missing_neighbours_count_against_recall(rng):
    X, Q = vectors(rng, 50), vectors(rng, 2)
    truth, _ = exact("l2", X, Q, 10)
    ids = truth.copy()
    ids[:, 4:] = -1
    assert recall(ids, truth, X, Q, "l2").tolist() == [[1, 0.8, 0.4]] * 2


def test_fewer_vectors_than_k_can_all_be_found(rng):
    X, Q = vectors(rng, 4), vectors(rng, 2)
    truth, _ = exact("l2", X, Q, 4)
    ids = np.concatenate([truth, np.full((2, 6), -1)], axis=1)
    assert (recall(ids, truth, X, Q, "l2") == 1).all()


@pytest.mark.parametrize("bad", [-2, 50, 2**40])
def test_ids_out_of_range_are_refused(rng, bad):
    X, Q = vectors(rng, 50), vectors(rng, 2)
    truth, _ = exact("l2", X, Q, 10)
    ids = truth.copy()
    ids[1, 3] = bad
    with pytest.raises(ValueError, match=rf"in \[-1, n=50\), got {bad} in row 1"):
        recall(ids, truth, X, Q, "l2")


def test_too_few_answers_are_refused(rng):
    X, Q = vectors(rng, 50), vectors(rng, 2)
    truth, _ = exact("l2", X, Q, 10)
    with pytest.raises(ValueError, match=r"answers must be \(2, 10\) or wider"):
        recall(truth[:, :9], truth, X, Q, "l2")


def test_blocks_change_nothing(rng, monkeypatch):
    X, Q = vectors(rng, 50), vectors(rng, 7)
    truth, _ = exact("l2", X, Q, 10)
    ids = rng.integers(-1, 50, (7, 10))
    whole = recall(ids, truth, X, Q, "l2")
    monkeypatch.setattr("experiments.recall._BLOCK_BYTES", 1)
    np.testing.assert_array_equal(recall(ids, truth, X, Q, "l2"), whole)


@pytest.mark.parametrize("metric", METRICS)
def test_truth_of_the_metric_passes(rng, metric):
    X, Q = vectors(rng, 50), vectors(rng, 6)
    truth, _ = exact(metric, X, Q, 10)
    check_truth(truth, X, Q, metric)


def test_truth_of_another_metric_is_found_out(rng):
    X, Q = vectors(rng, 50) * rng.uniform(0.1, 9, (50, 1)).astype("f"), vectors(rng, 6)
    truth, _ = exact("ip", X, Q, 10)
    with pytest.raises(ValueError, match="the closest under l2"):
        check_truth(truth, X, Q, "l2")
