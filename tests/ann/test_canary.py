"""Known queries with known answers, in a file."""

import numpy as np
import pytest

import ann
from ann.canary import Canary
from tests.ann.corruptions import put_together, take_apart
from tests.ann.data import gaussian

X = gaussian(400, 16)
KINDS = {
    "Flat": lambda m: ann.Flat(m),
    "IVF": lambda m: ann.IVF(m, nlist=9, codec=ann.SQ(8)),
    "HNSW": lambda m: ann.HNSW(m, M=5, codec=ann.PQ(4), refine=4),
}
METRICS = ["l2", "ip", "cosine", "l1"]


def edited(path, change):
    """Change a file's parts, as if it had been saved like that."""
    saved = take_apart(path.read_bytes())
    parts = dict(zip([e["name"] for e in saved.entries], saved.contents, strict=True))
    change(saved.index, parts)
    path.write_bytes(put_together(saved._replace(contents=list(parts.values()))))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_index_that_answers_as_it_did_is_sound(kind, metric, tmp_path):
    path = tmp_path / "index"
    index = KINDS[kind](metric).add(X)
    index.save(path)
    assert index.check().ok
    for other in (ann.load(path), ann.load(path, mmap=True)):
        assert other.check().ok
        other.remove([0, 50, 100]).add(X[:9] + 1, ids=np.arange(900, 909))
        assert other.check().ok
        other.save(tmp_path / "next")
        assert ann.load(tmp_path / "next").check().ok


@pytest.mark.parametrize(("was", "now"), [("ip", "l2"), ("l2", "l1"), ("l2", "ip")])
def test_another_metric_is_found_out(was, now, tmp_path):
    path = tmp_path / "index"
    ann.Flat(was, codec=ann.SQ(8)).add(X).save(path)

    def change(index, parts):
        index["params"]["metric"] = now

    edited(path, change)
    with pytest.raises(ann.StorageError, match="known queries must find at least 90%"):
        ann.load(path)
    for other in (ann.load(path, mmap=True), ann.load(path, verify=False)):
        [problem] = other.check().problems
        assert problem.startswith("known queries must find")


def test_other_vectors_are_found_out(tmp_path):
    path = tmp_path / "index"
    ann.Flat("l2").add(X).save(path)

    def change(index, parts):
        rows = np.frombuffer(parts["packed"], np.float32).copy()
        parts["packed"] = (rows[::-1]).tobytes()

    edited(path, change)
    with pytest.raises(ann.StorageError, match="known queries"):
        ann.load(path)


def test_an_empty_index_has_no_canary(tmp_path):
    ann.Flat("l2").save(tmp_path / "index")
    assert ann.load(tmp_path / "index").check().ok


def test_few_vectors_leave_places_empty(tmp_path):
    index = ann.HNSW("l2", M=4).add(X[:3])
    index.save(tmp_path / "index")
    assert ann.load(tmp_path / "index").check().ok


def test_queries_are_of_norms_that_the_index_expects(tmp_path):
    """Or a canary would set off the guard."""
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    mixed = np.concatenate([unit[:1] * 50, unit[1:]])
    index = ann.Flat("ip")
    with pytest.warns(ann.NormWarning):
        index.add(mixed)
    index.save(tmp_path / "index")
    assert len(ann.load(tmp_path / "index").norms.saved()) == 6


@pytest.mark.parametrize(
    ("known", "found", "fine"),
    [
        ([1.0, 2.0], [1.0, 2.0], True),
        ([1.0, 2.0], [1.0005, 2.0], True),
        ([1.0, 2.0], [1.1, 2.0], False),
        ([1.0, np.inf], [1.0, np.inf], True),
        ([1.0, np.inf], [1.0, 2.0], False),
        ([0.0, 0.0], [0.0, 0.0], True),
        ([1.0, 2.0], [1.0, np.nan], False),
    ],
)
def test_what_counts_as_the_same(known, found, fine):
    def ids(distances):
        return np.where(np.isinf(distances), -1, np.arange(2))

    known, found = (np.array([row], np.float32) for row in (known, found))
    fault = Canary(X[:1], ids(known), known).fault(ids(found), found)
    assert (fault is None) == fine


# --- a metric that is asked for -------------------------------------------------------


@pytest.mark.parametrize("mmap", [False, True])
def test_a_file_of_another_metric_is_refused(mmap, tmp_path):
    path = tmp_path / "index"
    ann.Flat("ip").add(X).save(path)
    assert ann.load(path, mmap=mmap, metric="dot").metric == "ip"
    rule = f"metric must be that of the index in {path}, 'ip', got 'cosine'"
    with pytest.raises(ValueError, match=rule):
        ann.load(path, mmap=mmap, metric="cosine")
    with pytest.raises(ValueError, match="metric must be one of"):
        ann.load(path, mmap=mmap, metric="manhatten")
