"""Data to measure on: by name, or from any local file.

>>> from experiments import datasets
>>> patches = datasets.load("patches-192-euclidean", n=10_000, nq=100)  # doctest: +SKIP
>>> patches.train.shape, patches.neighbors.shape  # doctest: +SKIP
((10000, 192), (100, 100))
"""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from experiments.datasets import embedded, files, registry, synthetic
from experiments.datasets.cache import default_cache
from experiments.datasets.places import is_path, local, locate, origin, title
from experiments.datasets.truth import fingerprint, ground_truth
from experiments.datasets.vectors import (
    Vectors,
    canonical_metric,
    check_matrix,
    sample_rows,
    take,
)

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = [
    "Dataset", "Vectors", "find", "load", "local", "locate", "names", "origin", "title",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Dataset:
    """Base vectors, queries, and the exact neighbours of each query.

    Parameters
    ----------
    name : str                        as asked for; of a file, its stem
    metric : str                      l2, ip, cosine or l1
    train : (n, d) float32            base vectors, C-contiguous
    test : (nq, d) float32            queries, C-contiguous
    neighbors : (nq, truth_k) int64   row numbers of `train`, closest first, ties by id
    distances : (nq, truth_k) float32 in the sign and units of `ann`
    source : str                      one line: where the vectors come from
    fingerprint : str                 sha256 of train, test and metric, in hex
    """

    name: str
    metric: str
    train: NDArray[np.float32]
    test: NDArray[np.float32]
    neighbors: NDArray[np.int64]
    distances: NDArray[np.float32]
    source: str
    fingerprint: str


def names() -> list[str]:
    """Return the names that `load` knows; of the synthetic families, an example each.

    Any other name of their scheme (see `experiments.datasets.synthetic`) loads too.
    """
    return [*embedded.NAMES, *synthetic.EXAMPLES, *registry.SETS]


def load(
    name: str | Path,
    *,
    n: int | None = None,
    nq: int | None = None,
    metric: str | None = None,
    truth_k: int = 100,
    seed: int = 0,
    cache: Path | None = None,
    progress: "Progress | None" = None,
) -> Dataset:
    """Return a dataset with its ground truth.

    Parameters
    ----------
    name
        One of `names`, a synthetic name, or the path of a file (`files.READERS`),
        which is looked for here and then in the folder that ``ANN_DATA`` names; its
        suffix may be left out. A public set that is there is not downloaded.
    n, nq
        Base vectors and queries to sample; default all. A set without queries has
        `nq` held out: by default 2,000, or a tenth of a set of fewer than 20,000.
    metric
        Any spelling that `ann` accepts. Needed where a file does not state it;
        elsewhere it overrides, and the ground truth is computed for it.
    truth_k
        Exact neighbours per query. A file's own ground truth is used, once checked,
        where nothing was sampled and it is wide enough.
    seed
        Of the sample, of the held-out queries and of the synthetic families.
    cache
        Folder of downloads and ground truth; default `default_cache`.
    progress
        Shows the download and the search for the ground truth.

    Raises
    ------
    ValueError
        An unknown name, an argument out of range, a malformed file; names the rule,
        the limit and the value.
    OSError
        A file that is missing, a download that fails.
    """
    cache = default_cache() if cache is None else cache
    vectors = find(name, nq, seed=seed, cache=cache, progress=progress)
    chosen = _metric(metric, vectors)
    check_matrix(vectors.train, vectors.source)
    train_rows, test_rows = sample_rows(vectors, n, nq, seed)
    pool = vectors.train if vectors.test is None else vectors.test
    train = take(vectors.train, train_rows, f"{vectors.source}: train")
    test = take(pool, test_rows, f"{vectors.source}: test")
    notes = [origin(vectors.source)]
    if train_rows is not None or test_rows is not None:
        notes.append(f"{len(train)} base vectors, {len(test)} queries, seed {seed}")
    as_stored = len(notes) == 1 and chosen == vectors.metric
    if chosen == "cosine":
        train, no_base = _with_direction(train, vectors, "train")
        test, no_query = _with_direction(test, vectors, "test")
        if no_base or no_query:
            notes.append(f"{no_base} + {no_query} zero vectors dropped")
            as_stored = False
    given = None
    if as_stored and vectors.neighbors is not None and vectors.distances is not None:
        given = (vectors.neighbors, vectors.distances)
    key = fingerprint(train, test, chosen)
    neighbors, distances = ground_truth(
        train,
        test,
        chosen,
        truth_k,
        key=key,
        cache=cache,
        given=given,
        where=vectors.source,
        progress=progress,
    )
    source = "; ".join(notes)
    return Dataset(title(name), chosen, train, test, neighbors, distances, source, key)


def find(
    name: str | Path,
    nq: int | None = None,
    *,
    seed: int = 0,
    cache: Path | None = None,
    progress: "Progress | None" = None,
) -> Vectors:
    """Return vectors as their source has them, neither sampled nor looked at.

    The parameters are those of `load`; so is what is raised, but for what `load` checks
    in the vectors.
    """
    cache = default_cache() if cache is None else cache
    if isinstance(name, str):
        if name in embedded.NAMES:
            return embedded.load(name, cache)
        if name in registry.SETS:
            remote = registry.SETS[name]
            return registry.load(remote, cache, progress, locate(name))
    path = locate(name)
    if path is None and isinstance(name, str):
        if name.startswith("synthetic-"):
            return synthetic.generate(name, nq, seed)
        if not is_path(name):
            near = difflib.get_close_matches(name, [*names(), *local()], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"a dataset must be one of {', '.join(names())}, or a file with suffix "
                f"{', '.join(files.READERS)}; got {name!r}{hint}"
            )
    return files.read(path or Path(name).expanduser())


def _metric(asked: str | None, vectors: Vectors) -> str:
    if asked is not None:
        return canonical_metric(asked, "metric")
    if vectors.metric is None:
        raise ValueError(
            f"{vectors.source}: metric must be given, as the file does not state it: "
            "one of l2, ip, cosine, l1"
        )
    return vectors.metric


def _with_direction(
    X: NDArray[np.float32], vectors: Vectors, part: str
) -> tuple[NDArray[np.float32], int]:
    """Return the vectors that have a direction, and how many have none."""
    zero = ~X.any(axis=1)
    count = int(zero.sum())
    if count and not vectors.drop_zeros:
        raise ValueError(
            f"{vectors.source}: {part} must have no zero vector under cosine, "
            f"got {count}, the first in row {zero.argmax()}"
        )
    return (X[~zero], count) if count else (X, 0)
