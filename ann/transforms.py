"""Vectors made narrower in front of any index: PCA, or the first components.

An index with a transform is built on, and searched in, the ``d_out`` columns that come
out: less to store and to read. Users go on giving vectors of width d, and ``refine``
keeps these too, to score the best ``refine * k`` with.
"""

import copy
from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ann import kmeans, parallel, validation
from ann.kernels.reduce import Reduction, reduce
from ann.metrics import Metric
from ann.storage import StorageError
from ann.stored import Stored

Floats = NDArray[np.float32]

_SAMPLE, _BLOCK = 65_536, 4096  # rows to learn from at most, and at a time
_CHUNK = 256  # rows that a thread makes narrower
_ORTHONORMAL = 1e-3  # how far a file's components may be from it


class Transform(ABC):
    """Makes vectors that a metric has prepared narrower, and queries likewise.

    Parameters
    ----------
    d_out : int
        Columns that come out, at most those that go in.
    """

    def __init__(self, d_out: int) -> None:
        self.d_out = validation.integer(d_out, "d_out", 1)

    @property
    @abstractmethod
    def params(self) -> dict[str, Any]:
        """The constructor's parameters, with the transform's ``kind``."""

    @property
    def columns(self) -> Floats | None:
        """What vectors are multiplied with (d_out, d); None where nothing is."""
        return None

    def check_metric(self, metric: Metric) -> None:  # noqa: B027  (most serve all)
        """Raise ValueError if the transform cannot serve a metric."""

    def check_width(self, d: int) -> None:
        """Raise ValueError if vectors of width ``d`` are too narrow."""
        if self.d_out > d:
            raise ValueError(
                f"d_out must be <= d={d}, the width of the vectors, got {self.d_out}"
            )

    def learn(self, X: Floats, metric: Metric) -> Self:
        """Learn from prepared vectors (n, d), if there is anything to; return self."""
        self.check_width(X.shape[1])
        return self

    def reduction(self, metric: Metric) -> Reduction:
        """Return what the kernels need; of a trained transform."""
        return Reduction(self.columns, self.d_out, metric.name == "cosine")

    def arrays(self) -> list[NDArray[Any]]:
        """Return the learned arrays."""
        return [] if self.columns is None else [self.columns]

    def saved(self) -> dict[str, NDArray[Any]]:
        """Return the learned arrays by name."""
        return {} if self.columns is None else {"transform.components": self.columns}

    def restore(self, d: int, stored: Stored) -> None:
        """Take over what ``saved`` returned."""
        self.check_width(d)

    def copy(self) -> Self:
        """Return an independent copy."""
        return copy.deepcopy(self)

    def untrained(self) -> Self:
        """Return a transform with the same parameters that has learned nothing."""
        return type(self)(**{k: v for k, v in self.params.items() if k != "kind"})

    def __repr__(self) -> str:
        shown = (f"{k}={v!r}" for k, v in self.params.items() if k != "kind")
        return f"{type(self).__name__}({', '.join(shown)})"


class Truncate(Transform):
    """Keeps the first ``d_out`` columns and drops the others.

    For embeddings of models that were trained to put what matters first (Kusupati et
    al., "Matryoshka representation learning", NeurIPS 2022), and for columns sorted by
    variance. Of others it loses more than :class:`PCA` does.

    Parameters
    ----------
    d_out : int
        Columns to keep, at most as many as the vectors have.

    Notes
    -----
    Under ``cosine`` what is left is scaled to norm 1 again; a vector of which nothing
    is left, as its first columns are all 0, is refused as a zero vector is.

    Examples
    --------
    >>> index = ann.HNSW("cosine", transform=ann.Truncate(256), refine=2).add(X)
    """

    @property
    def params(self) -> dict[str, Any]:
        """The constructor's parameters, with the transform's ``kind``."""
        return {"kind": "Truncate", "d_out": self.d_out}


