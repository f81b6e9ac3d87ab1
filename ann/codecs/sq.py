"""Scalar quantization: each component by itself, in 8 or 4 bits."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ann import validation
from ann.codecs.base import Codec, Codes, Floats, pack_nibbles
from ann.kernels import stores

_SAMPLE = 65_536  # rows that training looks at, evenly spaced
_SHARES = np.linspace(1.0, 0.4, 13, dtype=np.float32)  # of the range, tried in turn
_BLOCK = 8192  # rows


class SQ(Codec):
    """Scalar quantizer: ``x[j] ≈ low[j] + step[j] * code[j]``.

    Each component has its own range, the interval around the middle of its values that
    loses least in squared error; values outside are clipped. With 8 bits that is close
    to the whole range, with 4 bits it leaves out the tails.

    Parameters
    ----------
    bits : {8, 4}
        Bits a component.

    Attributes
    ----------
    low_, step_ : (d,) float32
        After ``train``.

    Examples
    --------
    >>> sq = SQ(bits=8).train(X)
    >>> codes = sq.encode(X)  # (n, d) uint8
    >>> approximately_X = sq.decode(codes)
    """

    _learned: ClassVar[tuple[str, ...]] = ("low_", "step_")
    low_: Floats
    step_: Floats

    def __init__(self, bits: int = 8) -> None:
        self.bits = validation.one_of(bits, "bits", (8, 4))

    @property
    def params(self) -> dict[str, Any]:
        """The constructor's parameters, with the codec's ``kind``."""
        return {"kind": "SQ", "bits": self.bits}

    @property
    def _top(self) -> int:
        return int(2**self.bits - 1)

    def _fit(self, X: Floats, threads: int) -> None:
        sample = X[:: -(-len(X) // _SAMPLE)]
        low, high = sample.min(axis=0), sample.max(axis=0)
        middle, half = low / 2 + high / 2, high / 2 - low / 2
        least = np.full(X.shape[1], np.inf)
        for share in _SHARES:
            step = half * (2 * share / self._top)
            self._try(sample, middle - half * share, step, least)

    def _try(self, sample: Floats, low: Floats, step: Floats, least: Floats) -> None:
        """Take a range for the components where its squared error is least so far."""
        error = np.zeros(len(low))
        for start in range(0, len(sample), _BLOCK):
            block = sample[start : start + _BLOCK]
            decoded = low + step * _rounded(block, low, step, self._top)
            error += np.square(block - decoded).sum(axis=0)
        better = error < least
        least[better] = error[better]
        first = not self.is_trained
        self.low_ = low if first else np.where(better, low, self.low_)
        self.step_ = step if first else np.where(better, step, self.step_)

    def _encode(self, X: Floats, threads: int) -> Codes:
        codes = np.empty(X.shape, np.uint8)
        for start in range(0, len(X), _BLOCK):
            block = X[start : start + _BLOCK]
            codes[start : start + _BLOCK] = _rounded(
                block, self.low_, self.step_, self._top
            )
        return codes

    def _decode(self, codes: Codes, threads: int) -> Floats:
        return self.low_ + self.step_ * codes.astype(np.float32)

    def _code_width(self) -> int:
        return len(self.low_)

    def pack(self, codes: Codes) -> NDArray[Any]:
        """Return (n, d) bytes, or for 4 bits (n, ceil(d / 2))."""
        if self.bits == 8:
            return codes
        h = -(-codes.shape[1] // 2)
        high = np.zeros((len(codes), h), np.uint8)
        high[:, : codes.shape[1] - h] = codes[:, h:]
        return pack_nibbles(codes[:, :h], high)

    def unpack(self, packed: NDArray[Any]) -> Codes:
        """Undo ``pack``."""
        if self.bits == 8:
            return packed
        d = len(self.low_)
        return np.hstack([packed & 15, packed >> 4])[:, :d]

    def store(self, packed: NDArray[Any], key: str) -> Any:
        """Return the kernels' store."""
        name = {"l2": "L2", "dot": "Dot", "l1": "L1"}[key] + f"SQ{self.bits}"
        d = len(self.low_)
        padding = (0, self.query_size(d) - 1 - d)
        low, step = np.pad(self.low_, padding), np.pad(self.step_, padding)
        return getattr(stores, name)(packed, low, step)

    def query_size(self, d: int) -> int:
        """Return the width in whole bytes of codes, and one for a constant."""
        return 1 + (d if self.bits == 8 else 2 * -(-d // 2))


def _rounded(X: Floats, low: Floats, step: Floats, top: int) -> Floats:
    """Return the nearest codes as float32; a component without spread has code 0."""
    spread = step >= np.finfo(np.float32).tiny
    scale = np.divide(1, step, out=np.zeros_like(step), where=spread)
    codes: Floats = np.clip(np.rint((X - low) * scale), 0, top)
    return codes
