"""Tables in parquet with a line for every query: how they are written, and read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experiments.datasets.cache import atomic

if TYPE_CHECKING:
    import pyarrow as pa

    from experiments.difficulty import Difficulty
    from experiments.results import Found, Record

Columns = Mapping[str, NDArray[Any]]


def read(path: Path, key: str, names: Sequence[str]) -> dict[str, Columns]:
    """Read columns of a table; empty without a file.

    Parameters
    ----------
    path : a parquet file
    key : a column of names; the lines of each are gathered, in their order
    names : further columns; those that the file lacks are absent

    Returns
    -------
    Of each key the columns, (nq,) each, float64 where they are not whole numbers;
    those of lists (nq, length). Where a number is missing, NaN.

    Raises
    ------
    ValueError
        When the file is malformed.
    """
    if not path.is_file():
        return {}
    from pyarrow import ArrowInvalid, parquet, string

    try:
        with parquet.ParquetFile(path) as file:
            there = {key, *names} & set(file.schema_arrow.names)
            table = file.read(columns=sorted(there))
    except (ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: {error}") from error
    if key not in there or not len(table):
        return {}
    encoded = table[key].cast(string()).combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy()
    lines = np.split(
        np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1]
    )
    columns = {name: _array(table[name]) for name in names if name in there}
    return {
        each: {name: column[of] for name, column in columns.items()}
        for each, of in zip(encoded.dictionary.to_pylist(), lines, strict=True)
    }


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    import pyarrow as pa

    if pa.types.is_list(column.type):
        flat: NDArray[Any] = column.combine_chunks().flatten().to_numpy()
        return flat.reshape(len(column), -1)
    numbers: NDArray[Any] = column.to_numpy()
    return numbers.astype(np.float64) if numbers.dtype == np.float32 else numbers


def write(path: Path, records: Sequence[Record]) -> None:
    """Write ``per_query.parquet``: one line per point and query.

    ``latency_us`` is the query's median over rounds, so percentiles of it are what
    ``rows.csv`` calls ``query_median_p50_us`` and so on.
    """
    import pyarrow as pa

    columns = {
        "latency_us": pa.float32(),
        "recall_at_1": pa.float32(),
        "recall_at_5": pa.float32(),
        "recall_at_10": pa.float32(),
        "distance_computations": pa.int32(),
    }
    tables = (
        (record.point.row_id, _measures(record, record.found))
        for record in records
        if record.samples and record.found is not None
    )
    _write(path, "row_id", columns, tables, compression_level=19)


def _measures(record: Record, found: Found) -> dict[str, Any]:
    at_1, at_5, at_10 = found.recalls.T
    nothing = [None] * len(at_1)
    counted = found.computations is not None
    return {
        "latency_us": np.median(record.latency_us, axis=0),
        "recall_at_1": at_1,
        "recall_at_5": at_5,
        "recall_at_10": at_10,
        "distance_computations": found.computations if counted else nothing,
    }


def write_latencies(path: Path, records: Sequence[Record]) -> None:
    """Write ``latencies.parquet``: one line per point, round and query."""
    import pyarrow as pa

    tables = (
        (record.point.row_id, _singles(record)) for record in records if record.samples
    )
    columns = {"round": pa.int16(), "latency_us": pa.float32()}
    _write(path, "row_id", columns, tables)


def _singles(record: Record) -> dict[str, Any]:
    latency_us = record.latency_us
    rounds, queries = np.indices(latency_us.shape)
    return {
        "query": queries.ravel(),
        "round": rounds.ravel(),
        "latency_us": latency_us.ravel(),
    }


def write_answers(path: Path, records: Sequence[Record]) -> None:
    """Write ``answers.parquet``: the ids that each point answered each query with."""
    import pyarrow as pa

    tables = (
        (record.point.row_id, {"ids": list(record.found.ids)})
        for record in records
        if record.found is not None
    )
    _write(path, "row_id", {"ids": pa.list_(pa.int32())}, tables)


def write_difficulty(path: Path, difficulties: Mapping[str, Difficulty]) -> None:
    """Write ``queries.parquet``: how hard each query of each dataset is."""
    import pyarrow as pa

    columns = {"lid": pa.float32(), "contrast": pa.float32()}
    tables = ((name, each._asdict()) for name, each in difficulties.items())
    _write(path, "dataset", columns, tables, compression_level=19)


def _write(
    path: Path,
    key: str,
    columns: Mapping[str, pa.DataType],
    tables: Iterable[tuple[str, Mapping[str, Any]]],
    **options: Any,
) -> None:
    """Write tables one below the other, whole or not at all.

    Queries are numbered where a table does not do so itself.
    """
    import pyarrow as pa
    from pyarrow import parquet

    names = {key: pa.dictionary(pa.int32(), pa.string()), "query": pa.int32()}
    schema, parts = pa.schema(names | dict(columns)), []
    for name, values in tables:
        n = len(values[next(iter(columns))])
        numbers = np.asarray(values.get("query", np.arange(n)), np.int32)
        numbered = {key: [name] * n, "query": numbers}
        arrays = {
            column: pa.array(values[column]).cast(kind)
            for column, kind in columns.items()
        }
        parts.append(pa.table(numbered | arrays, schema=schema))
    whole = pa.concat_tables(parts) if parts else schema.empty_table()
    with atomic(path) as temporary:
        parquet.write_table(whole, temporary, compression="zstd", **options)
