"""The night on which a few rows, or the queries, were no longer scaled to norm 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import statistics
from experiments.lessons import ranks, sets
from experiments.lessons.agreement import K, exact
from experiments.lessons.sets import Set

if TYPE_CHECKING:
    from experiments.lessons.notebook import Notebook
    from experiments.lessons.sets import Floats

    Lines = Mapping[str, Sequence[Any]]

INCIDENT = "incident.csv"
METRICS = ("ip", "l2", "cosine")
LONG = (40.0, 80.0)  # norms of what was not scaled
ROWS, QUERIES = "rows", "queries"

_ASKED = 1_000
_SHARES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class Night:
    """What is left of the ten nearest of the day before, on average over queries.

    ``scaled`` of the rows, or of the queries (``what``), have norms between 40 and 80;
    all others 1. Recall counts ids alone, with the ends of its bootstrap interval.
    """

    data: str
    n: int
    d: int
    nq: int
    k: int
    metric: str
    what: str
    scaled: int
    recall: float
    recall_low: float
    recall_high: float


def incident(notes: Notebook) -> Lines:
    """Scale more and more rows, and once all queries, under three metrics."""
    lines: list[Night] = []
    for day in _days(notes):
        for metric in METRICS:
            before = exact(metric, day, notes)
            for what, scaled, night in _nights(day, notes.seed):
                notes.progress.doing(f"{day.name}, {metric}: {scaled} {what}")
                kept = ranks.overlap(before, exact(metric, night, notes))
                about = day.name, len(day.X), day.X.shape[1], len(day.Q), K
                lines.append(
                    Night(*about, metric, what, scaled, *statistics.mean(kept))
                )
    return {INCIDENT: lines}


def _days(notes: Notebook) -> Iterator[Set]:
    yield notes.use(sets.topics(notes.rows, _ASKED, notes.seed))
    sentences = sets.sentences(notes.n, _ASKED, notes.seed)
    if sentences is None:
        notes.leave_out(f"sentences, as there is no {sets.SENTENCES}")
    else:
        yield notes.use(sentences)


def _nights(day: Set, seed: int) -> Iterator[tuple[str, int, Set]]:
    """Yield what was scaled, how many, and the set of the morning after.

    Who was scaled once stays so when there are more.
    """
    rng = np.random.default_rng(seed)
    n, nq = len(day.X), len(day.Q)
    order, rows, queries = rng.permutation(n), _lengths(n, rng), _lengths(nq, rng)
    counts = sorted({0, *(max(1, int(share * n)) for share in _SHARES)})
    for count in counts:
        X = day.X.copy()
        X[order[:count]] *= rows[:count]
        yield ROWS, count, Set(day.name, X, day.Q, day.source)
    yield QUERIES, nq, Set(day.name, day.X, day.Q * queries, day.source)


def _lengths(count: int, rng: np.random.Generator) -> Floats:
    return rng.uniform(*LONG, (count, 1)).astype(np.float32)
