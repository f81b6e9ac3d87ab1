"""Work in bulk: exact search of a batch, and k-means, beside FAISS and scikit-learn.

Everything runs in one process and in turns: each round calls every library once, in
an order of its own, on all threads, and only that call is timed. A first, untimed
call compiles and warms up. Cosine is the inner product of vectors normalised before
the clock starts where a library leaves that to its user.
"""

from __future__ import annotations

import gc
import importlib.util
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ann import parallel
from experiments import datasets, provenance, results
from experiments.config import Bulk
from experiments.peers.common import normalised
from experiments.plan import canonical
from experiments.progress import Progress
from experiments.ratios import Ratio, quotient
from experiments.recall import recall

if TYPE_CHECKING:
    from rich.console import Console

    from experiments.datasets import Dataset

Floats = NDArray[np.float32]
Calls = dict[str, Callable[[], Any]]
OURS = "ann"
_BLOCK = 4096  # vectors


@dataclass(frozen=True)
class Contest:
    """One piece of work, the call of each library that does it, and how good it is."""

    dataset: Dataset
    task: str
    setting: Mapping[str, Any]
    calls: Calls
    quality: str
    judge: Callable[[Any], float]


@dataclass(frozen=True)
class Line:
    """One library at one piece of work; the fields are the columns of ``bulk.csv``.

    ``ours`` is how many times faster ours is: the ratio of the medians over rounds,
    and the span of the ratios of single rounds.
    """

    dataset: str
    n: int
    d: int
    task: str
    metric: str
    setting: str
    library: str
    threads: int
    rounds: int
    median_s: float
    least_s: float
    greatest_s: float
    ours: Ratio
    quality: str
    value: float


def run(config: Bulk, out: Path, console: Console, command: str) -> list[Line]:
    """Measure everything in a config; write lines and provenance into a directory."""
    threads = config.threads or parallel.available()
    stamp = provenance.collect(config, threads, command) | {"status": "unfinished"}
    table: list[Line] = []
    works = len(config.metrics) + len(config.clusters)
    try:
        with Progress(console, works * len(config.dataset)) as progress:
            for contest in contests(config, threads, progress):
                progress.doing(contest.task)
                table += measure(contest, config.rounds, threads, config.seed)
                results.write_table(out / results.BULK, table)
                progress.done()
        stamp["status"] = "finished"
    finally:
        stamp["ended"] = provenance.now()
        results.write_table(out / results.BULK, table)
        results.write_json(out / results.PROVENANCE, stamp)
    return table


def contests(config: Bulk, threads: int, progress: Progress) -> Iterator[Contest]:
    """Yield every piece of work of a config, its data loaded."""
    for entry in config.dataset:
        for metric in config.metrics:
            progress.doing(f"loading {entry.name}")
            nq = entry.nq or config.queries
            data = datasets.load(
                entry.name, n=entry.n, nq=nq, metric=metric, seed=config.seed
            )
            yield exact_search(data, config.k, threads)
        for clusters in config.clusters:
            data = datasets.load(entry.name, n=entry.n, metric="l2", seed=config.seed)
            yield k_means(data, clusters, config, threads)


def exact_search(data: Dataset, k: int, threads: int) -> Contest:
    """Return the search of all queries at once, judged by recall."""
    import ann

    X, Q = data.train, data.test
    index = ann.Flat(data.metric).add(X, threads=threads)
    calls: Calls = {OURS: lambda: index.search(Q, k=k, threads=threads)[0]}
    if _has("faiss"):
        calls["faiss"] = _faiss_search(data, k, threads)
    calls["scikit-learn"] = _sklearn_search(data, k, threads)

    def judge(ids: NDArray[np.int64]) -> float:
        found = recall(ids, data.neighbors, X, Q, data.metric)
        return float(found[:, -1].mean())

    setting = {"nq": len(Q), "k": k}
    return Contest(data, "exact search", setting, calls, "recall@10", judge)


def _faiss_search(data: Dataset, k: int, threads: int) -> Callable[[], Any]:
    import faiss

    X, Q = data.train, data.test
    if data.metric == "cosine":
        X, Q = normalised(X), normalised(Q)
    l2 = data.metric == "l2"
    index = faiss.IndexFlat(
        X.shape[1], faiss.METRIC_L2 if l2 else faiss.METRIC_INNER_PRODUCT
    )
    index.add(X)

    def call() -> Any:
        faiss.omp_set_num_threads(threads)
        return index.search(Q, k)[1]

    return call


