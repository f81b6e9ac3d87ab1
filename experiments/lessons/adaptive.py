"""Stopping when a query has enough: fixed pools against a margin, by work counters.

Three ways to end a walk of one graph are compared: a pool of fixed size, `epsilon`, and
`epsilon` with `taper`; beside them stands what a pool of the best size for each query
would take, which nobody can know. Nothing is timed: a vector that is scored counts 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import ann
from experiments.datasets import Dataset
from experiments.difficulty import difficulty
from experiments.lessons import sets
from experiments.recall import recall

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.lessons.notebook import Notebook
    from experiments.lessons.sets import Set

    Lines = Mapping[str, Sequence[Any]]
    Doubles = NDArray[np.float64]
    Rows = NDArray[np.intp]

CURVES, SAVINGS = "curves.csv", "savings.csv"
SPREAD, TARGETS = "spread.csv", "targets.csv"
FIXED, EPSILON = "ef_search", "epsilon"
TAPERED, KNOWING = "epsilon, tapered", "best ef_search each"
PROMISED = "target_recall"
ALL, NARROW, FLAT = "all", "highest dimension", "lowest contrast"  # of queries
LEVELS = (0.9, 0.95, 0.98, 0.99)  # mean recalls that are compared at
SHOWN = 0.98  # the one whose single queries are shown
LOW = 0.5  # recall below which a query counts as failed
K = 10

EFS = (
    *(10, 11, 12, 14, 16, 18, 20, 23, 26, 30, 34, 38, 43, 49, 56, 64, 75, 90, 110),
    *(140, 180, 240, 320),
)
EPSILONS = tuple(np.round(np.geomspace(0.015, 0.36, 24), 4).tolist())
CEILING = 4000  # of a pool that a margin ends

_TRUTH = 100  # neighbours that tell the dimension
_PATCHES, _QUERIES = 20_000, 2_000
_PRICES = np.geomspace(1e-5, 1e-1, 80)  # of a vector scored, in recall


@dataclass(frozen=True)
class Point:
    """What one setting comes to; means over queries.

    ``low`` is the share of the queries whose recall is below 0.5, ``most`` the 99th
    percentile of the vectors scored.
    """

    data: str
    n: int
    queries: str
    nq: int
    way: str
    setting: float
    recall: float
    low: float
    computations: float
    most: float


@dataclass(frozen=True)
class Saving:
    """Two ways at the same mean recall of some queries, read between their settings.

    ``computations`` are of the queries that are ``asked``: the same ones, or all, whom
    one setting has to serve. ``saved`` is the share of ef_search's vectors that are not
    scored; NaN where one of the two does not reach that recall, or has it at its
    smallest setting.
    """

    data: str
    queries: str
    asked: str
    way: str
    recall: float
    computations: float
    saved: float
    low: float
    fixed_computations: float
    fixed_low: float


@dataclass(frozen=True)
class Spread:
    """Single queries of the setting whose mean recall is nearest to 0.98.

    ``share`` of the queries have at most this ``found`` of their ten, ``scored`` is
    the like quantile of vectors scored.
    """

    data: str
    queries: str
    way: str
    setting: float
    recall: float
    found: int
    share: float
    scored: float


@dataclass(frozen=True)
class Target:
    """What a recall that was asked for came to, on queries that did not calibrate.

    Each half of the queries is searched by a calibration on the other. The fixed pool
    is chosen in the same way: the least that came to the target on the other half.
    """

    data: str
    queries: str
    target: float
    way: str
    recall: float
    low: float
    computations: float


class Tried(NamedTuple):
    """One setting: vectors scored and recall of each query."""

    setting: float
    computations: Doubles
    recalls: Doubles

    def of(self, rows: Rows) -> Tried:
        """Return the same of some queries."""
        return Tried(self.setting, self.computations[rows], self.recalls[rows])


@dataclass(frozen=True, eq=False)
class Exam:
    """An index, its queries, and what they should find."""

    found: Set
    metric: str
    index: ann.HNSW
    truth: NDArray[np.int64]
    groups: Mapping[str, Rows]
    threads: int

    def take(self, rows: Rows | slice = slice(None), **effort: Any) -> Tried:
        """Search for some queries; return what it took and what it found."""
        Q = self.found.Q[rows]
        scored = np.empty(len(Q), np.int64)
        ids, _ = self.index.search(
            Q, K, threads=self.threads, distance_computations=scored, **effort
        )
        X, truth = self.found.X, self.truth[rows]
        shares = recall(ids, truth, X, Q, self.metric, (K,))[:, 0]
        return Tried(0.0, scored.astype(np.float64), shares)


Trials = Mapping[str, Sequence[Tried]]


def adaptive(notes: Notebook) -> Lines:
    """Compare the ways on every set."""
    curves: list[Point] = []
    savings: list[Saving] = []
    spread: list[Spread] = []
    targets: list[Target] = []
    for found, metric in _sets(notes):
        exam = examined(found, metric, notes)
        notes.progress.doing(f"{found.name}: searches")
        trials = tried(exam)
        points = list(_curves(exam, trials))
        curves += points
        savings += _savings(points)
        spread += _spread(exam, trials)
        targets += _targets(exam, trials)
    return {CURVES: curves, SAVINGS: savings, SPREAD: spread, TARGETS: targets}


def _sets(notes: Notebook) -> Iterator[tuple[Set, str]]:
    n = min(notes.n or _PATCHES, _PATCHES)
    yield notes.use(sets.patches(n, min(_QUERIES, n // 4), notes.seed)), "l2"
    sentences = sets.sentences(notes.n, _QUERIES, notes.seed)
    if sentences is None:
        notes.leave_out(f"sentences, as there is no {sets.SENTENCES}")
    else:
        yield notes.use(sentences), "cosine"


def examined(found: Set, metric: str, notes: Notebook) -> Exam:
    """Build the graph; find the exact neighbours and the hardest tenths."""
    notes.progress.doing(f"{found.name}: a graph")
    index = ann.HNSW(metric, M=16, ef_construction=200, seed=notes.seed)
    index.add(found.X, threads=notes.threads)
    ids, distances = index.exact(found.Q, _TRUTH, threads=notes.threads)
    data = Dataset(
        found.name, metric, found.X, found.Q, ids, distances, found.source, ""
    )
    hard, nq = difficulty(data, notes.seed), len(found.Q)
    tenth = max(nq // 10, 1)
    groups = {
        ALL: np.arange(nq),
        NARROW: np.argsort(-hard.lid, kind="stable")[:tenth],
        FLAT: np.argsort(hard.contrast, kind="stable")[:tenth],
    }
    return Exam(found, metric, index, ids, groups, notes.threads)


def tried(exam: Exam) -> Trials:
    """Search in every way, with every setting."""
    return {
        FIXED: [exam.take(ef_search=ef)._replace(setting=ef) for ef in EFS],
        EPSILON: [_margin(exam, epsilon, taper=False) for epsilon in EPSILONS],
        TAPERED: [_margin(exam, epsilon, taper=True) for epsilon in EPSILONS],
    }


def _margin(exam: Exam, epsilon: float, taper: bool) -> Tried:
    found = exam.take(epsilon=epsilon, taper=taper, ef_search=CEILING)
    return found._replace(setting=epsilon)


def _curves(exam: Exam, trials: Trials) -> Iterator[Point]:
    for name, rows in exam.groups.items():
        some = {w: [one.of(rows) for one in each] for w, each in trials.items()}
        some[KNOWING] = list(knowing(some[FIXED]))
        for way, each in some.items():
            for one in each:
                yield Point(
                    *(exam.found.name, len(exam.found.X), name, len(rows), way),
                    setting=one.setting,
                    recall=float(one.recalls.mean()),
                    low=float((one.recalls < LOW).mean()),
                    computations=float(one.computations.mean()),
                    most=float(np.quantile(one.computations, 0.99)),
                )


def knowing(fixed: Sequence[Tried]) -> Iterator[Tried]:
    """Give each query the pool that is best for it, at every price of a vector.

    No rule that ends the same walk can do much better: it would have to know.
    """
    recalls = np.stack([one.recalls for one in fixed])
    scored = np.stack([one.computations for one in fixed])
    rows = np.arange(recalls.shape[1])
    for price in _PRICES:
        best = (recalls - price * scored).argmax(axis=0)
        yield Tried(float(price), scored[best, rows], recalls[best, rows])


def _savings(points: Sequence[Point]) -> Iterator[Saving]:
    whole = [point for point in points if point.queries == ALL]
    for queries in (ALL, NARROW, FLAT):
        own = [point for point in points if point.queries == queries]
        yield from _savings_of(own, queries)
        if queries != ALL:
            yield from _savings_of(_paid_by(whole, own), ALL)


def _paid_by(others: Sequence[Point], own: Sequence[Point]) -> list[Point]:
    """Return what some queries find, with what the same settings take of others."""
    taken = {(point.way, point.setting): point.computations for point in others}
    return [replace(p, computations=taken[p.way, p.setting]) for p in own]


def _savings_of(points: Sequence[Point], asked: str) -> Iterator[Saving]:
    about = points[0].data, points[0].queries, asked
    for level in LEVELS:
        fixed, fixed_low = read_at([p for p in points if p.way == FIXED], level)
        for way in (EPSILON, TAPERED, KNOWING):
            taken, low = read_at([p for p in points if p.way == way], level)
            yield Saving(
                *(*about, way, level, taken),
                saved=1 - taken / fixed,
                low=low,
                fixed_computations=fixed,
                fixed_low=fixed_low,
            )


def read_at(points: Sequence[Point], level: float) -> tuple[float, float]:
    """Return vectors scored and the low share at a mean recall, between two settings.

    NaN where no two settings are around it.
    """
    points = sorted(points, key=lambda point: point.computations)
    for a, b in pairwise(points):
        if a.recall < level <= b.recall:
            part = (level - a.recall) / (b.recall - a.recall)
            return (
                a.computations + part * (b.computations - a.computations),
                a.low + part * (b.low - a.low),
            )
    return float("nan"), float("nan")


def _spread(exam: Exam, trials: Trials) -> Iterator[Spread]:
    for name, rows in exam.groups.items():
        for way, each in trials.items():
            some = [one.of(rows) for one in each]
            one = min(some, key=lambda one: abs(float(one.recalls.mean()) - SHOWN))
            hits = np.rint(one.recalls * K)
            for found in range(K + 1):
                share = float((hits <= found).mean())
                yield Spread(
                    *(exam.found.name, name, way, one.setting),
                    recall=float(one.recalls.mean()),
                    found=found,
                    share=share,
                    scored=float(np.quantile(one.computations, found / K)),
                )


def _targets(exam: Exam, trials: Trials) -> Iterator[Target]:
    nq = len(exam.found.Q)
    halves = np.arange(0, nq, 2), np.arange(1, nq, 2)
    whole = {
        (target, way): np.full((2, nq), np.nan)
        for target in LEVELS
        for way in (FIXED, PROMISED)
    }
    for known, asked in (halves, halves[::-1]):
        exam.index.calibrate(exam.found.Q[known], K, threads=exam.threads)
        for target in LEVELS:
            pool = _least(trials[FIXED], known, target).of(asked)
            whole[target, FIXED][:, asked] = pool.computations, pool.recalls
            one = exam.take(asked, target_recall=target)
            whole[target, PROMISED][:, asked] = one.computations, one.recalls
    for (target, way), (scored, shares) in whole.items():
        for name, rows in exam.groups.items():
            yield Target(
                *(exam.found.name, name, target, way),
                recall=float(shares[rows].mean()),
                low=float((shares[rows] < LOW).mean()),
                computations=float(scored[rows].mean()),
            )


def _least(fixed: Sequence[Tried], rows: Rows, target: float) -> Tried:
    """Return the smallest pool that came to a recall on some queries, or the largest.

    Pools are tried in ascending order.
    """
    enough = (one for one in fixed if one.recalls[rows].mean() >= target)
    return next(enough, fixed[-1])
