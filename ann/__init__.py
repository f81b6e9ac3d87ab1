"""Approximate nearest neighbour search, written from scratch and compiled by Numba.

>>> import ann, numpy as np
>>> X = np.random.default_rng(0).standard_normal((1000, 32), dtype=np.float32)
>>> index = ann.HNSW(metric="cosine", M=16).add(X)
>>> ids, distances = index.search(X[:5], k=10, ef_search=64)

The names below are loaded when they are first used: importing ``ann`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ann._version import __version__ as __version__

if TYPE_CHECKING:
    from ann.codecs import PQ, SQ, RaBitQ
    from ann.diagnosis import audit
    from ann.fit import CodecWarning
    from ann.flat import Flat
    from ann.guard import NormWarning
    from ann.hnsw import HNSW
    from ann.index import Index
    from ann.ivf import IVF
    from ann.metrics import similarity
    from ann.monitor import Monitor
    from ann.neighbors import ANNTransformer
    from ann.precision import PrecisionWarning
    from ann.presets import PRESETS
    from ann.qg import QG
    from ann.saving import load
    from ann.storage import StorageError
    from ann.transforms import PCA, Truncate
    from ann.tuning import tune

__all__ = [
    "HNSW",
    "IVF",
    "PCA",
    "PQ",
    "PRESETS",
    "QG",
    "SQ",
    "ANNTransformer",
    "CodecWarning",
    "Flat",
    "Index",
    "Monitor",
    "NormWarning",
    "PrecisionWarning",
    "RaBitQ",
    "StorageError",
    "Truncate",
    "audit",
    "load",
    "similarity",
    "tune",
]

_HOMES = {
    "HNSW": "ann.hnsw",
    "IVF": "ann.ivf",
    "PCA": "ann.transforms",
    "PQ": "ann.codecs",
    "QG": "ann.qg",
    "RaBitQ": "ann.codecs",
    "SQ": "ann.codecs",
    "CodecWarning": "ann.fit",
    "Flat": "ann.flat",
    "Index": "ann.index",
    "Monitor": "ann.monitor",
    "NormWarning": "ann.guard",
    "PRESETS": "ann.presets",
    "PrecisionWarning": "ann.precision",
    "StorageError": "ann.storage",
    "Truncate": "ann.transforms",
    "audit": "ann.diagnosis",
    "load": "ann.saving",
    "similarity": "ann.metrics",
    "tune": "ann.tuning",
    "ANNTransformer": "ann.neighbors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ann' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
