"""Vectors from a local file of any common format, none of it trusted."""

import re
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.datasets.vectors import (
    DataError,
    Vectors,
    canonical_metric,
    check_expansion,
    from_arrays,
    parsing,
)


def read(path: Path) -> Vectors:
    """Read `path` by its suffix.

    Raw formats (`.npy`, `*vecs`, `*bin`) are mapped rather than read, so that a sample
    of a large file costs the sample.
    """
    try:
        reader = READERS[suffix(path)]
    except KeyError:
        raise ValueError(
            f"{path}: suffix must be one of {', '.join(READERS)}, got {path.suffix!r}"
        ) from None
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    return reader(path)


def suffix(path: Path) -> str:
    """Return what a file's name ends in, in small letters; of a packed one, both."""
    parts = [part.lower() for part in path.suffixes[-2:]]
    return "".join(parts if parts[-1:] == [".gz"] else parts[-1:])


def _hdf5(path: Path) -> Vectors:
    from experiments.datasets import hdf5

    return hdf5.read(path)


def _parquet(path: Path) -> Vectors:
    from experiments.datasets import parquet

    return parquet.read(path)


def _words(path: Path) -> Vectors:
    from experiments.datasets import words

    return Vectors(words.read(path).X, None, None, str(path))


def _matrix(path: Path) -> Vectors:
    from experiments.datasets import matrices

    return Vectors(matrices.read(path), None, None, str(path))


def _text(path: Path) -> Vectors:
    """Read a matrix of numbers, or word vectors."""
    from experiments.datasets import matrices

    return _matrix(path) if matrices.is_matrix(path) else _words(path)


def _diskann(path: Path) -> Vectors:
    """Read DiskANN's layout, or word vectors in word2vec's; both have this suffix.

    DiskANN's does not say of what type its values are; its size does, for float32.
    """
    with path.open("rb") as file:
        beginning = file.read(64)
    if re.match(rb"\d+ \d+\s|\x1f\x8b", beginning):
        return _words(path)
    size = path.stat().st_size
    if size < 8:
        raise DataError(f"{path}: size must be at least 8 bytes, got {size}")
    n, d = (int(x) for x in np.frombuffer(beginning, "<u4", 2))
    if size == 8 + n * d and n * d:
        raise DataError(
            f"{path}: must hold float32, got {n} × {d} values of 1 byte each: its "
            "suffix must say which, .i8bin or .u8bin"
        )
    if size != 8 + 4 * n * d or not n * d:
        raise DataError(
            f"{path}: must be of DiskANN, uint32 n and d, then n × d float32, which "
            f"takes {8 + 4 * n * d} bytes for n={n}, d={d}, or of word2vec, whose line "
            f"1 is 'n d'; got {size} bytes, the first {beginning[:12]!r}"
        )
    return _bin(path, "<f4")


def _npy(path: Path) -> Vectors:
    with path.open("rb") as stream:
        shape, fortran, dtype = _npy_header(stream, str(path))
        offset = stream.tell()
    _check_bytes(path, offset + _nbytes(shape, dtype))
    if 0 in shape:
        raise DataError(f"{path}: shape must hold n, d >= 1, got {shape}")
    array = np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")
    return Vectors(array, None, None, str(path))


def _npz(path: Path) -> Vectors:
    """Read arrays named as in an ann-benchmarks file, or the only array there is.

    The metric may be given by a text array named `distance` or `metric`.
    """
    with parsing(path, "npz"):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                _check_member(archive, member, path)
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    texts = {name: arrays.pop(name) for name in list(arrays) if name in _METRIC_KEYS}
    stated = {str(text.item() if text.size == 1 else text) for text in texts.values()}
    if len(stated) > 1:
        raise DataError(f"{path}: must state one metric, got {sorted(stated)}")
    metric = canonical_metric(stated.pop(), str(path)) if stated else None
    if len(arrays) == 1:
        arrays = {"train": next(iter(arrays.values()))}
    return from_arrays(arrays, metric, path)


_METRIC_KEYS = ("distance", "metric")


