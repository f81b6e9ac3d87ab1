"""The stores of scalar quantization, against decoded vectors in float64."""

import numba
import numpy as np
import pytest

import ann
from ann.kernels import sq
from ann.kernels.stores import as_query, begin, between, score
from ann.memory import aligned
from tests.ann import reference
from tests.ann.data import gaussian
from tests.ann.reference import KEYS

N = 40
WIDTHS = [(bits, d) for bits in (8, 4) for d in (1, 16, 17, 33, 90)]


def stored(bits, key, X):
    """Return a store of ``X``, what its codes decode to, and room for a query."""
    codec = ann.SQ(bits).train(X)
    codes = codec.encode(X)
    store = codec.store(codec.pack(codes), key)
    store = store._replace(squares=codec.square_norms(codes))
    d = X.shape[1]
    buffer = aligned((d + codec.query_size(d),), np.float32)
    buffer[:] = np.nan  # what a query does not write, a score must not read
    return store, codec.decode(codes), buffer


@numba.njit
def all_between(store, out):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = between(store, i, j)


@numba.njit
def all_scores(store, Q, buffer, out):
    for i in range(out.shape[0]):
        begin(store, Q[i], buffer)
        for j in range(out.shape[1]):
            out[i, j] = score(store, buffer, j)


@numba.njit
def all_scores_of_stored(store, buffer, out):
    for i in range(out.shape[0]):
        as_query(store, i, buffer)
        for j in range(out.shape[1]):
            out[i, j] = score(store, buffer, j)


def table(run, *arguments, rows=N):
    out = np.full((rows, N), np.nan, np.float32)
    run(*arguments, out)
    return out


def rounding(store, key, Q):
    """Return the most that rounding the queries can change each one's keys by."""
    d, grid = Q.shape[1], float(store.grid)
    if key == "l1":
        return np.full((len(Q), 1), d * grid / 2)
    # Half a step of a query's largest component / 127; codes lie 128 off the middle.
    return np.abs(Q).max(axis=1, keepdims=True) / 127 / 2 * d * 128 * grid


@pytest.mark.parametrize("d", [1, 2, 15, 16, 17, 31, 32, 33, 90])
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("bits", [8, 4])
def test_between_is_the_key_of_decoded_vectors(bits, key, d):
    X = gaussian(N, d) + np.arange(d, dtype=np.float32)  # lows that differ
    store, decoded, _ = stored(bits, key, X)
    assert type(store) is sq.STORES[bits, key]
    true = reference.keys(key, decoded, decoded)
    scale = np.square(decoded).sum(axis=1).max() if key == "dot" else true.max()
    apart = table(all_between, store)
    np.testing.assert_allclose(apart, true, rtol=1e-5, atol=4e-6 * scale)
    if key != "dot":
        np.testing.assert_array_equal(apart, apart.T)
        assert not apart.diagonal().any()


@pytest.mark.parametrize(("bits", "d"), WIDTHS)
@pytest.mark.parametrize("key", ["l2", "l1"])
def test_a_stored_vector_is_the_query_that_it_decodes_to(bits, key, d):
    store, decoded, buffer = stored(bits, key, gaussian(N, d))
    scores = table(all_scores_of_stored, store, buffer)
    np.testing.assert_array_equal(scores, table(all_scores, store, decoded, buffer))
    # It lies on the grid, so nothing is rounded but the key itself.
    np.testing.assert_allclose(
        scores, table(all_between, store), rtol=1e-6, atol=2e-5 * d * float(store.grid)
    )


@pytest.mark.parametrize(("bits", "d"), WIDTHS)
def test_a_stored_vector_is_nearly_itself_under_the_product(bits, d):
    store, decoded, buffer = stored(bits, "dot", gaussian(N, d) + 3)
    scores = table(all_scores_of_stored, store, buffer)
    np.testing.assert_array_equal(scores, table(all_scores, store, decoded, buffer))
    off = np.abs(scores - table(all_between, store))
    assert (off <= rounding(store, "dot", decoded) * 1.01 + 1e-5 * d * 30).all()


@pytest.mark.parametrize("d", [1, 16, 17, 33, 90])
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("bits", [8, 4])
def test_scores_are_the_keys_of_decoded_vectors(bits, key, d):
    store, decoded, buffer = stored(bits, key, gaussian(N, d))
    Q = 2 * gaussian(12, d, seed=1)
    scores = table(all_scores, store, Q, buffer, rows=12)
    true = reference.keys(key, Q, decoded)
    if key == "l2":  # a query moves by half a grid's step along each axis at most
        scores, true = np.sqrt(scores), np.sqrt(true)
        bound = d**0.5 * float(store.grid) / 2
    else:
        bound = rounding(store, key, Q)
    inside = np.ones(true.shape, bool)
    if key == "l2":
        width = 255 * store.grid
        outside = np.maximum(store.low - Q, Q - store.low - width).max(axis=1)
        inside = (outside <= width)[:, None] & inside
        assert inside.any()
    off = np.abs(scores - true)
    assert (off <= bound * 1.01 + 1e-5 * np.abs(true).max())[inside].all()


@pytest.mark.parametrize("bits", [8, 4])
def test_a_query_is_rounded_to_the_nearest(bits):
    """On the line, a key tells which point a query was rounded to."""
    store, _, buffer = stored(bits, "l2", np.linspace(0, 1, N, dtype="f4")[:, None])
    Q = np.random.default_rng(0).random((200, 1)).astype(np.float32)
    scores = np.sqrt(table(all_scores, store, Q, buffer, rows=200)) / store.grid
    codes = store.codes[:, 0] * (1 if bits == 8 else 16)
    points = np.abs(np.round((Q - store.low) / store.grid) - codes)
    np.testing.assert_allclose(scores, points, atol=1e-3)
