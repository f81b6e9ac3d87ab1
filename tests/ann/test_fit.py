"""Codecs that learned from the first vectors, and what comes later."""

import warnings

import numpy as np
import pytest

import ann
from ann.fit import restored
from ann.storage import StorageError
from tests.ann import reference
from tests.ann.data import gaussian
from tests.ann.test_whole_changes import contents

D, K = 16, 10
X, Q = gaussian(600, D, seed=1), gaussian(40, D, seed=2)
AWAY = np.float32(8)
CODECS = {"SQ8": ann.SQ(8), "SQ4": ann.SQ(4), "PQ4": ann.PQ(8, nbits=4)}
KINDS = {
    "Flat": lambda **o: ann.Flat(**o),
    "IVF": lambda **o: ann.IVF(nlist=4, **o),
    "HNSW": lambda **o: ann.HNSW(M=8, ef_construction=60, **o),
    "QG": lambda **o: ann.QG(M=8, ef_construction=60, **o),
}
EVERY = [
    pytest.param(kind, codec, id=f"{kind}-{codec}")
    for kind in KINDS
    for codec in CODECS
    if (kind, codec) != ("QG", "PQ4")
]


def make(kind, codec, **options):
    return KINDS[kind](codec=CODECS[codec], **options)


def effort(index):
    return {"nprobe": 4} if isinstance(index, ann.IVF) else {}


def recall(index, Q, X, ids=None):
    found = index.search(Q, K, **effort(index))[0]
    return reference.recall(found, reference.exact("l2", Q, X, K, ids)[0])


# --- too few to learn from ------------------------------------------------------------


