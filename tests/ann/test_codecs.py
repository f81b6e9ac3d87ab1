import itertools

import numba
import numpy as np
import pytest

import ann
from ann.codecs import Float32
from ann.codecs.base import without_outliers
from ann.kernels.stores import begin, score
from tests.ann import reference
from tests.ann.data import clustered, gaussian, integers
from tests.ann.reference import METRICS

CODECS = {
    "SQ8": lambda: ann.SQ(),
    "SQ4": lambda: ann.SQ(bits=4),
    "PQ8": lambda: ann.PQ(m=4),
    "PQ4": lambda: ann.PQ(m=4, nbits=4),
    "OPQ8": lambda: ann.PQ(m=4, opq=True),
    "OPQ4": lambda: ann.PQ(m=4, nbits=4, opq=True),
}
X = clustered(900, 12, seed=3)


@pytest.fixture(scope="module", params=CODECS)
def codec(request):
    return CODECS[request.param]().train(X)


def words(codec):
    """Return per coded part the codewords that ``decode`` knows: [(ksub, dsub)]."""
    if isinstance(codec, ann.SQ):
        ladder = codec.step_ * np.arange(2**codec.bits)
        return list((codec.low_[:, None] + ladder)[:, :, None])
    return list(codec.codebooks_)


def rotation(codec):
    return codec.rotation_ if hasattr(codec, "rotation_") else np.eye(12)


def error(codec, vectors):
    decoded = codec.decode(codec.encode(vectors))
    return float(np.square(vectors - decoded, dtype=np.float64).sum(axis=1).mean())


def test_codes_name_the_nearest_codewords(codec):
    V = np.concatenate([X[:200], gaussian(50, 12) * 5])  # some out of range
    codes = codec.encode(V)
    parts = words(codec)
    assert codes.dtype == np.uint8
    assert codes.shape == (250, len(parts))
    rotated = (V @ rotation(codec)).reshape(250, len(parts), -1)
    for j, codewords in enumerate(parts):
        table = np.square(reference.distances("l2", rotated[:, j], codewords))
        own = table[np.arange(250), codes[:, j]]
        np.testing.assert_allclose(own, table.min(axis=1), rtol=1e-4, atol=1e-5)


def test_decode_puts_codewords_together(codec):
    parts = words(codec)
    codes = np.random.default_rng(0).integers(len(parts[0]), size=(30, len(parts)))
    expected = np.hstack([part[codes[:, j]] for j, part in enumerate(parts)])
    decoded = codec.decode(codes)
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, expected @ rotation(codec).T, atol=1e-5)


def test_decoded_vectors_code_to_themselves(codec):
    decoded = codec.decode(codec.encode(X))
    np.testing.assert_allclose(codec.decode(codec.encode(decoded)), decoded, atol=1e-4)


