import itertools

import numpy as np
import pytest

import ann
from ann.codecs import Float32
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
        ladder = np.arange(2**codec.bits)[:, None]
        return list((codec.low_ + codec.step_ * ladder).T[:, :, None])
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


def test_pack_undoes_unpack(codec):
    codes = codec.encode(X[:50])
    packed = codec.pack(codes)
    assert packed.dtype == np.uint8
    bits = codec.bits if isinstance(codec, ann.SQ) else codec.nbits
    assert packed.shape == (50, -(-codes.shape[1] * bits // 8))
    np.testing.assert_array_equal(codec.unpack(packed), codes)


@pytest.mark.parametrize("d", [1, 2, 3, 7])
@pytest.mark.parametrize("make", [ann.SQ, lambda bits: None], ids=["SQ", "PQ"])
def test_pack_odd_numbers_of_nibbles(make, d):
    codec = (make(4) or ann.PQ(m=d, nbits=4)).train(gaussian(60, d))
    codes = np.random.default_rng(d).integers(16, size=(40, d)).astype(np.uint8)
    packed = codec.pack(codes)
    assert packed.shape == (40, (d + 1) // 2)
    np.testing.assert_array_equal(codec.unpack(packed), codes)


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


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        *itertools.product(["SQ8", "SQ4", "PQ8", "PQ4"], METRICS),
        *itertools.product(["OPQ4"], ["l2", "ip", "cosine"]),
    ],
)
def test_scores_are_distances_to_decoded_vectors(name, metric):
    V, Q = X[:300], gaussian(12, 12, seed=5)
    if metric == "cosine":
        V, Q = (reference.unit(A).astype(np.float32) for A in (V, Q))
    codec = CODECS[name]().train(V)
    decoded = codec.decode(codec.encode(V))
    # A decoded vector's norm is not 1: what is scored is its product with the query.
    true = reference.distances("ip" if metric == "cosine" else metric, Q, decoded)
    true = np.maximum(1 + true, 0) if metric == "cosine" else true
    index = ann.Flat(metric, codec=codec).add(V)
    # Tables of 4-bit PQ are rounded to 8 bits; test_fastscan.py has the exact keys.
    rtol, atol = (0, 0.1) if name.endswith("PQ4") else (2e-4, 2e-5)
    for queries in (slice(0, 12), slice(2, 3)):
        ids, distances = index.search(Q[queries], k=300)
        np.testing.assert_allclose(
            distances, np.sort(true[queries], axis=1), rtol=rtol, atol=atol
        )
        own = np.take_along_axis(true[queries], ids, axis=1)
        np.testing.assert_allclose(distances, own, rtol=rtol, atol=atol)


@pytest.mark.parametrize("metric", ["l2", "ip", "l1"])
@pytest.mark.parametrize("d", [1, 5, 17])
@pytest.mark.parametrize("bits", [4, 8])
def test_scalar_scores_at_odd_widths(metric, bits, d):
    V, Q = gaussian(100, d), gaussian(3, d, seed=1)
    codec = ann.SQ(bits).train(V)
    true = reference.distances(metric, Q, codec.decode(codec.encode(V)))
    _, distances = ann.Flat(metric, codec=codec).add(V).search(Q, k=100)
    np.testing.assert_allclose(distances, np.sort(true), rtol=1e-4, atol=1e-5)


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


def test_scalar_error_is_within_half_a_step():
    sq = ann.SQ(8).train(X)
    inside = (sq.low_ <= X) & (sq.low_ + 255 * sq.step_ >= X)
    assert inside.mean() > 0.98
    off = np.abs(sq.decode(sq.encode(X)) - X)
    assert (off <= sq.step_ / 2 * 1.001 + 1e-6)[inside].all()


def test_scalar_range_leaves_out_the_tails_where_that_loses_less():
    heavy = np.random.default_rng(0).standard_t(2, size=(5000, 3)).astype(np.float32)
    sq = ann.SQ(4).train(heavy)
    assert (15 * sq.step_ < np.ptp(heavy, axis=0)).all()
    whole = ann.SQ(4).train(heavy)
    whole.low_, whole.step_ = heavy.min(axis=0), np.ptp(heavy, axis=0) / 15
    assert error(sq, heavy) < error(whole, heavy)


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
def test_a_constant_component_is_exact(name):
    V = X.copy()
    V[:, 5] = 7.25
    codec = CODECS[name]().train(V)
    decoded = codec.decode(codec.encode(V))
    assert np.isfinite(decoded).all()
    if not name.startswith("OPQ"):
        np.testing.assert_array_equal(decoded[:, 5], V[:, 5])


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
