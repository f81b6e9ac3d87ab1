"""How a vector is stored and scored: rows, scalar or product quantization, RaBitQ."""

from ann.codecs.base import Codec
from ann.codecs.float32 import Float32
from ann.codecs.pq import PQ
from ann.codecs.rabitq import RaBitQ
from ann.codecs.sq import SQ

__all__ = ["PQ", "SQ", "Codec", "Float32", "RaBitQ"]