def stored_width(codec, components):
    """Return the bytes of a stored row; those of SQ are padded for the kernels."""
    if isinstance(codec, ann.SQ):
        return -(-components * codec.bits // 128) * 16
    return -(-components * codec.nbits // 8)


def test_pack_undoes_unpack(codec):
    codes = codec.encode(X[:50])
    packed = codec.pack(codes)
    assert packed.dtype == np.uint8
    assert packed.shape == (50, stored_width(codec, codes.shape[1]))
    np.testing.assert_array_equal(codec.unpack(packed), codes)


@pytest.mark.parametrize("d", [1, 2, 3, 7, 15, 16, 17, 31, 32, 33])
@pytest.mark.parametrize(
    "make",
    [lambda d: ann.SQ(8), lambda d: ann.SQ(4), lambda d: ann.PQ(m=d, nbits=4)],
    ids=["SQ8", "SQ4", "PQ4"],
)
def test_pack_any_number_of_components(make, d):
    codec = make(d).train(gaussian(60, d))
    top = 16 if "4" in repr(codec) else 256
    codes = np.random.default_rng(d).integers(top, size=(40, d)).astype(np.uint8)
    packed = codec.pack(codes)
    assert packed.shape == (40, stored_width(codec, d))
    np.testing.assert_array_equal(codec.unpack(packed), codes)
    if isinstance(codec, ann.SQ):  # each code once, and zeros behind
        halves = packed.astype(int) if top == 256 else packed % 16 + packed // 16
        np.testing.assert_array_equal(halves.sum(axis=1), codes.sum(axis=1))


@pytest.mark.parametrize("name", ["PQ8", "PQ4", "OPQ8"])
def test_adc_table_sums_are_distances_to_decoded_vectors(name):
    pq = CODECS[name]().train(X)
    codes = pq.encode(X[:100])
    for q in gaussian(5, 12):
        table = pq.adc_table(q)
        assert table.shape == (4, pq.ksub)
        assert table.dtype == np.float32
        sums = table[np.arange(4), codes].sum(axis=1)
        true = reference.keys("l2", q[None], pq.decode(codes))[0]
        np.testing.assert_allclose(sums, true, rtol=1e-4)


@numba.njit
def each_score(store, q, buffer, out):
    begin(store, q, buffer)
    for i in range(out.size):
        out[i] = score(store, buffer, i)


@pytest.mark.parametrize("key", reference.KEYS)
@pytest.mark.parametrize("nbits", [4, 8])
@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 7, 8])
def test_a_vector_by_itself_is_scored_by_the_sum_of_its_codes_entries(m, nbits, key):
    """As graphs and subsets score; scans of 4-bit codes have kernels of their own."""
    V, q = gaussian(300, 2 * m, seed=m), gaussian(1, 2 * m, seed=3)[0]
    pq = ann.PQ(m, nbits=nbits).train(V)
    codes = pq.encode(V)
    store, out = pq.store(pq.pack(codes), key), np.empty(len(V), np.float32)
    each_score(store, q, np.zeros(pq.query_size(2 * m), np.float32), out)
    true = reference.keys(key, q[None], pq.decode(codes))[0]
    np.testing.assert_allclose(out, true, rtol=1e-4, atol=1e-4)


def check_distances(metric, codec, V, Q, bound=0.0, share=2e-4):
    """Compare with distances to decoded vectors, for a batch and a lone query.

    They may be off by ``bound`` (nq, 1), and ``share`` of what the largest is made of.
    """
    decoded = codec.decode(codec.encode(V))
    # A decoded vector's norm is not 1: what is scored is its product with the query.
    true = reference.distances("ip" if metric == "cosine" else metric, Q, decoded)
    size = np.linalg.norm(Q, axis=1) * np.linalg.norm(decoded, axis=1).max()
    size = size[:, None] if metric in ("ip", "cosine") else np.abs(true)
    bound = np.broadcast_to(bound + share * size + 2e-5 * np.abs(V).max(), true.shape)
    true = np.maximum(1 + true, 0) if metric == "cosine" else true
    index = ann.Flat(metric, codec=codec).add(V)
    for queries in (slice(0, len(Q)), slice(2, 3)):
        ids, distances = index.search(Q[queries], k=len(V))
        own, most = (np.take_along_axis(a[queries], ids, axis=1) for a in (true, bound))
        assert (np.abs(distances - own) <= most).all()
        assert (np.abs(distances - np.sort(true[queries])) <= most.max()).all()


@pytest.mark.parametrize(
    ("name", "metric"),
    [*itertools.product(["PQ8", "PQ4"], METRICS)]
    + [("OPQ4", metric) for metric in ("l2", "ip", "cosine")],
)
def test_scores_are_distances_to_decoded_vectors(name, metric):
    V, Q = X[:300], gaussian(12, 12, seed=5)
    if metric == "cosine":
        V, Q = (reference.unit(A).astype(np.float32) for A in (V, Q))
    # Tables of 4-bit PQ are rounded to 8 bits; test_fastscan.py has the exact keys.
    bound = 0.1 if name.endswith("PQ4") else 0.0
    check_distances(metric, CODECS[name]().train(V), V, Q, bound)


