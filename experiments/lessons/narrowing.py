"""Fewer columns in front of a graph: what is lost, what is gained, what refining mends.

One graph over vectors as they are, others over d / 2 and d / 4 columns, by principal
components or cut off, with and without the vectors of full width beside them. For
comparison, the same bytes spent on fewer bits of every column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import ann
from experiments import recall, statistics
from experiments.lessons import sets
from experiments.lessons.agreement import K, exact

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.lessons.notebook import Notebook
    from experiments.lessons.sets import Floats, Set

    Lines = Mapping[str, Sequence[Any]]

GRAPHS, KEPT = "graphs.csv", "kept.csv"
WHOLE, PCA, TRUNCATE = "whole", "PCA", "Truncate"
REFINE = 4
EFFORTS = (10, 20, 40, 80, 160, 320)  # ef_search

ROUNDS = 5  # of searching all in turns

_ASKED, _WARM = 1_000, 50  # queries, and of these before the clock
_SPARE = 384, 24  # columns and dimensions of what stands in for sentences
_ROWS = 30_000  # by default: twelve graphs are built of them


@dataclass(frozen=True)
class Graph:
    """A graph at one effort, against the ten nearest at full width, under cosine.

    ``transform`` is to ``width`` columns, ``codec`` how these are stored; ``refine`` is
    0 where nothing is scored anew. ``recall`` and the ends of its bootstrap interval
    are means over queries, ``ceiling`` that of the same index without a graph, which
    looks at everything. ``median_us`` is the median over rounds of the median latency
    of a lone query on one thread in each, with the least and the greatest round.
    ``bytes`` is of all arrays, a vector.
    """

    data: str
    n: int
    d: int
    nq: int
    k: int
    transform: str
    width: int
    codec: str
    refine: int
    ef_search: int
    recall: float
    recall_low: float
    recall_high: float
    ceiling: float
    scored: float
    median_us: float
    median_us_low: float
    median_us_high: float
    bytes: float
    build_s: float


@dataclass(frozen=True)
class Kept:
    """The share of the vectors' squared lengths that some columns hold."""

    data: str
    n: int
    d: int
    transform: str
    width: int
    share: float


class Variant(NamedTuple):
    """How vectors are stored."""

    transform: str
    width: int
    codec: str
    refine: int

    @property
    def params(self) -> dict[str, Any]:
        """What an index is made with."""
        kinds = {PCA: ann.PCA, TRUNCATE: ann.Truncate}
        kind = kinds.get(self.transform)
        return {
            "transform": kind(self.width) if kind else None,
            "codec": ann.SQ() if self.codec else None,
            "refine": self.refine or None,
        }


class Built(NamedTuple):
    """A graph, and what is known of it before it is searched."""

    variant: Variant
    graph: ann.HNSW
    ceiling: float
    build_s: float


def narrowing(notes: Notebook) -> Lines:
    """Build all graphs, then search them in turns."""
    of = notes.use(_set(notes))
    truth = exact("cosine", of, notes)
    built = []
    for variant in variants(of.X.shape[1]):
        notes.progress.doing(" ".join(str(part) for part in variant if part))
        built.append(_build(variant, of, truth, notes))
    notes.progress.doing("latency")
    times = _times([each.graph for each in built], of.Q, notes.seed)
    lines = [
        _line(each, of, truth, ef, times[i, j])
        for i, each in enumerate(built)
        for j, ef in enumerate(EFFORTS)
    ]
    return {GRAPHS: lines, KEPT: list(_kept(of))}


