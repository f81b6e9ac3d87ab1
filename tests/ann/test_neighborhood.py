"""Codes of neighbours against numpy: who is in a row, what it says of them."""

import numpy as np
import pytest

from ann import neighborhoods, sketches
from ann.kernels import neighborhood as kernels
from ann.kernels._jit import kernel
from ann.kernels.fastscan import unpack_blocks
from ann.kernels.sketch import bits
from ann.kernels.stores import ROWS
from ann.memory import Lease
from ann.neighborhoods import Stores
from tests.ann import reference
from tests.ann.data import clustered, gaussian

N, D, M0 = 300, 40, 6
X = clustered(N, D, seed=3, clusters=6, spread=1.0)
Q = gaussian(50, D, seed=4)


def nearest_links():
    """Return links to the nearest, of some nodes fewer than there is room for."""
    apart = np.linalg.norm(X[:, None] - X[None], axis=2)
    links = np.argsort(apart, axis=1)[:, 1 : M0 + 1].astype(np.int32)
    links[::3, 4:] = -1
    return links


BASE = nearest_links()


LEVELS = np.zeros(N, np.uint8)
LEVELS[[4, 9, 200]] = 2


BITS = 64
METRICS = {"l2": "l2", "dot": "cosine"}
SKETCH = sketches.learned(
    (X[np.repeat(np.arange(N), M0)] - X[BASE.ravel()]), 0.0, BITS, seed=0
)


FRAMES = {
    key: neighborhoods.none(32, SKETCH, X.mean(axis=0), metric, N).frame
    for key, metric in METRICS.items()
}


def told(key, threads=1, capacity=N):
    return both(key, threads, capacity).nodes


def both(key, threads=1, capacity=N):
    store = ROWS[key](X)
    return neighborhoods.informed(
        neighborhoods.none(32, SKETCH, X.mean(axis=0), METRICS[key], N),
        LEVELS,
        BASE,
        Stores(store, store),
        np.ones(N, bool),
        capacity,
        (1.44, 0.0) if key == "l2" else (1.0, 0.0),
        Lease(),
        threads,
    )


def along(rows):
    """Return what rows are along the axes."""
    return np.asarray(rows) @ sketches.axes_of(SKETCH, D).T


