"""RaBitQ against plain numpy: codes, estimates and their bound, and every kernel."""

import numba
import numpy as np
import pytest
from sklearn.datasets import load_digits

import ann
from ann.kernels import rabitq, rotation
from tests.ann.data import clustered, gaussian
from tests.ann.levels import WITH_AND_WITHOUT_VNNI

N, D = 500, 100
X = clustered(N, D, seed=8) + gaussian(1, D, seed=9)
Q = X[:12] + gaussian(12, D, seed=10)
DIGITS = load_digits().data.astype(np.float32)
STRUCTURES = (
    ann.Flat,
    lambda *args, **options: ann.IVF(*args, nlist=5, **options),
    lambda *args, **options: ann.HNSW(*args, M=4, **options),
)


@pytest.fixture(scope="module", params=[1, 2, 4, 8])
def codec(request):
    return ann.RaBitQ(request.param).train(X)


def parts(codec, codes):
    """Return components u (n, d) and terms (n, 3 or 6) in float64."""
    terms = codes[:, codec.d :].copy().view(np.float32)
    return codes[:, : codec.d].astype(np.int64), terms.astype(np.float64)


def turned(codec, vectors):
    """Return vectors about the centre, rotated."""
    out = vectors - codec.centre_
    rotation.rotate_rows(rotation.Rotation(codec.signs_), out)
    return out.astype(np.float64)


def points(codec, components):
    return components - (2**codec.bits - 1) / 2


def cosines(a, b):
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.einsum("...j,...j->...", a, b) / lengths


# --- codes ----------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 4])
def test_a_code_has_about_the_smallest_angle_of_all_on_the_grid(bits):
    """The paper's enumeration: every step at which a component's code changes."""
    V = gaussian(60, 64, seed=1)
    codec, top = ann.RaBitQ(bits).train(V), 2 ** (bits - 1) - 1
    components, _ = parts(codec, codec.encode(V))
    own = cosines(points(codec, components), turned(codec, V))
    best = []
    for o in np.abs(turned(codec, V)):
        steps = np.unique(o[:, None] / np.arange(1, top + 1)) * (1 - 1e-12)
        levels = np.minimum(np.floor(o / steps[:, None]), top) + 0.5
        best.append(cosines(levels, o).max())
    assert (own <= np.array(best) + 1e-9).all()
    assert (1 - own).mean() <= 1.02 * (1 - np.array(best)).mean()


def test_components_have_the_signs_and_terms_are_as_described(codec):
    components, terms = parts(codec, codec.encode(X))
    o, s = turned(codec, X), points(codec, components)
    r = X.astype(np.float64) - codec.centre_
    norms = np.square(r).sum(axis=1)
    assert ((s > 0) == (o >= 0)).all()
    signs = np.sign(s) / 2
    expected = [norms, -r @ codec.centre_, norms / (signs * o).sum(axis=1)]
    if codec.bits > 1:
        cosine = cosines(signs, o)
        error = 1.9 * np.sqrt(norms * (1 / cosine**2 - 1) / (D - 1))
        expected += [error, expected[1], norms / (s * o).sum(axis=1)]
    np.testing.assert_allclose(terms, np.transpose(expected), rtol=2e-4, atol=1e-3)


