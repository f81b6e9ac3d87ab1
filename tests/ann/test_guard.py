"""Norms that are unlike those an index holds: remembered, refused, told."""

import copy
import warnings

import numpy as np
import pytest

import ann
from ann import guard
from tests.ann import reference
from tests.ann.data import gaussian

D = 24
STRUCTURES = {
    "Flat": ann.Flat,
    "IVF": lambda m, **kw: ann.IVF(m, nlist=8, **kw),
    "HNSW": lambda m, **kw: ann.HNSW(m, M=8, ef_construction=60, **kw),
}


def unit(n, seed=0):
    X = gaussian(n, D, seed=seed)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def not_normalised(n, seed=0):
    """Return vectors as an encoder gives them whose last step is left out."""
    lengths = np.random.default_rng(seed).uniform(40, 80, (n, 1))
    return (unit(n, seed=seed) * lengths).astype(np.float32)


# --- statistics -----------------------------------------------------------------------


def test_norms_are_those_of_all_batches_together():
    X = gaussian(500, D) * np.random.default_rng(1).uniform(1, 9, (500, 1))
    index = ann.Flat("l2")
    for batch in np.array_split(X, [1, 1, 40, 300]):
        index.add(batch)
    norms, true = index.norms, np.linalg.norm(X.astype(np.float32), axis=1)
    assert norms.count == 500
    found = norms.low, norms.high, norms.mean, norms.std
    expected = true.min(), true.max(), true.mean(), true.std()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert not norms.unit


@pytest.mark.parametrize("structure", ["Flat", "IVF"])
def test_vectors_that_did_not_come_in_do_not_count(structure):
    def broken(done, n):
        raise KeyboardInterrupt

    index = STRUCTURES[structure]("ip", norm_check="raise")
    with pytest.raises(KeyboardInterrupt):
        index.add(not_normalised(2000), progress=broken)
    assert (index.ntotal, index.norms) == (0, guard.Norms())
    assert index.add(unit(100)).norms.unit


@pytest.mark.parametrize(
    ("lengths", "is_unit"),
    [((0.981, 1.019), True), ((0.97, 1.0), False), ((1.0, 1.03), False)],
)
def test_unit_is_within_two_hundredths(lengths, is_unit):
    X = unit(40) * np.linspace(*lengths, 40)[:, None]
    assert ann.Flat("ip", norm_check="off").add(X).norms.unit == is_unit


def test_a_handful_tells_nothing():
    index = ann.Flat("ip", norm_check="raise").add(unit(9))
    assert index.add(not_normalised(5)).ntotal == 14


@pytest.mark.parametrize(
    ("metric", "held", "rows", "queries"),
    [
        ("ip", unit(10), guard.UNIT, guard.UNIT),
        ("l2", unit(10), guard.UNIT, guard.UNIT),
        ("cosine", unit(10), guard.ANY, guard.ANY),
        ("l2", gaussian(999, D), guard.ANY, guard.ANY),
        ("l1", np.full((1000, 1), 3.0), (0, 30), (0, 30)),
        ("ip", np.full((1000, 1), 3.0), (0, 30), guard.ANY),
    ],
)
def test_what_is_expected(metric, held, rows, queries):
    norms = ann.Flat(metric).add(held).norms
    assert norms.of_rows(metric) == pytest.approx(rows)
    assert norms.of_queries(metric) == pytest.approx(queries)


# --- the incident ---------------------------------------------------------------------


@pytest.mark.parametrize("structure", STRUCTURES)
def test_without_a_guard_recall_falls_and_nothing_is_said(structure):
    X, Q = unit(2000), unit(50, seed=1)
    index = STRUCTURES[structure]("ip", norm_check="off").add(X)
    true = reference.exact("cosine", Q, X, 10)[0]
    before = reference.recall(index.search(Q)[0], true)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index.add(not_normalised(100, seed=2)).search(Q * 60)
    after = reference.recall(index.search(Q)[0], true)
    assert before > 0.6
    assert after < 0.12
    assert index.check().ok


@pytest.mark.parametrize("structure", STRUCTURES)
def test_with_a_guard_the_first_call_says_what_is_wrong_and_what_to_do(structure):
    index = STRUCTURES[structure]("ip", norm_check="raise").add(unit(2000))
    expected = (
        r"^X must have norms in \[0.98, 1.02\], as the 2,000 unit vectors of the index "
        r"have, got \d+\.?\d* in row 0 \(100 of 100 rows are outside\): divide each by "
        r"its norm, or use metric='cosine', which does; norm_check='off' takes any$"
    )
    with pytest.raises(ValueError, match=expected):
        index.add(not_normalised(100, seed=2))
    assert (index.ntotal, index.norms.count) == (2000, 2000)
    for Q in (not_normalised(3), not_normalised(1), not_normalised(1)[0]):
        with pytest.raises(ValueError, match=r"^Q must have norms in \[0.98, 1.02\]"):
            index.search(Q)
    with pytest.raises(ValueError, match=r"got 70 in row 2 \(1 of 3"):
        index.search(np.array([[1.0], [1.0], [70.0]]) * unit(1))
    index.search(unit(3))
    index.search(unit(1)[0])


