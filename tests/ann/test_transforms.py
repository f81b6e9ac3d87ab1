"""Vectors made narrower in front of an index: the same as to do it oneself."""

import pickle

import numpy as np
import pytest
from sklearn import decomposition

import ann
from ann import transforms
from tests.ann import reference
from tests.ann.data import gaussian

D, WIDTH = 24, 8
STRUCTURES = {
    "Flat": lambda metric, **more: ann.Flat(metric, **more),
    "IVF": lambda metric, **more: ann.IVF(metric, nlist=9, **more),
    "HNSW": lambda metric, **more: ann.HNSW(metric, M=8, ef_construction=60, **more),
}
METRICS = ("l2", "ip", "cosine", "l1")
ROTATED = ("l2", "ip", "cosine")  # which know PCA


def spread(n, seed):
    """Draw vectors around a far point, most of whose variance is in a few directions.

    Turned, so that the first columns are no better than the others.
    """
    turn = np.linalg.qr(gaussian(D, D, seed=99))[0]
    scales = 2.0 ** (-np.arange(D)[:, None] / 4)
    return (gaussian(n, D, seed) @ (scales * turn) + turn[-1]).astype("f4")


X, Q = spread(700, seed=1), spread(40, seed=2)
TRUE = {metric: reference.exact(metric, Q, X, 10)[0] for metric in METRICS}


def made(structure, metric, transform=None, **more):
    return STRUCTURES[structure](metric, transform=transform, **more)


def everything(structure):
    """Return what a search takes to look at all that there is."""
    return {"IVF": {"nprobe": 9}, "HNSW": {"ef_search": 700}}.get(structure, {})


def narrowest(metric):
    return ann.Truncate(WIDTH) if metric == "l1" else ann.PCA(WIDTH)


def unit(V):
    return V / np.linalg.norm(V, axis=1, keepdims=True)


def same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def one_by_one(index, **effort):
    answers = [index.search(q, **effort) for q in Q]
    return [np.stack(each) for each in zip(*answers, strict=True)]


def recall(index, metric, **effort):
    return reference.recall(index.search(Q, **effort)[0], TRUE[metric])


# --- what comes out -------------------------------------------------------------------


def columns(metric, V=X, transform=None):
    index = ann.Flat(metric, transform=transform or ann.PCA(WIDTH)).add(V)
    return index._transform.columns


def test_the_directions_are_scikit_learns_up_to_sign():
    ours, theirs = columns("l2"), decomposition.PCA(WIDTH).fit(X).components_
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous
    np.testing.assert_allclose(np.abs(ours @ theirs.T), np.eye(WIDTH), atol=1e-4)
    assert (np.take_along_axis(ours, np.abs(ours).argmax(1)[:, None], 1) > 0).all()


def test_narrower_vectors_are_scikit_learns_up_to_sign():
    centred = X - X.mean(axis=0)
    held = ann.Flat(transform=ann.PCA(WIDTH)).add(centred)._held.packed
    theirs = decomposition.PCA(WIDTH).fit_transform(centred)
    np.testing.assert_allclose(np.abs(held), np.abs(theirs), atol=1e-4)


@pytest.mark.parametrize("metric", ["ip", "cosine"])
def test_products_are_kept_best_by_singular_vectors_about_zero(metric):
    V = X if metric == "ip" else unit(X)
    *_, right = np.linalg.svd(V.astype(np.float64), full_matrices=False)
    found = np.abs(columns(metric) @ right[:WIDTH].T)
    np.testing.assert_allclose(found, np.eye(WIDTH), atol=1e-3)


def test_the_mean_is_kept_where_products_are_asked_for():
    V = gaussian(500, D, seed=3) * np.float32(0.1)
    V[:, 5] += 1  # what all have in common, and no two differ in
    share = {metric: np.abs(columns(metric, V, ann.PCA(1))[0, 5]) for metric in ROTATED}
    assert share["ip"] > 0.99
    assert share["cosine"] > 0.99
    assert share["l2"] < 0.9


def test_the_first_columns_are_those_that_stand_first():
    index = ann.Flat("l1", transform=ann.Truncate(WIDTH)).add(X)
    np.testing.assert_array_equal(index._held.packed, X[:, :WIDTH])


