"""The codec that changes nothing: float32 rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann.codecs.base import Codec, Codes, Floats
from ann.kernels.stores import ROWS


class Float32(Codec):
    """Vectors as they are; what an index without a codec uses."""

    @property
    def params(self) -> dict[str, Any]:
        """Nothing but the kind."""
        return {"kind": "Float32"}

    def _fit(self, X: Floats, threads: int) -> None:
        pass

    def _encode(self, X: Floats, threads: int) -> Codes:
        return X.view(np.uint8)

    def _decode(self, codes: Codes, threads: int) -> Floats:
        return codes.view(np.float32)

    def _code_width(self) -> int:
        return 4 * (self.d or 0)

    @property
    def _top(self) -> int:
        return 255

    def pack(self, codes: Codes) -> NDArray[Any]:
        """Return the float32 rows again."""
        return codes.view(np.float32)

    def unpack(self, packed: NDArray[Any]) -> Codes:
        """Return the rows' bytes."""
        return packed.view(np.uint8)

    def store(self, packed: NDArray[Any], key: str) -> Any:
        """Return a store of rows."""
        return ROWS[key](packed)

    def row(self, d: int) -> NDArray[Any]:
        """Return one row."""
        return np.zeros((1, d), np.float32)

    def query_size(self, d: int) -> int:
        """Return the query's own width."""
        return d
