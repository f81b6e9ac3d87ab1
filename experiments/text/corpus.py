"""A dataset that keeps its passages: one parquet table of text and vectors.

The columns are ``line``, ``label``, ``passage`` and ``embedding``. The id of a vector,
as in every dataset, is the number of its row. That the vectors are to be compared by
cosine, and which model they are from, stands in the metadata of the schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from experiments.datasets import parquet
from experiments.datasets.cache import atomic
from experiments.datasets.vectors import DataError, parsing, take
from experiments.text.passages import Passage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.text.encoders import Encoder

SUFFIX = ".parquet"
_TEXT = pa.schema(
    [("line", pa.int64()), ("label", pa.string()), ("passage", pa.string())]
)
_MODEL, _FINGERPRINT = b"ann.model", b"ann.fingerprint"


@dataclass(frozen=True, eq=False)
class Corpus:
    """Passages and their vectors.

    Parameters
    ----------
    passages : n of them
    vectors : (n, d) float32, of norm 1
    model : what they are from, as it was named then
    path : the file
    """

    passages: list[Passage]
    vectors: NDArray[np.float32]
    model: str
    path: Path


def write(
    path: Path,
    passages: Sequence[Passage],
    vectors: Iterable[NDArray[np.float32]],
    encoder: Encoder,
) -> None:
    """Write passages with their vectors, which come in blocks, in order."""
    blocks = iter(vectors)
    first = next(blocks)
    schema = _schema(first.shape[1], encoder)
    with (
        atomic(path) as temporary,
        pq.ParquetWriter(temporary, schema, use_dictionary=False) as writer,
    ):
        start = 0
        for block in chain([first], blocks):
            rows = passages[start : start + len(block)]
            writer.write_table(_table(rows, block, schema))
            start += len(block)


def _schema(d: int, encoder: Encoder) -> Any:
    about = {
        parquet.METRIC: b"cosine",
        _MODEL: encoder.name.encode(),
        _FINGERPRINT: encoder.fingerprint.encode(),
    }
    return pa.schema([*_TEXT, ("embedding", pa.list_(pa.float32(), d))], about)


def _table(
    passages: Sequence[Passage], vectors: NDArray[np.float32], schema: Any
) -> Any:
    values = pa.array(np.ascontiguousarray(vectors).ravel())
    embedding = pa.FixedSizeListArray.from_arrays(values, vectors.shape[1])
    lines, labels, texts = zip(*passages, strict=True)
    return pa.table([lines, labels, texts, embedding], schema=schema)


def read(path: Path) -> Corpus:
    """Read what `write` wrote.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is of another kind, or damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with parsing(path, "parquet"):
        schema = pq.read_schema(path)
        about = schema.metadata or {}
        if _MODEL not in about or not set(_TEXT.names) <= set(schema.names):
            raise DataError(
                f"{path}: must be a dataset that keeps its passages, as "
                f"'ann datasets embed' writes it, got columns {schema.names}"
            )
        model = about[_MODEL].decode()
        text = pq.read_table(path, columns=_TEXT.names).cast(_TEXT)
    if any(column.null_count for column in text.columns):
        raise DataError(f"{path}: {', '.join(_TEXT.names)} must not be null")
    columns = [column.to_pylist() for column in text.columns]
    passages = [Passage(*row) for row in zip(*columns, strict=True)]
    vectors = take(parquet.read(path).train, None, str(path))
    return Corpus(passages, vectors, model, path)