def test_a_sample_is_drawn_by_the_seed(monkeypatch):
    monkeypatch.setattr(transforms, "_SAMPLE", 60)
    one, again, other = (
        columns("l2", transform=ann.PCA(WIDTH, seed=seed)) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize(("n", "width"), [(1, WIDTH), (3, D), (700, 1)])
def test_few_vectors_and_few_columns(n, width):
    index = ann.Flat(transform=ann.PCA(width)).add(X[:n])
    rows = index._transform.columns
    np.testing.assert_allclose(rows @ rows.T, np.eye(width), atol=1e-5)
    assert index.search(X[:n], k=1)[1].max() <= 1e-5


# --- an index of narrower vectors -----------------------------------------------------


def by_hand(index, metric, V):
    """Make vectors narrower as an index does."""
    prepared = unit(V.astype(np.float64)) if metric == "cosine" else V
    of = index._transform.columns
    narrow = prepared[:, :WIDTH] if of is None else prepared @ of.T.astype(np.float64)
    return narrow.astype(np.float32)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("metric", METRICS)
def test_it_is_an_index_of_vectors_narrowed_by_hand(structure, metric):
    """Which has to normalise them again under cosine."""
    transforms = [ann.Truncate(WIDTH), ann.PCA(WIDTH)]
    for transform in transforms[: 1 + (metric in ROTATED)]:
        index = made(structure, metric, transform).add(X)
        plain = made("Flat", metric).add(by_hand(index, metric, X))
        ids, distances = index.search(Q, **everything(structure))
        _, expected = plain.search(by_hand(index, metric, Q))
        close = np.isclose(distances, expected, rtol=1e-4, atol=2e-6)
        lost = metric == "ip" and structure == "HNSW"  # some are nobody's answer
        assert close.mean() >= (0.95 if lost else 1)
        same((ids, distances), one_by_one(index, **everything(structure)))
        assert index.d == D


@pytest.mark.parametrize("metric", METRICS)
def test_as_many_columns_as_before_change_no_distance(metric):
    plain = ann.Flat(metric).add(X).search(Q)
    cut = ann.Flat(metric, transform=ann.Truncate(D)).add(X).search(Q)
    np.testing.assert_allclose(cut[1], plain[1], atol=1e-6)
    if metric != "cosine":  # which rounds once more
        same(cut, plain)
    if metric != "l1":
        turned = ann.Flat(metric, transform=ann.PCA(D)).add(X).search(Q)
        np.testing.assert_allclose(turned[1], plain[1], atol=1e-5)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("metric", METRICS)
def test_refinement_scores_the_vectors_themselves(structure, metric):
    without = made(structure, metric, narrowest(metric)).add(X)
    index = made(structure, metric, narrowest(metric), refine=4).add(X)
    scored = np.zeros(len(Q), np.int64)
    ids, distances = index.search(Q, distance_computations=scored)
    own = np.take_along_axis(reference.distances(metric, Q, X), ids, axis=1)
    np.testing.assert_allclose(distances, own, rtol=1e-4, atol=1e-5)
    assert (scored >= 40).all()
    same((ids, distances), one_by_one(index))
    better = recall(index, metric), recall(without, metric)
    assert better[0] > better[1]
    assert better[0] > (0.8 if metric == "l1" else 0.9)


@pytest.mark.parametrize("metric", METRICS)
def test_refinement_of_all_is_exact(metric):
    index = ann.Flat(metric, transform=ann.Truncate(1), refine=70).add(X)
    assert recall(index, metric) == 1


@pytest.mark.parametrize("structure", STRUCTURES)
def test_exact_search_is_by_the_vectors_where_they_are_kept(structure):
    narrow = made(structure, "cosine", ann.PCA(WIDTH)).add(X)
    kept = made(structure, "cosine", ann.PCA(WIDTH), refine=1).add(X)
    truth = reference.exact("cosine", Q, X, 10)
    ids, distances = kept.exact(Q)
    np.testing.assert_array_equal(ids, truth[0])
    np.testing.assert_allclose(distances, truth[1], atol=1e-6)
    np.testing.assert_array_equal(kept.exact(Q[3])[0], ids[3])
    every = narrow.search(Q, **everything(structure))
    np.testing.assert_array_equal(narrow.exact(Q)[0], every[0])
    np.testing.assert_array_equal(narrow.exact(Q[3])[0], every[0][3])


@pytest.mark.parametrize("refine", [None, 4])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_filters(structure, refine):
    index = made(structure, "cosine", ann.PCA(WIDTH), refine=refine).add(X)
    for passing in (np.arange(0, 700, 2), np.arange(5, 300, 11)):
        among = ann.Flat("cosine", transform=ann.Truncate(D)).add(X[passing])
        true = passing[among.search(Q)[0]]
        ids, distances = index.search(Q, filter=passing)
        assert np.isin(ids, passing).all()
        assert reference.recall(ids, true) > (0.9 if refine else 0.5)
        ones = [index.search(q, filter=passing) for q in Q]
        assert reference.recall(np.array([i for i, _ in ones]), ids) > 0.95
        if refine:
            own = np.take_along_axis(reference.distances("cosine", Q, X), ids, axis=1)
            np.testing.assert_allclose(distances, own, atol=1e-5)
    few = np.array([3, 50, 444])
    found = index.search(Q, 3, filter=few)
    if refine:  # these are scored by themselves
        order = reference.distances("cosine", Q, X)[:, few].argsort(axis=1)
        np.testing.assert_array_equal(found[0], few[order])


def test_a_radius_is_of_the_vectors_with_refinement_only():
    kept = ann.Flat(transform=ann.PCA(WIDTH), refine=70).add(X)
    narrow = ann.Flat(transform=ann.PCA(WIDTH)).add(X)
    plain, radius = ann.Flat().add(X), 2
    same(kept.range_search(Q, radius)[0], plain.range_search(Q, radius)[0])
    wide, more = plain.range_search(Q[0], radius)[0], narrow.range_search(Q[0], radius)
    assert set(wide) < set(more[0])  # a projection brings all nearer
    assert (more[1] <= radius).all()


@pytest.mark.parametrize("codec", [None, ann.PQ(4), ann.SQ()], ids=str)
@pytest.mark.parametrize("refine", [None, 4])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_life(structure, refine, codec):
    """Of a transform that the first vectors have trained, of codes too."""
    if codec is None and refine is None and structure == "IVF":
        codec = ann.PQ(4, nbits=4)
    index = made(structure, "l2", ann.PCA(WIDTH), codec=codec, refine=refine)
    index.add(X[:400]).add(X[400:650], ids=np.arange(1400, 1650))
    first = index._transform.columns
    index.remove(np.arange(0, 400, 3)).update([1, 2, 1400], X[650:653])
    index.add(X[653:], ids=np.arange(1653, 1700)).compact()
    assert index._transform.columns is first
    held = np.concatenate([np.arange(400), np.arange(400, 650) + 1000])
    vectors = dict(zip(held.tolist(), X[:650], strict=True))
    vectors |= dict(zip(range(1653, 1700), X[653:], strict=True))
    vectors |= dict(zip([1, 2, 1400], X[650:653], strict=True))
    names = np.array(sorted(set(vectors) - set(range(0, 400, 3))))
    rows = np.array([vectors[i] for i in names])
    assert index.ntotal == len(names)
    assert index.check().ok
    true = names[reference.exact("l2", Q, rows, 10)[0]]
    floor = 0.9 if refine else 0.25 if codec else 0.45
    assert reference.recall(index.search(Q)[0], true) > floor
    if refine:
        np.testing.assert_array_equal(index.exact(Q)[0], true)
    same(pickle.loads(pickle.dumps(index)).search(Q), index.search(Q))


def test_all_may_be_removed_and_others_come():
    index = ann.HNSW(M=8, transform=ann.PCA(WIDTH)).add(X)
    index.remove(np.arange(700)).compact()
    assert (index.search(Q)[0] == -1).all()
    with pytest.raises(ValueError, match="X must have d=24 columns, got 8"):
        index.add(X[:, :WIDTH])
    assert index.add(X).check().ok


def test_what_the_index_tells():
    index = ann.Flat(transform=ann.PCA(WIDTH), refine=2)
    assert repr(index).startswith("Flat(metric='l2', refine=2, transform=PCA(d_out=8, ")
    before = index.nbytes
    index.add(X)
    assert index.nbytes - before == 4 * (WIDTH + D) * 700 + 8 * 700 + 4 * WIDTH * D
    assert index.params["transform"] == {"kind": "PCA", "d_out": WIDTH, "seed": 0}
    assert ann.Flat().params["transform"] is None
    cut = ann.HNSW(transform=ann.Truncate(WIDTH))
    assert "transform=Truncate(d_out=8)" in repr(cut)


def test_a_trace_tells_estimates_from_scores():
    index = ann.HNSW("cosine", M=8, transform=ann.PCA(WIDTH), refine=4).add(X)
    [trace] = index.trace(Q[0])
    same((trace.ids, trace.distances), index.search(Q[0]))
    assert trace.exact == 40
    assert trace.estimated == trace.distance_computations - 40 >= 40
    [trace] = ann.Flat(transform=ann.Truncate(WIDTH)).add(X).trace(Q[0])
    assert (trace.estimated, trace.exact) == (700, 0)


def test_norms_are_those_of_what_users_give():
    index = ann.Flat("ip", transform=ann.Truncate(WIDTH)).add(unit(X))
    assert index.norms.unit
    assert np.linalg.norm(index._held.packed, axis=1).max() < 0.98
    with pytest.warns(ann.NormWarning, match=r"norms in \[0.98, 1.02\]"):
        index.search(Q[0] / np.linalg.norm(Q[0]) * 2)
    index.search(unit(Q)[0])


# --- what cannot be -------------------------------------------------------------------


def nowhere():
    """Return vectors of which one has nothing in its first columns."""
    V = X[:20].copy()
    V[7, :WIDTH] = 0
    return V


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_vector_of_which_nothing_is_left_has_no_direction(structure):
    index = made(structure, "cosine", ann.Truncate(WIDTH)).add(X, ids=range(700))
    before = index.search(Q)
    rule = (
        "{} must have no vector that the transform to 8 columns makes zero under the "
        "cosine metric, got norm 0 in row {}"
    )
    for change in (
        lambda: index.add(nowhere()),
        lambda: index.update(range(20), nowhere()),
        lambda: index.search(nowhere()),
        lambda: index.trace(nowhere()),
    ):
        with pytest.raises(ValueError, match=rule.format("[XQ]", 7)):
            change()
        same(index.search(Q), before)
    with pytest.raises(ValueError, match=rule.format("Q", 0)):
        index.search(nowhere()[7])
    empty = made(structure, "cosine", ann.Truncate(WIDTH))
    with pytest.raises(ValueError, match=rule.format("X", 7)):
        empty.add(nowhere())
    assert (empty.ntotal, empty.d, empty.norms.count) == (0, None, 0)


@pytest.mark.parametrize("metric", ["l2", "ip", "l1"])
def test_under_other_metrics_it_lies_at_the_origin(metric):
    index = ann.Flat(metric, transform=ann.Truncate(WIDTH)).add(nowhere())
    ids, distances = index.search(nowhere()[7], k=20)
    assert distances[ids == 7] == 0
    assert (distances[ids != 7] > 0).all() == (metric != "ip")


def test_a_transform_fits_its_vectors():
    for transform in (ann.PCA(D + 1), ann.Truncate(D + 1)):
        index = ann.Flat(transform=transform)
        with pytest.raises(ValueError, match=r"d_out must be <= d=24, .*, got 25"):
            index.add(X)
        assert (index.ntotal, index.d) == (0, None)
        assert index.add(np.pad(X, ((0, 0), (0, 1)))).d == D + 1
    with pytest.raises(ValueError, match=r"m must divide d=8: .*, got 3"):
        ann.Flat(transform=ann.PCA(WIDTH), codec=ann.PQ(3)).add(X)


def test_no_rotation_keeps_l1():
    rule = r"transform must be None or a Truncate under the l1 metric, .*, got PCA\("
    for make in STRUCTURES.values():
        with pytest.raises(ValueError, match=rule + r"d_out=8, seed=0\)$"):
            make("l1", transform=ann.PCA(WIDTH))


def test_vectors_that_did_not_get_in_have_taught_nothing(tmp_path):
    index = ann.IVF(nlist=50, transform=ann.PCA(WIDTH))
    with pytest.raises(ValueError, match="nlist must be <= 40"):
        index.add(X[:40, :20])
    index.save(tmp_path / "index")
    for empty in (index, ann.load(tmp_path / "index")):
        same(
            empty.add(X).search(Q),
            ann.IVF(nlist=50, transform=ann.PCA(WIDTH)).add(X).search(Q),
        )


def test_the_index_keeps_a_copy():
    transform = ann.PCA(WIDTH)
    one, other = (ann.Flat(m, transform=transform).add(X) for m in ("l2", "cosine"))
    assert transform.columns is None
    assert np.abs(one._transform.columns - other._transform.columns).max() > 0.01