def rounding(metric, sq, Q):
    """Return how far rounding the queries (nq, d) moves each one's distances at most.

    Under l2 and l1 to the grid of 8-bit codes; else to 1/127 of the largest component,
    which is made up for where a code is 128, so that 128 steps of the grid remain.
    """
    d, grid = Q.shape[1], float(sq.step_) / (1 if sq.bits == 8 else 16)
    if metric in ("ip", "cosine"):
        return np.abs(Q).max(axis=1, keepdims=True) / 127 / 2 * 128 * grid * d
    return grid / 2 * (d if metric == "l1" else d**0.5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("d", [1, 5, 12, 15, 16, 17, 33, 64, 100])
@pytest.mark.parametrize("bits", [4, 8])
def test_scalar_scores_are_distances_to_decoded_vectors(metric, bits, d):
    V, Q = gaussian(200, d), gaussian(12, d, seed=5)
    if metric == "cosine":
        V, Q = (reference.unit(A).astype(np.float32) for A in (V, Q))
    sq = ann.SQ(bits).train(V)
    reach = (2**bits - 1) * sq.step_  # beyond one range outside, l2 stops counting
    Q = np.clip(Q, sq.low_ - reach, sq.low_ + 2 * reach)
    check_distances(metric, sq, V, Q, rounding(metric, sq, Q), share=1e-5)


@pytest.mark.parametrize("bits", [4, 8])
def test_scalar_scores_of_queries_outside_the_trained_range(bits):
    V = np.random.default_rng(0).random((200, 20), dtype=np.float32) + 5
    sq = ann.SQ(bits).train(V)
    reach = (2**bits - 1) * sq.step_
    near = np.random.default_rng(1).choice([-0.9, -0.2, 0.5, 1.4, 1.9], (12, 20))
    Q = (sq.low_ + near * reach).astype(np.float32)
    check_distances("l2", sq, V, Q, rounding("l2", sq, Q), share=1e-5)
    for scale in (1, 30, 1e4):  # the Manhattan distance counts all of it
        far = (Q * scale).astype(np.float32)
        check_distances("l1", sq, V, far, rounding("l1", sq, far), share=1e-5)
        check_distances("ip", sq, V, far, rounding("ip", sq, far), share=1e-5)
    # Farther off, l2 falls short, but orders as before along each axis.
    ids, distances = ann.Flat("l2", codec=sq).add(V).search(Q * 1e4, k=200)
    assert np.isfinite(distances).all()
    assert (np.sort(ids) == np.arange(200)).all()


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("metric", ["l2", "ip", "l1"])
@pytest.mark.parametrize("scale", [0, 1e-30, 1e15])
def test_scalar_scores_of_extreme_queries(metric, bits, scale):
    V = gaussian(100, 7)
    Q = gaussian(3, 7, seed=1) * np.float32(scale)
    sq = ann.SQ(bits).train(V)
    if metric == "l2" and scale > 1:
        distances = ann.Flat(metric, codec=sq).add(V).search(Q, k=100)[1]
        assert np.isfinite(distances).all()
    else:
        check_distances(metric, sq, V, Q, rounding(metric, sq, Q), share=1e-5)
    if metric == "ip" and scale == 0:
        ids, distances = ann.Flat(metric, codec=sq).add(V).search(Q, k=100)
        assert not distances.any()
        assert (ids == np.arange(100)).all()


@pytest.mark.parametrize("metric", ["l2", "ip", "l1"])
@pytest.mark.parametrize("m", [1, 3, 6, 9, 15])
def test_product_scores_at_odd_numbers_of_subspaces(metric, m):
    V, Q = gaussian(300, 90), gaussian(3, 90, seed=1)
    codec = ann.PQ(m).train(V)
    true = reference.distances(metric, Q, codec.decode(codec.encode(V)))
    _, distances = ann.Flat(metric, codec=codec).add(V).search(Q, k=300)
    np.testing.assert_allclose(distances, np.sort(true), rtol=1e-4, atol=1e-5)


# --- what training achieves -----------------------------------------------------------


def test_error_falls_with_bits():
    assert error(ann.SQ(8).train(X), X) < error(ann.SQ(4).train(X), X) / 50
    assert error(ann.PQ(4, 8).train(X), X) < error(ann.PQ(4, 4).train(X), X) / 2
    assert error(ann.PQ(6, 4).train(X), X) < error(ann.PQ(2, 4).train(X), X) / 2


def within_half_a_step(sq, V):
    """Whether values that the codes span are decoded as well as their step allows."""
    top = 2**sq.bits - 1
    inside = (sq.low_ <= V) & (sq.low_ + top * sq.step_ >= V)
    off = np.abs(sq.decode(sq.encode(V)) - V.astype(np.float64))
    ulps = 4 * np.spacing(np.abs(V).max() + top * sq.step_)
    return (off <= sq.step_ / 2 * 1.0001 + ulps)[inside].all() and inside.mean() > 0.5


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1, 1e17])
@pytest.mark.parametrize("data", [gaussian, clustered, integers])
def test_scalar_error_is_within_half_a_step(bits, scale, data):
    V = data(1000, 9) * np.float32(scale)
    sq = ann.SQ(bits).train(V)
    assert (sq.step_.shape, sq.step_.dtype) == ((), np.float32)
    assert (sq.low_.shape, sq.low_.dtype) == ((9,), np.float32)
    assert within_half_a_step(sq, V)


