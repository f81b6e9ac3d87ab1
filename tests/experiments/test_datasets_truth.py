"""Ground truth: against a plain oracle, cached by content, and checked when given."""

import numpy as np
import pytest

from experiments.datasets import truth

METRICS = ["l2", "ip", "cosine", "l1"]


def oracle(train, test, metric, k):
    """All distances by the definition, in float64."""
    distances = np.empty((len(test), len(train)))
    for row, q in enumerate(test.astype(np.float64)):
        for column, x in enumerate(train.astype(np.float64)):
            distances[row, column] = {
                "l2": lambda q, x: np.sqrt(((q - x) ** 2).sum()),
                "l1": lambda q, x: np.abs(q - x).sum(),
                "ip": lambda q, x: -(q @ x),
                "cosine": lambda q, x: 1 - q @ x / np.sqrt((q @ q) * (x @ x)),
            }[metric](q, x)
    ids = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return ids, np.take_along_axis(distances, ids, axis=1)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    train = rng.standard_normal((300, 7)).astype(np.float32)
    return train, rng.standard_normal((20, 7)).astype(np.float32)


@pytest.fixture(params=METRICS)
def metric(request):
    return request.param


def given(data, metric, k=12):
    ids, distances = oracle(*data, metric, k)
    return ids.astype(np.int32), distances.astype(np.float32)


def find(data, metric, cache, k=10, **options):
    key = truth.fingerprint(*data, metric)
    return truth.ground_truth(*data, metric, k, key=key, cache=cache, **options)


@pytest.fixture
def no_search(monkeypatch):
    def refuse(*_):
        pytest.fail("searched, though the answer was there")

    monkeypatch.setattr(truth, "exact_search", refuse)


def test_equals_the_oracle(data, metric, tmp_path):
    ids, distances = find(data, metric, tmp_path)
    expected = oracle(*data, metric, 10)
    assert np.array_equal(ids, expected[0])
    assert distances == pytest.approx(expected[1], rel=1e-5, abs=1e-6)
    assert (ids.dtype, distances.dtype) == (np.int64, np.float32)


def test_more_queries_than_one_step_of_the_progress_bar(tmp_path):
    from rich.progress import Progress

    rng = np.random.default_rng(1)
    data = [rng.random((rows, 3), dtype=np.float32) for rows in (50, 600)]
    progress = Progress(disable=True)
    ids, _ = find(data, "l2", tmp_path, progress=progress)
    assert np.array_equal(ids, oracle(*data, "l2", 10)[0])
    assert progress.tasks[0].finished


def test_computed_once_per_content(data, metric, tmp_path, monkeypatch):
    first = find(data, metric, tmp_path)
    monkeypatch.setattr(truth, "exact_search", lambda *_: pytest.fail("searched"))
    for a, b in zip(first, find(data, metric, tmp_path), strict=True):
        assert np.array_equal(a, b)


def test_a_change_of_anything_is_another_content(data, tmp_path):
    train, test = data
    variants = [
        (train, test, "l2"),
        (train, test, "ip"),
        (train, test[::-1].copy(), "l2"),
        (np.concatenate([train, test[:1]]), test[1:], "l2"),  # the same bytes
        (train.reshape(-1, 1), test.reshape(-1, 1), "l2"),
    ]
    assert len({truth.fingerprint(*variant) for variant in variants}) == len(variants)
    for k in (1, 2):
        find(data, "l2", tmp_path, k=k)
    assert len(list(tmp_path.rglob("*.npz"))) == 2


def test_the_schema_is_part_of_the_content(data, tmp_path, monkeypatch):
    find(data, "l2", tmp_path)
    monkeypatch.setattr(truth, "SCHEMA", truth.SCHEMA + 1)
    find(data, "l2", tmp_path)
    assert len(list(tmp_path.rglob("*.npz"))) == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "shape"])
def test_a_damaged_cache_is_computed_again(data, tmp_path, damage):
    expected = find(data, "l2", tmp_path)
    (path,) = tmp_path.rglob("*.npz")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "other":
        np.savez(path, something=np.zeros(3))
    else:
        np.savez(path, neighbors=expected[0][:, 1:], distances=expected[1][:, 1:])
    found = find(data, "l2", tmp_path)
    assert np.array_equal(found[0], expected[0])
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # nothing half-done


