"""What is known of a dataset without loading it: its size and its metric."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from experiments.datasets import (
    embedded,
    files,
    hdf5,
    locate,
    parquet,
    registry,
    synthetic,
)
from experiments.datasets.vectors import POOL_QUERIES, check_matrix, counts


class Size(NamedTuple):
    """Base vectors, their width, and queries."""

    n: int
    d: int
    nq: int


class _Whole(NamedTuple):
    """All vectors, their width, queries, and the metric.

    Queries are None where they are held out, the metric where it is not stated.
    """

    rows: int
    d: int
    queries: int | None
    metric: str | None


_EMBEDDED = {embedded.PATCHES: (531_611, 192), embedded.DIGITS: (1_797, 64)}
_HDF5 = (".hdf5", ".h5")
_TEXT = (".txt", ".vec", ".csv", ".tsv", ".csv.gz", ".tsv.gz")  # to be read as a whole
_QUICK = 1 << 25  # bytes of text that are read in a second or so


def size(name: str, n: int | None = None, nq: int | None = None) -> Size | None:
    """Return the size of a sample of a dataset; None where only loading would tell.

    Parameters
    ----------
    name, n, nq
        As ``datasets.load`` has them.

    Raises
    ------
    ValueError
        When there are not as many vectors or queries; a malformed file.
    OSError
        A file that cannot be read.
    """
    whole = _whole(name, nq)
    if whole is None:
        return None
    kept, asked = counts(whole.rows, whole.queries, n, nq, name)
    return Size(kept, whole.d, asked)


def metric(name: str) -> str | None:
    """Return the metric of a dataset; None where none is stated, or only loading tells.

    Raises
    ------
    ValueError, OSError
        As `size`.
    """
    if remote := registry.SETS.get(name):
        return remote.metric
    whole = _whole(name)
    return None if whole is None else whole.metric


def _whole(name: str, nq: int | None = None) -> _Whole | None:
    if name in _EMBEDDED:
        return _Whole(*_EMBEDDED[name], None, "l2")
    drawn = max(POOL_QUERIES, nq or 0)  # as many as are wanted, or nobody says
    if remote := registry.SETS.get(name):
        if remote.n is None:
            return None
        return _Whole(remote.n, remote.d, remote.nq or drawn, remote.metric)
    path = locate(name)
    if path is None and name.startswith("synthetic-"):
        of = synthetic.parse(name)
        return _Whole(of.n, of.d, drawn, of.metric)
    if path is None:
        return None
    stat = path.stat()
    if files.suffix(path) in _TEXT and stat.st_size > _QUICK:
        return None
    return _of_file(path, stat.st_mtime_ns)


@lru_cache(16)
def _of_file(path: Path, changed: int) -> _Whole:
    shapes = hdf5.shapes(path) if files.suffix(path) in _HDF5 else {}
    if "train" in shapes:
        rows, d = shapes["train"]
        queries = shapes["test"][0] if "test" in shapes else None
        return _Whole(rows, d, queries, hdf5.metric(path))
    if files.suffix(path) == ".parquet":
        rows, d, stated = parquet.about(path)
        return _Whole(rows, d, None, stated)
    vectors = files.read(path)
    check_matrix(vectors.train, vectors.source)
    rows, d = vectors.train.shape
    queries = None if vectors.test is None else len(vectors.test)
    return _Whole(rows, d, queries, vectors.metric)