def ranged(bits, V):
    """Return a quantizer that clips nothing: whole range of the widest component."""
    sq, (low, high) = ann.SQ(bits).train(V), (V.min(axis=0), V.max(axis=0))
    reach = (high - low).max() / 2
    sq.low_ = (low + high) / 2 - reach
    sq.step_ = np.array(2 * reach / (2**bits - 1), np.float32)
    return sq


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("outlier", ["none", "row", "column", "heavy tails", "far off"])
def test_scalar_training_loses_no_more_than_the_whole_range_would(bits, outlier):
    V = gaussian(1500, 8, seed=4)
    if outlier == "row":
        V[700] *= 30
    elif outlier == "column":
        V[:, 3] *= 30
    elif outlier == "heavy tails":
        V = np.random.default_rng(0).standard_t(2, V.shape).astype(np.float32)
    elif outlier == "far off":
        V += np.arange(8, dtype=np.float32) * 50
    sq, V = ann.SQ(bits).train(V), without_outliers(V)
    whole = ranged(bits, V)
    assert error(sq, V) <= error(whole, V) * 1.001
    assert within_half_a_step(sq, V)
    if bits == 4 and outlier in ("none", "heavy tails"):
        assert error(sq, V) < 0.9 * error(whole, V)
        assert sq.step_ < whole.step_


def test_scalar_training_is_near_the_best_common_step():
    V = gaussian(1500, 8, seed=4)
    sq, tried = (ann.SQ(4).train(V) for _ in range(2))
    centre = V.mean(axis=0)

    def loss(step):
        tried.low_ = (centre - 7.5 * step).astype(np.float32)
        tried.step_ = np.array(step, np.float32)
        return error(tried, V)

    assert error(sq, V) < 1.05 * min(loss(step) for step in np.linspace(0.1, 0.6, 60))


@pytest.mark.parametrize("bits", [4, 8])
def test_scalar_step_is_the_widest_components(bits):
    V = gaussian(1000, 6) * np.array([1, 1, 50, 1, 1, 1], np.float32)
    sq = ann.SQ(bits).train(V)
    reach = (2**bits - 1) * sq.step_
    assert 0.4 * np.ptp(V[:, 2]) < reach <= np.ptp(V[:, 2]) * 1.001


@pytest.mark.parametrize("nbits", [4, 8])
def test_a_rotation_helps_where_components_are_correlated(nbits):
    rng = np.random.default_rng(1)
    scales = np.array([8, 4, 2, 1] + [0.05] * 12)
    turn, _ = np.linalg.qr(rng.standard_normal((16, 16)))
    V = ((rng.standard_normal((3000, 16)) * scales) @ turn).astype(np.float32)
    plain, turned = (ann.PQ(4, nbits, opq=opq).train(V) for opq in (False, True))
    assert error(turned, V) < 0.8 * error(plain, V)
    np.testing.assert_allclose(
        turned.rotation_ @ turned.rotation_.T, np.eye(16), atol=1e-5
    )


