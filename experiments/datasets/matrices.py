"""Matrices of numbers as text: CSV, and what ``numpy.savetxt`` writes.

One vector a line, its values set apart by commas, semicolons, tabs or spaces; gzip is
unpacked. A first line of names, or of the columns' numbers, is no vector, and neither
is one that begins with #. Columns that are no values, by their name or because they
count the rows, are refused: as a coordinate they would decide every distance.
"""

from __future__ import annotations

import gzip
import itertools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from experiments.datasets.vectors import DataError, check_expansion, parsing
from experiments.encoding import marked

NO_VALUES = ("", "class", "id", "index", "label", "target", "unnamed: 0")
"""Names of columns that hold no coordinate; the last is an index that pandas wrote."""

_LONGEST = 1 << 24  # letters of a line; at 100,000 columns there are 160 for a value
_LOOKED_AT = 50  # lines that tell a matrix from word vectors


def read(path: Path) -> NDArray[np.float64]:
    """Read a matrix (n, d) from a text file.

    Raises
    ------
    DataError
        The file holds something else than numbers, rows of several widths, or a column
        that is no coordinate.
    OSError
        It cannot be read.
    """
    with parsing(path, "CSV"):
        first = next(_lines(path), "")
        separator = _separator(first)
        names = _names(_fields(first, separator))
        lines: Iterator[str] = itertools.islice(_lines(path), bool(names), None)
        X = _parsed(lines, separator)
    for name in names:
        if name.strip().lower() in NO_VALUES:
            raise DataError(
                f"{path}: every column must be a coordinate of the vectors, got one "
                f"named {name!r}: leave it out"
            )
    if min(X.shape) < 1:
        raise DataError(f"{path}: must hold at least 1 vector, got none")
    if _counts(X[:, 0]) and X.shape[1] > 1:
        raise DataError(
            f"{path}: every column must be a coordinate of the vectors, got a first "
            "one that counts the rows: leave it out (index=False in pandas)"
        )
    return X


def is_matrix(path: Path) -> bool:
    """Return whether a text file is a matrix rather than word vectors.

    Word vectors have a word at the beginning of each line, or a first line that says
    how many numbers follow it.
    """
    try:
        lines = list(itertools.islice(_lines(path), _LOOKED_AT))
    except (DataError, UnicodeDecodeError):
        return False
    head, *others = [_fields(line, _separator(line)) for line in lines] or [[]]
    if others and head[1:] == [str(len(others[0]) - 1)]:
        return False  # what word2vec begins with; its words may be numbers, too
    numbers = [_is_number(field) for field in head]
    named = bool(others) and not any(numbers)
    return (named or all(numbers)) and all(map(_is_number, itertools.chain(*others)))


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines with something on them, but for comments."""
    with _opened(path) as file:
        size, total = path.stat().st_size, 0
        while line := file.readline(_LONGEST):
            total += len(line)
            check_expansion(total, size, str(path))
            if len(line) == _LONGEST:
                raise DataError(f"{path}: lines must have below {_LONGEST} letters")
            if line.strip() and not line.startswith("#"):
                yield line


def _opened(path: Path) -> TextIO:
    packed = path.suffix.lower() == ".gz"
    with gzip.open(path, "rb") if packed else path.open("rb") as raw:
        encoding = marked(raw.read(4)) or "utf-8"
    if packed:
        return gzip.open(path, "rt", encoding=encoding)
    return path.open(encoding=encoding)


def _separator(line: str) -> str | None:
    """Return what sets values apart; None stands for any white space."""
    return next((sign for sign in ",;\t" if sign in line), None)


def _fields(line: str, separator: str | None) -> list[str]:
    return [field.strip().strip('"') for field in line.strip("\r\n").split(separator)]


def _names(first: Sequence[str]) -> Sequence[str]:
    """Return the names of columns in a first line; none where it is a vector."""
    counted = [str(i) for i in range(len(first))]
    if all(map(_is_number, first)) and not (len(first) > 2 and first == counted):
        return ()
    return first


def _parsed(lines: Iterator[str], separator: str | None) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "loadtxt: input contained no data")
        X: NDArray[np.float64] = np.loadtxt(
            lines, delimiter=separator, quotechar='"', ndmin=2
        )
    return X


def _counts(column: NDArray[Any]) -> bool:
    """Return whether a column is 0, 1, 2 and so on, or begins at 1."""
    n = len(column)
    return n > 2 and column[0] in (0, 1) and bool((np.diff(column) == 1).all())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
