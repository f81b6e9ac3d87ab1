"""Inner products where length means popularity: searched right, and searched wrongly.

The greatest inner products can be searched for on a graph directly. Or by ``l2``, of
vectors lifted onto a sphere by one more column (Bachrach et al., "Speeding up the
Xbox recommender system", RecSys 2014). Or, which is the mistake, by ``cosine``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import ann
from experiments import recall, statistics
from experiments.lessons import sets
from experiments.lessons.agreement import K, exact

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.lessons.notebook import Notebook
    from experiments.lessons.sets import Floats, Set

    Ids = NDArray[np.int64]
    Lines = Mapping[str, Sequence[Any]]

WAYS, NORMS, ANSWERED = "ways.csv", "norms.csv", "answered.csv"
BY_COSINE, BY_LIFTING = "exact, cosine", "exact, lifted"
GRAPH, LIFTED_GRAPH = "graph, ip", "graph, lifted"

_MANY, _JUDGED = 10_000, 1_000  # queries: asked for the answers alone, and for recall
_ASKED = (10, 30, 100, 300, 1_000, 3_000, 10_000)
_EFFORTS = (10, 20, 40, 80, 160, 320)
_WALKS = 20  # that look for all there is
_TENTHS = 10


@dataclass(frozen=True)
class Way:
    """A way to search for the greatest inner products, against all of them.

    ``score`` is the sum of the inner products that were found, over that of the ten
    greatest; ``norm`` where the answers stand among all norms, 1 being the longest.
    ``ef_search`` is 0 where the search is exact.
    """

    data: str
    n: int
    d: int
    nq: int
    k: int
    way: str
    ef_search: int
    recall: float
    recall_low: float
    recall_high: float
    score: float
    norm: float


@dataclass(frozen=True)
class Norms:
    """A tenth of the items, by norm: the shares of them that are ever an answer.

    ``ip`` and ``cosine``: among the ten best of any of ``nq`` queries, exactly.
    ``reached``: found by walks of the graph under ``ip`` that look for everything.
    ``lost``: how many that are an answer under ``ip`` no walk reached.
    """

    data: str
    n: int
    nq: int
    tenth: int
    shortest: float
    longest: float
    ip: float
    cosine: float
    reached: float
    lost: int


@dataclass(frozen=True)
class Answered:
    """How many items have been an answer after so many queries."""

    data: str
    n: int
    queries: int
    ip: int
    cosine: int


def popularity(notes: Notebook) -> Lines:
    """Search exactly and by graphs; count who is ever an answer."""
    items = notes.use(sets.popular(notes.rows, _MANY, notes.seed))
    best = {metric: exact(metric, items, notes) for metric in ("ip", "cosine")}
    graph = ann.HNSW("ip", seed=notes.seed).add(items.X, threads=notes.threads)
    reached = _reached(graph, items, notes.threads)
    return {
        WAYS: list(_ways(items, best, graph, notes)),
        NORMS: list(_by_norm(items, best, reached)),
        ANSWERED: list(_over_queries(items, best)),
    }


def lifted(X: Floats, Q: Floats) -> tuple[Floats, Floats]:
    """Return vectors (n, d + 1) and queries whose ``l2`` orders as ``ip`` does here.

    All rows get the norm of the longest; queries get a zero.
    """
    squares = np.square(X, dtype=np.float64).sum(axis=1)
    height = np.sqrt(squares.max() - squares)
    above = np.concatenate([X, height[:, None].astype(np.float32)], axis=1)
    return above, np.concatenate([Q, np.zeros((len(Q), 1), np.float32)], axis=1)


def _ways(
    items: Set, best: Mapping[str, Ids], graph: ann.HNSW, notes: Notebook
) -> Iterator[Way]:
    X, Q, threads = items.X, items.Q[:_JUDGED], notes.threads
    judge = _Judge(items, Q, best["ip"][: len(Q)])
    above, below = lifted(X, Q)
    ball = ann.Flat("l2").add(above, threads=threads)
    yield judge.line(BY_COSINE, 0, best["cosine"][: len(Q)])
    yield judge.line(BY_LIFTING, 0, ball.search(below, k=K, threads=threads)[0])
    lifted_graph = ann.HNSW("l2", seed=notes.seed).add(above, threads=threads)
    for name, index, asked in (
        (GRAPH, graph, Q),
        (LIFTED_GRAPH, lifted_graph, below),
    ):
        for ef in _EFFORTS:
            found, _ = index.search(asked, k=K, ef_search=ef, threads=threads)
            yield judge.line(name, ef, found)


class _Judge:
    """The greatest inner products, and what answers are worth beside them."""

    def __init__(self, items: Set, Q: Floats, truth: Ids) -> None:
        self._items, self._Q, self._truth = items, Q, truth
        self._most = self._products(truth)
        norms = np.linalg.norm(items.X, axis=1)
        self._place = norms.argsort().argsort() / (len(norms) - 1)

    def line(self, way: str, ef_search: int, ids: Ids) -> Way:
        """Return what the answers of a way come to."""
        X, Q = self._items.X, self._Q
        hits = recall.recall(ids, self._truth, X, Q, "ip", (K,))[:, 0]
        return Way(
            *(self._items.name, len(X), X.shape[1], len(Q), K, way, ef_search),
            *statistics.mean(hits),
            score=float((self._products(ids) / self._most).mean()),
            norm=float(self._place[ids].mean()),
        )

    def _products(self, ids: Ids) -> NDArray[np.float64]:
        of = recall.distances_of(ids, self._items.X, self._Q, "ip")
        products: NDArray[np.float64] = -of.sum(axis=1)
        return products


def _reached(graph: ann.HNSW, items: Set, threads: int) -> NDArray[np.bool_]:
    """Mark the items that walks find which stop only when there is nothing left."""
    n = len(items.X)
    ids, _ = graph.search(items.Q[:_WALKS], k=n, ef_search=n, threads=threads)
    reached = np.zeros(n, np.bool_)
    reached[ids[ids >= 0]] = True
    return reached


def _by_norm(
    items: Set, best: Mapping[str, Ids], reached: NDArray[np.bool_]
) -> Iterator[Norms]:
    n = len(items.X)
    answers = {
        metric: np.bincount(ids.ravel(), minlength=n) > 0
        for metric, ids in best.items()
    }
    norms = np.linalg.norm(items.X, axis=1)
    for tenth, own in enumerate(np.array_split(norms.argsort(), _TENTHS), start=1):
        yield Norms(
            *(items.name, n, len(items.Q), tenth),
            shortest=float(norms[own].min()),
            longest=float(norms[own].max()),
            ip=float(answers["ip"][own].mean()),
            cosine=float(answers["cosine"][own].mean()),
            reached=float(reached[own].mean()),
            lost=int((answers["ip"][own] & ~reached[own]).sum()),
        )


def _over_queries(items: Set, best: Mapping[str, Ids]) -> Iterator[Answered]:
    for asked in _ASKED:
        if asked <= len(items.Q):
            ip, cosine = (len(np.unique(best[m][:asked])) for m in ("ip", "cosine"))
            yield Answered(items.name, len(items.X), asked, ip, cosine)
