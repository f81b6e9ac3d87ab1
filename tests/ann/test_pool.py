import numpy as np
import pytest

from ann.kernels import pool


def fresh(room):
    return np.full(room, -99, np.float32), np.full(room, -99, np.int32)


def put(keys, ids, size, capacity, key, i):
    return pool.insert(keys, ids, size, capacity, np.float32(key), np.int32(i))


@pytest.mark.parametrize("capacity", [1, 2, 7, 64])
@pytest.mark.parametrize("n_keys", [1, 5, 1000])
def test_insert_keeps_the_best_sorted_by_key_then_id(capacity, n_keys):
    rng = np.random.default_rng(capacity * n_keys)
    keys, ids = fresh(capacity + 2)
    size, oracle = 0, []
    for i in rng.permutation(200):
        key = float(rng.integers(n_keys))
        size, position = put(keys, ids, size, capacity, key, i)
        oracle = sorted([*oracle, (key, i)])[:capacity]
        assert list(zip(keys[:size], ids[:size], strict=True)) == oracle
        kept = (key, i) in oracle
        assert position == (oracle.index((key, i)) if kept else capacity)
    assert (keys[capacity:] == -99).all()  # nothing behind the pool is touched
    assert (ids[capacity:] == -99).all()


def test_insert_compares_ids_without_their_mark_and_keeps_the_mark():
    keys, ids = fresh(3)
    keys[:2], ids[:2] = 5.0, [4 | pool.EXPANDED, 8 | pool.EXPANDED]
    assert put(keys, ids, 2, 3, 5.0, 6) == (3, 1)
    assert list(ids & pool.ID_MASK) == [4, 6, 8]
    assert list(ids < 0) == [True, False, True]
    assert put(keys, ids, 3, 3, 5.0, 9) == (3, 3)  # worse than the marked 8
    assert put(keys, ids, 3, 3, 5.0, 7) == (3, 2)  # better than it
    assert list(ids & pool.ID_MASK) == [4, 6, 7]


def test_infinite_keys_have_a_place():
    keys, ids = fresh(2)
    assert put(keys, ids, 0, 2, np.inf, 3) == (1, 0)
    assert put(keys, ids, 1, 2, -np.inf, 4) == (2, 0)
    assert put(keys, ids, 2, 2, np.inf, 2) == (2, 1)
    assert list(ids) == [4, 2]


def test_package_unmarks_and_pads():
    keys = np.array([1, 2, 3], np.float32)
    ids = np.array([7 | pool.EXPANDED, 8, 9], np.int32)
    out_keys, out_ids = fresh(4)
    pool.package(keys, ids, 2, out_keys, out_ids)
    assert list(out_keys) == [1, 2, np.inf, np.inf]
    assert list(out_ids) == [7, 8, -1, -1]
    pool.package(keys, ids, 3, out_keys[:1], out_ids[:1])
    assert out_ids[0] == 7
