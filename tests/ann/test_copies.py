"""However an index is duplicated, the two are independent and both can be changed."""

import copy
import pickle

import joblib
import numpy as np
import pytest

import ann
from tests.ann.data import gaussian
from tests.ann.test_whole_changes import GRAPH, PQ, contents

D = 8
X, MORE = gaussian(80, D, seed=1), gaussian(9, D, seed=2)
KINDS = {
    "Flat": lambda: ann.Flat(),
    "Flat PQ4": lambda: ann.Flat(**PQ),
    "Flat RaBitQ": lambda: ann.Flat(codec=ann.RaBitQ(1)),
    "IVF": lambda: ann.IVF(nlist=3),
    "HNSW": lambda: ann.HNSW(**GRAPH),
    "HNSW SQ8": lambda: ann.HNSW(**GRAPH, codec=ann.SQ(8), refine=2),
    "QG": lambda: ann.QG(**GRAPH),
}


def out_of_band(index, of):
    buffers = []
    data = pickle.dumps(index, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[of(buffer.raw()) for buffer in buffers])


def through_joblib(mode):
    def duplicate(index, folder):
        joblib.dump(index, folder / "index.joblib")
        return joblib.load(folder / "index.joblib", mmap_mode=mode)

    return duplicate


def through_a_file(mmap):
    def duplicate(index, folder):
        index.save(folder / "index.ann")
        return ann.load(folder / "index.ann", mmap=mmap)

    return duplicate


WAYS = {
    "copy": lambda index, _: copy.copy(index),
    "deepcopy": lambda index, _: copy.deepcopy(index),
    **{
        f"pickle {p}": lambda index, _, p=p: pickle.loads(pickle.dumps(index, p))
        for p in range(2, pickle.HIGHEST_PROTOCOL + 1)
    },
    "read-only buffers": lambda index, _: out_of_band(index, bytes),
    "writable buffers": lambda index, _: out_of_band(index, bytearray),
    "shared buffers": lambda index, _: out_of_band(index, lambda raw: raw),
    **{f"joblib {mode}": through_joblib(mode) for mode in (None, "r", "r+", "c")},
    "file": through_a_file(False),
    "mapped file": through_a_file(True),
}
CHANGES = {
    "add": lambda i: i.add(MORE, ids=np.arange(200, 209)),
    "remove": lambda i: i.remove([1, 2, 40]),
    "update": lambda i: i.update([3, 50], MORE[:2]),
    "compact": lambda i: i.compact(),
    "repair": lambda i: i.repair(),
    "norm_check": lambda i: setattr(i, "norm_check", "off"),
}


def whole(index):
    index._state.canary = None  # a file has one
    return contents(index), index.norm_check


def grown(kind):
    """Return an index with spare rows, equal vectors and removed ones."""
    index = KINDS[kind]().add(X).add(X[:5]).add(MORE * 0.9)
    return index.remove([7, 11])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_duplicate_and_its_original_are_independent(kind, way, tmp_path):
    index = grown(kind)
    state = whole(index)
    duplicate = WAYS[way](index, tmp_path)
    assert whole(duplicate) == state
    for name, change in CHANGES.items():
        expected = grown(kind)
        change(expected)
        ours, theirs = copy.copy(index), copy.copy(duplicate)
        change(theirs)
        assert whole(theirs) == whole(expected), name
        assert whole(duplicate) == whole(index) == state, name
        change(ours)
        assert whole(ours) == whole(expected), name
        assert whole(duplicate) == whole(index) == state, name
    for first, second in ((index, duplicate), (duplicate, index)):
        before = whole(second)
        first.add(MORE, ids=np.arange(300, 309)).remove([300]).update([301], X[:1])
        assert whole(second) == before
        assert first.check().ok
    index.add(MORE * 0.8, ids=np.arange(400, 409))
    duplicate.add(MORE * 0.7, ids=np.arange(400, 409))
    for given, scale in ((index, 0.8), (duplicate, 0.7)):
        if kind != "Flat RaBitQ":  # of one bit
            ids = given.exact(MORE * scale, 1)[0]
            assert ids[:, 0].tolist() == list(range(400, 409))


def test_two_that_share_writable_memory_do_not_write_there():
    index = grown("HNSW")
    buffers = []
    data = pickle.dumps(index, protocol=5, buffer_callback=buffers.append)
    memory = [bytearray(buffer.raw()) for buffer in buffers]
    before = [bytes(part) for part in memory]
    one, other = (pickle.loads(data, buffers=memory) for _ in range(2))
    one.add(MORE, ids=np.arange(200, 209)).remove([0])
    assert [bytes(part) for part in memory] == before
    assert whole(other) == whole(index)


def test_a_copy_costs_nothing_until_it_is_changed():
    index = grown("HNSW")
    duplicate = copy.deepcopy(index)
    assert duplicate._held.packed is index._held.packed
    duplicate.add(MORE, ids=np.arange(200, 209))
    assert not np.shares_memory(duplicate._held.packed, index._held.packed)
