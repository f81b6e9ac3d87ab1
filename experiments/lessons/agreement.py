"""Four metrics on the same vectors: which of them call the same ones near."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

import ann
from experiments import recall, statistics
from experiments.lessons import ranks, sets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.lessons.notebook import Notebook
    from experiments.lessons.sets import Set

    Ids = NDArray[np.int64]
    Lines = Mapping[str, Sequence[Any]]

METRICS = ("l2", "cosine", "ip", "l1")
K = 10

TEXTBOOK, AGREEMENT = "textbook.csv", "agreement.csv"

QUERY, A, B = (3.0, 4.0), (5.0, 3.0), (60.0, 80.0)  # B is 20 times the query

_COMPARED = 400  # queries


@dataclass(frozen=True)
class Case:
    """What a metric says of A and of B; distances as ``ann`` has them."""

    metric: str
    a: float
    b: float
    nearer: str


def textbook(notes: Notebook) -> Lines:
    """Ask which of two vectors is nearer: one beside the query, or one far along it."""
    X, q = np.array([A, B], np.float32), np.array(QUERY, np.float32)
    lines = []
    for metric in METRICS:
        ids, distances = ann.Flat(metric).add(X).search(q, k=2)
        a, b = (float(distances[ids == i][0]) for i in range(2))
        lines.append(Case(metric, a, b, "AB"[ids[0]]))
    return {TEXTBOOK: lines}


@dataclass(frozen=True)
class Agreement:
    """How far the ten nearest under two metrics agree, on average over queries.

    ``overlap`` is the share that both have, with the ends of its bootstrap interval;
    ``first_same`` the share of queries with the same nearest; ``kendall`` tau-b over
    all that either has, ``rbo`` rank-biased overlap (`ranks`).
    """

    data: str
    n: int
    d: int
    nq: int
    k: int
    first: str
    second: str
    overlap: float
    overlap_low: float
    overlap_high: float
    first_same: float
    kendall: float
    rbo: float


def agreement(notes: Notebook) -> Lines:
    """Compare the answers of all pairs of metrics on every set."""
    lines = []
    for each in _compared(notes):
        answers = {metric: exact(metric, each, notes) for metric in METRICS}
        lines += [
            _agree(each, (a, answers[a]), (b, answers[b]))
            for a, b in combinations(METRICS, 2)
        ]
    return {AGREEMENT: lines}


def _compared(notes: Notebook) -> Iterator[Set]:
    n, seed = notes.rows, notes.seed
    yield notes.use(sets.digits(n, _COMPARED, seed))
    patches = notes.use(sets.patches(n, _COMPARED, seed))
    yield patches
    yield notes.use(patches.scaled("patches at norm 1"))
    yield notes.use(sets.word_counts(n, _COMPARED, seed))
    yield notes.use(sets.popular(n, _COMPARED, seed))
    sentences = sets.sentences(n, _COMPARED, seed)
    if sentences is None:
        notes.leave_out(f"sentences, as there is no {sets.SENTENCES}")
    else:
        yield notes.use(sentences)


def exact(metric: str, of: Set, notes: Notebook) -> Ids:
    """Return the ten nearest of every query, searched for exactly."""
    index = ann.Flat(metric, norm_check="off").add(of.X, threads=notes.threads)
    ids: Ids = index.search(of.Q, k=K, threads=notes.threads)[0]
    return ids


def _agree(of: Set, first: tuple[str, Ids], second: tuple[str, Ids]) -> Agreement:
    (a, A), (b, B) = first, second
    both = np.concatenate([A, B], axis=1)
    distances = [recall.distances_of(both, of.X, of.Q, metric) for metric in (a, b)]
    shared = statistics.mean(ranks.overlap(A, B))
    return Agreement(
        *(of.name, len(of.X), of.X.shape[1], len(of.Q), K, a, b, *shared),
        first_same=float((A[:, 0] == B[:, 0]).mean()),
        kendall=float(np.nanmean(ranks.kendall(both, *distances))),
        rbo=float(ranks.rank_biased_overlap(A, B).mean()),
    )