def variants(d: int) -> Iterator[Variant]:
    """Yield what is compared, of vectors of width ``d``."""
    yield Variant(WHOLE, d, "", 0)
    yield Variant(WHOLE, d, "SQ8", 0)
    for refine in (0, REFINE):
        for transform in (PCA, TRUNCATE):
            for width in (d // 2, d // 4):
                yield Variant(transform, width, "", refine)
    yield Variant(WHOLE, d, "SQ8", REFINE)
    yield Variant(PCA, d // 2, "SQ8", REFINE)


def _set(notes: Notebook) -> Set:
    """Return sentences, or where there are none something as wide."""
    rows = notes.n or _ROWS
    sentences = sets.sentences(rows, _ASKED, notes.seed)
    if sentences is not None:
        return sentences
    d, intrinsic = _SPARE
    notes.leave_out(
        f"sentences, as there is no {sets.SENTENCES}: synthetic clusters of "
        f"{intrinsic} dimensions in {d} columns stand in for them"
    )
    return sets.clusters(rows, _ASKED, d, intrinsic, notes.seed)


def _build(
    variant: Variant, of: Set, truth: NDArray[np.int64], notes: Notebook
) -> Built:
    flat = ann.Flat("cosine", **variant.params).add(of.X, threads=notes.threads)
    ids, _ = flat.search(of.Q, k=K, threads=notes.threads)
    ceiling = float(_recall(ids, truth, of).mean())
    start = perf_counter_ns()
    index = ann.HNSW("cosine", **variant.params, seed=notes.seed)
    index.add(of.X, threads=notes.threads)
    return Built(variant, index, ceiling, (perf_counter_ns() - start) / 1e9)


def _recall(
    ids: NDArray[np.int64], truth: NDArray[np.int64], of: Set
) -> NDArray[np.float64]:
    found: NDArray[np.float64] = recall.recall(ids, truth, of.X, of.Q, "cosine", (K,))
    return found[:, 0]


def _times(indexes: Sequence[ann.HNSW], Q: Floats, seed: int) -> NDArray[np.float64]:
    """Return the median latency in µs of (index, effort, round), in shuffled turns."""
    rng = np.random.default_rng(seed)
    turns = [(i, j) for i in range(len(indexes)) for j in range(len(EFFORTS))]
    times = np.empty((len(indexes), len(EFFORTS), ROUNDS))
    for round_ in range(ROUNDS):
        for turn in rng.permutation(len(turns)):
            i, j = turns[turn]
            times[i, j, round_] = _median_us(indexes[i], EFFORTS[j], Q)
    return times


def _median_us(index: ann.HNSW, ef: int, Q: Floats) -> float:
    for q in Q[:_WARM]:
        index.search(q, k=K, ef_search=ef)
    took = np.empty(len(Q))
    for r, q in enumerate(Q):
        start = perf_counter_ns()
        index.search(q, k=K, ef_search=ef)
        took[r] = perf_counter_ns() - start
    return float(np.median(took)) / 1e3


def _line(
    built: Built,
    of: Set,
    truth: NDArray[np.int64],
    ef: int,
    rounds: NDArray[np.float64],
) -> Graph:
    scored = np.empty(len(of.Q), np.int64)
    ids, _ = built.graph.search(of.Q, k=K, ef_search=ef, distance_computations=scored)
    return Graph(
        *(of.name, len(of.X), of.X.shape[1], len(of.Q), K, *built.variant, ef),
        *statistics.mean(_recall(ids, truth, of)),
        ceiling=built.ceiling,
        scored=float(scored.mean()),
        median_us=float(np.median(rounds)),
        median_us_low=float(rounds.min()),
        median_us_high=float(rounds.max()),
        bytes=built.graph.nbytes / len(of.X),
        build_s=built.build_s,
    )


def _kept(of: Set) -> Iterator[Kept]:
    d = of.X.shape[1]
    moments = of.X.astype(np.float64).T @ of.X
    shares = {PCA: np.linalg.eigvalsh(moments)[::-1], TRUNCATE: np.diag(moments)}
    for transform, squares in shares.items():
        for width in (d // 2, d // 4):
            share = float(squares[:width].sum() / squares.sum())
            yield Kept(of.name, len(of.X), d, transform, width, share)