@pytest.mark.parametrize("d", [1, 2, 63, 64, 65, 200])
@pytest.mark.parametrize("bits", [1, 3, 8])
def test_pack_and_arrange_any_number_of_components(bits, d):
    V = gaussian(75, d)
    codec = ann.RaBitQ(bits).train(V)
    codes = codec.encode(V)
    packed = codec.pack(codes)
    terms = 3 if bits == 1 else 6
    assert packed.shape == (75, 4 * terms + 8 * bits * -(-d // 64))
    assert packed.dtype == np.uint8
    np.testing.assert_array_equal(codec.unpack(packed), codes)
    for sizes in ([75], [0, 33, 0, 1, 41], [32, 43]):
        arranged = codec.arrange(packed, np.array(sizes))
        assert len(arranged) == sum(-(-size // 32) for size in sizes)
        back = codec.disarrange(arranged, np.array(sizes))
        np.testing.assert_array_equal(back, packed)


def test_more_bits_decode_closer():
    lost = {}
    for bits in range(1, 9):
        codec = ann.RaBitQ(bits).train(X)
        decoded = codec.decode(codec.encode(X))
        lost[bits] = np.linalg.norm(X - decoded) / np.linalg.norm(X - codec.centre_)
    # One bit keeps 2 / pi of a random direction's square.
    assert lost[1] == pytest.approx(np.sqrt(1 - 2 / np.pi), rel=0.02)
    assert all(lost[bits + 1] < 0.65 * lost[bits] for bits in range(1, 8))


def test_vectors_at_the_centre_and_far_apart_are_coded():
    V = np.zeros((3, 70), np.float32)
    V[0, 5], V[1, 5] = 1e15, -1e15
    for bits in (1, 5):
        codec = ann.RaBitQ(bits).train(V)
        codes = codec.encode(V)
        np.testing.assert_array_equal(codec.decode(codes)[2], V[2])
        squares, bounds = codec.estimate(V[2], codes)
        assert squares[2] == bounds[2] == 0
        np.testing.assert_allclose(squares[:2], 1e30, rtol=1e-5)
        _, distances = ann.Flat(codec=codec).add(V).search(V[2], k=3)
        np.testing.assert_allclose(distances, [0, 1e15, 1e15], rtol=1e-5)


# --- estimates ------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_estimates_have_no_bias_and_their_bound_holds(bits):
    """Over rotations, of handwritten digits; 1.9 sigma of both sides are 0.943."""
    V, q = DIGITS[:150], DIGITS[1000]
    true = np.square(V - q, dtype=np.float64).sum(axis=1)
    errors, within = [], []
    for seed in range(300):
        codec = ann.RaBitQ(bits, seed=seed).train(V)
        squares, bounds = codec.estimate(q, codec.encode(V))
        errors.append(squares - true)
        within.append(np.abs(squares - true) <= bounds)
    means = np.mean(errors, axis=1)
    spread = means.std(ddof=1) / np.sqrt(len(means))
    assert np.abs(means).mean() > spread  # else it would be exact, and this no test
    assert abs(means.mean()) < 3 * spread
    of_each = np.mean(errors, axis=0) / (np.std(errors, axis=0) / np.sqrt(300))
    assert np.sqrt(np.square(of_each).mean()) < 1.2
    assert 0.94 <= np.mean(within) <= 0.97


# --- kernels --------------------------------------------------------------------------


@pytest.mark.parametrize("level", WITH_AND_WITHOUT_VNNI)
@pytest.mark.parametrize("bits", [1, 3, 8])
def test_sums_over_planes_are_of_whole_numbers(level, bits):
    total = rabitq.planes_sum(level)

    @numba.njit
    def run(codes, at, planes, words, query, top, high):
        return total(codes, at, planes, words, query, 2, top, high)

    rng = np.random.default_rng(bits)
    d, n = 200, 40
    codec = ann.RaBitQ(bits).train(gaussian(9, d))
    codes = np.zeros((n, codec.encode(gaussian(1, d)).shape[1]), np.uint8)
    codes[:, :d] = rng.integers(2**bits, size=(n, d))
    codes[7, :d] = 2**bits - 1
    coarse, fine = np.zeros((2, 256), np.int8)
    coarse[:d], fine[:d] = rng.integers(-127, 128, size=d), rng.integers(-64, 64, d)
    whole = 128 * coarse.astype(np.int64) + fine
    query = np.zeros(2 + 128, np.float32)
    query[2:].view(np.int8)[:] = np.concatenate([coarse, fine])
    expected = (codes[:, :d] * whole[:d]).sum(axis=1)

    packed = codec.pack(codes)
    head, width = 4 * (3 if bits == 1 else 6), packed.shape[1]
    found = [run(packed, i * width + head, bits, 4, query, -1, 0) for i in range(n)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)

    blocks = codec.arrange(packed, np.array([n]))
    size, rest = blocks.shape[1], 4 * 256 + 32 * head
    for i in range(n):
        at, lane = i // 32 * size, i % 32
        planes = at + rest + lane * (bits - 1) * 32
        top, high = at + 4 * (lane % 16), 4 * (lane // 16)
        one = run(blocks, planes, bits - 1, 4, query, top, high)
        np.testing.assert_allclose(one, expected[i], rtol=1e-6)


def expected_keys(codec, codes, q, dot):
    """Return keys by all bits, by the signs' bound, and how far that may be off."""
    components, terms = parts(codec, codes)
    rq = turned(codec, q[None])[0]
    square = rq @ rq
    weight = 1 if dot else 2
    constant = -codec.centre_.astype(np.float64) @ q if dot else square
    constant = constant + terms[:, 1 if dot else 0]
    whole = constant - weight * terms[:, -1] * (points(codec, components) @ rq)
    signs = (components >> (codec.bits - 1)) - 0.5
    low = constant - weight * terms[:, 2] * (signs @ rq)
    if codec.bits > 1:
        low -= weight * terms[:, 3] * np.sqrt(square)
    ranges = np.abs(np.pad(rq, (0, -len(rq) % 4)).reshape(-1, 4)).sum(axis=1)
    step = max(ranges.max() / 255, ranges.sum() / 2**15)
    slack = 1.9 * np.sqrt(len(ranges) / 12) * (codec.bits > 1)
    return whole, low, weight * terms[:, 2] * step * (len(ranges) / 2 + slack)


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_keys_of_a_scan_are_those_of_all_bits_but_for_the_bound(metric, codec):
    index, codes = ann.Flat(metric, codec=codec).add(X), codec.encode(X)
    for q in Q:
        ids, keys = index.search(q, k=N)
        keys = keys.astype(np.float64) ** (2 if metric == "l2" else 1)
        whole, low, off = (
            part[ids] for part in expected_keys(codec, codes, q, metric == "ip")
        )
        rounding = 2e-4 * np.abs(whole).max()
        least = 0 if metric == "l2" else -np.inf
        if codec.bits == 1:  # their tables alone are rounded
            assert (np.abs(keys - np.maximum(whole, least)) <= off + rounding).all()
            continue
        assert (keys >= np.maximum(whole, low - off) - rounding).all()
        assert (keys <= np.maximum(whole, low + off) + rounding).all()
        sure = low + off < whole - rounding
        assert sure.mean() > 0.8
        assert (np.abs(keys - whole)[sure] <= rounding).all()


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_keys_of_a_graph_are_those_of_all_bits(metric, codec):
    index = ann.HNSW(metric, M=8, codec=codec).add(X)
    ids, keys = index.search(Q, k=40, ef_search=200)
    for r, q in enumerate(Q):
        whole, _, _ = expected_keys(codec, codec.encode(X), q, metric == "ip")
        found = keys[r].astype(np.float64) ** (2 if metric == "l2" else 1)
        np.testing.assert_allclose(found, whole[ids[r]], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_lists_and_their_order_change_nothing_of_a_trained_codec(metric, codec):
    flat = ann.Flat(metric, codec=codec).add(X)
    for seed in (0, 1):
        lists = ann.IVF(metric, nlist=7, codec=codec, seed=seed).add(X)
        for queries in (Q, Q[3]):
            for one, other in zip(
                flat.search(queries, k=20),
                lists.search(queries, k=20, nprobe=7),
                strict=True,
            ):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("bits", [1, 8])
def test_residuals_are_scored_about_their_own_centroid(metric, bits):
    """Lists far from each other and from 0 cost no precision."""
    far = 300 * gaussian(6, D, seed=1)[np.arange(N) % 6]
    V = X + far
    index = ann.IVF(metric, nlist=6, codec=ann.RaBitQ(bits)).add(V[:400]).add(V[400:])
    codec, centroids = index._codec, index.centroids
    for q in V[:6] + gaussian(6, D, seed=3):
        ids, keys = index.search(q, k=N, nprobe=6)
        apart = np.square(V[:, None] - centroids, dtype=np.float64).sum(axis=2)
        labels = apart.argmin(axis=1)
        expected = np.empty(N)
        for c in range(6):
            own = labels == c
            codes = codec.encode(V[own] - centroids[c])
            expected[own], _ = codec.estimate(q - centroids[c], codes)
        norms = np.square(V, dtype=np.float64).sum(axis=1) + q.astype(np.float64) @ q
        true = np.square(V - q, dtype=np.float64).sum(axis=1)
        if metric == "l2":
            keys = keys.astype(np.float64) ** 2
        else:
            expected, true = (expected - norms) / 2, (true - norms) / 2
        near = np.isin(ids, np.flatnonzero(labels == labels[ids[0]]))
        difference = np.abs(keys - expected[ids])[near]
        spread = np.ptp(true[ids][near])
        assert np.median(difference) < (0.15 if bits == 1 else 0.01) * spread
        assert np.median(np.abs(keys - true[ids])[near]) < 0.2 * spread


def test_a_filter_lets_in_what_passes_and_changes_no_key():
    few, half = np.arange(0, N, 31), np.arange(N) % 2 == 0
    for metric in ("l2", "ip"):
        index = ann.IVF(metric, nlist=5, codec=ann.RaBitQ(3)).add(X)
        every, keys = index.search(Q, k=N, nprobe=5)
        for wanted in (few, half):
            inside = np.zeros(N, bool)
            inside[wanted] = True
            ids, distances = index.search(Q, k=10, nprobe=5, filter=wanted)
            for r in range(len(Q)):
                passing = inside[every[r]]
                np.testing.assert_array_equal(ids[r], every[r][passing][:10])
                np.testing.assert_allclose(
                    distances[r], keys[r][passing][:10], rtol=1e-5
                )


# --- what is refused ------------------------------------------------------------------


@pytest.mark.parametrize("make", STRUCTURES)
def test_the_manhattan_distance_is_refused(make):
    with pytest.raises(ValueError, match=r"metric must be l2, ip or cosine .* 'l1'$"):
        make("l1", codec=ann.RaBitQ())


def test_codes_of_others_are_refused():
    codec = ann.RaBitQ(4).train(X)
    codes = codec.encode(X[:3])
    wide, strange = codes.copy(), codes.copy()
    wide[1, 5], strange[1, -4:] = 16, 255
    for bad, rule in (
        (wide, r"components in \[0, 15\], got 16"),
        (strange, "finite terms"),
        (codes[:, 1:], r"shape \(n, 124\), got \(3, 123\)"),
    ):
        for call in (codec.decode, lambda codes: codec.estimate(X[0], codes)):
            with pytest.raises(ValueError, match=rule):
                call(bad)
    with pytest.raises(ValueError, match="at most 32768 columns for RaBitQ, got 32769"):
        ann.RaBitQ().train(np.ones((1, 32_769), np.float32))
    with pytest.raises(ValueError, match="RaBitQ must be trained first"):
        ann.RaBitQ().estimate(X[0], codes)
