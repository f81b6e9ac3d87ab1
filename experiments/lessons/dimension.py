"""Contrast against width: what becomes of near and far as vectors get longer.

Every set comes at many widths, from 2 to 2,048 columns where it can: independent
noise, windows of photographs, sentences cut or projected, and manifolds whose intrinsic
dimension is known however wide the space is that they lie in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ann.diagnosis import nearness
from ann.dimension import local_intrinsic_dimension
from experiments.lessons import ranks, sets
from experiments.lessons.sets import Set

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.lessons.notebook import Notebook
    from experiments.lessons.sets import Floats

    Lines = Mapping[str, Sequence[Any]]
    Doubles = NDArray[np.float64]

CONTRAST, DISTANCES = "contrast.csv", "distances.csv"
NOISE, WINDOWS = "independent noise", "windows of photographs"
CUT, PROJECTED = "sentences, cut", "sentences, projected"
MANIFOLD = "manifold of {} dimensions"
MANIFOLDS = (4, 16, 64)
WIDTHS = tuple(2**i for i in range(1, 12))
SHOWN = (2, 16, 128, 2048)  # widths whose distances are drawn
BINS, BIN = 63, 0.04  # of distances, in units of the mean one, which is mid-bin

_MOST = 5_000  # rows, which are all searched for among each other
_PROBES = 500  # rows whose distances to all others are taken
_LID, _HUBS = 100, 10  # neighbours


@dataclass(frozen=True)
class Contrast:
    """How near the nearest is at one width; medians and means are over rows.

    ``contrast`` is the mean distance over the mean of the least (He, Kumar & Chang,
    ICML 2012). ``spread`` is the median of (greatest − least) / least (Beyer et al.,
    ICDT 1999). ``lid`` is the median local intrinsic dimension of 100 neighbours,
    ``hubness`` the skewness of how often a row is among the ten nearest of others,
    ``never`` the share of the rows that never is (Radovanović et al., JMLR 2010).
    ``central`` and ``dense`` tell where the hubs are: Spearman's correlation of how
    often with how near a row is to the mean of all, and to its tenth neighbour.
    ``kept`` is the share of the ten nearest at the greatest width that are so at this
    one. The nearest is the nearest that is not equal.
    """

    data: str
    n: int
    width: int
    contrast: float
    spread: float
    lid: float
    hubness: float
    never: float
    central: float
    dense: float
    kept: float = 1.0


@dataclass(frozen=True)
class Distances:
    """The share of all distances from ``low`` to ``high``, in units of the mean.

    That of a row to all others, row by row; ``nearest`` is the mean of the least.
    """

    data: str
    n: int
    width: int
    nearest: float
    low: float
    high: float
    share: float


class Wide(NamedTuple):
    """One set at one width."""

    data: str
    X: Floats


def dimension(notes: Notebook) -> Lines:
    """Measure every set at every width."""
    lines: list[Contrast] = []
    shown: list[Distances] = []
    answers: list[NDArray[np.int64]] = []
    for wide in _sets(notes):
        data, X = wide
        n, width = X.shape
        notes.progress.doing(f"{data}, {width}")
        near, ids = nearness.others("l2", X, np.arange(n), _LID, notes.threads)
        probes = nearness.sample(np.arange(n), _PROBES, notes.seed)
        far = _to_all(X, probes)
        answers.append(ids[:, :_HUBS])
        lines.append(_line(wide, near, answers[-1], probes, far))
        if data in (NOISE, WINDOWS) and width in SHOWN:
            shown += _histogram(wide, near, far)
    return {CONTRAST: list(_kept(lines, answers)), DISTANCES: shown}


def _sets(notes: Notebook) -> Iterator[Wide]:
    n, seed = min(notes.n or _MOST, _MOST), notes.seed
    drawn = f"independent Gaussian values, seed {seed}"
    whole = notes.use(_alone(NOISE, sets.noise(n, WIDTHS[-1], seed), drawn))
    yield from (Wide(NOISE, _cut(whole.X, width)) for width in WIDTHS)
    cut = f"grey windows of scikit-learn's two photographs, seed {seed}"
    notes.use(_alone(WINDOWS, sets.windows(n, WIDTHS[-1], seed), cut))
    yield from (Wide(WINDOWS, sets.windows(n, width, seed)) for width in WIDTHS)
    yield from _sentences(notes, n)
    for i in MANIFOLDS:
        name = MANIFOLD.format(i)
        source = f"synthetic manifold, intrinsic dimension {i}, seed {seed}"
        notes.use(_alone(name, sets.manifold(n, WIDTHS[-1], i, seed), source))
        for width in (width for width in WIDTHS if width >= i):
            yield Wide(name, sets.manifold(n, width, i, seed))


def _sentences(notes: Notebook, n: int) -> Iterator[Wide]:
    found = sets.sentences(n, 1, notes.seed)
    if found is None:
        return notes.leave_out(f"sentences, as there is no {sets.SENTENCES}")
    X = notes.use(_alone(found.name, found.X, found.source)).X
    whole = X.shape[1]
    widths = [width for width in WIDTHS if width < whole]
    yield from (Wide(CUT, _cut(X, width)) for width in [*widths, whole])
    for width in [*widths, whole]:
        yield Wide(PROJECTED, sets.projected(X, width, notes.seed))
    return None


def _kept(
    lines: Sequence[Contrast], answers: Sequence[NDArray[np.int64]]
) -> Iterator[Contrast]:
    """Fill in what is kept of the answers at the greatest width, which come last.

    Of what is projected, that are the answers before it is.
    """
    whole = {line.data: ids for line, ids in zip(lines, answers, strict=True)}
    if CUT in whole:
        whole[PROJECTED] = whole[CUT]
    for line, ids in zip(lines, answers, strict=True):
        kept = float(ranks.overlap(whole[line.data], ids).mean())
        yield replace(line, kept=kept)


def _alone(name: str, X: Floats, source: str) -> Set:
    """Return a set without queries; its rows ask for each other."""
    return Set(name, X, X[:0], f"{source}; at its widest")


def _cut(X: Floats, width: int) -> Floats:
    return np.ascontiguousarray(X[:, :width])


def _to_all(X: Floats, probes: NDArray[np.int64]) -> Doubles:
    """Return the distances of some rows to all others (probes, n − 1)."""
    from sklearn.metrics.pairwise import euclidean_distances

    to_all = euclidean_distances(X[probes], X).astype(np.float64)
    others = np.arange(len(X)) != probes[:, None]
    far: Doubles = to_all[others].reshape(len(probes), len(X) - 1)
    return far


def _line(
    wide: Wide,
    near: Doubles,
    ids: NDArray[np.int64],
    probes: NDArray[np.int64],
    far: Doubles,
) -> Contrast:
    from scipy.stats import skew, spearmanr

    n, width = wide.X.shape
    away = np.linalg.norm(wide.X - wide.X.mean(axis=0), axis=1)
    least = _least(near)  # by direct differences: ``far`` rounds equal rows apart
    most = far.max(axis=1) / least[probes]
    times = np.bincount(ids.ravel(), minlength=n)
    lid = local_intrinsic_dimension(near)
    return Contrast(
        *(wide.data, n, width),
        contrast=float(far.mean() / np.nanmean(least)),
        spread=float(np.nanmedian(most - 1)),
        lid=float(np.median(lid[np.isfinite(lid)])),
        hubness=float(skew(times)),
        never=float((times == 0).mean()),
        central=float(spearmanr(times, -away).statistic),
        dense=float(spearmanr(times, -near[:, _HUBS - 1]).statistic),
    )


def _least(distances: Doubles) -> Doubles:
    """Return the least distance of each row that is not 0, NaN where all are."""
    least = np.where(distances > 0, distances, np.inf).min(axis=1)
    return np.where(np.isfinite(least), least, np.nan)


def _histogram(wide: Wide, near: Doubles, far: Doubles) -> Iterator[Distances]:
    """Yield the bins of all distances, each over the mean of its row."""
    n, width = wide.X.shape
    edges = np.maximum((np.arange(BINS + 1) - 0.5) * BIN, 0)
    shares = np.histogram(far / far.mean(axis=1, keepdims=True), edges)[0] / far.size
    nearest = float(np.nanmean(_least(near)) / far.mean())
    for low, high, share in zip(edges[:-1], edges[1:], shares, strict=True):
        yield Distances(
            wide.data, n, width, nearest, float(low), float(high), float(share)
        )
