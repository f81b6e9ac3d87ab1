import importlib
import pkgutil
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import ann
from ann import diagnosis
from ann.diagnosis import CODES
from ann.diagnosis.survey import survey
from ann.dimension import local_intrinsic_dimension
from tests.ann.populations import CLEAN, NQ, D, N, counts, patches, popular, sentences


def unit(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def changed(X, where, value):
    X = X.copy()
    X[where] = value
    return X


def times(pair, columns, factor):
    return [changed(X, np.s_[:, columns], X[:, columns] * factor) for X in pair]


def noise(*shape):
    return np.random.default_rng(3).standard_normal(shape)


def lengths(n, low=40, high=80):
    """Norms as in the incident that docs/audit.md tells."""
    return np.random.default_rng(4).uniform(low, high, (n, 1))


# --- clean sets -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", CLEAN)
def test_nothing_is_named_in_clean_sets(kind, seed):
    make, metric = CLEAN[kind]
    X, Q = make(seed)
    found = ann.audit(X, Q)
    assert found.codes == ()
    assert found.ok
    assert found.unit == (kind == "sentences")
    assert found.recommendation.metric == metric
    assert not found.recommendation.normalise
    assert ann.audit(X, Q, metric=metric).codes == ()


# --- planted faults -------------------------------------------------------------------


def _zero():
    X, Q = sentences(5)
    return changed(X, slice(None, None, 400), 0), Q


def _nan():
    X, Q = sentences(5)
    return changed(X, ([5, 77], [1, 60]), np.nan), Q


def _infinite():
    X, Q = sentences(5)
    return changed(X.astype(float), ([5, 77], [1, 60]), [-np.inf, 1e39]), Q


def _overlong():
    X, Q = popular(5)
    return changed(X, 3, X[3] * np.float32(1e20)), Q


def _duplicates():
    X, Q = sentences(5)
    return changed(X, slice(1000, 1060), X[:60]), Q


def _constant():
    return [changed(X, np.s_[:, [3, 9]], [7, 255]) for X in patches(5)]


def _dominant():
    return times(counts(5), 5, 40)


def _unequal():
    return times(popular(5), slice(0, 32), 500)


def _mixed():
    X, Q = sentences(5)
    return changed(X, slice(0, None, 3), X[::3] * lengths(N // 3)), Q


def _few_normalised():
    X, Q = popular(5)
    return changed(X * 30, slice(100, 150), unit(X[100:150])), Q * 30


def _two_lengths():
    X, Q = counts(5)
    return changed(X, slice(0, 120), 20 * X[:120]), Q


def _half():
    X, Q = sentences(5)
    return X.astype(np.float16), Q


def _widened_half():
    X, Q = sentences(5)
    return X.astype(np.float16).astype(np.float32), Q


def _ids():
    every = np.tile(np.arange(N), (N, 1))
    return np.random.default_rng(5).permuted(every, axis=1)[:, :D], None


def _cut():
    return np.trunc(noise(N, D)).astype(int), None


def _few():
    X, Q = sentences(5)
    return X[:300], Q


def _no_contrast():
    return noise(N, 1024), None


def _hubs():
    X = noise(N, D)
    return changed(X, slice(0, 20), X[:20] / 20), None


def _long_queries():
    X, Q = sentences(5)
    return X, Q * lengths(NQ)


def _some_long_queries():
    X, Q = sentences(5)
    return X, changed(Q, slice(0, 3), 9 * Q[:3])


def _only_queries_normalised():
    X, Q = counts(5)
    return X, unit(Q)


def _other_unit():
    X, Q = patches(5)
    return X, Q / 255


def _shifted():
    X, Q = sentences(5)
    return X, unit(Q + unit(noise(1, D)) / 2)


def _brighter():
    X, Q = patches(5)
    return X, Q + 60


def _elsewhere():
    X, Q = popular(5)
    return X, unit(noise(NQ, D)) * np.linalg.norm(Q, axis=1, keepdims=True)


PLANTED = [
    ("zero-vectors", _zero),
    ("nan", _nan),
    ("infinite", _infinite),
    ("overlong", _overlong),
    ("duplicates", _duplicates),
    ("constant-columns", _constant),
    ("dominant-column", _dominant),
    ("unequal-columns", _unequal),
    ("mixed-norms", _mixed),
    ("mixed-norms", _few_normalised),
    ("mixed-norms", _two_lengths),
    ("half-precision", _half),
    ("half-precision", _widened_half),
    ("integers", _ids),
    ("integers", _cut),
    ("few-rows", _few),
    ("no-contrast", _no_contrast),
    ("hubs", _hubs),
    ("query-norms", _long_queries),
    ("query-norms", _some_long_queries),
    ("query-norms", _only_queries_normalised),
    ("query-norms", _other_unit),
    ("query-shift", _shifted),
    ("query-shift", _brighter),
    ("query-distance", _elsewhere),
]


@cache
def audited(plant):
    return ann.audit(*plant())


def test_every_code_is_planted():
    assert {code for code, _ in PLANTED} == set(CODES)


@pytest.mark.parametrize(("code", "plant"), PLANTED)
def test_a_planted_fault_is_named_and_nothing_else(code, plant):
    found = audited(plant)
    assert found.codes == (code,)
    [finding] = found.findings
    assert finding.where == ("queries" if code.startswith("query") else "X")
    assert found.ok == (finding.severity == "note")
    text = " ".join(str(found).split())
    assert f"- {code} ({finding.severity}, {finding.where})" in text
    assert " ".join(finding.sentence.split())[1:] in text
    assert " ".join(finding.advice.split()) in text


def only(plant):
    [finding] = audited(plant).findings
    return finding


def test_findings_name_the_first_ten_rows_and_count_all():
    zero = only(_zero)
    assert zero.rows == (0, 400, 800, 1200, 1600, 2000)
    assert zero.count == 6
    assert "6 of 2,400 (0.2 %), at 0, 400, 800, 1200, 1600, …" in zero.sentence
    assert only(_nan).rows == (5, 77)
    assert only(_infinite).rows == (5, 77)
    assert only(_overlong).rows == (3,)
    twice = only(_duplicates)
    assert twice.rows == tuple(range(1000, 1010))
    assert twice.count == 60
    assert twice.severity == "warning"
    mixed = only(_mixed)
    assert mixed.rows == tuple(range(0, 30, 3))
    assert mixed.count == N // 3
    assert mixed.value == pytest.approx(2 / 3)
    assert "67 % of the rows have norm 1 and 33 % (800) have not" in mixed.sentence
    two = only(_two_lengths)
    assert two.rows == tuple(range(10))
    assert two.count == 120
    assert two.sentence.startswith("the norms fall in two groups: 95 % of the rows")
    assert only(_few_normalised).rows == tuple(range(100, 110))
    assert only(_some_long_queries).rows == (0, 1, 2)


def test_findings_name_columns():
    assert only(_constant).columns == (3, 9)
    assert "3 (7), 9 (255)" in only(_constant).sentence
    assert only(_dominant).columns == (5,)
    assert set(only(_unequal).columns) <= set(range(32))


def test_all_that_is_wrong_is_named_the_gravest_first():
    X, _ = sentences(5)
    X[:, 11] = 0
    X = unit(X)
    X[::3] *= lengths(N // 3)
    X[7, 7] = np.nan
    X[50:60] = X[80:90]
    found = ann.audit(X)
    assert found.codes == ("nan", "mixed-norms", "duplicates", "constant-columns")
    order = [finding.severity for finding in found.findings]
    assert order == ["error", "error", "note", "note"]
    assert not found.ok


def test_what_is_wrong_with_queries_is_told_of_them():
    X, Q = sentences(5)
    found = ann.audit(X, changed(changed(Q, 4, 0), 9, np.nan))
    assert [(f.code, f.where, f.rows) for f in found.findings] == [
        ("nan", "queries", (9,)),
        ("zero-vectors", "queries", (4,)),
    ]


# --- the incident ---------------------------------------------------------------------


def test_the_incident_is_seen_from_either_side():
    X, Q = sentences(6)
    long = X[:240] * lengths(240)
    later = ann.audit(np.concatenate([X, long]), Q, metric="ip")
    assert later.codes == ("mixed-norms",)
    assert later.recommendation.metric == "cosine"
    assert later.recommendation.normalise
    asked = ann.audit(X, Q * lengths(NQ), metric="ip")
    assert asked.codes == ("query-norms",)
    assert asked.findings[0].severity == "error"
    # and it is worth seeing: ten long rows in a hundred take all answers
    before, _ = ann.Flat("ip").add(X).search(Q)
    after, _ = ann.Flat("ip", norm_check="off").add(np.concatenate([X, long])).search(Q)
    shared = (before[:, :, None] == after[:, None, :]).any(axis=2).mean()
    assert shared < 0.05


def test_the_page_tells_what_happens(capsys):
    page = Path(__file__).parents[2] / "docs" / "audit.md"
    text = page.read_text(encoding="utf-8")
    [incident] = re.findall(r"```python\n(import numpy.*?)```", text, re.DOTALL)
    exec(incident, {})
    said = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    assert capsys.readouterr().out == said[0]
    assert {f"`{code}`" for code in CODES} <= set(re.findall(r"`[a-z-]+`", text))
    assert len(PLANTED) == 25
    assert "Twenty-five planted faults are named" in text


# --- measures -------------------------------------------------------------------------


def test_the_survey_is_that_of_numpy(monkeypatch):
    monkeypatch.setattr("ann.diagnosis.survey._BLOCK", 7 * D)  # many blocks
    X, _ = popular(1)
    X[40:60] = X[:20]
    X[70, 3] = np.nan
    X[80, 5] = -np.inf
    X[90] = 0
    found, sound = survey(X), np.delete(X, [70, 80], axis=0).astype(float)
    norms = np.linalg.norm(np.nan_to_num(X.astype(float), posinf=0, neginf=0), axis=1)
    norms[[70, 80]] = np.nan
    np.testing.assert_allclose(found.norms, norms, rtol=1e-6)
    np.testing.assert_allclose(found.mean, sound.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(found.std, sound.std(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(found.low, sound.min(axis=0))
    np.testing.assert_array_equal(found.high, sound.max(axis=0))
    assert found.zeros == (sound == 0).mean()
    assert found.repeated.tolist() == list(range(40, 60))
    assert (found.nan.tolist(), found.infinite.tolist()) == ([70], [80])
    assert found.zero.tolist() == [90]
    assert not found.whole
    assert not found.halves


def test_minus_zero_is_zero_and_near_is_not_equal():
    X = np.zeros((6, 3), np.float32)
    X[:, 0] = 1
    X[1, 1] = -0.0
    X[2, 1] = np.nextafter(np.float32(0), np.float32(1))
    assert survey(X).repeated.tolist() == [1, 3, 4, 5]


def test_nearness_is_that_of_all_distances():
    X, Q = patches(2)
    found = ann.audit(X, Q, threads=1)
    near, gap, wide = found.nearness, found.gap, X.astype(float)
    assert (near.probes, near.reference, near.k) == (1000, N, 100)
    every = cdist(wide, wide)
    np.fill_diagonal(every, np.inf)
    ascending = np.sort(every, axis=1)
    lid = local_intrinsic_dimension(ascending[:, :100])
    assert near.lid == pytest.approx(np.median(lid), rel=0.03)
    np.fill_diagonal(every, 0)
    contrast = every.mean() / ascending[:, 0].mean()
    assert near.contrast == pytest.approx(contrast, rel=0.05)
    np.fill_diagonal(every, np.inf)
    nearest = np.argsort(every, axis=1, kind="stable")[:, :10]
    counts_of_all = np.bincount(nearest.ravel(), minlength=N)
    assert near.counts.sum() == 10 * N
    np.testing.assert_array_equal(near.counts, counts_of_all)
    sides = cdist(wide, wide, "cosine")
    np.fill_diagonal(sides, np.inf)
    by_side = np.argsort(sides, axis=1)[:, :10]
    shared = (nearest[:, :, None] == by_side[:, None, :]).any(axis=2).mean()
    assert near.agreement["l2", "cosine"] == pytest.approx(shared, abs=0.02)
    beside = cdist(Q.astype(float), wide).min(axis=1)
    np.testing.assert_allclose(gap.nearest, beside, rtol=1e-4)
    away = np.linalg.norm(Q.mean(axis=0) - X.mean(axis=0))
    typical = np.sqrt(((X - X.mean(axis=0)) ** 2).sum(axis=1).mean())
    assert gap.shift == pytest.approx(away / typical, rel=1e-3)


def test_dimension_is_that_of_the_plane_the_rows_lie_in():
    plane = noise(N, 3) @ np.random.default_rng(9).standard_normal((3, D))
    assert ann.audit(plane).nearness.lid == pytest.approx(3, rel=0.1)


def test_a_sample_is_seeded_and_told(monkeypatch):
    X, Q = counts(3)
    first = ann.audit(X, Q, sample=1500, seed=1)
    assert first.nearness.reference == 1500
    assert "1,500 of 2,400 rows" in " ".join(first.sampled)
    assert "seed 1" in " ".join(first.sampled)
    again = ann.audit(X, Q, sample=1500, seed=1, threads=1)
    assert str(again) == str(first)
    other = ann.audit(X, Q, sample=1500, seed=2)
    assert other.nearness.lid != first.nearness.lid
    assert other.nearness.lid == pytest.approx(first.nearness.lid, rel=0.1)
    monkeypatch.setattr("ann.diagnosis.nearness._FLOATS", 700 * D)
    assert ann.audit(X).nearness.reference == 700  # wide rows are fewer: memory


def test_a_mapped_file_is_read_as_it_is(tmp_path):
    X, Q = counts(3)
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert str(ann.audit(mapped, Q)) == str(ann.audit(X, Q))


# --- edges ----------------------------------------------------------------------------

EDGES = {
    "one value": ([[1.0]], None, {"few-rows"}),
    "all NaN": (np.full((500, 3), np.nan), None, {"nan", "few-rows"}),
    "all zero": (np.zeros((500, 3)), [[1, 0, 0]], {"zero-vectors", "few-rows"}),
    "all equal": (
        np.ones((500, 3)),
        np.full((5, 3), np.nan),
        {"nan", "duplicates", "constant-columns", "few-rows"},
    ),
    "tiny": (1e-30 * noise(300, 6), 1e-30 * noise(30, 6), {"few-rows"}),
    "huge": (1e300 * noise(300, 6), noise(30, 6), {"infinite", "few-rows"}),
    "Fortran": (np.asfortranarray(noise(300, 6)), noise(30, 6), {"few-rows"}),
}


@pytest.mark.parametrize("edge", EDGES)
def test_edges_are_audited_like_any_other(edge):
    X, Q, codes = EDGES[edge]
    found = ann.audit(X, Q)
    assert set(found.codes) == codes
    assert str(found).startswith(f"Audit of {len(X):,} vectors of ")
    assert found.recommendation.reasons


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0],), r"X must have shape \(n, d\), n, d >= 1, got \(2,\)"),
        ((np.empty((0, 4)),), r"n, d >= 1, got \(0, 4\)"),
        ((["a"],), "X must hold real numbers"),
        ((np.eye(3), np.eye(4)), "queries must have d=3 columns, got 4"),
    ],
)
def test_what_is_no_matrix_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ann.audit(*arguments)


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="metric must be one of"):
        ann.audit(np.eye(3), metric="near")
    with pytest.raises(ValueError, match=r"sample must be .* 0"):
        ann.audit(np.eye(3), sample=0)


# --- advice ---------------------------------------------------------------------------


def test_reasons_carry_figures():
    for make, _ in CLEAN.values():
        X, Q = make(4)
        for reason in ann.audit(X, Q).recommendation.reasons:
            assert any(letter.isdigit() for letter in reason), reason


def test_rows_of_one_length_or_of_many_zeros_are_compared_by_direction():
    X, _ = sentences(4)
    assert ann.audit(40 * X).recommendation.metric == "cosine"
    words = np.random.default_rng(0).poisson(0.1, (N, D))
    assert ann.audit(words).recommendation.metric == "cosine"


def test_a_stated_metric_is_set_beside_the_recommended_one():
    X, _ = patches(4)
    [*_, last] = ann.audit(X, metric="angular").recommendation.reasons
    assert last.startswith("You mean to use cosine: it has ")
    assert last.endswith("% of the 10 nearest in common with l2.")
    [*_, last] = ann.audit(X, metric="l2").recommendation.reasons
    assert last == "You mean to use l2, and so would this audit."


def test_audit_stays_a_function_whatever_is_imported():
    for module in pkgutil.walk_packages(diagnosis.__path__, "ann.diagnosis."):
        importlib.import_module(module.name)
    assert callable(ann.audit)
    assert "audit" not in {module.name for module in pkgutil.iter_modules(ann.__path__)}
