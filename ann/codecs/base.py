"""The Codec contract."""

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import parallel, validation
from ann.metrics import LONGEST, Metric, check_norms, row_norms
from ann.stored import Stored

Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]
Sizes = NDArray[np.int64]
Labels = NDArray[np.int32]
_MIDDLE, _BLOCK = 1024, 8192  # rows
_FAR, _FEW = 10, 100  # times as far as the median row; one row in so many
_LONGEST = 4 * LONGEST  # norm; an IVF codes differences of vectors that metrics take


class Codec(ABC):
    """Turns vectors into small codes, and scores a query against them.

    Usable alone (``train``, ``encode``, ``decode``) or inside an index. Learned arrays
    end in ``_``.
    """

    _learned: ClassVar[tuple[str, ...]] = ()  # names of the arrays that training sets

    @property
    @abstractmethod
    def params(self) -> dict[str, Any]:
        """The constructor's parameters, with the codec's ``kind``."""

    @abstractmethod
    def _fit(self, X: Floats, threads: int) -> None: ...

    @abstractmethod
    def _encode(self, X: Floats, threads: int) -> Codes: ...

    @abstractmethod
    def _decode(self, codes: Codes, threads: int) -> Floats: ...

    @abstractmethod
    def _code_width(self) -> int:
        """Return how many components a code has."""

    @property
    @abstractmethod
    def _top(self) -> int:
        """The largest value of a component."""

    @abstractmethod
    def pack(self, codes: Codes) -> NDArray[Any]:
        """Return codes as an index stores them: two 4-bit codes in a byte."""

    @abstractmethod
    def unpack(self, packed: NDArray[Any]) -> Codes:
        """Undo ``pack``."""

    @abstractmethod
    def store(self, packed: NDArray[Any], key: str) -> Any:
        """Return the kernels' NamedTuple of stored vectors under a metric's key."""

    @abstractmethod
    def query_size(self, d: int) -> int:
        """Return how many float32 a prepared query of width ``d`` takes in a kernel."""

    # --- how consecutive lists of codes lie, where a search scans them ----------------

    @property
    def block(self) -> int:
        """Vectors that a scan scores at a time; each list begins at a multiple."""
        return 1

    def arrange(self, packed: NDArray[Any], sizes: Sizes) -> NDArray[Any]:
        """Return packed codes as a scan of lists of ``sizes`` (nlist,) wants them."""
        return packed

    def disarrange(self, arranged: NDArray[Any], sizes: Sizes) -> NDArray[Any]:
        """Undo ``arrange``."""
        return arranged

    def scan_store(self, arranged: NDArray[Any], key: str) -> Any:
        """Return the kernels' NamedTuple of arranged codes, for scans only."""
        return self.store(arranged, key)

    def scan_query_size(self, d: int) -> int:
        """Return how many float32 a prepared query of width ``d`` takes in a scan."""
        return self.query_size(d)

    # --- an IVF's residuals: vectors less their list's centroid -----------------------

    def codes_residuals(self, metric: Metric) -> bool:
        """Whether an IVF gives residuals to the codec, if it comes untrained."""
        return False

    def train_residuals(self, X: Floats, threads: int) -> None:
        """Learn from residuals (n, d)."""
        self.train(X, threads=threads)

    def related(
        self, codes: Codes, residuals: Floats, labels: Labels, centroids: Floats,
        key: str, threads: int,
    ) -> tuple[Codes, Floats]:  # fmt: skip
        """Return codes of residuals, and what scans need beside them (n,) or (0,).

        ``labels`` (n,) tells the lists, whose ``centroids`` (nlist, d) are taken from
        where queries are.
        """
        raise NotImplementedError

    def has_cross(self, key: str) -> bool:
        """Whether ``related`` returns something for scans under a metric's key."""
        return False

    def residual_store(
        self, arranged: NDArray[Any], cross: Floats, centroids: Floats, key: str
    ) -> Any:
        """Return ``scan_store`` of residuals' codes; ``cross`` is from ``related``."""
        raise NotImplementedError

    @property
    def is_trained(self) -> bool:
        """Whether ``train`` has run."""
        return all(hasattr(self, name) for name in self._learned)

    @property
    def fewest(self) -> int:
        """Vectors to learn from, at least: an index keeps fewer as float32 at first."""
        return 1

    @property
    def d(self) -> int | None:
        """Width of the vectors that the codec was trained on; None before."""
        return getattr(self, "_d", None)

    def train(self, X: ArrayLike, *, threads: int | None = None) -> Self:
        """Learn from ``X`` (n, d) and return self; on all threads by default.

        Raises
        ------
        ValueError
            ``X`` is empty, not finite, has a norm above 4e18, or a width that the codec
            cannot take.

        Notes
        -----
        Outliers, at most 1 row in 100 and ten times as far from the middle as the
        median row, are not learnt from. They have codes, if far from them, while the
        grid or the codewords remain fine where the others are.
        """
        vectors = validation.vectors(X, "X")
        if len(vectors) == 0:
            raise ValueError("X must have at least 1 row to train on, got 0")
        self._check_norms(vectors, "X")
        self.check_width(vectors.shape[1])
        usual = without_outliers(vectors)
        self._fit(usual, validation.threads(threads, parallel.available()))
        self._d = vectors.shape[1]
        return self

    def encode(self, X: ArrayLike, *, threads: int | None = None) -> Codes:
        """Return the codes of ``X`` (n, d): uint8, one component a column.

        Raises
        ------
        ValueError
            Not trained, or ``X`` is not finite, of another width, or for ``PQ`` has a
            norm above 4e18.
        """
        self._check_trained()
        vectors = validation.vectors(X, "X", self.d)
        return self._encode(vectors, validation.threads(threads, parallel.available()))

    def decode(self, codes: ArrayLike, *, threads: int | None = None) -> Floats:
        """Return the (n, d) float32 vectors that codes stand for.

        Raises
        ------
        ValueError
            Not trained, or ``codes`` are no codes of this codec.
        """
        self._check_trained()
        plain = self._checked(codes)
        return self._decode(plain, validation.threads(threads, parallel.available()))

    def _checked(self, codes: ArrayLike) -> Codes:
        """Return codes as bytes; raise ValueError if they cannot be this codec's."""
        array = np.asarray(validation.unmasked(codes, "codes"))
        width = self._code_width()
        if array.dtype.kind not in "iu":
            raise ValueError(f"codes must be integers, got dtype {array.dtype}")
        if array.ndim != 2 or array.shape[1] != width:
            raise ValueError(f"codes must have shape (n, {width}), got {array.shape}")
        if array.size and (array.min() < 0 or array.max() > self._top):
            worst = array.min() if array.min() < 0 else array.max()
            raise ValueError(f"codes must be in [0, {self._top}], got {worst}")
        return np.ascontiguousarray(array, dtype=np.uint8)

    def check_width(self, d: int) -> None:
        """Raise ValueError if vectors of width ``d`` cannot be coded."""
        if self.d is not None and d != self.d:
            raise ValueError(f"X must have d={self.d} columns for this codec, got {d}")

    def check_metric(self, metric: Metric) -> None:  # noqa: B027  (most serve all)
        """Raise ValueError if the codec cannot serve a metric."""

    @property
    def columns(self) -> Floats | None:
        """Columns (d, d) of the rotation that ``project`` applies, if there is one."""
        return None

    def project(self, Q: Floats) -> Floats:
        """Return queries in the space that the codes live in."""
        return Q

    def arrays(self) -> list[NDArray[Any]]:
        """Return the learned arrays."""
        return [getattr(self, name) for name in self._learned if hasattr(self, name)]

    def _shapes(self, d: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the learned arrays, which are float32."""
        return {}

    def saved(self) -> dict[str, NDArray[Any]]:
        """Return the learned arrays by name; none before ``train``."""
        if not self.is_trained or self.d is None:
            return {}
        return {f"codec.{name}": getattr(self, name) for name in self._shapes(self.d)}

    def restore(self, d: int, stored: Stored) -> None:
        """Take over what ``saved`` returned."""
        self.check_width(d)
        for name, shape in self._shapes(d).items():
            setattr(self, name, stored.finite(f"codec.{name}", shape))
        self._d = d

    def row(self, d: int) -> NDArray[Any]:
        """Return one vector of width ``d`` in stored form; of a trained codec."""
        return self.pack(np.zeros((1, self._code_width()), np.uint8))

    def copy(self) -> Self:
        """Return an independent copy, learned state included."""
        return copy.deepcopy(self)

    def untrained(self) -> Self:
        """Return a codec with the same parameters that has learned nothing."""
        return type(self)(**{k: v for k, v in self.params.items() if k != "kind"})

    def _check_norms(self, X: Floats, name: str) -> None:
        check_norms(X, name, _LONGEST)

    def _check_trained(self) -> None:
        if not self.is_trained:
            name = type(self).__name__
            raise ValueError(f"{name} must be trained first: call train(X)")

    def __repr__(self) -> str:
        shown = (f"{k}={v!r}" for k, v in self.params.items() if k != "kind")
        return f"{type(self).__name__}({', '.join(shown)})"


def without_outliers(X: Floats) -> Floats:
    """Return the rows that tell what is usual: ``X`` itself if all do.

    With 50 of 50,000 sentence embeddings times 1,000, recall@10 of 8-bit codes with
    ``refine`` was 0.13 instead of 0.98: one step of the grid held all the others.
    """
    middle = np.median(X[:: -(-len(X) // _MIDDLE)], axis=0)
    apart = np.concatenate(
        [row_norms(X[at : at + _BLOCK] - middle) for at in range(0, len(X), _BLOCK)]
    )
    usual = np.median(apart)
    far = apart > _FAR * usual
    few = 0 < np.count_nonzero(far) <= len(X) // _FEW
    return X[~far] if few and usual else X


def pack_nibbles(low: Codes, high: Codes) -> Codes:
    """Return two 4-bit codes a byte."""
    return low | (high << np.uint8(4))
