"""FastScan against plain sums of rounded tables, at every vector level."""

import numba
import numpy as np
import pytest

import ann
from ann.kernels import _jit, answer, fastscan, pool
from ann.memory import aligned
from ann.metrics import metric as metric_named
from tests.ann import reference
from tests.ann.data import gaussian, integers
from tests.ann.reference import METRICS

VARIANTS = [(level, False) for level in _jit.LEVELS]
if "avx512" in _jit.LEVELS and _jit.VBMI:
    VARIANTS.append(("avx512", True))


def rounded_tables(codec, key, q):
    """Return (m, 16) whole entries, step and base, as ``fastscan`` defines them."""
    parts = q.reshape(codec.m, 1, -1).astype(np.float64)
    words = codec.codebooks_.astype(np.float64)
    exact = {
        "l2": np.square(words - parts),
        "dot": -words * parts,
        "l1": np.abs(words - parts),
    }[key].sum(axis=2)
    lows, ranges = exact.min(axis=1), np.ptp(exact, axis=1)
    step = max(ranges.max() / 255, ranges.sum() / 2**15)
    inverse = 1 / step if step else 0.0
    return np.floor((exact - lows[:, None]) * inverse + 0.5), step, lows.sum()


def presented(metric, keys):
    keys = keys.astype(np.float32)
    answer.present(("l2", "ip", "cosine", "l1").index(metric), keys)
    return keys


# --- blocks ---------------------------------------------------------------------------


