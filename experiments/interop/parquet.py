"""Rows as one typed table in parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.datasets.cache import atomic
from experiments.plots.rows import read_cells
from experiments.results import ROWS, Row

if TYPE_CHECKING:
    import pyarrow as pa


def export(directory: Path, out: Path) -> Path:
    """Write the rows of a result directory, every column in its own type.

    Numbers that were not measured are null; parameters stay JSON. Rows of an earlier
    version have today's columns, as far as it knew them
    (:mod:`experiments.schema`); columns that this version does not know are text.

    Raises
    ------
    OSError
        When there are no rows.
    ValueError
        When a cell is not of its column's type.
    """
    import pyarrow as pa
    from pyarrow import parquet

    path = directory / ROWS
    if not path.is_file():
        raise FileNotFoundError(f"{path}: must be there")
    rows = list(read_cells(path))
    kinds = {"int": pa.int64(), "float": pa.float64()}
    known = {
        column.name: kinds.get(str(column.type).split(" ")[0], pa.string())
        for column in fields(Row)
    }
    try:
        columns = {
            name: _column([row[name] for row in rows], known.get(name, pa.string()))
            for name in (rows[0] if rows else ())
        }
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: {error}") from None
    with atomic(out) as temporary:
        parquet.write_table(pa.table(columns), temporary, compression="zstd")
    return out


def _column(cells: Sequence[str], kind: pa.DataType) -> pa.Array:
    """Return cells as an array of a type; those of numbers that are empty as null."""
    import pyarrow as pa

    if kind == pa.string():
        return pa.array(cells, kind)
    return pa.array([cell or None for cell in cells], pa.string()).cast(kind)
