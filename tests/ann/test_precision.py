"""What float32 and float16 cannot tell apart is noticed, on both sides."""

import warnings

import numpy as np
import pytest

import ann
from ann import halves, precision
from tests.ann.data import clustered, gaussian

WIDE = ["float64", "longdouble", ">f8", "int32", "int64", "uint64"]


def far(n, d, dtype):
    """Return rows 1e9 from 0, which differ by less than float32 tells there."""
    rows = np.arange(n * d).reshape(n, d) % 97 + 1_000_000_000
    return np.unique(rows.astype(dtype), axis=0)


def quietly(index, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return index.add(*args)


# --- wide rows that become equal ------------------------------------------------------


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("make", [ann.Flat, ann.HNSW])
def test_rows_that_float32_makes_equal_are_told(make, dtype):
    X = far(97, 3, dtype)
    left = len(np.unique(X.astype(np.float32), axis=0))
    told = f"{len(X) - left} of {len(X)} rows looked at .* from {X.dtype}"
    with pytest.warns(ann.PrecisionWarning, match=told) as caught:
        index = make("l2").add(X)
    assert caught[0].filename == __file__
    with pytest.warns(ann.PrecisionWarning, match=told):
        index.update(np.arange(len(X)), X)


def test_a_warning_as_an_error_leaves_the_index_as_it_was():
    index = ann.Flat("l2").add(gaussian(5, 3))
    with pytest.raises(ann.PrecisionWarning):
        quietly(index, far(97, 3, float))
    assert index.ntotal == 5


@pytest.mark.parametrize("dtype", WIDE)
def test_rows_that_were_equal_before_are_not_told(dtype):
    X = np.repeat(np.arange(40).reshape(20, 2), 3, axis=0).astype(dtype)
    quietly(ann.Flat("l2"), X)
    X = X.astype(np.float64)
    X[::2, 0] *= -1  # 0 and −0 are one number
    quietly(ann.Flat("l2"), X)


def test_rows_of_float32_and_less_are_taken_as_they_are():
    for dtype in ("float32", "float16", "int16", "uint8", "bool"):
        quietly(ann.Flat("l2"), np.ones((30, 2), dtype))


def test_near_rows_that_float32_tells_apart_are_not_told():
    X = np.random.default_rng(0).standard_normal((500, 4))
    quietly(ann.Flat("l2"), np.concatenate([X, X * (1 + 1e-6)]))


def test_of_many_rows_some_are_looked_at():
    X = np.arange(40_000.0)[:, None]
    some = precision._some(len(X))
    assert len(some) == 16_384
    assert (np.diff(some) > 0).all()
    assert (some[0], some[-1]) == (0, len(X) - 1)
    X[some[700]] = X[some[699]] + 1e-6
    with pytest.warns(ann.PrecisionWarning, match=r"got 1 of 16,384 rows"):
        ann.Flat("l2").add(X)


# --- float16 --------------------------------------------------------------------------

HALF = {"refine": 8, "refine_dtype": "float16", "norm_check": "off"}
D, K = 20, 10
X, Q = clustered(2000, D, seed=3, spread=1.0), gaussian(100, D, seed=4)
STRUCTURES = {
    "Flat": lambda m, **k: ann.Flat(m, **k),
    "IVF": lambda m, **k: ann.IVF(m, nlist=4, **k),
    "HNSW": lambda m, **k: ann.HNSW(m, **k),
}


def half(structure, metric, codec=None):
    return STRUCTURES[structure](metric, codec=codec or ann.SQ(8), **HALF)


@pytest.mark.parametrize("metric", ["l2", "l1", "ip", "cosine"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_float16_finds_the_same_at_any_scale_or_is_refused(structure, metric):
    found = {}
    for scale in (1.0, 1e-3, 1e3):
        rows, queries = (np.float32(scale) * A for A in (X, Q))
        index = quietly(half(structure, metric), rows)
        truth, _ = ann.Flat(metric, norm_check="off").add(rows).search(queries, K)
        ids, _ = index.search(queries, K)
        found[scale] = np.mean([
            len(set(a) & set(b)) / K for a, b in zip(ids, truth, strict=True)
        ])  # fmt: skip
    assert min(found.values()) > max(found.values()) - 0.01
    assert min(found.values()) > 0.9
    index = half(structure, metric)
    tiny = np.float32(1e-6) * X
    if metric == "cosine":  # what is kept has norm 1
        assert index.add(tiny).ntotal == len(X)
        return
    with pytest.raises(ValueError, match=r"at most 0.2 % of its norms .* got [12]\.\d"):
        index.add(tiny)
    assert (index.ntotal, index.d) == (0, None)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_what_float16_cannot_hold_is_refused_before_anything_changes(structure):
    index = half(structure, "l2").add(X[:50])
    index.remove(np.arange(20))
    before = index.search(Q, K), index.nbytes
    long = X[:9].copy()
    long[8, 3] = -7e4
    for change in (
        lambda: index.add(long),
        lambda: index.update(np.arange(30, 39), long),
    ):
        with pytest.raises(ValueError, match=r"within 65504 for .* got 70000$"):
            change()
        after = index.search(Q, K), index.nbytes
        np.testing.assert_equal(after, before)


def test_a_short_vector_among_long_ones_is_kept():
    index = quietly(half("Flat", "l2"), X[:50])
    quietly(index, np.float32(1e-7) * X[:1])
    quietly(index, np.zeros((2, D)))
    quietly(half("Flat", "l2"), np.zeros((3, D)))
    quietly(half("Flat", "l2"), np.full((1, D), 0.1))


@pytest.mark.parametrize(("offset", "told"), [(0, 0), (4, 0), (64, 1), (1e4, 1)])
def test_float16_says_where_it_does_not_tell_vectors_apart(offset, told):
    rows = gaussian(500, D) + np.float32(offset)
    index, message = half("Flat", "l2"), r"at most 0.2 % of its distances from its mean"
    for part in (rows[:400], rows[400:401], rows[401:]):  # and one, beside what is in
        if not told:
            quietly(index, part)
            continue
        with pytest.warns(ann.PrecisionWarning, match=message):
            index.add(part)
    truth, _ = ann.Flat("l2").add(rows).search(rows[:50], K)
    ids, _ = index.search(rows[:50], K)
    found = np.mean([len(set(a) & set(b)) / K for a, b in zip(ids, truth, strict=True)])
    assert (found < 0.99) == told


def test_near_vectors_that_come_first_cannot_tell_how_far_others_will_be():
    near = X[:1] + np.linspace(0, 1e-4, 9, dtype=np.float32)[:, None]
    quietly(half("Flat", "l2"), near)


def test_float16_keeps_whole_numbers():
    whole = np.random.default_rng(0).integers(900, 1100, (300, D)).astype(np.float32)
    halves.check(whole, "float16", whole[:0])
    np.testing.assert_array_equal(halves.kept(whole, "float16"), whole)
