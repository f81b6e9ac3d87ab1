"""Indexes in files: the same when they come back, and refused if they cannot be."""

import json
import os
import pickle
from contextlib import suppress
from itertools import islice

import numpy as np
import pytest

import ann
from tests.ann.corruptions import corruptions, put_together, take_apart
from tests.ann.data import gaussian
from tests.ann.kept import HOME, answers, vectors
from tests.ann.process import python

X, Q = gaussian(400, 64, seed=1), gaussian(20, 64, seed=2)
CORRUPTIONS = int(os.environ.get("ANN_CORRUPTIONS", "1440"))  # of all kinds
KINDS = {
    "Flat": lambda m: ann.Flat(m),
    "Flat SQ4": lambda m: ann.Flat(m, codec=ann.SQ(4), refine=2),
    "Flat PQ4": lambda m: ann.Flat(m, codec=ann.PQ(16, nbits=4)),
    "Flat PQ8": lambda m: ann.Flat(m, codec=ann.PQ(16), refine=3.5),
    "IVF": lambda m: ann.IVF(m, nlist=9),
    "IVF SQ8": lambda m: ann.IVF(m, nlist=9, codec=ann.SQ(8)),
    "IVF PQ4": lambda m: ann.IVF(m, nlist=9, codec=ann.PQ(16, nbits=4), refine=4),
    "IVF PQ8": lambda m: ann.IVF(m, nlist=9, codec=ann.PQ(16)),
    "IVF RaBitQ4": lambda m: ann.IVF(m, nlist=9, codec=ann.RaBitQ(4)),
    "HNSW": lambda m: ann.HNSW(m, M=5, ef_construction=40),
    "HNSW SQ8": lambda m: ann.HNSW(m, M=5, codec=ann.SQ(8), refine=2, seed=3),
    "HNSW SQ4": lambda m: ann.HNSW(
        m, M=5, codec=ann.SQ(4), refine=3, refine_dtype="float16"
    ),
    "HNSW PQ8": lambda m: ann.HNSW(m, M=5, codec=ann.PQ(16), refine=5),
    "HNSW RaBitQ1": lambda m: ann.HNSW(m, M=5, codec=ann.RaBitQ(1), refine=5),
    "Flat narrow": lambda m: ann.Flat(m, transform=narrow(m), refine=3),
    "IVF narrow": lambda m: ann.IVF(m, nlist=9, transform=ann.Truncate(64)),
    "HNSW narrow SQ8": lambda m: ann.HNSW(
        m, M=5, transform=narrow(m), codec=ann.SQ(8), refine=2
    ),
    "QG SQ8": lambda m: ann.QG(but_l1(m), M=5, codec=ann.SQ(8), refine=2),
}


def but_l1(metric):
    return "l2" if metric == "l1" else metric


def narrow(metric):
    return ann.Truncate(32) if metric == "l1" else ann.PCA(32)


