"""Passages turned into a dataset, piece by piece, so that a killed run goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.datasets.cache import atomic
from experiments.text import corpus
from experiments.text.encoders import checked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.text.encoders import Encoder
    from experiments.text.passages import Passage

PIECE = 256
"""Passages that are encoded together: what a kill can cost."""

_SCHEMA = 1


@dataclass(frozen=True)
class Embedded:
    """What became of the passages: n of width d, so many found, so many cut."""

    n: int
    d: int
    found: int
    cut: int


def embed(
    passages: Sequence[Passage],
    encoder: Encoder,
    out: Path,
    *,
    cache: Path,
    done: Callable[[int], None] = lambda count: None,
) -> Embedded:
    """Write the dataset of some passages, which appears whole or not at all.

    Each piece of the vectors is kept in `cache` until the dataset is written, under a
    name of its texts and of the encoder. So the same command goes on after a kill, and
    the vectors do not depend on where it struck.

    Parameters
    ----------
    passages : at least 1
    out : the parquet file, see `corpus`
    cache : folder of the pieces
    done : told how many more passages have their vectors

    Raises
    ------
    ValueError
        The encoder gives what are not unit vectors of one width.
    """
    batches = [passages[i : i + PIECE] for i in range(0, len(passages), PIECE)]
    pieces = [_Piece.of(batch, encoder, cache / "embeddings") for batch in batches]
    found, cut, widths = 0, 0, set()
    for piece in pieces:
        vectors = piece.read()
        found += 0 if vectors is None else len(piece.texts)
        widths.add((piece.make() if vectors is None else vectors).shape[1])
        cut += encoder.cut(piece.texts)
        done(len(piece.texts))
    if len(widths) != 1:
        raise ValueError(
            f"{encoder.name}: vectors must have one width d, got {sorted(widths)}"
        )
    corpus.write(out, passages, _vectors(pieces), encoder)
    for piece in pieces:
        piece.path.unlink(missing_ok=True)
    return Embedded(len(passages), widths.pop(), found, cut)


def _vectors(pieces: Sequence[_Piece]) -> Iterator[NDArray[np.float32]]:
    """Yield the pieces; one that another process took away is made again."""
    for piece in pieces:
        vectors = piece.read()
        yield piece.make() if vectors is None else vectors


@dataclass(frozen=True)
class _Piece:
    """The vectors of some texts, on disk."""

    texts: list[str]
    encoder: Encoder
    path: Path

    @classmethod
    def of(cls, batch: Sequence[Passage], encoder: Encoder, folder: Path) -> _Piece:
        texts = [passage.text for passage in batch]
        depends = json.dumps([_SCHEMA, encoder.fingerprint, texts])
        name = hashlib.sha256(depends.encode()).hexdigest()
        return cls(texts, encoder, folder / f"{name}.npy")

    def read(self) -> NDArray[np.float32] | None:
        """Return the vectors, or None where they are absent or damaged."""
        try:
            vectors = np.load(self.path, allow_pickle=False)
            return checked(vectors, len(self.texts), str(self.path))
        except (OSError, ValueError, EOFError):
            return None

    def make(self) -> NDArray[np.float32]:
        """Encode the texts and keep their vectors."""
        vectors = self.encoder.encode(self.texts, "passage")
        vectors = checked(vectors, len(self.texts), self.encoder.name)
        with atomic(self.path) as temporary:
            np.save(temporary, vectors)
        return vectors