def _check_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path
) -> None:
    where = f"{path}: {member.filename}"
    check_expansion(member.file_size, member.compress_size, where)
    with archive.open(member) as stream:
        shape, _, dtype = _npy_header(stream, where)
        expected = stream.tell() + _nbytes(shape, dtype)
    if expected != member.file_size:
        raise DataError(
            f"{where}: size must be {expected} bytes for shape {shape} of {dtype}, "
            f"got {member.file_size}"
        )


def _npy_header(stream: Any, where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
        (3, 0): np.lib.format.read_array_header_2_0,  # but for names of fields
    }
    with parsing(where, "npy"):
        version = np.lib.format.read_magic(stream)
        shape, fortran, dtype = readers[version](stream)
    if dtype.names:
        names = ", ".join(dtype.names)
        if version == (3, 0):  # in UTF-8, and read as Latin-1
            names = names.encode("latin-1").decode("utf-8", "replace")
        raise DataError(
            f"{where}: must be a matrix of numbers, got a structured array with the "
            f"fields {names}"
        )
    if dtype.hasobject:
        raise DataError(f"{where}: dtype must be float or integer, got object")
    if min(shape, default=0) < 0:
        raise DataError(f"{where}: shape must not be negative, got {shape}")
    return shape, fortran, dtype


def _vecs(path: Path, dtype: str) -> Vectors:
    """Read TexMex rows: int32 d, then d values; every row states its own d."""
    scalar = np.dtype(dtype)
    size = path.stat().st_size
    if size < 4:
        raise DataError(f"{path}: size must be at least 4 bytes, got {size}")
    raw = np.memmap(path, np.uint8, "r")
    d = int(raw[:4].view("<i4")[0])
    if d < 1:
        raise DataError(f"{path}: d must be at least 1, got {d} in row 0")
    width = 4 + d * scalar.itemsize
    if size % width:
        raise DataError(
            f"{path}: size must be a multiple of {width} bytes for d={d}, got {size}"
        )
    rows = raw.reshape(-1, width)
    stated = np.ascontiguousarray(rows[:, :4]).view("<i4")[:, 0]
    if (stated != d).any():
        row = int((stated != d).argmax())
        raise DataError(
            f"{path}: d must be {d} in all rows, got {stated[row]} in row {row}"
        )
    return Vectors(rows[:, 4:].view(scalar), None, None, str(path))


def _bin(path: Path, dtype: str) -> Vectors:
    """Read the big-ann-benchmarks layout: uint32 n, uint32 d, then n × d values."""
    size = path.stat().st_size
    if size < 8:
        raise DataError(f"{path}: size must be at least 8 bytes, got {size}")
    n, d = (int(x) for x in np.fromfile(path, "<u4", 2))
    if n < 1 or d < 1:
        raise DataError(f"{path}: n and d must be at least 1, got n={n}, d={d}")
    _check_bytes(path, 8 + _nbytes((n, d), np.dtype(dtype)))
    return Vectors(np.memmap(path, dtype, "r", 8, (n, d)), None, None, str(path))


def _nbytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Return the size in bytes, in Python integers: these do not overflow."""
    total = dtype.itemsize
    for extent in shape:
        total *= extent
    return total


def _check_bytes(path: Path, expected: int) -> None:
    size = path.stat().st_size
    if size != expected:
        raise DataError(
            f"{path}: size must be {expected} bytes as its header says, got {size}"
        )


READERS: dict[str, Callable[[Path], Vectors]] = {
    ".hdf5": _hdf5,
    ".h5": _hdf5,
    ".npy": _npy,
    ".npz": _npz,
    ".parquet": _parquet,
    ".fvecs": partial(_vecs, dtype="<f4"),
    ".ivecs": partial(_vecs, dtype="<i4"),
    ".bvecs": partial(_vecs, dtype="u1"),
    ".fbin": partial(_bin, dtype="<f4"),
    ".ibin": partial(_bin, dtype="<i4"),
    ".u8bin": partial(_bin, dtype="u1"),
    ".i8bin": partial(_bin, dtype="i1"),
    ".csv": _matrix,
    ".csv.gz": _matrix,
    ".tsv": _matrix,
    ".tsv.gz": _matrix,
    ".txt": _text,
    ".vec": _words,
    ".bin": _diskann,
}
