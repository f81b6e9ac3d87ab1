"""Sets of vectors as they come in practice: seeded, small, and without a fault."""

import numpy as np

N, D, NQ = 2400, 64, 300


def _rows_and_queries(all_rows):
    return all_rows[:N].astype(np.float32), all_rows[N:].astype(np.float32)


def sentences(seed=0):
    """Unit vectors around topics, off centre, as encoders of sentences give them."""
    rng = np.random.default_rng(seed)
    spectrum = np.linspace(1.5, 0.4, D)
    common = 0.8 * rng.standard_normal(D)
    topics = 1.2 * rng.standard_normal((40, D)) * spectrum
    labels = rng.integers(40, size=N + NQ)
    X = common + topics[labels] + rng.standard_normal((N + NQ, D)) * spectrum
    return _rows_and_queries(X / np.linalg.norm(X, axis=1, keepdims=True))


def patches(seed=0):
    """Pieces of 8 x 8 pixels of a smooth picture, with brightness and contrast."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:8, :8] / 8
    waves = rng.normal(scale=2.5, size=(N + NQ, 2, 4, 1, 1))
    phases = rng.uniform(0, 2 * np.pi, (N + NQ, 4, 1, 1))
    picture = np.cos(waves[:, 0] * x + waves[:, 1] * y + phases).mean(axis=1)
    bright, contrast = rng.uniform(60, 190, (2, N + NQ, 1, 1)) * [[[[1]]], [[[0.5]]]]
    noise = rng.normal(scale=4, size=picture.shape)
    X = np.clip(bright + contrast * picture + noise, 0, 255)
    return _rows_and_queries(np.rint(X).reshape(-1, D))


def counts(seed=0):
    """Counts, none negative, some large, as of gradients or of words in a topic."""
    rng = np.random.default_rng(seed)
    profiles = rng.gamma(0.6, 20, (60, D))
    rates = profiles[rng.integers(60, size=N + NQ)] * rng.gamma(4, 0.25, (N + NQ, D))
    return _rows_and_queries(rng.poisson(rates))


def popular(seed=0):
    """Directions in 16 dimensions and log-normal lengths, as of items to recommend."""
    rng = np.random.default_rng(seed)
    frame = np.linalg.qr(rng.standard_normal((D, 16)))[0]
    X = rng.standard_normal((N + NQ, 16)) @ frame.T
    X += 0.05 * rng.standard_normal((N + NQ, D))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    return _rows_and_queries(X * rng.lognormal(sigma=0.6, size=(N + NQ, 1)))


CLEAN = {
    "sentences": (sentences, "cosine"),
    "patches": (patches, "l2"),
    "counts": (counts, "l2"),
    "popular": (popular, "ip"),
}
