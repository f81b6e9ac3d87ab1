"""What several libraries share: parameters of HNSW, norms, the size on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from experiments.adapter import Params

if TYPE_CHECKING:
    from experiments.adapter import Floats, Vectors


class GraphBuild(Params):
    """Constructor parameters of HNSW, under the paper's names."""

    M: int = Field(16, ge=2)
    ef_construction: int = Field(200, ge=1)


class GraphSearch(Params):
    """Search parameters of HNSW."""

    ef_search: int = Field(64, ge=1)


def normalised(X: Vectors) -> Vectors:
    """Return rows of norm 1; zero rows stay zero."""
    import numpy as np

    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return np.ascontiguousarray(X / np.where(norms > 0, norms, 1))


def unsquared(squares: Floats) -> Floats:
    """Return square roots; what rounding left below zero becomes zero."""
    import numpy as np

    roots: Floats = np.sqrt(np.maximum(squares, 0))
    return roots


def saved_bytes(save: Callable[[Path], Any]) -> int:
    """Return the size of the files that ``save`` writes into a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        files = (path for path in Path(folder).rglob("*") if path.is_file())
        return sum(path.stat().st_size for path in files)
