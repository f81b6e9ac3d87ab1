"""A change is whole: for who searches meanwhile, and whatever breaks it off.

Each change is run a line at a time. At a line, a search has to answer from what was
before the change or from what is after it; an exception raised there has to leave what
was before. ANN_STRIDE=1 visits every line; by default one in many, others each kind.
"""

import copy
import hashlib
import json
import os
import threading

import numpy as np
import pytest

import ann
from tests.ann import reference, steps
from tests.ann.data import gaussian

STRIDE = int(os.environ.get("ANN_STRIDE", 0))
D, N, K = 8, 40, 4
ALL = {"ef_search": 1000}
X, MORE, Q = gaussian(N, D, seed=1), gaussian(6, D, seed=2), gaussian(3, D, seed=3)
X[7] = X[3]  # equal vectors share a node of a graph
MORE[2] = X[3]
EVEN, RADIUS = np.arange(0, 1000, 2), 3.0
PQ = {"codec": ann.PQ(4, nbits=4), "refine": 100}
SQ = {"codec": ann.SQ(8), "refine": 100}
GRAPH = {"M": 4, "ef_construction": 20}
KINDS = {
    "Flat": (lambda: ann.Flat(), {}),
    "Flat PQ4": (lambda: ann.Flat(**PQ), {}),
    "IVF": (lambda: ann.IVF(nlist=2), {"nprobe": 2}),
    "HNSW": (lambda: ann.HNSW(**GRAPH), ALL),
    "HNSW SQ8": (lambda: ann.HNSW(**GRAPH, **SQ), ALL),
    "QG": (lambda: ann.QG(**GRAPH), ALL),
    "QG SQ8": (lambda: ann.QG(**GRAPH, **SQ), ALL),
}
GRAPHS = [kind for kind in KINDS if "HNSW" in kind or "QG" in kind]


