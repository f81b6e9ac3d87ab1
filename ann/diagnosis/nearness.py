"""What only distances tell, measured on a seeded sample of rows.

Some rows, the probes, are searched for among more rows, the reference, exactly. So a
million rows cost as much as a hundred thousand, and every figure is that of a sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann import exact
from ann.diagnosis.survey import Doubles, Floats, Survey, as_float32, moments
from ann.dimension import local_intrinsic_dimension
from ann.metrics import LONGEST

PROBES = 1000
REFERENCE = 100_000
TOP = 10  # neighbours by which metrics and hubs are judged
FEWEST = 20 * TOP  # rows without which a neighbourhood is no small part of the whole
_FLOATS = 2**25  # of the reference: 128 MiB, and as much again scaled to norm 1
_HUBS = 4000  # rows that are all searched for among each other
_LID = (20, 100)  # neighbours of the estimate of dimension, at a twentieth of the rows
_FAR = 1000  # rows whose mean distance stands for that to all


@dataclass(frozen=True, eq=False)
class Nearness:
    """How near the rows of a sample are to each other.

    Parameters
    ----------
    cosine : bool             whether lengths were taken off first
    probes, reference : int   rows searched for, and rows searched among
    k : int                   neighbours that each estimate of dimension rests on
    dimension : (probes,)     local intrinsic dimension (Amsaleg et al., KDD 2015)
    nearest, typical : (probes,)
        Euclidean distances to the nearest other row that is not equal, and on average
        to any.
    agreement : mapping       mean share of the ten nearest that two metrics have in
        common, by the names of both
    longest : float           share of all places among the ten best under ``ip`` that
        the longest 1 % of the reference take; 0.01 where length plays no part
    counts : (m,) int64       how often each of m rows is among the ten nearest of the
        others: ``TOP`` on average
    """

    cosine: bool
    probes: int
    reference: int
    k: int
    dimension: Doubles
    nearest: Doubles
    typical: Doubles
    agreement: Mapping[tuple[str, str], float]
    longest: float
    counts: NDArray[np.int64]

    @property
    def lid(self) -> float:
        """The median local intrinsic dimension, NaN where none could be estimated."""
        return (
            float(np.median(known)) if len(known := _finite(self.dimension)) else _NAN
        )

    @property
    def contrast(self) -> float:
        """Relative contrast (He, Kumar & Chang, ICML 2012): mean over least distance.

        1 where everything is equally far from everything.
        """
        near, far = _finite(self.nearest), _finite(self.typical)
        return float(far.mean() / near.mean()) if len(near) and near.any() else _NAN

    @property
    def usual(self) -> float:
        """The median distance of a row to its nearest, NaN where all are equal."""
        return float(np.median(near)) if len(near := _finite(self.nearest)) else _NAN

    @property
    def hub_share(self) -> float:
        """The share of all places among the ten nearest that 1 % of the rows take."""
        most = max(1, len(self.counts) // 100)
        return float(np.sort(self.counts)[-most:].sum() / max(1, self.counts.sum()))

    @property
    def never(self) -> float:
        """The share of the rows that are among the ten nearest of no other."""
        return float((self.counts == 0).mean()) if len(self.counts) else _NAN


_NAN = float("nan")


def _finite(values: Doubles) -> Doubles:
    return values[np.isfinite(values)]


@dataclass(frozen=True, eq=False)
class Ground:
    """The reference that rows and queries are held against.

    ``rows`` (m, d) float32 are divided by ``scale``, the power of two next to the
    median norm: so no square leaves the range of float32, and none is rounded anew.
    """

    rows: Floats
    scale: float
    cosine: bool

    @classmethod
    def of(
        cls, array: NDArray[Any], norms: Doubles, cosine: bool, most: int, seed: int
    ) -> "Ground":
        """Draw the reference from the rows that have a direction."""
        fit = norms[norms > 0]
        scale = 2.0 ** round(np.log2(np.median(fit))) if len(fit) else 1.0
        most = min(most, max(1, _FLOATS // array.shape[1]))
        chosen = sample(_fit(norms, scale), most, seed)
        return cls(_scaled(array, chosen, scale), scale, cosine)

    @property
    def compared(self) -> Floats:
        """The rows as distances are taken between them."""
        return directions(self.rows) if self.cosine else self.rows

    def queries(
        self, array: NDArray[Any], norms: Doubles, most: int, seed: int
    ) -> Floats:
        """Return a sample of queries as ``compared`` has the rows."""
        chosen = sample(_fit(norms, self.scale), most, seed)
        found = _scaled(array, chosen, self.scale)
        return directions(found) if self.cosine else found


def _fit(norms: Doubles, scale: float) -> NDArray[np.int64]:
    """Return the rows that have a direction, and a square when they are scaled."""
    most = LONGEST * min(1.0, scale)
    return np.flatnonzero((norms > 0) & (norms <= most))


def sample(rows: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Return at most so many of the rows, in their order."""
    if len(rows) <= most:
        return rows
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(rows, most, replace=False))


