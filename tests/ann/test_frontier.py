"""A frontier of estimates, against lists."""

import numpy as np
import pytest

from ann.kernels import frontier as kernels
from ann.kernels._jit import LEVELS, kernel
from ann.kernels.frontier import Frontier
from ann.kernels.pool import EXPANDED, ID_MASK, NO_ID

CAPACITY = 24
_numbers_of = kernels.begin_frontier


@kernel
def _begin(keys, ids, met, capacity):
    f = _numbers_of(keys, ids, met, capacity)
    return f.last, f.skipped, f.shift


def made(capacity=CAPACITY):
    room = kernels.room(capacity)
    keys, ids = np.full(room, -1, np.float32), np.full(room, 3, np.int32)
    met = np.zeros(kernels.places(capacity), np.uint32)
    return Frontier(keys, ids, met, *_begin(keys, ids, met, capacity))


def putting(level):
    put = kernels.putting(level)

    @kernel
    def once(f, size, bits, news, links, first):
        return put(
            bits, news, links, first, f.met, f.last, f.skipped, f.shift, f.keys, f.ids,
            size,
        )  # fmt: skip

    return once


@pytest.fixture(scope="module")
def putters():
    """``put`` of each level that has one of its own."""
    ways = {kernels.putting(level): level for level in LEVELS}
    return [putting(level) for level in ways.values()]


@pytest.fixture(params=range(1 + ("avx512" in LEVELS)))
def put(request, putters):
    return putters[request.param]


def members(f, size):
    pairs = zip(f.ids[:size], f.keys[:size], strict=True)
    return [(int(i), float(key)) for i, key in pairs]


