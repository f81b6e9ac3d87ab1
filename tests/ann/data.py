"""Small seeded data for the tests."""

import numpy as np


def gaussian(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d), dtype=np.float32)


def clustered(n, d, seed=0, clusters=20, spread=0.3):
    """Vectors around a few centres, cluster after cluster."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((clusters, d))
    labels = np.sort(rng.integers(clusters, size=n))
    noise = spread * rng.standard_normal((n, d))
    return (centres[labels] + noise).astype(np.float32)


def integers(n, d, seed=0, low=-3, high=4):
    """Whole numbers: every key is exact in float32, and many are equal."""
    rng = np.random.default_rng(seed)
    return rng.integers(low, high, size=(n, d)).astype(np.float32)