class Case:
    """An index before a change, the change, and what is inside before and after."""

    def __init__(self, kind, change):
        self.make, self.effort = KINDS[kind]
        self.kind, self.change = kind, change
        self.before, self.after = self._vectors()

    def index(self):
        index = self.make()
        if self.change != "first add":
            index.add(X[:34]).add(X[34:])
        if self.change in ("compact", "add to few"):
            index.remove(np.arange(10, 30))
        return index

    def run(self, index):
        match self.change:
            case "first add":
                index.add(X, threads=1)
            case "add" | "add to few":
                index.add(MORE, ids=np.arange(100, 106), threads=1)
            case "remove":
                index.remove([3, 8, 11], threads=1)
            case "update":
                index.update([3, 8, 11], MORE[:3], threads=1)
            case "calibrate":
                index.calibrate(MORE, K, threads=1)
            case "compact" | "repair" | "retrain":
                getattr(index, self.change)(threads=1)

    def _vectors(self):
        before = {} if self.change == "first add" else dict(enumerate(X))
        if self.change in ("compact", "add to few"):
            before = {i: x for i, x in before.items() if not 10 <= i < 30}
        after = dict(before)
        match self.change:
            case "first add":
                after = dict(enumerate(X))
            case "add" | "add to few":
                after |= dict(zip(range(100, 106), MORE, strict=True))
            case "remove":
                after = {i: x for i, x in after.items() if i not in (3, 8, 11)}
            case "update":
                after |= dict(zip([3, 8, 11], MORE[:3], strict=True))
        return before, after

    def chosen(self, last):
        """Return the steps to visit: all, or some of them, others for each case."""
        if STRIDE == 1:
            return range(1, last + 1)
        stride = STRIDE or max(1, last // 12)
        first = int(hashlib.md5(f"{self.kind}{self.change}".encode()).hexdigest(), 16)
        return range(1 + first % stride, last + 1, stride)


def cases(kinds, *changes):
    return [
        pytest.param(kind, change, id=f"{kind}-{change}")
        for kind in kinds
        for change in changes
    ]


EVERY = [
    *cases(KINDS, "first add", "add", "add to few", "remove", "update", "compact"),
    *cases(KINDS, "retrain"),
    *cases(GRAPHS, "repair", "calibrate"),
]


# --- searches meanwhile ---------------------------------------------------------------


def answers(index, effort):
    """Return what is found in all ways to search, as lists of ids."""
    batch = index.search(Q, K, **effort)[0]
    alone = np.stack([index.search(q, K, **effort)[0] for q in Q])
    again = np.stack([index.search(q, K, **effort)[0] for q in Q])
    within = [ids.tolist() for ids in index.range_search(Q, RADIUS, **effort)[0]]
    filtered = index.search(Q, K, filter=EVEN, **effort)[0]
    traced = np.stack([trace.ids for trace in index.trace(Q, K, **effort)])
    rows = (batch, alone, again, filtered, traced, index.exact(Q, K)[0])
    return [*(ids.tolist() for ids in rows), within]


def expected(vectors):
    ids = np.array(sorted(vectors), np.int64)
    rows = np.array([vectors[i] for i in ids.tolist()], np.float32).reshape(-1, D)
    near = reference.exact("l2", Q, rows, K, ids)[0].tolist()
    even = ids % 2 == 0
    some = reference.exact("l2", Q, rows[even], K, ids[even])[0].tolist()
    all_ids, distances = reference.exact("l2", Q, rows, max(1, len(rows)), ids)
    within = [i[d <= RADIUS].tolist() for i, d in zip(all_ids, distances, strict=True)]
    return [near, near, near, some, near, near, within]


@pytest.mark.parametrize(("kind", "change"), EVERY)
def test_a_search_amid_a_change_sees_all_of_it_or_nothing(kind, change):
    case = Case(kind, change)
    states = [expected(case.before), expected(case.after)]
    index = case.index()
    assert answers(index, case.effort) == states[0]
    last = steps.walk(lambda: case.run(index), lambda step: None)
    assert answers(index, case.effort) == states[1]
    chosen, index, seen = set(case.chosen(last)), case.index(), []

    def search(step):
        if step in chosen:
            seen.append(states.index(answers(index, case.effort)))

    steps.walk(lambda: case.run(index), search)
    assert seen[0] == 0 or states[0] == states[1]
    assert seen == sorted(seen)
    assert answers(index, case.effort) == states[1]


# --- changes that are broken off ------------------------------------------------------

ERRORS = KeyboardInterrupt, MemoryError, RuntimeError


def contents(index):
    """Return a digest of all that an index would write to a file."""
    manifest, arrays = index._saved()
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())
    probes = index._state.contents.probes
    arrays["probes"] = np.empty(0) if probes is None else probes
    for name in sorted(arrays):
        digest.update(f"{name}{arrays[name].dtype}{arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def may_be_changed(index):
    """Whether another thread could change the index now."""
    free = []

    def ask():
        free.append(index._writer.acquire(timeout=60))
        index._writer.release()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return free[0]


@pytest.mark.parametrize(("kind", "change"), EVERY)
def test_a_change_that_is_broken_off_leaves_what_was_before(kind, change):
    case = Case(kind, change)
    case.run(case.index())  # what runs but once in a process is no step
    done = case.index()
    before = contents(done)
    last = steps.walk(lambda: case.run(done), lambda step: None)
    after = contents(done)
    for step in case.chosen(last):
        index, error = case.index(), ERRORS[step % len(ERRORS)]

        def stop(now, step=step, error=error):
            if now == step:
                raise error(f"at step {step}")

        raised = None
        try:
            steps.walk(lambda index=index: case.run(index), stop)
        except error as broken_off:
            raised = broken_off
        if raised is None:  # fewer lines, as where an earlier step left BLAS serial
            assert step > last - 40
            assert contents(index) == after
            continue
        assert may_be_changed(index)
        now = contents(index)
        if now not in (before, after):
            assert kind in GRAPHS
            assert "add" in change
            keeps_some(case, index, raised)
        elif now == before:
            case.run(index)
            assert contents(index) == after, step


def keeps_some(case, index, error):
    """Check a graph whose ``add`` was broken off when some vectors had their place."""
    new = case.after.keys() - case.before.keys()
    inside = {i: x for i, x in case.after.items() if index_has(index, i)}
    assert case.before.keys() <= inside.keys()
    kept = len(inside) - len(case.before)
    assert 0 < kept < len(new)
    assert f"kept {kept} of {len(new)} vectors" in error.__notes__[0]
    assert index.check().ok, index.check()
    assert answers(index, case.effort) == expected(inside)
    missing = sorted(new - inside.keys())
    index.add([case.after[i] for i in missing], ids=missing)
    assert answers(index, case.effort) == expected(case.after)


def index_has(index, i):
    return int(index._state.names.find(np.array([i]))[0]) >= 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_that_calls_another_gives_itself_up(kind):
    index, effort, seen = KINDS[kind][0]().add(X), KINDS[kind][1], []

    def progress(done, n):
        seen.append(index.search(X[0], 1, **effort)[0].tolist())
        if index_has(index, 1):
            index.remove([1])

    with pytest.raises(RuntimeError, match="must not be changed by what a change of"):
        index.add(MORE, progress=progress)
    assert {tuple(ids) for ids in seen} == {(0,)}
    held = {i: x for i, x in enumerate(X) if i != 1}
    assert answers(index, effort) == expected(held)
    index.add(MORE, ids=np.arange(100, 106))
    held |= dict(zip(range(100, 106), MORE, strict=True))
    assert answers(index, effort) == expected(held)


# --- memory that changes take turns with ----------------------------------------------


@pytest.mark.parametrize("kind", GRAPHS)
def test_arrays_that_take_turns_hold_what_copies_would(kind):
    few, many = gaussian(3, D, seed=5), gaussian(400, D, seed=6)
    turns, copied = KINDS[kind][0]().add(many), KINDS[kind][0]().add(many)
    turns.add(few[:1])
    copied.add(few[:1])
    reused = 0
    for seed in range(12):
        readers = [turns._state] if seed % 4 == 3 else []
        before = contents(turns) if readers else None
        held = copied._held
        copied._set(held=held._replace(spare=None, near=_alone(held.near)))
        reused += turns._held.spare is not None
        for index in (turns, copied):
            index.add(np.concatenate([gaussian(3, D, seed=seed + 10), many[:1]]))
        assert contents(turns) == contents(copied)
        for state in readers:  # a search that is still at work reads what it read
            index = KINDS[kind][0]()
            index._state = state
            assert contents(index) == before
    assert reused == 11  # the first of them made room for more


def _alone(near):
    return None if near is None else near._replace(spare=None)


def test_a_copy_does_not_share_what_takes_turns():
    index = ann.HNSW(**GRAPH).add(gaussian(400, D)).add(MORE[:1]).add(MORE[1:2])
    duplicate = copy.copy(index)
    before = contents(duplicate)
    for _ in range(3):
        index.add(MORE[:2])
        assert contents(duplicate) == before
    duplicate.add(MORE[:2])
    assert duplicate.check().ok
