import numpy as np
import pytest

from ann.dimension import local_intrinsic_dimension


@pytest.mark.parametrize("i", [1, 3, 14])
def test_estimate_on_an_ideal_ball(i):
    # the distances whose logarithms are exactly those of a uniform i-ball
    quantiles = (np.arange(1, 2001) - 0.5) / 2000
    estimate = local_intrinsic_dimension(np.tile(quantiles ** (1 / i), (3, 1)))
    assert estimate == pytest.approx(np.full(3, i), rel=0.01)


def test_estimate_leaves_zero_distances_out():
    distances = np.array([0.0, 0.0, 0.25, 0.5, 1.0])
    assert local_intrinsic_dimension(distances[None]) == pytest.approx(
        local_intrinsic_dimension(distances[None, 2:])
    )


def test_estimate_of_degenerate_neighbourhoods():
    estimate = local_intrinsic_dimension(np.array([[0.0, 0.0, 1.0], [2.0, 2.0, 2.0]]))
    assert np.isnan(estimate[0])
    assert np.isinf(estimate[1])
    with pytest.raises(ValueError, match=r"k >= 2, got \(3, 1\)"):
        local_intrinsic_dimension(np.ones((3, 1)))
