"""Parquet files with a column of embeddings."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from experiments.datasets.vectors import (
    DataError,
    Vectors,
    canonical_metric,
    check_expansion,
    check_matrix,
    parsing,
)

METRIC = b"ann.metric"
"""The key of the schema's metadata under which a file may state its metric."""

_VIEWS = (pa.types.is_list_view, pa.types.is_large_list_view)
_USUAL = ("emb", "embedding", "embeddings", "vector")


def read(path: Path) -> Vectors:
    """Read the column that holds lists of numbers."""
    with parsing(path, "parquet"):
        file = pq.ParquetFile(path)
        name = _embedding_column(file.schema_arrow, path)
        _check_size(file, name, path)
        metric = _metric(file, path)
        column = file.read(columns=[name]).column(name)
    where = f"{path}: column {name!r}"
    blocks = [_matrix(chunk, where) for chunk in column.chunks if len(chunk)]
    widths = {block.shape[1] for block in blocks}
    if len(widths) != 1:
        raise DataError(f"{where}: rows must have one width d, got {sorted(widths)}")
    vectors = np.concatenate(blocks)
    check_matrix(vectors, where)
    return Vectors(vectors, None, metric, str(path))


def about(path: Path) -> tuple[int, int, str | None]:
    """Return the number of rows, their width, and the metric, from the first row."""
    with parsing(path, "parquet"):
        file = pq.ParquetFile(path)
        name = _embedding_column(file.schema_arrow, path)
        first = next(file.iter_batches(1, columns=[name]), None)
        d = 0 if first is None else len(first.column(name)[0])
        return file.metadata.num_rows, d, _metric(file, path)


def _metric(file: Any, path: Path) -> str | None:
    stated = (file.schema_arrow.metadata or {}).get(METRIC)
    return canonical_metric(stated.decode(), str(path)) if stated else None


def _embedding_column(schema: Any, path: Path) -> str:
    lists = [field.name for field in schema if _is_numeric_list(field.type)]
    chosen = lists if len(lists) == 1 else [name for name in lists if name in _USUAL]
    if len(chosen) != 1:
        raise DataError(
            f"{path}: needs one column of lists of numbers, or one of them named "
            f"{', '.join(_USUAL)}; got {lists or schema.names}"
        )
    return str(chosen[0])


def _is_numeric_list(kind: Any) -> bool:
    types = pa.types
    is_list = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    if not any(is_kind(kind) for is_kind in (*is_list, *_VIEWS)):
        return False
    return bool(types.is_floating(kind.value_type) or types.is_integer(kind.value_type))


def _check_size(file: Any, name: str, path: Path) -> None:
    """Refuse a column that would unfold to far more than the file holds."""
    # A walk in bounded memory, and first: pyarrow aborts the process where the metadata
    # asked for below is damaged, but reports the same damage when it reads.
    file.scan_contents(columns=[name])
    paths = [file.schema.column(i).path for i in range(len(file.schema))]
    # More than one where another column has this name, a dot and more.
    leaves = [i for i, path in enumerate(paths) if path.startswith(f"{name}.")]
    groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
    values = sum(group.column(leaf).num_values for group in groups for leaf in leaves)
    check_expansion(values, path.stat().st_size, f"{path}: column {name!r}")


def _matrix(chunk: Any, where: str) -> NDArray[Any]:
    if chunk.null_count:
        raise DataError(f"{where}: rows must not be null, got {chunk.null_count}")
    if any(is_view(chunk.type) for is_view in _VIEWS):
        chunk = chunk.cast(pa.large_list(chunk.type.value_type))
    lengths = pc.list_value_length(chunk)
    widths = pc.min_max(lengths)
    low, high = widths["min"].as_py(), widths["max"].as_py()
    if low != high:
        raise DataError(f"{where}: rows must have one width d, got {low} to {high}")
    values = chunk.flatten()
    if values.null_count:
        raise DataError(f"{where}: values must not be null, got {values.null_count}")
    matrix: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return matrix.reshape(len(chunk), high)