class PCA(Transform):
    """Projects onto the ``d_out`` directions in which vectors differ most.

    Pearson 1901; Hotelling 1933. The first ``add`` finds them: the eigenvectors of the
    greatest eigenvalues of the vectors' second moments.

    Parameters
    ----------
    d_out : int
        Directions to keep, at most the width of the vectors.
    seed : int
        Of the sample of at most 65,536 vectors that it learns from.

    Notes
    -----
    The moments are about the mean under ``l2``: distances are of differences, which do
    not know the mean. (So it is not subtracted from what comes out, either.) Under
    ``ip`` and ``cosine`` they are about 0: a query's product with the mean is part of
    its product with every vector, and the direction of the mean is often the one that
    matters most; centring would drop it, or give the wrong product. Not for ``l1``,
    whose distances no rotation keeps.

    Under ``cosine`` what comes out is scaled to norm 1 again. A vector of which nothing
    is left, as it is orthogonal to all that is kept, is refused as a zero vector is.

    The same vectors, seed and metric give the same directions at any number of threads;
    of each, the component of the greatest size is positive.

    Examples
    --------
    >>> index = ann.HNSW("cosine", transform=ann.PCA(96), refine=4).add(X)
    """

    def __init__(self, d_out: int, *, seed: int = 0) -> None:
        super().__init__(d_out)
        self.seed = validation.integer(seed, "seed", 0)
        self._components: Floats | None = None  # orthonormal, the greatest first

    @property
    def params(self) -> dict[str, Any]:
        """The constructor's parameters, with the transform's ``kind``."""
        return {"kind": "PCA", "d_out": self.d_out, "seed": self.seed}

    @property
    def columns(self) -> Floats | None:
        """The directions (d_out, d), once they are known."""
        return self._components

    def check_metric(self, metric: Metric) -> None:
        """Raise ValueError for ``l1``."""
        if metric.name == "l1":
            raise ValueError(
                "transform must be None or a Truncate under the l1 metric, whose "
                f"distances no rotation keeps, got {self!r}"
            )

    def learn(self, X: Floats, metric: Metric) -> Self:
        """Learn the directions from prepared vectors (n, d) and return self."""
        super().learn(X, metric)
        few = kmeans.sample(X, _SAMPLE, np.random.default_rng(self.seed))
        with parallel.serial_blas():  # or the threads would show in the sums
            axes = _directions(few, metric.name == "l2")[: self.d_out]
        self._components = np.ascontiguousarray(axes, np.float32)
        return self

    def restore(self, d: int, stored: Stored) -> None:
        """Take over what ``saved`` returned."""
        super().restore(d, stored)
        rows = stored.finite("transform.components", (self.d_out, d))
        square = rows.astype(np.float64) @ rows.T.astype(np.float64)
        apart = np.abs(square - np.eye(self.d_out)).max()
        if apart > _ORTHONORMAL:
            raise StorageError(
                "array 'transform.components' must have orthonormal rows, got products "
                f"that are {apart:.3g} off"
            )
        self._components = rows


def _directions(X: Floats, centred: bool) -> NDArray[np.float64]:
    """Return the eigenvectors (d, d) of second moments, of the greatest first."""
    moments = np.zeros((X.shape[1], X.shape[1]))
    mean = X.mean(axis=0, dtype=np.float64) if centred else 0.0
    for first in range(0, len(X), _BLOCK):
        block = X[first : first + _BLOCK].astype(np.float64) - mean
        moments += block.T @ block
    _, axes = np.linalg.eigh(moments)
    axes = axes[:, ::-1].T
    largest = np.abs(axes).argmax(axis=1)
    signs: NDArray[np.float64] = np.sign(axes[np.arange(len(axes)), largest])
    return axes * signs[:, None]


def reduced(how: Reduction | None, X: Floats, name: str, threads: int) -> Floats:
    """Return prepared vectors (n, d) made narrower; as they are, without a reduction.

    Raises
    ------
    ValueError
        Nothing is left of one that has to have norm 1.
    """
    if how is None:
        return X
    out, lost = np.empty((len(X), how.width), np.float32), []

    def work(ranges: parallel.Ranges) -> None:
        for a, b in ranges:
            zero = reduce(how, X[a:b], out[a:b])
            if zero >= 0:
                lost.append(a + zero)

    parallel.run(work, len(X), _CHUNK, threads)
    if lost:
        raise ValueError(
            f"{name} must have no vector that the transform to {how.width} columns "
            f"makes zero under the cosine metric, got norm 0 in row {min(lost)}"
        )
    return out