def odd_numbers(near, node):
    codes = near.rows[node, 8 * near.degree :].reshape(1, -1, 64)
    groups = unpack_blocks(codes, [32], near.bits // 4)
    bits = (groups[:, :, None] >> np.arange(4) & 1).reshape(32, -1)
    found, at = [], 0
    for top in SKETCH.tops.astype(int):
        count = {15: 4, 3: 2, 1: 1}[top]
        found.append(2 * (bits[:, at : at + count] @ 2 ** np.arange(count)) - top)
        at += count
    return np.stack(found, axis=1).astype(float)


def prepared(q):
    """Return (centred, tables, base, step) of a query."""
    wide = bits(SKETCH)
    room = np.empty(wide + 2 * len(SKETCH.units) + SKETCH.codes.shape[1], np.float32)
    centred, tables = np.empty(D, np.float32), np.empty(8 * wide, np.uint8)
    return centred, tables, *kernels.begin_query(FRAMES["l2"], q, centred, room, tables)


def bfloat16(terms):
    return (terms.astype(np.uint32) << 16).view(np.float32)


def estimates(near, q, node, key):
    """Return what the kernels say of a node's neighbours, whose own key is 0."""
    _, tables, base, step = prepared(q)
    sums, out = np.empty(64, np.int32), np.empty(32, np.float32)
    kernels.sum_bits(near, node, 0, False, tables, sums, -1)
    at, degree = node * near.terms.shape[1] + 2 * near.degree, near.degree
    for first in (0, 16):
        _estimate(
            sums, first, near.terms, at + first, at + degree + first, key, base, step,
            out[first:],
        )  # fmt: skip
    return out


@kernel
def _estimate(sums, first, terms, added, factors, key, base, step, out):
    limit = np.float32(np.inf)
    return kernels.estimate16(
        sums, first, terms, added, factors, key, base, step, limit, out
    )


@pytest.mark.parametrize("key", ["l2", "dot"])
def test_rows_begin_with_the_links_and_are_filled_with_what_these_lead_to(key):
    near = told(key)
    for node in range(N):
        row, own = near.links[node, :32], BASE[node][BASE[node] >= 0]
        np.testing.assert_array_equal(row[: len(own)], own)
        fill = row[len(own) :][row[len(own) :] >= 0]
        two = np.unique(BASE[own])
        assert np.isin(fill, two).all()
        assert len(np.unique(row[row >= 0])) == (row >= 0).sum()
        assert node not in row
        left = np.setdiff1d(two[two >= 0], [node, *own])
        assert len(fill) == min(len(left), 32 - len(own))


@pytest.mark.parametrize("key", ["l2", "dot"])
def test_codes_and_terms_are_those_of_the_formula(key):
    near = told(key)
    for node in (0, 7, 150, N - 1):
        linked = near.links[node, :32] >= 0
        links = near.links[node, :32][linked]
        r = X[links] - X[node]
        norms = np.linalg.norm(r, axis=1, keepdims=True)
        u = along(r) * SKETCH.inverse / norms
        tops = SKETCH.tops
        odd = np.clip(2 * np.floor(u / 2) + 1, -tops, tops)
        clear = np.abs(u / 2 - np.rint(u / 2)) > 1e-4  # rounding may turn the others
        found = odd_numbers(near, node)[linked]
        assert (found == odd)[clear].all()
        factor = norms[:, 0] ** 2 / (found * along(r)).sum(axis=1)
        own = found @ along(X[node] - X.mean(axis=0))
        if key == "l2":
            factor *= 2
            added = norms[:, 0] ** 2 + factor * own
        else:
            added = factor * own - r @ X[node]
        terms = bfloat16(near.terms[node, 64:128])
        np.testing.assert_allclose(terms[:32][linked], added, rtol=6e-3, atol=1e-3)
        np.testing.assert_allclose(terms[32:][linked], -factor, rtol=4e-3)
        assert np.isnan(terms[:32][~linked]).all()


@pytest.mark.parametrize("key", ["l2", "dot"])
def test_estimates_are_unbiased_and_near(key):
    near, apart = told(key), reference.keys(key, Q, X)
    errors, scales = [], []
    for node in range(0, N, 5):
        linked = near.links[node, :32] >= 0
        links = near.links[node, :32][linked]
        lengths = np.linalg.norm(X[links] - X[node], axis=1)
        for r in range(0, len(Q), 7):
            q = Q[r] - X[node]
            found = estimates(near, Q[r], node, np.float32(apart[r, node]))[linked]
            errors += list(found - apart[r, links])
            scales += list(lengths * np.linalg.norm(q) * (2 if key == "l2" else 1))
    relative = np.array(errors) / np.array(scales)
    # Of ⟨r, q⟩ random signs miss √(π/2 − 1) / √bits of ‖r‖ ‖q‖.
    expected = np.sqrt((np.pi / 2 - 1) / BITS)
    assert abs(relative.mean()) < 0.2 * expected
    assert relative.std() < 1.2 * expected


def test_an_empty_place_is_never_near():
    near = told("l2")
    node = np.flatnonzero((near.links[:, :32] < 0).any(axis=1))[0]
    found = estimates(near, Q[0], node, np.float32(0))
    np.testing.assert_array_equal(np.isnan(found), near.links[node, :32] < 0)


def test_rows_that_are_up_to_date_stay_and_others_are_made_anew():
    given = both("l2", capacity=N + 10)
    near = given.nodes
    assert (near.links[N:, :32] == -1).all()
    before, lead = near.rows.copy(), np.ones(N, bool)
    lead[[5, 50]] = False
    store = ROWS["l2"](X)
    base = BASE.copy()
    base[7] = base[8]
    again = neighborhoods.informed(
        given, LEVELS, base, Stores(store, store), lead, N + 10, (1.44, 0.0), Lease(), 2
    )
    np.testing.assert_array_equal(near.rows, before)  # a search may be at work on them
    led = (before.view(np.int32)[:N, :32, None] == [5, 50]).any(axis=(1, 2))
    changed = (again.nodes.rows != before).any(axis=1)[:N]
    assert changed[7]
    linked = (base[:, :, None] == [5, 50]).any(axis=(1, 2))
    assert changed[led & lead & ~linked].all()
    assert not changed[~led & (np.arange(N) != 7)].any()


@pytest.mark.parametrize("key", ["l2", "dot"])
def test_roots_are_those_of_the_highest_layers_seen_from_the_centre(key):
    roots = both(key).roots
    links = roots.links[0, : roots.degree]
    assert set(links[:3]) == {4, 9, 200}
    assert len(np.unique(links)) == roots.degree == neighborhoods.ROOTS
    q = Q[3]
    centred, *_ = prepared(q)
    first, centre = kernels.key_of_centre(FRAMES[key], q, centred), X.mean(axis=0)
    true = ((q - centre) ** 2).sum() if key == "l2" else -(q @ centre)
    assert first == pytest.approx(true, rel=1e-4)
    found = estimates(roots, q, 0, np.float32(first))
    true = reference.keys(key, q[None], X[links[:32]])[0]
    assert np.corrcoef(found, true)[0, 1] > 0.5


def test_threads_change_nothing():
    np.testing.assert_array_equal(told("l2").rows, told("l2", threads=2).rows)
