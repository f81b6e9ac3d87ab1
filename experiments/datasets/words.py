"""Word vectors as word2vec and GloVe write them, none of it trusted.

Text has one word a line, then its d numbers, set apart by spaces. word2vec and fastText
write ``n d`` on a line before; GloVe does not. Binary is that line, then of each word
its bytes, a space and d float32 in little-endian order; the C program ends a word with
a line break, others do not. A file is binary where its beginning has bytes that no
text has.
"""

from __future__ import annotations

import codecs
import itertools
import mmap
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.datasets.vectors import DataError
from experiments.encoding import marked

LONGEST = 2_000  # bytes of a word; the longest of the published files have some hundred

_BEGINNING = 1 << 16
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_HEADER = re.compile(rb"\d+ \d+")


class Words:
    """Words and their vectors.

    Parameters
    ----------
    words : n
    X : (n, d) float32, all of them finite
    """

    def __init__(self, words: Sequence[str], X: NDArray[np.float32]) -> None:
        self.words, self.X = list(words), X

    def __contains__(self, word: str) -> bool:
        return word in self._rows

    def row(self, word: str) -> int:
        """Return the row of a word, the first where it comes twice.

        Raises
        ------
        ValueError
            There is no such word.
        """
        if word not in self._rows:
            raise ValueError(f"a word must be one of {len(self.words)}, got {word!r}")
        return self._rows[word]

    @cached_property
    def _rows(self) -> dict[str, int]:
        backwards = reversed(list(enumerate(self.words)))
        return {word: row for row, word in backwards}


class _Row(NamedTuple):
    where: str
    word: bytes
    values: NDArray[np.float32]


def read(path: Path, limit: int | None = None) -> Words:
    r"""Read a file of word vectors.

    Parameters
    ----------
    limit : words to read, at most; published files have the frequent ones first

    Raises
    ------
    DataError
        The file is damaged, cut off, packed, or of another kind.
    OSError
        It cannot be read.

    Notes
    -----
    Words may have spaces in them, and bytes that are no UTF-8, which are written as
    ``\\xe9``: files that are in use have both. A first line of two whole numbers is
    taken for the header.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING)
        if beginning.startswith(b"\x1f\x8b"):
            raise DataError(f"{path}: must be unpacked first, got a gzip file")
        mark = marked(beginning)
        if mark not in (None, "utf-8-sig"):
            raise DataError(f"{path}: must be text in UTF-8, got {mark}")
        file.seek(len(codecs.BOM_UTF8) if mark else 0)
        binary = _NO_TEXT.search(beginning) is not None
        rows = _binary(path, file, limit) if binary else _text(path, file, limit)
        found = list(rows)
    words = [row.word.decode("utf-8", "backslashreplace") for row in found]
    X = np.stack([row.values for row in found])
    finite = np.isfinite(X).all(axis=1)
    if not finite.all():
        raise DataError(
            f"{found[finite.argmin()].where}: values must be finite in float32"
        )
    return Words(words, X)


def _text(path: Path, file: BinaryIO, limit: int | None) -> Iterator[_Row]:
    """Yield the rows of a text file; whether all are there, its header says."""
    start = file.tell()
    first = file.readline().strip(b" \r\n")
    n, d = None, first.count(b" ")
    if _HEADER.fullmatch(first):
        n, d = _header(path, first)
    else:
        file.seek(start)
    if d < 1:
        raise DataError(f"{path}: line 1 must be a word and its numbers, got {d}")
    count, after = 0, 1 if n is None else 2
    for line, text in enumerate(itertools.islice(file, limit), after):
        yield _parsed(f"{path}: line {line}", text.strip(b" \r\n"), d)
        count += 1
    if (n is not None and count != n and count != limit) or count == 0:
        raise DataError(f"{path}: must have {n or 1} words, got {count}")


def _parsed(where: str, text: bytes, d: int) -> _Row:
    word, *fields = text.rsplit(b" ", d)
    if len(fields) != d or not word:
        raise DataError(
            f"{where}: must be a word and {d} numbers, got {len(text.split(b' '))} "
            "fields"
        )
    try:
        with np.errstate(over="ignore"):
            values = np.array([float(field) for field in fields], np.float32)
    except ValueError as error:
        raise DataError(f"{where}: must be a word and {d} numbers: {error}") from None
    return _Row(where, word, values)


def _binary(path: Path, file: BinaryIO, limit: int | None) -> Iterator[_Row]:
    first = file.readline(_BEGINNING).strip(b" \r\n")
    if not _HEADER.fullmatch(first):
        raise DataError(
            f"{path}: line 1 of a binary file must be 'n d', got {first[:40]!r}"
        )
    n, d = _header(path, first)
    at, body = file.tell(), mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    least = at + n * (2 + 4 * d)
    if len(body) < least:
        raise DataError(
            f"{path}: must have at least {least} bytes for {n} words of d={d}, "
            f"got {len(body)}"
        )
    for row in range(min(n, limit or n)):
        where = f"{path}: word {row}"
        name, _, _ = body[at : at + LONGEST].partition(b" ")
        end = at + len(name) + 1
        if len(name) == LONGEST or not name.strip(b"\n"):
            raise DataError(f"{where}: must be of 1 to {LONGEST - 1} bytes and a space")
        if end + 4 * d > len(body):
            raise DataError(f"{where}: must have {d} values, got the end of the file")
        values = np.frombuffer(body, "<f4", d, end).astype(np.float32)
        yield _Row(where, name.lstrip(b"\n"), values)
        at = end + 4 * d
    more = len(body) - at
    if not limit and body[at:].strip(b"\n"):
        raise DataError(f"{path}: must end after {n} words, got {more} bytes more")


def _header(path: Path, first: bytes) -> tuple[int, int]:
    n, d = map(int, first.split(b" "))
    if n < 1 or d < 1:
        raise DataError(f"{path}: n and d must be at least 1, got n={n}, d={d}")
    return n, d
