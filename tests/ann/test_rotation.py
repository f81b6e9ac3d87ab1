"""The rotation against the same rounds in plain numpy."""

import numpy as np
import pytest

from ann.kernels import rotation
from tests.ann.data import gaussian

WIDTHS = [1, 2, 3, 7, 16, 33, 96, 128, 200, 384, 511, 1000]


def hadamard(x):
    matrix = np.ones((1, 1))
    while len(matrix) < len(x):
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix @ x / np.sqrt(len(x))


def rotated(signs, x):
    """Return ``x`` after the rounds that the module describes, in float64."""
    x, d = x.astype(np.float64), len(x)
    power, half = 2 ** (d.bit_length() - 1), (d + 1) // 2
    for which, flips in enumerate(signs):
        if which == 2 and power < d:
            a, b = x[: d // 2].copy(), x[half:].copy()
            x[: d // 2], x[half:] = (a + b) / np.sqrt(2), (a - b) / np.sqrt(2)
        x = x * flips
        start = (d - power) if which % 2 else 0
        x[start : start + power] = hadamard(x[start : start + power])
    return x


@pytest.mark.parametrize("d", WIDTHS)
def test_a_rotation_is_its_rounds_and_can_be_undone(d):
    own = rotation.drawn(d, np.random.default_rng(d))
    assert own.signs.shape == (rotation.ROUNDS, d)
    assert set(np.unique(own.signs)) <= {-1, 1}
    X = gaussian(5, d)
    turned = X.copy()
    rotation.rotate_rows(own, turned)
    expected = [rotated(own.signs, x) for x in X]
    np.testing.assert_allclose(turned, expected, rtol=0, atol=3e-6)
    lone = X[3].copy()
    rotation.rotate(own, lone)
    np.testing.assert_array_equal(lone, turned[3])
    rotation.rotate_rows_back(own, turned)
    np.testing.assert_allclose(turned, X, rtol=0, atol=3e-6)


@pytest.mark.parametrize("d", [96, 384, 500, 511, 1000])
def test_no_component_stays_where_it_was(d):
    """Each axis is spread over all: no component of it is more than 6.5 sigma.

    Those of a random direction have a variance of 1 / d.
    """
    matrix = np.eye(d, dtype=np.float32)
    rotation.rotate_rows(rotation.drawn(d, np.random.default_rng(0)), matrix)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(d), atol=1e-5)
    assert np.abs(matrix).max() < 6.5 / np.sqrt(d)
    # By thirds, where rounds that overlap too little would leave an axis in its own.
    energy = np.square(matrix).reshape(d, d)[:, : d // 3 * 3]
    thirds = energy.reshape(d, 3, -1).sum(axis=2)
    assert thirds.min() > 0.1


def test_signs_are_of_the_seed():
    first, again, other = (
        rotation.drawn(40, np.random.default_rng(seed)).signs for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