@pytest.mark.parametrize("m", [1, 3, 4, 5, 17])
@pytest.mark.parametrize("sizes", [[0], [1], [31, 32, 33], [0, 5, 0, 64, 1, 0], [200]])
def test_blocks_hold_each_list_apart(sizes, m):
    codes = np.random.default_rng(m).integers(16, size=(sum(sizes), m)).astype("u1")
    blocks = fastscan.pack_blocks(codes, sizes)
    assert blocks.shape == (sum(-(-s // 32) for s in sizes), -(-m // 4), 64)
    np.testing.assert_array_equal(fastscan.unpack_blocks(blocks, sizes, m), codes)


def test_a_block_is_as_described():
    codes = np.arange(32 * 5).reshape(32, 5).astype(np.uint8) % 16
    (block,) = fastscan.pack_blocks(codes, [32])
    for subspace in range(8):
        row = block[subspace // 4].reshape(16, 4)[:, subspace % 4]
        expected = codes[:, subspace] if subspace < 5 else np.zeros(32)
        np.testing.assert_array_equal(row & 15, expected[:16])
        np.testing.assert_array_equal(row >> 4, expected[16:])


# --- sums -----------------------------------------------------------------------------


@pytest.fixture(scope="module", params=VARIANTS, ids=str)
def run(request):
    sums = fastscan.sums(*request.param)

    @numba.njit
    def run(blocks, block, tables, out, ahead):
        rows = blocks.shape[1]
        sums(blocks, block * rows * 64, rows, tables, out, 3, ahead)

    return run


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 8, 13, 64, 100, 130, 257, 768])
def test_sums_are_whole_and_never_wrap(run, m):
    rng = np.random.default_rng(m)
    tables = np.zeros((-(-m // 4) * 4, 16), np.uint8)
    tables[:m] = rng.integers(256 if m <= 257 else 65535 // m + 1, size=(m, 16))
    tables[:m, 7] = tables.max()
    codes = rng.integers(16, size=(90, m)).astype(np.uint8)
    codes[5] = codes[70] = 7  # the largest sum
    blocks = fastscan.pack_blocks(codes, [90])
    expected = tables[np.arange(m), codes].sum(axis=1, dtype=np.int64)
    assert expected.max() < 2**16
    for block, ahead in ((0, None), (1, None), (2, None), (1, 640)):
        out = np.zeros(3 + 32, np.float32)
        run(blocks, block, tables.reshape(-1).view(np.float32), out, ahead)
        part = expected[32 * block : 32 * block + 32]
        np.testing.assert_array_equal(out[3:].view(np.int32)[: len(part)], part)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("d", "m"), [(24, 1), (24, 3), (30, 10), (768, 768)])
def test_keys_are_sums_of_rounded_tables(metric, d, m):
    X, Q = gaussian(150, d), gaussian(8, d, seed=1)
    of = metric_named(metric)
    X, Q = of.prepare(X, "X"), of.prepare(Q, "Q")
    codec = ann.PQ(m=m, nbits=4).train(X)
    index = ann.Flat(metric, codec=codec).add(X)
    codes = codec.encode(X)
    ids, distances = index.search(Q, k=150)
    for r, q in enumerate(Q):
        tables, step, base = rounded_tables(codec, of.key, q)
        assert tables.max(axis=1).sum() < 2**16
        sums = tables[np.arange(m), codes].sum(axis=1)
        expected = presented(metric, base + step * sums)
        np.testing.assert_array_equal(np.sort(ids[r]), np.arange(150))
        # A value near one half may round the other way in float32.
        np.testing.assert_allclose(
            distances[r], expected[ids[r]], rtol=1e-4, atol=2 * step
        )
        exact = reference.keys(of.key, q[None], codec.decode(codes))[0]
        keys = base + step * sums
        assert np.abs(keys - exact).max() <= step * (m / 2 + 0.1)


def test_keys_of_whole_numbers_are_exact_and_ties_in_order_of_id():
    X, Q = integers(500, 4, seed=3, low=0, high=4), integers(20, 4, seed=4)
    codec = ann.PQ(m=4, nbits=4).train(X)
    np.testing.assert_array_equal(codec.decode(codec.encode(X)), X)
    # Entries of a table lie in [0, 255 step]: with a step of 1/k they are whole.
    ids, distances = ann.Flat("l1", codec=codec).add(X).search(Q, k=500)
    for row, of in zip(ids, distances, strict=True):
        order = np.lexsort((row, of))
        np.testing.assert_array_equal(row, row[order])
    copies = np.repeat(X[:1], 100, axis=0)
    ids, _ = ann.Flat("l1", codec=codec).add(copies).search(Q, k=10)
    np.testing.assert_array_equal(ids, np.tile(np.arange(10), (20, 1)))


# --- scans ----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 15, 16, 31, 32, 33, 64, 100, 1025])
@pytest.mark.parametrize("k", [1, 10, 200])
def test_every_code_is_found_and_no_empty_slot(n, k):
    X, Q = gaussian(n, 6), gaussian(5, 6, seed=1)
    index = ann.Flat(codec=ann.PQ(m=3, nbits=4)).add(X)
    all_ids, all_distances = index.search(Q, k=n)
    np.testing.assert_array_equal(np.sort(all_ids), np.tile(np.arange(n), (5, 1)))
    ids, distances = index.search(Q, k=k)
    found = min(n, k)
    np.testing.assert_array_equal(ids[:, :found], all_ids[:, :found])
    np.testing.assert_array_equal(distances[:, :found], all_distances[:, :found])
    assert (ids[:, found:] == -1).all()
    for row in range(5):
        np.testing.assert_array_equal(index.search(Q[row], k=k)[0], ids[row])


@pytest.mark.filterwarnings("ignore::ann.fit.CodecWarning")  # of longer vectors
@pytest.mark.parametrize("metric", METRICS)
def test_parts_and_lists_give_the_same_keys(metric):
    X, Q = gaussian(700, 8), gaussian(30, 8, seed=1)
    codec = ann.PQ(m=4, nbits=4).train(X)  # trained: an IVF codes no residuals
    whole, parts = (ann.Flat(metric, codec=codec) for _ in range(2))
    whole.add(X)
    ivf = ann.IVF(metric, nlist=15, codec=codec).add(X[:300]).add(X[300:])
    for a, b in [(0, 1), (1, 31), (31, 32), (32, 100), (100, 101), (101, 700)]:
        parts.add(X[a:b])
    expected = whole.search(Q, k=50)
    np.testing.assert_array_equal(parts.search(Q, k=50), expected)
    if metric != "cosine":  # whose codec was trained on longer vectors
        np.testing.assert_array_equal(ivf.search(Q, k=50, nprobe=15), expected)


@pytest.mark.parametrize("metric", METRICS)
def test_a_query_alone_and_in_a_batch(metric):
    X, Q = gaussian(900, 12), gaussian(40, 12, seed=1)
    index = ann.IVF(metric, nlist=20, codec=ann.PQ(m=5 + 1, nbits=4)).add(X)
    ids, distances = index.search(Q, k=30, nprobe=5)
    for row in range(40):
        one = index.search(Q[row], k=30, nprobe=5)
        np.testing.assert_array_equal(one[0], ids[row])
        np.testing.assert_array_equal(one[1], distances[row])


def test_all_codewords_equal():
    index = ann.Flat(codec=ann.PQ(m=2, nbits=4)).add(np.ones((40, 4), np.float32))
    ids, distances = index.search(np.zeros(4), k=40)
    np.testing.assert_array_equal(ids, np.arange(40))
    np.testing.assert_array_equal(distances, np.full(40, 2.0, np.float32))


def test_levels_scan_alike(monkeypatch):
    """The whole scan, with cross terms and a bias, for each variant of the sums."""
    m, n, rng = 7, 77, np.random.default_rng(0)
    codes = rng.integers(16, size=(n, m)).astype(np.uint8)
    blocks = fastscan.pack_blocks(codes, [n])
    words = rng.standard_normal((m, 3, 16)).astype(np.float32)
    cross = rng.standard_normal(n).astype(np.float32)
    store = fastscan.FastScan(blocks, words, 1, cross)
    q, found = gaussian(1, 3 * m)[0], []
    for variant in VARIANTS:
        monkeypatch.setattr(fastscan, "block_sums", fastscan.sums(*variant))
        scan, begin = (numba.njit(f) for f in (fastscan.scan_blocks, fastscan._begin))
        buffer = aligned((fastscan.query_size(m),), np.float32)
        keys, ids = np.empty(20, np.float32), np.empty(20, np.int32)
        pool.clear(keys, ids)
        begin(store, q, buffer)
        scan(store, buffer, 0, 0, n, 0, np.float32(0.25), None, keys, ids)
        found.append((keys, ids))
    tables = -np.einsum("mtc,mt->mc", words, q.reshape(m, 3))
    exact = tables[np.arange(m), codes].sum(axis=1) + cross + 0.25
    np.testing.assert_allclose(found[0][0], np.sort(exact)[:20], atol=0.1)
    for keys, ids in found[1:]:
        np.testing.assert_array_equal(keys, found[0][0])
        np.testing.assert_array_equal(ids, found[0][1])
