"""Rows as one typed table in parquet."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from experiments.datasets.cache import atomic
from experiments.results import ROWS, Row


def export(directory: Path, out: Path) -> Path:
    """Write the rows of a result directory, every column in its own type.

    Numbers that were not measured are null; parameters stay JSON. Columns that a run of
    another version has, and this one does not know, are text.

    Raises
    ------
    OSError
        When there are no rows.
    ValueError
        When a cell is not of its column's type.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    path = directory / ROWS
    if not path.is_file():
        raise FileNotFoundError(f"{path}: must be there")
    with path.open(encoding="utf-8") as file:
        columns = file.readline().rstrip("\n").split(",")
    kinds = {"int": pa.int64(), "float": pa.float64()}
    known = {
        column.name: kinds.get(str(column.type).split(" ")[0], pa.string())
        for column in fields(Row)
    }
    options = csv.ConvertOptions(
        column_types={name: known.get(name, pa.string()) for name in columns},
        null_values=[""],
        strings_can_be_null=False,
    )
    lines = csv.ParseOptions(newlines_in_values=True)  # a label may have some
    try:
        table = csv.read_csv(path, parse_options=lines, convert_options=options)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: {error}") from None
    with atomic(out) as temporary:
        parquet.write_table(table, temporary, compression="zstd")
    return out