@pytest.mark.parametrize("nbits", [4, 8])
def test_product_error_is_near_that_of_scikit_learns_k_means(nbits):
    from sklearn.cluster import KMeans

    V = gaussian(1500, 6, seed=9)
    inertia = sum(
        KMeans(2**nbits, n_init=1, random_state=0).fit(V[:, j : j + 3]).inertia_
        for j in (0, 3)
    )
    assert error(ann.PQ(2, nbits).train(V), V) < 1.15 * inertia / len(V)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("power", [-40, 58])
def test_a_codec_does_not_depend_on_the_unit(name, power):
    # Powers of two round nothing; 2**58 is near the longest that codecs take.
    unit, codec = np.float32(2.0**power), CODECS[name]().train(X)
    scaled = CODECS[name]().train(X * unit)
    codes = codec.encode(X)
    np.testing.assert_array_equal(scaled.encode(X * unit), codes)
    np.testing.assert_array_equal(scaled.decode(codes), codec.decode(codes) * unit)
    if isinstance(codec, ann.PQ):
        table = scaled.adc_table(X[0] * unit)
        np.testing.assert_array_equal(table, codec.adc_table(X[0]) * unit * unit)


@pytest.mark.parametrize("name", CODECS)
def test_same_seed_same_codec(name):
    first, second = CODECS[name]().train(X), CODECS[name]().train(X)
    for a, b in zip(first.arrays(), second.arrays(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_seed_another_codec():
    first, second = (ann.PQ(m=4, seed=seed).train(X) for seed in (0, 1))
    assert not np.array_equal(first.codebooks_, second.codebooks_)


# --- edges ----------------------------------------------------------------------------


def test_values_out_of_the_training_range_are_clipped():
    sq = ann.SQ(8).train(gaussian(500, 3))
    codes = sq.encode(np.array([[1e30, -1e30, 0]], np.float32))
    assert list(codes[0, :2]) == [255, 0]
    assert np.isfinite(sq.decode(codes)).all()


@pytest.mark.parametrize("name", CODECS)
def test_a_constant_component(name):
    V = X.copy()
    V[:, 5] = 7.25
    codec = CODECS[name]().train(V)
    decoded = codec.decode(codec.encode(V))
    assert np.isfinite(decoded).all()
    if name.startswith("PQ"):
        np.testing.assert_array_equal(decoded[:, 5], V[:, 5])
    elif name.startswith("SQ"):
        assert np.abs(decoded[:, 5] - 7.25).max() <= codec.step_ / 2 * 1.0001


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("n", [1, 50])
@pytest.mark.parametrize("value", [0, 1e-30, 7.25, 1e17])
def test_constant_vectors_are_exact(bits, n, value):
    V = np.tile(np.array([1, -3, 0.5], np.float32) * np.float32(value), (n, 1))
    sq = ann.SQ(bits).train(V)
    assert sq.step_ == 0
    np.testing.assert_array_equal(sq.decode(sq.encode(V)), V)
    product = -np.square(V[0], dtype=np.float64).sum()
    _, distances = ann.Flat("ip", codec=sq).add(V).search(V[0], k=1)
    np.testing.assert_allclose(distances, product, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("metric", ["l2", "l1"])
def test_a_query_is_apart_from_vectors_that_are_all_one(metric):
    V, q = np.ones((5, 4), np.float32), np.full(4, 3, np.float32)
    _, distances = ann.Flat(metric, codec=ann.SQ()).add(V).search(q, k=1)
    assert distances == {"l2": 4, "l1": 8}[metric]


def test_the_product_with_a_tiny_query_finds_something():
    V = gaussian(50, 4)
    ids, _ = ann.Flat("ip", codec=ann.SQ()).add(V).search(V[0] * 1e-38, k=3)
    assert (ids >= 0).all()


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("scale", [1e-42, 1e-37])
def test_the_manhattan_distance_of_tiny_vectors_finds_something(bits, scale):
    V = gaussian(50, 4) * np.float32(scale)
    ids, distances = ann.Flat("l1", codec=ann.SQ(bits)).add(V).search(V, k=3)
    assert (ids >= 0).all()
    assert np.isfinite(distances).all()


def test_wide_vectors_one_range_away_are_not_near():
    V = np.random.default_rng(0).random((10, 2**13), dtype=np.float32)
    far = np.full(2**13, 1.8, np.float32)
    _, distances = ann.Flat(codec=ann.SQ()).add(V).search(far, k=10)
    true = np.sort(reference.distances("l2", far[None], V)[0])
    np.testing.assert_allclose(distances, true, rtol=0.01)


def test_more_components_than_integer_sums_can_hold_are_refused():
    wide = np.zeros((1, 2**13 + 1), np.float32)
    for bits in (4, 8):
        rule = "X must have at most 8192 columns for SQ, got 8193"
        with pytest.raises(ValueError, match=rule):
            ann.SQ(bits).train(wide)
        for structure in (ann.Flat, ann.HNSW):
            index = structure(codec=ann.SQ(bits))
            with pytest.raises(ValueError, match=rule):
                index.add(wide)
            assert (index.ntotal, index.d) == (0, None)
    ends = np.zeros((2, 2**13), np.float32)
    ends[1] = 1
    _, distances = ann.Flat(codec=ann.SQ()).add(ends).search(ends, k=2)
    np.testing.assert_allclose(distances, [[0, 2**6.5]] * 2, rtol=1e-6)


@pytest.mark.parametrize("name", CODECS)
def test_one_vector_is_enough_to_train(name):
    codec = CODECS[name]().train(X[:1])
    np.testing.assert_allclose(codec.decode(codec.encode(X[:1])), X[:1], atol=1e-5)


@pytest.mark.parametrize("name", ["PQ8", "PQ4", "OPQ8"])
def test_fewer_vectors_than_codewords_are_coded_exactly(name):
    few = X[:14]
    codec = CODECS[name]().train(few)
    assert codec.codebooks_.shape == (4, codec.ksub, 3)
    assert np.isfinite(codec.codebooks_).all()
    np.testing.assert_allclose(codec.decode(codec.encode(few)), few, atol=1e-5)


@pytest.mark.parametrize("name", CODECS)
def test_few_distinct_vectors_are_coded_exactly(name):
    V = integers(4, 12, seed=2)[np.random.default_rng(0).integers(4, size=500)]
    codec = CODECS[name]().train(V)
    for array in codec.arrays():
        assert np.isfinite(array).all()
    atol = 0.4 if name == "SQ4" else 0.02  # half a step of a range of 6
    np.testing.assert_allclose(codec.decode(codec.encode(V)), V, atol=atol)


def test_width_not_divisible_by_m_lists_the_divisors():
    message = r"m must divide d=12: one of \[1, 2, 3, 4, 6, 12\], got 5"
    for act in (
        lambda: ann.PQ(m=5).train(X),
        lambda: ann.Flat(codec=ann.PQ(m=5)).add(X),
        lambda: ann.IVF(nlist=4, codec=ann.PQ(m=5)).add(X),
        lambda: ann.HNSW(codec=ann.PQ(m=5)).add(X),
    ):
        with pytest.raises(ValueError, match=message):
            act()


def test_a_failed_width_leaves_the_index_empty():
    index = ann.IVF(nlist=4, codec=ann.PQ(m=5))
    with pytest.raises(ValueError, match="m must divide d=12"):
        index.add(X)
    assert (index.ntotal, index.d) == (0, None)
    index.add(gaussian(300, 10))
    assert index.d == 10


@pytest.mark.parametrize("name", CODECS)
def test_untrained(name):
    codec = CODECS[name]()
    assert not codec.is_trained
    assert codec.d is None
    kind = name[:2] if name.startswith("SQ") else "PQ"
    message = f"{kind} must be trained first"
    with pytest.raises(ValueError, match=message):
        codec.encode(X)
    with pytest.raises(ValueError, match=message):
        codec.decode(np.zeros((3, 12), np.uint8))
    if kind == "PQ":
        with pytest.raises(ValueError, match=message):
            codec.adc_table(X[0])


def test_what_codecs_refuse(codec):
    with pytest.raises(ValueError, match="X must have d=12 columns, got 11"):
        codec.encode(X[:, :11])
    with pytest.raises(ValueError, match=r"X must be finite .* nan in row 1"):
        codec.encode(np.where(np.arange(24).reshape(2, 12) == 15, np.nan, 1.0))
    with pytest.raises(ValueError, match="X must have at least 1 row to train on"):
        type(codec)(4).train(X[:0])
    with pytest.raises(ValueError, match=r"codes must have .* got .*7"):
        codec.decode(np.zeros((2, 7), np.uint8))
    with pytest.raises(ValueError, match=r"codes must have .* got .*\(12,\)"):
        codec.decode(np.zeros(12, np.uint8))
    assert codec.encode(X[:0]).shape[0] == 0


@pytest.mark.parametrize(
    "name",
    ["PQ4", "SQ4"],
)
def test_codes_that_no_codeword_has_are_refused(name):
    codec = CODECS[name]().train(X)
    width = codec.encode(X[:1]).shape[1]
    with pytest.raises(ValueError, match=r"codes must be .* got 16"):
        codec.decode(np.full((1, width), 16, np.uint8))


def test_codes_that_are_no_bytes_are_refused(codec):
    width = codec.encode(X[:1]).shape[1]
    for wrong in (256.0, -1.0, 3.5):
        with pytest.raises(ValueError, match="codes must"):
            codec.decode(np.full((1, width), wrong))


def test_a_rotation_is_refused_under_l1():
    for structure in (ann.Flat, ann.IVF, ann.HNSW):
        with pytest.raises(ValueError, match="opq must be False under the l1 metric"):
            structure("l1", codec=ann.PQ(m=4, opq=True))


@pytest.mark.parametrize("structure", [ann.Flat, ann.IVF, ann.HNSW])
@pytest.mark.parametrize("name", ["SQ8", "PQ4"])
def test_the_index_trains_a_copy(structure, name):
    mine = CODECS[name]()
    index = structure(codec=mine).add(X)
    assert not mine.is_trained
    assert index._codec.is_trained
    other = structure(codec=mine).add(X[:300])
    assert other._codec is not index._codec


@pytest.mark.parametrize("structure", [ann.Flat, ann.HNSW])
@pytest.mark.parametrize("name", ["SQ8", "PQ4"])
def test_a_trained_codec_is_used_as_it_is(structure, name):
    mine = CODECS[name]().train(X)
    before = [array.copy() for array in mine.arrays()]
    index = structure(codec=mine).add(X[:200] + 3)
    for learned, own, kept in zip(
        before, index._codec.arrays(), mine.arrays(), strict=True
    ):
        np.testing.assert_array_equal(own, learned)
        np.testing.assert_array_equal(kept, learned)
        assert own is not kept
    with pytest.raises(ValueError, match="d=12 columns for this codec, got 10"):
        structure(codec=mine).add(gaussian(50, 10))


def test_float32_changes_nothing():
    codec = Float32().train(X)
    assert codec.is_trained
    np.testing.assert_array_equal(codec.decode(codec.encode(X)), X)


def test_what_a_codec_says_of_itself():
    assert repr(ann.PQ(m=4, nbits=4)) == "PQ(m=4, nbits=4, opq=False, seed=0)"
    assert repr(ann.SQ()) == "SQ(bits=8)"
    assert ann.PQ(m=4, seed=3).params == {
        "kind": "PQ",
        "m": 4,
        "nbits": 8,
        "opq": False,
        "seed": 3,
    }
