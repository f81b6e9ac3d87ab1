import numpy as np
import pytest

from experiments.fairness import refusal
from experiments.measure import Sample
from experiments.recall import distances_of


def vectors(seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    X, Q = (rng.standard_normal((n, 16)).astype(np.float32) for n in (500, 20))
    return X * np.float32(scale), Q * np.float32(scale)


def sample(ids, distances=None, **changes):
    fields = {
        "latency_us": np.ones(len(ids)), "batch_s": 1.0, "batch_1_s": 1.0,
        "cores": 1.0, "compiled": 0, "changed": False, "compile_s": 0.0,
        "yardstick_us": 1.0,
    }  # fmt: skip
    return Sample(ids=ids, distances=distances, **fields | changes)


IDS = np.tile(np.arange(10), (20, 1))


@pytest.mark.parametrize("metric", ["l2", "l1", "ip", "cosine"])
@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
def test_rounding_is_forgiven_and_errors_are_not(metric, scale):
    X, Q = vectors(scale=scale)
    true = distances_of(IDS, X, Q, metric)
    given = true.astype(np.float32)
    assert refusal(sample(IDS, given), X, Q, metric) is None
    assert refusal(sample(IDS, given * 1.05), X, Q, metric) is not None
    wrong = refusal(sample(IDS, given * 2), X, Q, metric)
    assert wrong.startswith("distances must be those of the vectors: query 0 and 0")


@pytest.mark.parametrize("scale", [1, 1e3])
def test_cancellation_in_a_product_is_forgiven(scale):
    X, Q = vectors(scale=scale)
    Q[:] = X[:20]  # distance 0
    X, Q = X + np.float32(10 * scale), Q + np.float32(10 * scale)
    squares = (Q**2).sum(1)[:, None] + (X[:10] ** 2).sum(1) - 2 * Q @ X[:10].T
    given = np.sqrt(np.maximum(squares, 0))
    assert refusal(sample(IDS, given), X, Q, "l2") is None


def test_missing_answers_are_no_fault():
    X, Q = vectors()
    ids = IDS.copy()
    ids[3, 5:] = -1
    given = distances_of(ids, X, Q, "l2").astype(np.float32)
    given[3, 5:] = np.inf
    assert refusal(sample(ids, given), X, Q, "l2") is None


def test_a_nan_is_wrong():
    X, Q = vectors()
    given = distances_of(IDS, X, Q, "l2").astype(np.float32)
    given[7, 3] = np.nan
    assert "query 7 and 3" in refusal(sample(IDS, given), X, Q, "l2")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cores": 1.06}, "latency must be of one thread, it used 1.06 cores"),
        ({"compiled": 2}, "nothing may compile while timed, Numba did 2 times"),
        ({"changed": True}, "the search must not change the queries"),
    ],
)
def test_each_audit_has_its_reason(changes, reason):
    X, Q = vectors()
    assert refusal(sample(IDS, **changes), X, Q, "l2") == reason
    assert refusal(sample(IDS, cores=1.05), X, Q, "l2") is None


def test_repeated_ids_are_counted():
    X, Q = vectors()
    ids = IDS.copy()
    ids[4, 9] = 2
    ids[11, 1] = 0
    assert refusal(sample(ids), X, Q, "l2") == (
        "ids of an answer must differ, 2 of 20 repeat one: query 4 has 2 twice"
    )
