"""Scalar quantization: each component by itself, in 8 or 4 bits."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ann import validation
from ann.codecs.base import Codec, Codes, Floats
from ann.kernels import int8, sq

_SAMPLE, _TRIED = 65_536, 2048  # rows for the range, and to try steps on
_SHARES = np.geomspace(1.0, 0.05, 24, dtype=np.float32)  # of the range, tried in turn
_BLOCK = 8192  # rows
_FEWEST = 32
_WIDEST = 2**13  # components: a 32-bit sum holds 510² for each


class SQ(Codec):
    """Scalar quantizer: ``x[j] ≈ low[j] + step * code[j]``.

    All components share one step, so that distances are sums of integers, which the
    processor adds up four to a lane; the step is the one that loses least in squared
    error, and values beyond the codes are clipped. With 8 bits that is close to the
    widest component's range, with 4 bits it leaves out the tails. Components of very
    different spread should be scaled alike first, or be refined.

    Parameters
    ----------
    bits : {8, 4}
        Bits a component.

    Attributes
    ----------
    low_ : (d,) float32
        After ``train``.
    step_ : () float32

    Notes
    -----
    A query is rounded too: to signed bytes for ``ip`` and ``cosine``, to the grid of
    8-bit codes for ``l2`` and ``l1`` (with 4-bit codes as well, whose steps it divides
    by 16).

    Examples
    --------
    >>> sq = SQ(bits=8).train(X)
    >>> codes = sq.encode(X)  # (n, d) uint8
    >>> approximately_X = sq.decode(codes)
    """

    _learned: ClassVar[tuple[str, ...]] = ("low_", "step_")
    low_: Floats
    step_: Floats  # of no dimension

    def __init__(self, bits: int = 8) -> None:
        self.bits = validation.one_of(bits, "bits", (8, 4))

    @property
    def params(self) -> dict[str, Any]:
        """The constructor's parameters, with the codec's ``kind``."""
        return {"kind": "SQ", "bits": self.bits}

    @property
    def _top(self) -> int:
        return int(2**self.bits - 1)

    @property
    def fewest(self) -> int:
        """32: fewer do not show the range."""
        return _FEWEST

    def check_width(self, d: int) -> None:
        """Raise ValueError above 8,192 components."""
        super().check_width(d)
        if d > _WIDEST:
            raise ValueError(f"X must have at most {_WIDEST} columns for SQ, got {d}")

    def _shapes(self, d: int) -> dict[str, tuple[int, ...]]:
        return {"low_": (d,), "step_": ()}

    def _fit(self, X: Floats, threads: int) -> None:
        sample, tried = _evenly(X, _SAMPLE), _evenly(X, _TRIED)
        low, high = sample.min(axis=0), sample.max(axis=0)
        widest = (high / 2 - low / 2).max()
        mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        least = np.inf
        for centre in (low / 2 + high / 2, mean):
            for reach in widest * _SHARES:
                start, step = centre - reach, np.float32(reach * 2 / self._top)
                error = _error(tried, start, step, self._top)
                if error < least:
                    least, self.low_, self.step_ = error, start, np.array(step)

    def _encode(self, X: Floats, threads: int) -> Codes:
        codes = np.empty(X.shape, np.uint8)
        for start in range(0, len(X), _BLOCK):
            block = X[start : start + _BLOCK]
            coded = _rounded(block, self.low_, self.step_, self._top)
            codes[start : start + _BLOCK] = coded
        return codes

    def _decode(self, codes: Codes, threads: int) -> Floats:
        return self.low_ + self.step_ * codes.astype(np.float32)

    def _code_width(self) -> int:
        return len(self.low_)

    def _half(self) -> int:
        """Return how many components begin a byte."""
        d = self._code_width()
        return d if self.bits == 8 else -(-d // 2)

    def _row(self) -> int:
        """Return the bytes of a stored code."""
        return -(-self._half() // int8.STEP) * int8.STEP

    def pack(self, codes: Codes) -> NDArray[Any]:
        """Return rows of d bytes, or for 4 bits ceil(d / 2), to a multiple of 16."""
        packed, h = np.zeros((len(codes), self._row()), np.uint8), self._half()
        packed[:, :h] = codes[:, :h]
        packed[:, : codes.shape[1] - h] |= codes[:, h:] << np.uint8(4)
        return packed

    def unpack(self, packed: NDArray[Any]) -> Codes:
        """Undo ``pack``."""
        d, h = self._code_width(), self._half()
        if self.bits == 8:
            return packed[:, :d]
        return np.hstack([packed[:, :h] & 15, packed[:, : d - h] >> 4])

    def store(self, packed: NDArray[Any], key: str) -> Any:
        """Return the kernels' store."""
        grid = np.float32(self.step_ / (1 if self.bits == 8 else 16))
        nothing = np.empty(0, np.float32)
        return sq.STORES[self.bits, key](packed, self.low_, grid, self._half(), nothing)

    def square_norms(self, codes: Codes) -> Floats:
        """Return the squared norms of the vectors that codes stand for."""
        norms = np.empty(len(codes), np.float32)
        for start in range(0, len(codes), _BLOCK):
            decoded = self._decode(codes[start : start + _BLOCK], 1)
            np.einsum("ij,ij->i", decoded, decoded, out=norms[start : start + _BLOCK])
        return norms

    def query_size(self, d: int) -> int:
        """Return the room for a query's integers, 16 bits each at most."""
        return sq.HEAD + self._row()


def _evenly(X: Floats, most: int) -> Floats:
    """Return at most so many rows, evenly spaced."""
    return X[:: -(-len(X) // most)]


def _rounded(X: Floats, low: Floats, step: Any, top: int) -> Floats:
    """Return the nearest codes as float32; where there is no spread, 0."""
    spread = step >= np.finfo(np.float32).tiny
    scale = np.float32(1 / step if spread else 0)
    with np.errstate(over="ignore"):  # what is far out of range is clipped anyway
        codes: Floats = np.clip(np.rint((X - low) * scale), 0, top)
    return codes


def _error(X: Floats, low: Floats, step: Any, top: int) -> float:
    """Return the sum of squares of what coding loses."""
    lost = (X - low) - step * _rounded(X, low, step, top)
    return float(np.einsum("ij,ij->", lost, lost, dtype=np.float64))