def _sklearn_search(data: Dataset, k: int, threads: int) -> Callable[[], Any]:
    from sklearn.neighbors import NearestNeighbors

    metric = {"l2": "euclidean", "cosine": "cosine"}[data.metric]
    near = NearestNeighbors(
        n_neighbors=k, algorithm="brute", metric=metric, n_jobs=threads
    ).fit(data.train)
    return lambda: near.kneighbors(data.test, return_distance=False)


def k_means(data: Dataset, clusters: int, config: Bulk, threads: int) -> Contest:
    """Return Lloyd's iterations from a random start, on one sample for all."""
    from ann import kmeans

    seed, iterations = config.seed, config.iterations
    rng = np.random.default_rng(seed)
    most = config.per_cluster * clusters
    X = kmeans.sample(data.train, most, rng)

    def ours() -> Floats:
        start = np.random.default_rng(seed)
        return kmeans.kmeans(X, clusters, start, threads, iterations=iterations)

    calls: Calls = {OURS: ours}
    if _has("faiss"):
        calls["faiss"] = _faiss_k_means(X, clusters, iterations, seed, threads)
    calls["scikit-learn"] = _sklearn_k_means(X, clusters, iterations, seed)
    setting = {"clusters": clusters, "iterations": iterations, "sample": len(X)}
    return Contest(
        data, "k-means", setting, calls, "objective", lambda found: objective(X, found)
    )


def _faiss_k_means(
    X: Floats, clusters: int, iterations: int, seed: int, threads: int
) -> Callable[[], Any]:
    import faiss

    def call() -> Any:
        faiss.omp_set_num_threads(threads)
        means = faiss.Kmeans(
            X.shape[1],
            clusters,
            niter=iterations,
            seed=seed,
            min_points_per_centroid=1,
            max_points_per_centroid=len(X),
        )
        means.train(X)
        return means.centroids

    return call


def _sklearn_k_means(
    X: Floats, clusters: int, iterations: int, seed: int
) -> Callable[[], Any]:
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    def call() -> Any:
        means = KMeans(
            clusters,
            init="random",
            n_init=1,
            max_iter=iterations,
            tol=0.0,
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return means.fit(X).cluster_centers_

    return call


def objective(X: Floats, centroids: Floats) -> float:
    """Return the mean squared distance of vectors to their nearest centroids."""
    C = centroids.astype(np.float32)
    norms = np.square(C, dtype=np.float64).sum(axis=1)
    total = 0.0
    for a in range(0, len(X), _BLOCK):
        block = X[a : a + _BLOCK]
        nearest = (norms - 2.0 * (block @ C.T)).argmin(axis=1)
        total += float(np.square(block - C[nearest], dtype=np.float64).sum())
    return total / len(X)


def measure(contest: Contest, rounds: int, threads: int, seed: int) -> Iterator[Line]:
    """Time every library once a round, in an order of the round's own."""
    seconds: dict[str, list[float]] = {name: [] for name in contest.calls}
    names, rng = list(contest.calls), np.random.default_rng(seed)
    with threadpool_limits(threads):
        answers = {name: call() for name, call in contest.calls.items()}
        for _ in range(rounds):
            for i in rng.permutation(len(names)):
                seconds[names[i]].append(_time(contest.calls[names[i]]))
    for name in names:
        yield _line(contest, name, seconds, threads, contest.judge(answers[name]))


def _time(call: Callable[[], Any]) -> float:
    gc.collect()
    gc.disable()
    try:
        start = perf_counter()
        call()
        return perf_counter() - start
    finally:
        gc.enable()


def _line(
    contest: Contest,
    name: str,
    seconds: Mapping[str, Sequence[float]],
    threads: int,
    value: float,
) -> Line:
    mine, ours = seconds[name], seconds[OURS]
    medians = statistics.median(mine), statistics.median(ours)
    data = contest.dataset
    return Line(
        dataset=data.name,
        n=len(data.train),
        d=data.train.shape[1],
        task=contest.task,
        metric=data.metric,
        setting=canonical(contest.setting),
        library=name,
        threads=threads,
        rounds=len(mine),
        median_s=statistics.median(mine),
        least_s=min(mine),
        greatest_s=max(mine),
        ours=quotient(medians, (mine, ours)),
        quality=contest.quality,
        value=value,
    )


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