def test_a_warning_names_the_line_that_called_and_the_call_goes_on():
    index = ann.HNSW("ip", M=8).add(unit(300))
    for call in (
        lambda: index.add(not_normalised(7)),
        lambda: index.search(not_normalised(3)),
        lambda: index.search(not_normalised(1)[0]),
    ):
        with pytest.warns(ann.NormWarning, match="must have norms in") as caught:
            call()
        assert [each.filename for each in caught] == [__file__]
    assert (index.ntotal, index.norms.count, index.norms.strange) == (307, 300, 7)
    assert index.norms.unit  # one bad batch does not teach that bad is usual
    assert index.check().problems == ("7 vectors of strange norms were let in",)
    with pytest.warns(ann.NormWarning):
        index.add(not_normalised(1))


def test_a_first_batch_of_two_kinds_is_told():
    X = np.concatenate([unit(95), not_normalised(5)])
    rule = r"as nearly all of these rows have, .* row 95 \(5 of 100 rows"
    with pytest.raises(ValueError, match=rule):
        ann.Flat("ip", norm_check="raise").add(X)
    with pytest.warns(ann.NormWarning, match=rule):
        assert ann.Flat("ip").add(X).norms.strange == 5
    assert ann.Flat("ip").add(np.concatenate([unit(50), not_normalised(50)])).ntotal


def test_an_update_that_is_refused_loses_nothing():
    X = unit(50)
    index = ann.Flat("l2", norm_check="raise").add(X)
    with pytest.raises(ValueError, match="norms"):
        index.update([3, 4], not_normalised(2))
    assert index.search(X[3], k=1)[0] == [3]


def test_cosine_sees_directions_only():
    index = ann.Flat("cosine", norm_check="raise").add(unit(2000))
    index.add(not_normalised(10)).search(not_normalised(3))
    assert index.norms.high > 40


def test_users_need_not_resemble_items():
    items = gaussian(1000, D)
    index = ann.Flat("ip", norm_check="raise").add(items)
    index.search(items[:3] * 1000)
    with pytest.raises(ValueError, match=r"X must have norms in \[0, .* 1,000 vectors"):
        index.add(items[:3] * 1000)


# --- the setting ----------------------------------------------------------------------


def test_the_check_can_be_set():
    index = ann.HNSW("ip", M=8, norm_check="raise").add(unit(100))
    q = not_normalised(1)[0]
    index.norm_check = "off"
    index.search(q)
    index.norm_check = "raise"
    with pytest.raises(ValueError, match="norms"):
        index.search(q)
    assert index.norm_check == "raise"


@pytest.mark.parametrize("how", ["strict", "", None, True, 1])
def test_no_other_check_is_known(how):
    rule = "norm_check must be one of 'raise', 'warn', 'off', got"
    with pytest.raises(ValueError, match=rule):
        ann.Flat(norm_check=how)
    index = ann.Flat()
    with pytest.raises(ValueError, match=rule):
        index.norm_check = how


@pytest.mark.parametrize("again", ["copy", "file", "mapped"])
def test_what_is_expected_outlives_the_process(again, tmp_path):
    index = ann.HNSW("ip", M=8, norm_check="raise").add(unit(100))
    if again == "copy":
        other = copy.deepcopy(index)
    else:
        index.save(tmp_path / "index")
        other = ann.load(tmp_path / "index", mmap=again == "mapped")
    assert other.norms == index.norms
    for call in (other.add, other.search):
        with pytest.raises(ValueError, match="must have norms"):
            call(not_normalised(2))


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, 0.0), (0, -3e50), (1, -1.0), (2, 1e60), (3, 9.0), (4, -1.0), (5, 1e300)],
)
def test_statistics_that_no_vectors_have_are_refused(place, value):
    saved = ann.Flat().add(unit(100)).norms.saved()
    assert guard.Norms.restored(saved).saved().tolist() == saved.tolist()
    saved[place] = value
    with pytest.raises(ann.StorageError, match="norm_statistics must be"):
        guard.Norms.restored(saved)