def same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("metric", ["l2", "ip", "cosine", "l1"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_back_answers_alike(kind, metric, mmap, tmp_path):
    if "RaBitQ" in kind and metric == "l1":
        pytest.skip("it does not serve l1")
    index = KINDS[kind](metric).add(X)
    index.save(tmp_path / "index")
    other = ann.load(tmp_path / "index", mmap=mmap)
    assert type(other) is type(index)
    assert other.params == index.params
    assert (other.ntotal, other.d) == (400, 64)
    same(other.search(Q, 7), index.search(Q, 7))
    same(other.search(Q[0], 7), index.search(Q[0], 7))
    assert other.check().problems == index.check().problems


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_life_goes_on_after_loading(kind, mmap, tmp_path):
    index = KINDS[kind]("cosine").add(X[:300], ids=np.arange(300) * 3)
    index.remove([3, 9, 300]).add(
        np.repeat(X[:2], 4, axis=0), ids=np.arange(1000, 1008)
    )
    index.save(tmp_path / "index")
    other = ann.load(tmp_path / "index", mmap=mmap)
    for each in (index, other):
        each.add(X[300:], ids=np.arange(5000, 5100)).remove([0, 5001])
        each.update([6], X[:1])
    assert other.ntotal == index.ntotal == 300 - 3 + 8 + 100 - 2
    same(other.search(Q, 7), index.search(Q, 7))
    same(other.compact().search(Q, 7), index.compact().search(Q, 7))


@pytest.mark.parametrize("kind", ["Flat", "IVF PQ4", "HNSW"])
def test_an_index_without_vectors(kind, tmp_path):
    index = KINDS[kind]("l2")
    index.save(tmp_path / "index")
    other = ann.load(tmp_path / "index", mmap=True)
    assert other.params == index.params
    assert (other.ntotal, other.d) == (0, None)
    same(other.add(X).search(Q), index.add(X).search(Q))
    index.remove(np.arange(400)).save(tmp_path / "index")
    other = ann.load(tmp_path / "index")
    assert (other.ntotal, other.d) == (0, 64)
    assert (other.search(Q)[0] == -1).all()
    same(other.add(X).search(Q), index.add(X).search(Q))


def test_a_trained_codec_comes_back_before_there_are_vectors(tmp_path):
    codec = ann.PQ(16).train(X)
    ann.Flat(codec=codec).save(tmp_path / "index")
    other = ann.load(tmp_path / "index")
    same(other.add(X[:50]).search(Q), ann.Flat(codec=codec).add(X[:50]).search(Q))


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("make", [lambda: ann.PQ(16), lambda: ann.RaBitQ(4)])
def test_lists_of_a_codec_that_came_trained_come_back(make, metric, tmp_path):
    """Its codes are of vectors, where an untrained one's would be of residuals."""
    index = ann.IVF(metric, nlist=9, codec=make().train(X + 1)).add(X)
    index.save(tmp_path / "index")
    other = ann.load(tmp_path / "index")
    same(other.search(Q, 7), index.search(Q, 7))
    same(other.add(X[:40]).search(Q, 7), index.add(X[:40]).search(Q, 7))


@pytest.mark.parametrize("kind", ["Flat", "IVF", "HNSW SQ8"])
def test_saving_twice_gives_the_same_bytes(kind, tmp_path):
    index = KINDS[kind]("l2").add(X)
    index.save(tmp_path / "a")
    ann.load(tmp_path / "a", mmap=True).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_pickle_holds_it_too():
    index = ann.HNSW(M=5).add(X)
    index.search(Q[0])
    other = pickle.loads(pickle.dumps(index))
    same(other.add(X[:3]).search(Q), index.add(X[:3]).search(Q))


def test_mapped_files_that_are_damaged_are_found_before_a_change(tmp_path):
    path = tmp_path / "index"
    big = gaussian(6000, 64)
    ann.Flat().add(big).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ann.StorageError, match="must have the checksum"):
        ann.load(path)
    index = ann.load(path, mmap=True)
    index.search(Q)
    assert "must have the checksum" in index.check().problems[0]
    for change in (
        lambda: index.add(X),
        lambda: index.remove([0]),
        lambda: index.update([0], X[:1]),
        lambda: index.save(tmp_path / "other"),
        lambda: pickle.dumps(index),
    ):
        with pytest.raises(ann.StorageError, match="must have the checksum"):
            change()


def harmless(path, mmap):
    """Load what may be anything, and use it; return whether it was refused."""
    try:
        index = ann.load(path, mmap=mmap)
    except ann.StorageError:
        return True
    if index.ntotal and index.d == 64:
        for queries in (Q[:3], Q[0], np.repeat(Q, 2, axis=0)):
            ids, distances = index.search(queries, 5)
            assert ids.shape == distances.shape
        index.search(Q[:3], 5, filter=np.arange(0, 400, 2))
        index.check()
        with suppress(ann.StorageError):  # where it has faults
            index.add(X[:6] + 1, ids=np.arange(9000, 9006)).remove([9000]).compact()
    return False


@pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered")
@pytest.mark.filterwarnings("ignore:[QX] must have norms")  # of another metric, say
@pytest.mark.filterwarnings("ignore::ann.fit.CodecWarning")  # forged vectors differ
@pytest.mark.parametrize("kind", KINDS)
def test_no_corruption_does_harm(kind, tmp_path):
    metric = {"IVF": "cosine", "Flat PQ8": "l1"}.get(kind, "l2")
    index = KINDS[kind](metric).add(X, ids=np.arange(400)[::-1])
    index.add(X[:5], ids=np.arange(500, 505)).remove([3, 7])
    path, other = tmp_path / "index", tmp_path / "corrupt"
    index.save(path)
    data, rng = path.read_bytes(), np.random.default_rng(sum(map(ord, kind)))
    outcomes, few = {"damage": [], "forged": []}, -(-CORRUPTIONS // len(KINDS))
    for name, bad in islice(corruptions(data, rng), few):
        other.write_bytes(bad)
        outcomes[name.split(":")[0]].append((name, harmless(other, mmap=False)))
        harmless(other, mmap=True)
    assert all(refused for _, refused in outcomes["damage"])
    assert any(refused for _, refused in outcomes["forged"])


FUZZ_LINKS = """
import sys, numpy as np, ann
from tests.ann.data import gaussian
X = gaussian(2000, 16)
kind = sys.argv[1]
make = {"HNSW": lambda: ann.HNSW(M=8), "IVF": lambda: ann.IVF(nlist=20)}
index = make[kind]().add(X).add(X[:50])
rng = np.random.default_rng(0)
held = index._held
tables = [held.packed] if kind == "IVF" else [held.graph.base, held.graph.upper]
def damage(table):
    flat = table.reshape(-1).view(np.uint32)
    at = rng.integers(len(flat), size=max(1, len(flat) // 50))
    flat[at] = rng.integers(2**32, size=len(at), dtype=np.uint64)
for turn in range(60):
    for table in tables:
        damage(table)
    index.search(X[:30], 10)
    index.search(X[0], 10)
    index.search(X[:3], 10, filter=np.arange(0, 2000, 3))
for turn in range(20 if kind == "HNSW" else 0):
    damage(held.same)
    index.search(X[:30], 10)
print("alive")
"""


@pytest.mark.parametrize("kind", ["HNSW", "IVF"])
def test_a_search_stays_inside_its_arrays_whatever_they_hold(kind):
    assert python(FUZZ_LINKS, kind).endswith("alive")


FORGED = """
import sys, numpy as np, ann
from tests.ann.data import gaussian
X = gaussian(400, 64)
for change in ("add", "remove", "compact"):
    index = ann.load(sys.argv[1], mmap=change != "remove", verify=False)
    assert not index.check().ok
    try:
        {
            "add": lambda: index.add(X + 1),
            "remove": lambda: index.remove(np.arange(50, 200)),
            "compact": lambda: index.compact(),
        }[change]()
    except ann.StorageError as error:
        assert "must be sound to be changed" in str(error), error
    else:
        raise AssertionError("changed")
    assert index.repair().check().ok
    index.add(X + 1).remove(np.arange(50, 200)).compact()
    assert index.check().ok
print("alive")
"""


def forged(index, path, **arrays):
    """Save an index with other arrays in it, as if they were its own."""
    index.save(path)
    saved = take_apart(path.read_bytes())
    for i, entry in enumerate(saved.entries):
        if entry["name"] in arrays:
            own = np.frombuffer(saved.contents[i], entry["dtype"])
            other = arrays[entry["name"]](own.reshape(entry["shape"]).copy())
            saved.contents[i] = other.tobytes()
    path.write_bytes(put_together(saved))


def wild(links):
    rng, flat = np.random.default_rng(0), links.reshape(-1)
    at = rng.integers(flat.size, size=flat.size // 20)
    flat[at] = rng.integers(-(2**31), 2**31, size=len(at))
    return links


def test_a_forged_graph_is_not_changed_before_it_is_repaired(tmp_path):
    index = KINDS["HNSW"]("l2").add(X).remove([5, 6])
    forged(index, tmp_path / "index", base=wild, upper=wild)
    assert python(FORGED, tmp_path / "index").endswith("alive")


def test_groups_of_equal_vectors_that_have_no_end_are_refused(tmp_path):
    index = KINDS["HNSW"]("l2").add(np.repeat(X[:100], 4, axis=0))

    def circle(same):
        same[1] = 2  # 0, 3, 2, 1, 2, 1, ...
        return same

    assert index._held.same[:4].tolist() == [3, -1, 1, 2]
    forged(index, tmp_path / "index", same=circle)
    with pytest.raises(ann.StorageError, match="same must lead to a vector once"):
        ann.load(tmp_path / "index")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("IVF", "centroids"),
        ("Flat PQ8", "codec.codebooks_"),
        ("Flat narrow", "transform.components"),
        ("IVF RaBitQ4", "codec.centre_"),
        ("IVF RaBitQ4", "codec.signs_"),
    ],
)
def test_what_others_are_compared_with_must_be_finite(kind, name, tmp_path):
    forged(KINDS[kind]("l2").add(X), tmp_path / "index", **{name: lambda a: a * np.nan})
    with pytest.raises(ann.StorageError, match=f"array '{name}' must be finite"):
        ann.load(tmp_path / "index")


def test_signs_that_are_none_are_refused(tmp_path):
    index = KINDS["IVF RaBitQ4"]("l2").add(X)
    forged(index, tmp_path / "index", **{"codec.signs_": lambda signs: signs * 2})
    with pytest.raises(ann.StorageError, match=r"codec\.signs_ must be 1 or -1"):
        ann.load(tmp_path / "index")


def test_a_centre_beyond_all_vectors_is_refused(tmp_path):
    """Codes of vectors from around it would have infinite terms."""
    index = KINDS["IVF RaBitQ4"]("l2").add(X)
    far = {"codec.centre_": lambda centre: np.full_like(centre, 1e30)}
    forged(index, tmp_path / "index", **far)
    with pytest.raises(ann.StorageError, match=r"centre_ must have norms <= 4e\+18"):
        ann.load(tmp_path / "index")


@pytest.mark.parametrize("change", [lambda rows: 2 * rows, lambda rows: rows[[0] * 32]])
def test_directions_that_are_none_are_refused(change, tmp_path):
    index = KINDS["Flat narrow"]("cosine").add(X)
    forged(index, tmp_path / "index", **{"transform.components": change})
    with pytest.raises(ann.StorageError, match="must have orthonormal rows, got"):
        ann.load(tmp_path / "index")


@pytest.mark.parametrize("d_out", [31, 65])
def test_a_transform_to_another_width_is_refused(d_out, tmp_path):
    for transform in (ann.PCA(32), ann.Truncate(32)):
        ann.HNSW(M=5, transform=transform).add(X).save(tmp_path / "index")
        saved = take_apart((tmp_path / "index").read_bytes())
        saved.index["params"]["transform"]["d_out"] = d_out
        (tmp_path / "index").write_bytes(put_together(saved))
        with pytest.raises(ann.StorageError, match=r"d_out must be <=|of shape \("):
            ann.load(tmp_path / "index")


# --- earlier versions -----------------------------------------------------------------


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("kept", sorted(p.stem for p in HOME.glob("index-*.json")))
def test_an_index_of_any_format_loads_for_ever(kept, mmap):
    for kind, expected in json.loads((HOME / f"{kept}.json").read_text()).items():
        index = ann.load(HOME / f"{kept}-{kind}.ann", mmap=mmap)
        found = answers(index)
        assert found["ids"] == expected["ids"], kind
        np.testing.assert_allclose(
            found["distances"], expected["distances"], rtol=1e-5, atol=1e-5
        )
        assert index.check().ok, kind
        index.add(vectors(3, seed=3), ids=[5001, 5002, 5003]).remove([5001]).compact()
        assert index.ntotal == 69
