"""Seeded synthetic families, each with a stated intrinsic dimension.

The name states everything: ``synthetic-{family}-{d}d-{i}i-{n}``, with n in full or in
``k`` (1,000) and ``m`` (1,000,000); ``synthetic-manifold-128d-14i-1m`` is a million
vectors of 128 dimensions whose neighbourhoods have 14. There is any n, d and i <= d.

=============  =======  =============================================================
family         metric   vectors
=============  =======  =============================================================
``manifold``   l2       Gaussian in an i-dimensional subspace, with noise in all d
``clusters``   l2       a mixture of such Gaussians, each in a subspace of its own
``cube``       l2       uniform in a unit i-cube, turned into d dimensions if i < d
``heavytail``  ip       directions of ``manifold``, norms log-normal with sigma 0.5
=============  =======  =============================================================

The intrinsic dimension holds at the scale of the 100th neighbour: noise moves a vector
by a tenth of that distance. The estimate (`lid`) comes out lower the closer that
distance is to the size of the whole, at small n and large i: there the neighbourhood
feels the border.
"""

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.datasets.vectors import POOL_QUERIES, Vectors

EXAMPLES = (
    "synthetic-manifold-128d-14i-1m",
    "synthetic-clusters-64d-8i-100k",
    "synthetic-cube-16d-16i-100k",
    "synthetic-heavytail-64d-16i-100k",
)

_NAME = re.compile(
    r"synthetic-(manifold|clusters|cube|heavytail)-(\d+)d-(\d+)i-(\d+)(k|m)?"
)
_UNIT = {None: 1, "k": 1_000, "m": 1_000_000}
_CLUSTER = 5_000  # vectors per cluster, so that 100 neighbours are a small part of it
_SPREAD = 4.0  # distance of centres from the origin, in radii of a cluster
_TAIL = 0.5  # sigma of the log-normal norms
_BLOCK = 65_536

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Family:
    """A synthetic set: the family's name, n, d and the intrinsic dimension i."""

    family: str
    d: int
    i: int
    n: int

    @property
    def metric(self) -> str:
        """The metric, by the table above."""
        return "ip" if self.family == "heavytail" else "l2"


def parse(name: str) -> Family:
    """Read a name of the scheme above."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(
            "a synthetic name must be synthetic-{manifold|clusters|cube|heavytail}-"
            f"{{d}}d-{{i}}i-{{n}}[k|m], for example {EXAMPLES[0]!r}, got {name!r}"
        )
    family, d, i, n, unit = match.groups()
    found = Family(family, int(d), int(i), int(n) * _UNIT[unit])
    if not 1 <= found.i <= found.d:
        raise ValueError(f"{name}: i must be in [1, d={d}], got {i}")
    if found.n < 1:
        raise ValueError(f"{name}: n must be at least 1, got 0")
    return found


def generate(name: str, nq: int | None = None, seed: int = 0) -> Vectors:
    """Draw base vectors and queries of the same distribution.

    The same name and seed give the same vectors, whatever `nq` (2,000 by default) is,
    up to the last bit of the matrix product that turns the subspace.
    """
    of = parse(name)
    nq = POOL_QUERIES if nq is None else nq
    if nq < 1:
        raise ValueError(f"nq must be at least 1, got {nq}")
    rngs = [np.random.default_rng((seed, part)) for part in range(3)]
    shape = _shape(of, rngs[0])
    train, test = _draw(of, shape, rngs[1], of.n), _draw(of, shape, rngs[2], nq)
    source = f"synthetic {of.family}, intrinsic dimension {of.i}, seed {seed}"
    return Vectors(train, test, of.metric, source, drop_zeros=True)


@dataclass(frozen=True, eq=False)
class _Shape:
    """What base vectors and queries share: where the clusters are and how they lie."""

    frames: Matrix  # (clusters, d, i) orthonormal columns
    centres: Matrix  # (clusters, d)
    noise: float  # standard deviation per dimension


def _shape(of: Family, rng: np.random.Generator) -> _Shape:
    clusters = 1
    if of.family == "clusters":
        clusters = min(1_000, max(10, of.n // _CLUSTER))
    frames = [_frame(of.d, of.i, rng) for _ in range(clusters)]
    centres = rng.standard_normal((clusters, of.d))
    centres *= _SPREAD * math.sqrt(of.i) / np.linalg.norm(centres, axis=1)[:, None]
    reach = _gaussian_radius(of.n / clusters, of.i)
    noise = 0.0 if of.family == "cube" else 0.1 * reach / math.sqrt(of.d)
    return _Shape(np.stack(frames), centres.astype(np.float32), noise)


def _frame(d: int, i: int, rng: np.random.Generator) -> Matrix:
    if i == d:
        return np.eye(d, dtype=np.float32)
    return np.linalg.qr(rng.standard_normal((d, i)))[0].astype(np.float32)


def _gaussian_radius(n: float, i: int, k: int = 100) -> float:
    """Distance to the k-th of n neighbours at a typical point of an i-d Gaussian."""
    log_density = -i / 2 * (math.log(2 * math.pi) + 1)
    log_ball = i / 2 * math.log(math.pi) - math.lgamma(i / 2 + 1)
    log_radius = (math.log(k / n) - log_density - log_ball) / i
    return min(math.exp(log_radius), math.sqrt(2 * i))  # no more than between any two


def _draw(of: Family, shape: _Shape, rng: np.random.Generator, count: int) -> Matrix:
    uniform = of.family == "cube"
    latent = rng.random if uniform else rng.standard_normal
    z = latent((count, of.i), dtype=np.float32)
    out = _embed(z, shape, rng)
    for start in range(0, count, _BLOCK):
        block = out[start : start + _BLOCK]
        if shape.noise:
            noise = rng.standard_normal(block.shape, dtype=np.float32)
            block += np.float32(shape.noise) * noise
        if of.family == "heavytail":
            norms = rng.lognormal(sigma=_TAIL, size=len(block))
            block *= (norms / np.linalg.norm(block, axis=1))[:, None]
    return out


def _embed(z: Matrix, shape: _Shape, rng: np.random.Generator) -> Matrix:
    """Turn latent vectors (count, i) into d dimensions, each by a cluster at random."""
    clusters = len(shape.frames)
    if clusters == 1:
        single: Matrix = z @ shape.frames[0].T
        return single
    out = np.empty((len(z), shape.frames.shape[1]), dtype=np.float32)
    labels = rng.integers(clusters, size=len(z))
    grouped = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[grouped], np.arange(clusters + 1))
    for cluster in range(clusters):
        rows = grouped[bounds[cluster] : bounds[cluster + 1]]
        out[rows] = z[rows] @ shape.frames[cluster].T + shape.centres[cluster]
    return out