def steps(n, ids, seed=0, kinds=None):
    """Return n times 16 distinct ids, their keys and which of them come."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        links = np.full(20, 5, np.int32)
        links[4:] = rng.permutation(ids)[:16]
        news = rng.normal(size=16) if kinds is None else rng.integers(0, kinds, 16)
        yield links, news.astype(np.float32), int(rng.integers(2**16))


def came(links, news, bits):
    return {
        int(i) & int(ID_MASK): float(key)
        for lane, (i, key) in enumerate(zip(links[4:], news, strict=True))
        if bits >> lane & 1
    }


def test_who_comes_is_put_at_the_end_and_who_is_there_gets_the_newer_key(put):
    f, size, expected = made(), 0, {}
    for links, news, bits in steps(5, np.arange(40)):
        expected |= came(links, news, bits)
        size = put(f, size, np.uint32(bits), news, links, 4)
    assert members(f, size) == list(expected.items())


def test_nobody_comes(put):
    f, ((links, news, _),) = made(), steps(1, np.arange(40))
    assert put(f, 3, np.uint32(0), news, links, 4) == 3
    assert (f.keys[:3] == -1).all()
    assert (f.ids[:3] == 3).all()


def test_ids_are_told_by_all_their_bits_but_the_sign(put):
    f, ids = made(), np.array([7, 7 + 1024, 7 + 2**20, 7 + 2**30, *range(8, 20)])
    links = np.full(20, 5, np.int32)
    for size, i in enumerate(ids):
        links[4:] = np.int32(i) | EXPANDED
        put(f, size, np.uint32(1), np.full(16, i, np.float32), links, 4)
    assert members(f, 16) == [(int(i), float(np.float32(i))) for i in ids]


def test_of_two_in_one_place_the_later_is_known(put):
    f, links, news = made(), np.full(20, 5, np.int32), np.zeros(16, np.float32)
    size, other = 0, 7 + f.last + 1
    for i in (7, other, other, 7):
        links[4:] = i
        size = put(f, size, np.uint32(2), news, links, 4)
    assert [i for i, _ in members(f, size)] == [7, other, 7]


@pytest.mark.parametrize("ids", [np.arange(40), np.arange(0, 4096, 64), np.arange(900)])
def test_all_levels_leave_the_same_members(putters, ids):
    fs = [made(200) for _ in putters]
    size = 0
    for links, news, bits in steps(20, ids, kinds=7):
        news[::5] = np.inf
        sizes = [
            put(f, size, np.uint32(bits), news, links, 4)
            for put, f in zip(putters, fs, strict=True)
        ]
        assert len(set(sizes)) == 1
        size = sizes[0]
        for f in fs[1:]:
            assert members(f, size) == members(fs[0], size)
            np.testing.assert_array_equal(f.met, fs[0].met)
        if size > 200:
            break


@kernel
def _take(f, size):
    return kernels.take_best(f, size)


@pytest.mark.parametrize("size", [1, 15, 16, 17, 40])
def test_the_best_open_is_taken_and_marked(size):
    f, rng = made(), np.random.default_rng(size)
    f.keys[:] = -100  # what is no member
    f.keys[:size] = rng.integers(0, 9, size)
    f.ids[:size] = 50 + rng.permutation(size)
    order = np.argsort(f.keys[:size], kind="stable")
    left = [(int(f.ids[j]), float(f.keys[j])) for j in order]
    taken = [_take(f, size) for _ in range(size)]
    assert [key for _, key in taken] == [key for _, key in left]
    assert {(int(i), float(key)) for i, key in taken} == set(left)
    assert (f.ids[:size] < 0).all()
    assert (f.ids[size:] == 3).all()
    assert _take(f, size) == (NO_ID, np.inf)
    assert _take(f, 0) == (NO_ID, np.inf)


@kernel
def _key_of(f, i, key):
    return kernels.key_of(f, i, key)


def test_a_member_has_its_newest_key_until_it_is_lost(put):
    f, links, size = made(), np.full(20, 5, np.int32), 0
    links[4:] = np.arange(16)
    for keys in (np.arange(16), 30 - np.arange(16)):
        size = put(f, size, np.uint32(0xFFFF), keys.astype(np.float32), links, 4)
    before = np.float32(99)
    assert [_key_of(f, i, before) for i in (0, 7, 15)] == [30, 23, 15]
    assert _key_of(f, 16, before) == 99  # never inside
    links[4] = 7 + f.last + 1  # takes the place of 7
    put(f, 16, np.uint32(1), np.zeros(16, np.float32), links, 4)
    assert _key_of(f, 7, before) == 99
    size, _ = _narrow(f, 17, 8, 8)
    assert size == 8
    assert _key_of(f, 15, before) == 15
    assert _key_of(f, 0, before) == 99  # dropped


@kernel
def _beyond(f, size, capacity, key):
    return kernels.beyond(f, size, capacity, key)


def test_beyond_counts_who_is_better():
    f = made()
    f.keys[:5] = [4, 1, 3, 2, 1]
    for key, better in ((0, 0), (1, 0), (2, 2), (3, 3), (5, 5)):
        for capacity in range(1, 8):
            assert _beyond(f, 5, capacity, np.float32(key)) == (better >= capacity)


@kernel
def _narrow(f, size, capacity, most):
    return kernels.narrow(f, size, capacity, most)


@pytest.mark.parametrize("kinds", [None, 1, 2, 5, 30])
@pytest.mark.parametrize(("capacity", "most"), [(24, 24), (24, 27), (8, 8), (1, 1)])
def test_all_but_the_best_are_dropped_and_those_left_are_known(
    put, kinds, capacity, most
):
    for seed in range(10):
        f, size = made(), 0
        for links, news, bits in steps(4, np.arange(300), seed, kinds):
            size = put(f, size, np.uint32(bits), news, links, 4)
        before = members(f, size)
        f.ids[: size // 2] |= EXPANDED
        kept, worst = _narrow(f, size, capacity, most)
        after = [(i & int(ID_MASK), key) for i, key in members(f, kept)]
        assert min(size, capacity) <= kept <= most or kept == size
        assert [pair for pair in before if pair in after] == after  # in their order
        dropped = [key for i, key in before if (i, key) not in after]
        assert sum(key < worst for _, key in after) >= min(kept, capacity)
        if dropped:
            assert max(key for _, key in after) <= min(dropped)
            assert worst >= max(key for _, key in after)
        again, news = np.full(20, 5, np.int32), np.full(16, -7, np.float32)
        again[4 : 4 + min(kept, 16)] = f.ids[: min(kept, 16)]
        bits = np.uint32(2 ** min(kept, 16) - 1)
        assert put(f, kept, bits, news, again, 4) == kept  # all are inside …
        assert (f.keys[: min(kept, 16)] == -7).all()
        gone = [i for i, key in before if (i, key) not in after][:16]
        again[4 : 4 + len(gone)] = gone
        bits = np.uint32(2 ** len(gone) - 1)
        assert put(f, kept, bits, news, again, 4) == kept + len(gone)  # … or none


def test_keys_that_are_hard_to_divide():
    f = made()
    for keys in (
        [np.inf] * 60, [-np.inf] * 30 + [np.inf] * 30, [0.0] * 59 + [1e30],
        [-3e38] + [3e38] * 59, np.nextafter(np.float32(1), np.arange(60) % 2 * 2),
    ):  # fmt: skip
        f.keys[:60], f.ids[:60] = keys, np.arange(60)
        kept, worst = _narrow(f, 60, 24, 27)
        below = sum(np.float32(key) < worst for key in keys)
        assert kept <= 27
        assert kept >= min(24, below)


@kernel
def _sort(f, size):
    kernels.sort_members(f, size)


def test_members_are_sorted_for_those_who_look():
    f, rng = made(), np.random.default_rng(0)
    f.keys[:40], f.ids[:40] = rng.integers(0, 5, 40), rng.permutation(40)
    f.ids[:20] |= EXPANDED
    expected = sorted((key, i & int(ID_MASK)) for i, key in members(f, 40))
    _sort(f, 40)
    assert [(key, i & int(ID_MASK)) for i, key in members(f, 40)] == expected
    assert (f.ids[:40] < 0).sum() == 20
