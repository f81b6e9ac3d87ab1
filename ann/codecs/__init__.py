"""How a vector is stored and scored: float32 rows, scalar or product quantization."""

from ann.codecs.base import Codec
from ann.codecs.float32 import Float32
from ann.codecs.pq import PQ
from ann.codecs.sq import SQ

__all__ = ["PQ", "SQ", "Codec", "Float32"]
