"""Whether ``ann.tune`` keeps its promise, and what its choice costs beside the best.

On each set everything that it could choose, and more, is built and searched at every
setting once: the sweep. Its best is the quickest whose mean recall over fresh queries
meets the target; no tuner that has to ask can do better, since fresh queries are those
that it does not see. Then it is asked over and over, each time with queries and
a seed of its own, and its choice is measured on the fresh queries, and in turns with
the best.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import ann
from ann.tuning.bench import Truth, in_turns
from ann.tuning.candidates import EXACT, Candidate, Setting
from ann.tuning.letter import written
from experiments.lessons import sets
from experiments.lessons.sets import Set

if TYPE_CHECKING:
    from ann.index import Index
    from experiments.lessons.notebook import Notebook
    from experiments.lessons.sets import Floats

    Lines = Mapping[str, Sequence[Any]]

PROMISE, CHOICES, SWEEP = "promise.csv", "choices.csv", "sweep.csv"
TARGET, CONFIDENCE, K = 0.95, 0.95, 10
REPETITIONS = 25  # of each set
WITHIN = 1.3  # times the best latency
METRICS = {
    "patches": "l2",
    "word counts": "cosine",
    "popular items": "ip",
    "sentences": "cosine",
    "topics": "cosine",
}

_ROWS = 5_000
_ASKED, _POOL, _FRESH = 2000, 6000, 3000  # queries given, drawn from; never given
_TIMED, _LOOK, _ROUNDS = 200, 3, 31
_STRIDE = 6  # rungs, where recall is too low to be kept
_LOW, _HIGH = 0.90, 0.99  # recalls that are kept
_CLOSE = 1.3  # times the quickest so far: to be measured again, with care
MS = (8, 16, 32)
CODECS = ((None, None), ("SQ8", 1.5), ("SQ4", 2.0), ("SQ4", 4.0))
LISTS = (2.0, 4.0, 8.0)
LIST_CODECS = ((None, None), ("PQ4", 4.0))


@dataclass(frozen=True)
class Promise:
    """How often it held on one set, of ``repetitions``.

    ``met`` are those in which the mean recall over fresh queries met the target, and
    ``within`` those in which the choice took at most 1.3 times the best's time;
    ``ratio`` and ``worst`` are the median and the greatest of such ratios, ``lowest``
    is the least recall, ``seconds`` what a call took, the median.
    """

    data: str
    metric: str
    n: int
    width: int
    repetitions: int
    met: int
    within: int
    ratio: float
    worst: float
    lowest: float
    seconds: float


@dataclass(frozen=True)
class Choice:
    """One repetition.

    ``recall`` and ``lower`` are what it says, ``fresh`` is the mean over queries that
    it never saw; ``undisturbed_us`` and ``best_us``,
    see ``ann.tuning.bench.Latency``, were taken in turns.
    """

    data: str
    seed: int
    index: str
    search: str
    recall: float
    lower: float
    fresh: float
    undisturbed_us: float
    best_us: float
    seconds: float

    @property
    def ratio(self) -> float:
        """The time of the choice over that of the best."""
        return self.undisturbed_us / self.best_us


@dataclass(frozen=True)
class Point:
    """One setting of the sweep; ``best`` is 1 of the one that choices are held to.

    ``recall`` is the mean over the fresh queries.
    """

    data: str
    index: str
    search: str
    recall: float
    undisturbed_us: float
    best: int


@dataclass(frozen=True, eq=False)
class Swept:
    """A built index at one setting."""

    candidate: Candidate
    index: Index
    setting: Setting
    recall: float
    undisturbed_us: float

    def point(self, data: str, best: int = 0) -> Point:
        """Return the line of a table."""
        name, search = self.candidate.name, written(self.setting)
        return Point(data, name, search, self.recall, self.undisturbed_us, best)


class Case(NamedTuple):
    """A set, ready to be tuned for."""

    data: str
    metric: str
    X: Floats
    pool: Floats  # queries to be given
    fresh: Truth  # of queries that are not
    threads: int

    def timed(self, pairs: Sequence[tuple[Index, Setting]], rounds: int) -> list[float]:
        """Return microseconds of fresh queries, undisturbed, taken in turns."""
        Q = self.fresh.Q[:_TIMED]
        return [latency.undisturbed_us for latency in in_turns(pairs, Q, K, rounds)]


def patches(notes: Notebook) -> Lines:
    """Sweep patches of photographs, then tune for them over and over."""
    return _studied(notes, sets.patches(*_size(notes)))


def word_counts(notes: Notebook) -> Lines:
    """Do so for documents as counts of words."""
    return _studied(notes, sets.word_counts(*_size(notes)))


def popular(notes: Notebook) -> Lines:
    """Do so for items whose length is their popularity."""
    return _studied(notes, sets.popular(*_size(notes)))


def sentences(notes: Notebook) -> Lines:
    """Do so for sentence embeddings, or what looks like some."""
    n, nq, seed = _size(notes)
    found = sets.sentences(n + nq, 1, seed)
    if found is None:
        notes.leave_out(f"sentences, as there is no {sets.SENTENCES}; topics instead")
        return _studied(notes, sets.topics(n, nq, seed))
    order = np.random.default_rng(seed).permutation(len(found.X))
    X, Q = found.X[order[nq:]], found.X[order[:nq]]  # its own queries are too few
    source = f"{found.source}; rows held out as queries"
    return _studied(notes, Set(found.name, X, Q, source))


def _size(notes: Notebook) -> tuple[int, int, int]:
    return min(notes.n or _ROWS, _ROWS), _POOL + _FRESH, notes.seed


def _studied(notes: Notebook, found: Set) -> Lines:
    case = _case(notes.use(found), notes.threads)
    notes.progress.doing(f"{case.data}: the sweep")
    points, best = _sweep(case, notes.seed)
    choices = []
    for seed in range(REPETITIONS):
        notes.progress.doing(f"{case.data}: {seed + 1} of {REPETITIONS}")
        choices.append(_repetition(case, best, seed))
    return {PROMISE: [_promise(case, choices)], CHOICES: choices, SWEEP: points}


def _case(of: Set, threads: int) -> Case:
    metric = METRICS[of.name]
    exact = ann.Flat(metric).add(of.X)
    fresh = Truth(exact, of.X, of.Q[_POOL:], K, threads)
    return Case(of.name, metric, of.X, of.Q[:_POOL], fresh, threads)


def candidates() -> list[Candidate]:
    """Return what the sweep builds: all that a tuner may come to, and more."""
    return [
        EXACT,
        *(Candidate("HNSW", c, refine, M) for c, refine in CODECS for M in MS),
        *(
            Candidate("IVF", c, refine, None, per_root)
            for c, refine in LIST_CODECS
            for per_root in LISTS
        ),
    ]


def _sweep(case: Case, seed: int) -> tuple[list[Point], Swept]:
    """Return every setting of every candidate, and the quickest that will do.

    Those that came near to it are measured once more, in turns.
    """
    points: list[Point] = []
    near: list[Swept] = []
    for candidate in candidates():
        n, d = case.X.shape
        index = candidate.make(case.metric, n, d, seed)
        index.add(case.X, threads=case.threads)
        found = list(_settings(case, candidate, index))
        points += [each.point(case.data) for each in found]
        near += [each for each in found if each.recall >= TARGET]
        least = min(each.undisturbed_us for each in near) if near else math.inf
        near = [each for each in near if each.undisturbed_us <= _CLOSE * least]
    times = case.timed([(each.index, each.setting) for each in near], _ROUNDS)
    us, best = min(zip(times, near, strict=True), key=lambda pair: pair[0])
    best = replace(best, undisturbed_us=us)
    return [*points, best.point(case.data, best=1)], best


def _settings(case: Case, candidate: Candidate, index: Index) -> Iterator[Swept]:
    """Climb every ladder of a candidate; yield the settings worth to be kept."""
    for ladder in candidate.ladders(len(case.X), K, case.metric):
        start = 0
        for high in range(_STRIDE, len(ladder), _STRIDE):
            if case.fresh.recall(index, ladder[high]).mean() >= _LOW:
                break
            start = high
        for setting in ladder[start:]:
            recall = float(case.fresh.recall(index, setting).mean())
            if recall >= _LOW:
                [us] = case.timed([(index, setting)], _LOOK)
                yield Swept(candidate, index, setting, recall, us)
            if recall > _HIGH:
                break


def _repetition(case: Case, best: Swept, seed: int) -> Choice:
    """Tune with queries of its own, and hold the choice to what it never saw."""
    rng = np.random.default_rng((seed, 4))
    asked = case.pool[rng.permutation(len(case.pool))[:_ASKED]]
    found = ann.tune(
        case.X, asked, metric=case.metric, k=K, target_recall=TARGET,
        confidence=CONFIDENCE, budget=None, seed=seed, threads=case.threads,
    )  # fmt: skip
    pair = (found.index, found.search_params), (best.index, best.setting)
    chosen_us, best_us = case.timed(pair, _ROUNDS)
    return Choice(
        data=case.data,
        seed=seed,
        index=found.tried[0].name,
        search=written(found.search_params),
        recall=found.recall,
        lower=found.lower_bound,
        fresh=float(case.fresh.recall(found.index, found.search_params).mean()),
        undisturbed_us=chosen_us,
        best_us=best_us,
        seconds=found.seconds,
    )


def _promise(case: Case, choices: Sequence[Choice]) -> Promise:
    ratios = [each.ratio for each in choices]
    return Promise(
        data=case.data,
        metric=case.metric,
        n=len(case.X),
        width=case.X.shape[1],
        repetitions=len(choices),
        met=sum(each.fresh >= TARGET for each in choices),
        within=sum(ratio <= WITHIN for ratio in ratios),
        ratio=float(np.median(ratios)),
        worst=max(ratios),
        lowest=min(each.fresh for each in choices),
        seconds=float(np.median([each.seconds for each in choices])),
    )