def breadth(array: NDArray[Any], norms: Doubles, seed: int) -> float:
    """Return how many directions the rows take up evenly, by a sample; at least 1.

    The participation ratio of their directions' covariance, that is the square of the
    sum of its eigenvalues over the sum of their squares.
    """
    sides = Ground.of(array, norms, True, PROBES, seed).compared.astype(np.float64)
    if len(sides) < 2:
        return 1.0
    sides -= sides.mean(axis=0)
    total = (sides**2).sum()
    squares = ((sides @ sides.T) ** 2).sum()
    return max(1.0, float(total**2 / squares)) if squares > 0 else 1.0


def _scaled(array: NDArray[Any], rows: NDArray[np.int64], scale: float) -> Floats:
    found = as_float32(array[rows])
    found /= np.float32(scale)
    return found


def directions(rows: Floats) -> Floats:
    """Return rows scaled to norm 1; one so short that float32 has it as 0 stays."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    norms[norms == 0] = 1
    return as_float32(rows / norms)


def nearness(ground: Ground, seed: int, threads: int) -> Nearness | None:
    """Search the probes among the reference; None where it has too few rows."""
    m = len(ground.rows)
    if m < FEWEST:
        return None
    probes = sample(np.arange(m), PROBES, seed + 1)
    low, high = _LID
    k = min(high, max(low, m // 20))
    whole, sides = ground.compared, directions(ground.rows)
    distances, _ = others("l2", whole, probes, k, threads)
    agreement, longest = _agreement(ground.rows, sides, probes, threads)
    far = whole[sample(np.arange(m), _FAR, seed + 2)]
    return Nearness(
        cosine=ground.cosine,
        probes=len(probes),
        reference=m,
        k=k,
        dimension=local_intrinsic_dimension(distances),
        nearest=_unit(ground) * _first_positive(distances),
        typical=_unit(ground) * _mean_distances(whole[probes], far),
        agreement=agreement,
        longest=longest,
        counts=_counts(whole, seed, threads),
    )


def _unit(ground: Ground) -> float:
    """Return what turns a distance on the ground into one of the vectors' own."""
    return 1.0 if ground.cosine else ground.scale


def others(
    key: str, rows: Floats, probes: NDArray[np.int64], k: int, threads: int
) -> tuple[Doubles, NDArray[np.int64]]:
    """Return the keys' roots and row numbers of the ``k`` best that are not itself."""
    keys, found = exact.search(key, rows, rows[probes], k + 1, threads)
    kept = found != probes[:, None]
    kept[kept.all(axis=1), -1] = False  # itself came behind its equals, or its betters
    shape = len(probes), k
    near = np.sqrt(np.maximum(keys[kept], 0).astype(np.float64)).reshape(shape)
    return near, found[kept].reshape(shape).astype(np.int64)


