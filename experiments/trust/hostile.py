"""Data that is no random sample of a well-behaved distribution.

=========  ==========================================================================
shuffled   the data set in a random order, to compare with
twice      a random half of it, each vector twice, in a random order
copies     one vector in the place of many others
sorted     cell after cell of k-means, as data comes that was gathered by topic
constant   with a fourth more dimensions that are the same in all vectors: 0.5, or 0
           where an angle or a product would change
outliers   a few vectors times 1,000; only under the distances ``l2`` and ``l1``
=========  ==========================================================================

Each index is built on each of these in a process of its own. Recall counts distances
(:mod:`experiments.recall`): of equal vectors one is as good as another.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from experiments.datasets.truth import exact_search
from experiments.recall import KS, recall
from experiments.trust.bench import TrustJob, TrustWorker
from experiments.trust.cells import cells
from experiments.trust.subject import Subject
from experiments.worker import WorkerError

if TYPE_CHECKING:
    from experiments.config import Hostile
    from experiments.datasets import Dataset
    from experiments.plan import Build, Plan
    from experiments.trust.trial import Trial

Rng = np.random.Generator
Vectors = tuple[NDArray[np.float32], NDArray[np.float32]]
SHUFFLED = "shuffled"
_SCALE = np.float32(1000)


@dataclass(frozen=True, kw_only=True)
class Line(Subject):
    """One setting of an index on one kind of data; the columns of ``hostile.csv``.

    ``change`` is recall@10 less that of the same setting on the shuffled data.
    ``problems`` is what the library's own audit found, nothing if all is sound, and "–"
    where there is no audit.
    """

    data: str
    recall_at_10: float | None = None
    change: float | None = None
    qps: float | None = None
    build_s: float | None = None
    index_bytes: int | None = None
    problems: str = ""


def steps(plan: Plan, hostile: Hostile) -> int:
    """Return how many steps of progress a study has."""
    builds = sum(len(experiment.builds) for experiment in plan.experiments)
    return builds * (1 + len(hostile.troubles))


def play(trial: Trial, hostile: Hostile) -> Iterator[list[Line]]:
    """Yield all lines so far, each time there are more."""
    lines: list[Line] = []
    usual: dict[str, float] = {}  # recall on the shuffled data, by the line's name
    for name, data in variants(trial.data, hostile, trial.config.seed):
        on = trial.on(data, name)
        for build in trial.builds:
            trial.progress.doing(f"{build.label}, {name}")
            for line in _built(on, build, name):
                if name == SHUFFLED and line.recall_at_10 is not None:
                    usual[line.name] = line.recall_at_10
                lines.append(_compared(line, usual))
            yield lines
            trial.progress.done()
        shutil.rmtree(on.folder)


def _compared(line: Line, usual: Mapping[str, float]) -> Line:
    if line.recall_at_10 is None or line.name not in usual:
        return line
    return replace(line, change=line.recall_at_10 - usual[line.name])


def _built(trial: Trial, build: Build, name: str) -> Iterator[Line]:
    """Build an index and yield a line for each setting."""
    data = trial.data
    if reason := trial.why_not(build.adapter, build, "be built"):
        yield Line(**trial.about(build) | {"status": reason}, data=name)
        return
    with trial.worker(TrustWorker, TrustJob, build, build.adapter) as worker:
        try:
            built, problems = worker.build(), worker.problems()
            for point in build.points:
                found = worker.find(point.search)
                of = recall(
                    found.ids, data.neighbors, data.train, data.test, data.metric
                )
                yield Line(
                    **trial.about(build, point.search),
                    data=name,
                    recall_at_10=float(of[:, -1].mean()),
                    qps=len(found.ids) / found.seconds,
                    build_s=built.build_s,
                    index_bytes=built.index_bytes,
                    problems="–" if problems is None else problems,
                )
        except WorkerError as error:
            status = f"{error.kind}: {error}"
            yield Line(**trial.about(build) | {"status": status}, data=name)


def variants(
    data: Dataset, hostile: Hostile, seed: int
) -> Iterator[tuple[str, Dataset]]:
    """Yield the shuffled data and each of the hostile kinds that the metric has."""
    shuffled = np.random.default_rng(seed).permutation(len(data.train))
    yield SHUFFLED, _of(data, data.train[shuffled], data.test)
    for trouble in hostile.troubles:
        if trouble == "outliers" and data.metric not in ("l2", "l1"):
            continue
        rng = np.random.default_rng(seed)
        yield trouble, _of(data, *_TROUBLES[trouble](data, hostile, rng))


def _of(data: Dataset, X: NDArray[np.float32], Q: NDArray[np.float32]) -> Dataset:
    """Return the data set of other vectors, with its truth."""
    X, Q = np.ascontiguousarray(X), np.ascontiguousarray(Q)
    k = min(max(KS), len(X))
    neighbors, distances = exact_search(X, Q, data.metric, k)
    return replace(
        data, train=X, test=Q, neighbors=neighbors, distances=distances, fingerprint=""
    )


def _twice(data: Dataset, hostile: Hostile, rng: Rng) -> Vectors:
    half = rng.permutation(len(data.train))[: len(data.train) // 2]
    return data.train[rng.permutation(np.concatenate([half, half]))], data.test


def _copies(data: Dataset, hostile: Hostile, rng: Rng) -> Vectors:
    n = len(data.train)
    rows = rng.permutation(n)
    places = rng.choice(n, min(hostile.copies, n // 2), replace=False)
    rows[places] = rows[places[0]]
    return data.train[rows], data.test


def _sorted(data: Dataset, hostile: Hostile, rng: Rng) -> Vectors:
    labels, _ = cells(data, int(rng.integers(2**31)))
    return data.train[np.argsort(labels, kind="stable")], data.test


def _constant(data: Dataset, hostile: Hostile, rng: Rng) -> Vectors:
    value = 0.5 if data.metric in ("l2", "l1") else 0.0
    more = (0, 0), (0, max(1, data.train.shape[1] // 4))
    X = data.train[rng.permutation(len(data.train))]
    return (
        np.pad(X, more, constant_values=value),
        np.pad(data.test, more, constant_values=value),
    )


def _outliers(data: Dataset, hostile: Hostile, rng: Rng) -> Vectors:
    X = data.train[rng.permutation(len(data.train))]
    far = rng.choice(len(X), max(1, round(hostile.outliers * len(X))), replace=False)
    X[far] *= _SCALE
    return X, data.test


_TROUBLES: Mapping[str, Callable[[Dataset, Hostile, Rng], Vectors]] = {
    "twice": _twice,
    "copies": _copies,
    "sorted": _sorted,
    "constant": _constant,
    "outliers": _outliers,
}
