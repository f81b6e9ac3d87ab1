"""How large a dataset is, without loading it."""

from pathlib import Path
from typing import NamedTuple

from experiments.datasets import embedded, files, hdf5, locate, registry, synthetic
from experiments.datasets.vectors import POOL_QUERIES


class Size(NamedTuple):
    """Base vectors, their width, and queries."""

    n: int
    d: int
    nq: int


_EMBEDDED = {embedded.PATCHES: (531_611, 192), embedded.DIGITS: (1_797, 64)}
_HDF5 = (".hdf5", ".h5")
_TEXT = (".txt", ".vec", ".bin")  # word vectors, whose width only reading them tells


def size(name: str, n: int | None = None, nq: int | None = None) -> Size | None:
    """Return the size of a sample of a dataset; None where only loading would tell.

    Parameters
    ----------
    name, n, nq
        As ``datasets.load`` has them.
    """
    whole = _whole(name)
    if whole is None:
        return None
    rows, d, queries = whole
    if queries is None:
        asked = nq or min(POOL_QUERIES, max(1, rows // 10))
        return Size(n or rows - asked, d, asked)
    return Size(n or rows, d, nq or queries)


def _whole(name: str) -> tuple[int, int, int | None] | None:
    """Return vectors, width, and queries or None where these are held out."""
    if name in _EMBEDDED:
        return *_EMBEDDED[name], None
    if name.startswith("synthetic-"):
        of = synthetic.parse(name)
        return of.n, of.d, POOL_QUERIES
    if remote := registry.SETS.get(name):
        return (remote.n, remote.d, remote.nq) if remote.n else None
    path = locate(name)
    if path is None or files.suffix(path) in _TEXT:
        return None
    return _of_file(path)


def _of_file(path: Path) -> tuple[int, int, int | None] | None:
    if files.suffix(path) in _HDF5:
        shapes = hdf5.shapes(path)
        rows, d = shapes["train"]
        return rows, d, shapes["test"][0] if "test" in shapes else None
    vectors = files.read(path)
    rows, d = vectors.train.shape
    return rows, d, None if vectors.test is None else len(vectors.test)