@pytest.mark.parametrize(("kind", "codec"), EVERY)
def test_few_vectors_wait_as_float32_until_there_are_enough(kind, codec):
    index, at_once = make(kind, codec), make(kind, codec).add(X)
    enough = CODECS[codec].fewest
    index.add(X[:5]).add(X[5 : enough - 1])
    assert index.params["codec"] == at_once.params["codec"]
    assert recall(index, Q, X[: enough - 1]) == 1.0
    np.testing.assert_allclose(
        index.search(Q, 3, **effort(index))[1],
        reference.exact("l2", Q, X[: enough - 1], 3)[1],
        rtol=1e-5,
    )
    index.add(X[enough - 1 :])
    for one, other in zip(index._arrays(), at_once._arrays(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert contents_but_canary(index) == contents_but_canary(at_once)


def contents_but_canary(index):
    """Return what an index holds, less what is chosen of the first vectors."""
    index._set(probes=None)
    arrays = index._saved()[1]
    arrays.pop("norm_statistics")  # summed in another order
    index._state.canary = None
    return {name: array.tobytes() for name, array in arrays.items()}


@pytest.mark.parametrize("refine", [None, 3])
def test_ids_and_removals_survive_the_wait(refine):
    index = ann.HNSW(codec=ann.SQ(8), refine=refine)
    index.add(X[:20], ids=np.arange(20) + 100).remove([103, 107])
    index.add(X[20:60])
    held = {100 + i: x for i, x in enumerate(X[:20]) if i not in (3, 7)}
    held |= {20 + i: x for i, x in enumerate(X[20:60])}
    ids = np.array(sorted(held))
    rows = np.array([held[i] for i in ids.tolist()])
    assert index.ntotal == len(ids)
    assert recall(index, Q, rows, ids) > 0.95
    assert index.add(X[60:61]).search(X[60], 1)[0][0] == 60
    assert index.check().ok


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_keeps_what_waits(kind, tmp_path):
    index = KINDS[kind](codec=ann.SQ(8), refine=2).add(X[:10])
    index.save(tmp_path / "few.ann")
    again = ann.load(tmp_path / "few.ann")
    assert again.params == index.params
    for given in (index, again):
        given.add(X[10:])
    assert contents(index) == contents(again)


def test_a_codec_that_came_trained_does_not_wait():
    codec = ann.SQ(8).train(X)
    index = ann.Flat(codec=codec).add(X[:2])
    assert index._codec.is_trained
    assert index._codec.low_.tolist() == codec.low_.tolist()


def test_a_width_is_refused_while_waiting():
    with pytest.raises(ValueError, match="m must divide d=16"):
        ann.Flat(codec=ann.PQ(5)).add(X[:3])


# --- vectors from elsewhere -----------------------------------------------------------


@pytest.mark.parametrize("refine", [None, 4])
@pytest.mark.parametrize(("kind", "codec"), EVERY)
def test_vectors_from_elsewhere_are_noticed_and_learned_from(kind, codec, refine):
    index, new = make(kind, codec, refine=refine).add(X), X[:300] + AWAY
    assert index.check().ok
    with pytest.warns(ann.CodecWarning, match="got 300 that it describes badly"):
        index.add(new, ids=np.arange(1000, 1300))
    (problem,) = index.check().problems
    assert "300 vectors are unlike those that the codec was trained on" in problem
    ids = np.concatenate([np.arange(600), np.arange(1000, 1300)])
    every = np.concatenate([X, new])
    before = recall(index, Q + AWAY, every, ids)
    if refine is None:
        index.retrain(np.arange(1000, 1300), new)
    else:
        index.retrain()
    assert index.check().ok, index.check()
    at_once = make(kind, codec, refine=refine).add(every, ids=ids)
    assert contents_but_canary(index).keys() == contents_but_canary(at_once).keys()
    now, best = (recall(i, Q + AWAY, every, ids) for i in (index, at_once))
    assert now >= best - 0.05
    assert now > before + 0.05


@pytest.mark.parametrize(("kind", "codec"), EVERY)
def test_nothing_is_said_of_vectors_like_the_first(kind, codec):
    index = make(kind, codec).add(X[:400])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index.add(X[400:]).add(X[:1] * 1.1).add(gaussian(3, D, seed=9))
    assert index.check().ok


def test_one_vector_from_elsewhere_is_noticed():
    index = ann.Flat(codec=ann.SQ(8)).add(X)
    with pytest.warns(ann.CodecWarning, match="got 1 that it describes badly: "):
        index.add(X[:1] + 5 * AWAY)
    assert index.check().problems[0].startswith("1 vectors are unlike")


def test_a_warning_that_is_an_error_leaves_the_index_as_it_was():
    index = ann.HNSW(codec=ann.SQ(8)).add(X)
    before = contents(index)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ann.CodecWarning):
            index.add(X + AWAY)
        with pytest.raises(ann.CodecWarning):
            index.update(np.arange(100), X[:100] + AWAY)
    assert contents(index) == before


def test_a_transform_learns_again_too():
    wide, other = (0.1 * gaussian(400, 12, seed=seed) for seed in (3, 4))
    wide[:, :4] *= 10
    other[:, 8:] *= 30
    index = ann.Flat(transform=ann.PCA(4), refine=4).add(wide)
    with pytest.warns(ann.CodecWarning, match="instead of"):
        index.add(other)
    every, queries = np.concatenate([wide, other]), other[:50] + np.float32(0.05)
    before = recall(index, queries, every)
    index.retrain()
    assert index.check().ok
    assert recall(index, queries, every) > before + 0.3


def test_a_transform_that_learned_from_few_is_noticed():
    wide = 0.1 * gaussian(400, 12, seed=3)
    wide[:, :4] *= 10
    index = ann.Flat(transform=ann.PCA(4), refine=4).add(wide[:1])
    with pytest.warns(ann.CodecWarning, match="got 399 that it describes badly"):
        index.add(wide[1:])
    assert recall(index.retrain(), wide[:50] + np.float32(0.05), wide) > 0.95
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ann.Flat(transform=ann.PCA(4), refine=4).add(wide[:20]).add(wide[20:])


def test_a_fit_is_saved_and_a_forged_one_refused(tmp_path):
    index = ann.Flat(codec=ann.SQ(8)).add(X)
    with pytest.warns(ann.CodecWarning):
        index.add(X + AWAY)
    index.save(tmp_path / "x.ann")
    again = ann.load(tmp_path / "x.ann")
    assert again.check().problems == index.check().problems
    assert again._state.contents.fit == index._state.contents.fit

    for at, wrong in ((0, -1.0), (1, np.nan), (2, -1.0), (3, 2.0), (4, -0.5)):
        forged = index._state.contents.fit.saved()
        forged[at] = wrong
        with pytest.raises(StorageError, match="codec_fit must be"):
            restored(forged)


# --- retrain --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_retrain_is_an_add_of_all_that_is_inside(kind):
    index = KINDS[kind](codec=ann.SQ(8), refine=2).add(X[:300]).add(X[300:])
    index.remove(np.arange(0, 600, 3))
    ids = np.setdiff1d(np.arange(600), np.arange(0, 600, 3))
    assert index.retrain() is index
    at_once = KINDS[kind](codec=ann.SQ(8), refine=2).add(X[ids], ids=ids)
    assert contents_but_canary(index) == contents_but_canary(at_once)
    assert index.add(X[:1]).search(X[0], 1)[0][0] == 600


@pytest.mark.parametrize("kind", KINDS)
def test_retrain_without_originals_learns_from_codes(kind):
    index = KINDS[kind](codec=ann.SQ(8)).add(X)
    before = recall(index, Q, X)
    assert recall(index.retrain(), Q, X) > before - 0.03


def test_retrain_refuses_what_it_cannot_do():
    index = ann.Flat(codec=ann.SQ(8)).add(X)
    before = contents(index)
    for arguments, match in (
        (([1], None), "X must be given with ids, got None"),
        ((None, X), "ids must be given with X, got None"),
        (([1, 2], X[:1]), r"ids must have shape \(1,\)"),
        (([9999], X[:1]), "ids must be in the index, got 9999"),
        (([1], X[:1, :3]), "X must have d=16 columns, got 3"),
    ):
        with pytest.raises(ValueError, match=match):
            index.retrain(*arguments)
    with pytest.raises(ValueError, match="retrain needs refine in an IVF of RaBitQ"):
        ann.IVF(nlist=2, codec=ann.RaBitQ(4)).add(X).retrain()
    assert contents(index) == before
    assert ann.Flat(codec=ann.SQ(8)).retrain().ntotal == 0


def test_a_quantized_graph_learns_again_when_it_has_grown():
    few = ann.QG(M=8, ef_construction=60).add(X[:1]).add(X[1:2]).add(X[2:])
    at_once = ann.QG(M=8, ef_construction=60).add(X)
    few_sketch, sketch = (i._held.near.frame.sketch for i in (few, at_once))
    assert few._held.near.learned_from == at_once._held.near.learned_from == 600
    assert len(few_sketch.units) == len(sketch.units)
    assert recall(few, Q, X) > recall(at_once, Q, X) - 0.03