@pytest.mark.parametrize("k", [0, 301])
def test_truth_k_out_of_range(data, tmp_path, k):
    with pytest.raises(ValueError, match=rf"truth_k must be in \[1, n=300\], got {k}"):
        find(data, "l2", tmp_path, k=k)


def test_given_truth_is_used_and_restated(data, metric, tmp_path, monkeypatch):
    searched = []
    search = truth.exact_search
    monkeypatch.setattr(
        truth,
        "exact_search",
        lambda train, test, *rest: (
            searched.append(len(test)) or search(train, test, *rest)
        ),
    )
    claimed = given(data, metric)
    rounded = (claimed[0], claimed[1].astype(np.float16))
    ids, distances = find(data, metric, tmp_path, given=rounded)
    expected = oracle(*data, metric, 10)
    assert searched == [16]  # a spot check only
    assert np.array_equal(ids, expected[0])
    assert distances == pytest.approx(expected[1], rel=1e-6, abs=1e-7)


def test_given_truth_that_is_too_narrow_is_computed(data, tmp_path):
    ids, _ = find(data, "l2", tmp_path, k=10, given=given(data, "l2", k=9))
    assert np.array_equal(ids, oracle(*data, "l2", 10)[0])


def test_given_ties_come_by_id():
    train = np.array([[0.0], [1.0], [1.0], [1.0], [5.0]], dtype=np.float32)
    test = np.array([[1.0]], dtype=np.float32)
    claimed = (np.array([[3, 1, 2, 0]]), np.array([[0.0, 0.0, 0.0, 1.0]]))
    ids, _ = truth.verify(train, test, "l2", claimed, "file")
    assert ids.tolist() == [[1, 2, 3, 0]]


def spoil(ids, distances, how, n):
    if how == "negative":
        ids[3, 4] = -1
    elif how == "too large":
        ids[3, 4] = n
    elif how == "repeated":
        ids[3, 4] = ids[3, 5]
    elif how == "squared":
        distances *= distances
    elif how == "not a number":
        distances[3, 4] = np.nan
    elif how == "reversed":
        ids[3], distances[3] = ids[3, ::-1].copy(), distances[3, ::-1].copy()
    elif how == "other vectors":
        ids[:] = np.roll(ids, 1, axis=0)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("negative", r"must be in \[0, n=300\), got -1 at rank 4 of query 3"),
        ("too large", r"must be in \[0, n=300\), got 300 at rank 4 of query 3"),
        ("repeated", "must be distinct, got one twice for query 3"),
        ("squared", "distances must be those of the neighbors"),
        ("not a number", "distances must be those .* got nan at rank 4 of query 3"),
        ("reversed", "distances must ascend.* of query 3"),
        ("other vectors", "distances must be those of the neighbors"),
    ],
)
def test_wrong_truth_is_refused(data, how, message):
    ids, distances = given(data, "l2")
    spoil(ids, distances, how, len(data[0]))
    with pytest.raises(ValueError, match=f"file: .*{message}"):
        truth.verify(*data, "l2", (ids, distances), "file")


def test_true_distances_of_vectors_that_are_not_the_nearest_are_refused(data, metric):
    ids, distances = (array[:, 2:] for array in given(data, metric))
    with pytest.raises(ValueError, match="file: neighbors must be the nearest"):
        truth.verify(*data, metric, (ids, distances), "file")


def test_the_rounding_of_other_peoples_distances_is_forgiven(metric):
    # far from the origin, float32 by norms and products loses most of a distance
    rng = np.random.default_rng(2)
    train = (100 + rng.standard_normal((200, 16))).astype(np.float32)
    test = train[:10] + np.float32(0.01)
    ids, _ = oracle(train, test, metric, 5)
    q, x = test[:, None], train[ids]
    qx = np.einsum("qkd,qkd->qk", np.broadcast_to(q, x.shape), x)
    qq, xx = np.square(q).sum(axis=2), np.square(x).sum(axis=2)
    claimed = {
        "l2": np.sqrt(np.maximum(qq + xx - 2 * qx, 0)),
        "ip": -qx,
        "cosine": 1 - qx / np.sqrt(qq * xx),
        "l1": np.abs(q - x).sum(axis=2),
    }[metric]
    truth.verify(train, test, metric, (ids, claimed), "file")