def _first_positive(distances: Doubles) -> Doubles:
    """Return the least distance above 0 of each row, NaN where there is none."""
    first = np.where(distances > 0, distances, np.inf).min(axis=1)
    return np.where(np.isfinite(first), first, np.nan)


def _mean_distances(A: Floats, B: Floats) -> Doubles:
    a, b = A.astype(np.float64), B.astype(np.float64)
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * (a @ b.T)
    means: Doubles = np.sqrt(np.maximum(squares, 0)).mean(axis=1)
    return means


def _agreement(
    rows: Floats, sides: Floats, probes: NDArray[np.int64], threads: int
) -> tuple[dict[tuple[str, str], float], float]:
    """Compare the ten best under three metrics; see ``Nearness``."""
    ways = {"l2": ("l2", rows), "cosine": ("l2", sides), "ip": ("dot", rows)}
    best = {
        name: others(key, X, probes, TOP, threads)[1] for name, (key, X) in ways.items()
    }
    shared = {
        (a, b): float((best[a][:, :, None] == best[b][:, None, :]).sum(axis=2).mean())
        for a, b in combinations(best, 2)
    }
    norms = np.linalg.norm(rows, axis=1)
    longest = np.argsort(norms)[-max(1, len(rows) // 100) :]
    return shared, float(np.isin(best["ip"], longest).mean())


def _counts(rows: Floats, seed: int, threads: int) -> NDArray[np.int64]:
    """Return how often each of some rows is among the ten nearest of the others."""
    some = rows[sample(np.arange(len(rows)), _HUBS, seed + 3)]
    found = others("l2", some, np.arange(len(some)), TOP, threads)[1]
    return np.bincount(found.ravel(), minlength=len(some))


@dataclass(frozen=True, eq=False)
class Gap:
    """How queries lie to the rows that they will be searched among.

    Parameters
    ----------
    queries : int           how many were looked at
    ratio : float           median norm of all queries over that of the rows
    drift : (d,) float64    mean of the queries less that of the rows, column by column,
        in standard deviations of the rows, but no less than a tenth of a typical one
    shift : float           length of the difference of the means over the root mean
        square distance of a row from its mean
    nearest : (queries,)    Euclidean distance to the nearest row; empty where the rows
        are too few
    far : float             share of the queries that are farther from their nearest
        row than 99 % of the rows are from theirs; NaN where the rows are too few
    """

    queries: int
    ratio: float
    drift: Doubles
    shift: float
    nearest: Doubles
    far: float


def gap(
    ground: Ground,
    found: Nearness | None,
    rows: Survey,
    queries: Survey,
    Q: Floats,
    threads: int,
) -> Gap:
    """Compare queries (nq, d), made ready by ``ground``, with the reference."""
    whole = ground.compared
    mean, std = moments(whole)
    away = (Q.mean(axis=0, dtype=np.float64) if len(Q) else mean) - mean
    size = np.sqrt((std**2).sum())
    least = 0.1 * size / np.sqrt(len(std))
    drift = away / np.maximum(std, least) if size > 0 else np.zeros_like(away)
    nearest, far = np.empty(0), _NAN
    if found is not None and len(Q):
        keys, _ = exact.search("l2", whole, Q, 1, threads)
        nearest = _unit(ground) * np.sqrt(np.maximum(keys[:, 0], 0).astype(np.float64))
        usual = _finite(found.nearest)
        limit = np.quantile(usual, 0.99) if len(usual) else np.inf
        far = float((nearest > limit).mean())
    return Gap(
        queries=len(Q),
        ratio=_median(queries.lengths) / _median(rows.lengths),
        drift=drift,
        shift=float(np.sqrt((away**2).sum()) / size) if size > 0 else 0.0,
        nearest=nearest,
        far=far,
    )


def _median(values: Doubles) -> float:
    return float(np.median(values)) if len(values) else _NAN
