"""One file for an index: a manifest and raw arrays, checked, mappable, no code in it.

The format is in docs/storage.md, byte by byte. What is in a manifest and which arrays
there are is for the index to say; here both are only carried, whole or not at all.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann.memory import aligned
from ann.storage import chunks, files, layout
from ann.storage.layout import Section, StorageError
from ann.storage.replacing import replacing, write_at

__all__ = ["StorageError", "contents", "read", "verify_arrays", "write"]

SMALL = 1 << 20  # bytes; mapped arrays up to this size are always verified

Path = str | os.PathLike[str]


def write(
    path: Path, manifest: dict[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Write a file, or leave everything as it was.

    The file has its name only when it is complete and on the disk: whoever opens the
    path, also after a crash, finds the old file or the new one. The same arguments give
    the same bytes.

    Parameters
    ----------
    path : path-like
        In a folder that exists. Through a symbolic link, what it points to is replaced.
    manifest : dict
        Of strings, finite numbers, booleans, None, lists and dicts, at most 31 in each
        other; with the arrays' descriptions (some 200 bytes each) 256 KiB of JSON.
    arrays : mapping of names to arrays
        Of int8, uint8, int32, int64, uint64, float32 or float64 and at most 8
        dimensions. What is not contiguous is copied. Nobody may change them meanwhile.

    Raises
    ------
    StorageError
        The manifest or an array is none of these, or something at ``path`` is no file.
    OSError
        The disk is full, the folder cannot be written to, …. The file that was there is
        unchanged.
    """
    plain = {name: _little_endian(array) for name, array in arrays.items()}
    with _naming(path):
        sections = layout.plan(manifest, plain)
    views = [_bytes(array) for array in plain.values()]
    with replacing(os.fsdecode(path)) as file:

        def save(i: int, piece: slice) -> memoryview:
            data = views[i][piece].data
            write_at(file, data, sections[i].offset + piece.start)
            return data

        sums = chunks.checksums([s.nbytes for s in sections], save)
        summed = [s._replace(checksum=c) for s, c in zip(sections, sums, strict=True)]
        head = layout.encode(manifest, summed)
        write_at(file, memoryview(head), 0)
        file.truncate(layout.length(len(head), sections))  # an empty array may be last


def read(
    path: Path, *, mmap: bool = False, verify: bool | None = None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the manifest and the arrays of a file.

    Parameters
    ----------
    path : path-like
    mmap : bool
        Map the file instead of reading it: arrays share their pages with all processes
        that map the same file. What is written to them stays in this process. The file
        may be replaced meanwhile, but must not be changed in place.
    verify : bool, optional
        Whether to compare arrays with their checksums. By default all of them, but of
        mapped ones only those of at most 1 MiB. Header, manifest and paddings are
        compared always.

    Returns
    -------
    manifest : dict
    arrays : dict of str to array
        Writable and C-contiguous, each at the beginning of a cache line, in the order
        of the file.

    Raises
    ------
    StorageError
        Whatever is wrong with the file: not an index, damaged, of a newer format.
    OSError
        It cannot be opened or read.
    """
    manifest, arrays, _ = contents(path, mmap=mmap, verify=verify)
    return manifest, arrays


def contents(
    path: Path, *, mmap: bool = False, verify: bool | None = None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]], Callable[[], None]]:
    """As :func:`read`, with a function that verifies all arrays as they then are.

    It raises StorageError; it is of use before anything is written to mapped arrays.
    """
    with _naming(path), files.opened(os.fsdecode(path)) as file:
        manifest, sections = _describe(file)
        arrays = (_map if mmap else _load)(file, sections, verify)

    def compare() -> None:
        with _naming(path):
            _verify(sections, lambda i, piece: _bytes(arrays[i])[piece].data)

    pairs = zip(sections, map(_native, arrays), strict=True)
    return manifest, {section.name: array for section, array in pairs}, compare


def verify_arrays(path: Path) -> None:
    """Compare every array of a file with its checksum, a chunk at a time.

    Raises
    ------
    StorageError, OSError
        As :func:`read`.
    """
    with _naming(path), files.opened(os.fsdecode(path)) as file:
        _, sections = _describe(file)

        def read_only(i: int, piece: slice) -> bytes:
            start = sections[i].offset + piece.start
            return files.read_at(file, start, piece.stop - piece.start)

        _verify(sections, read_only)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise StorageError(f"{os.fsdecode(path)}: {error}") from None


def _describe(file: FileIO) -> tuple[dict[str, Any], list[Section]]:
    """Return what header and manifest say, once it is known to fit the file."""
    size = os.fstat(file.fileno()).st_size
    head = files.read_at(file, 0, layout.HEADER.size)
    text = files.read_at(file, len(head), layout.manifest_length(head, size))
    manifest, sections = layout.parse(head, text, size)
    for start, stop in layout.gaps(len(head) + len(text), sections):
        if any(files.read_at(file, start, stop - start)):
            raise StorageError(
                f"bytes {start} to {stop} must be zero, got others: the file is damaged"
            )
    return manifest, sections


def _load(
    file: FileIO, sections: list[Section], verify: bool | None
) -> list[NDArray[Any]]:
    arrays = [aligned(section.shape, section.dtype) for section in sections]
    views = [_bytes(array) for array in arrays]

    def fill(i: int, piece: slice) -> memoryview:
        data = views[i][piece].data
        files.read_into(file, data, sections[i].offset + piece.start)
        return data

    if verify is False:
        chunks.each([section.nbytes for section in sections], fill)
    else:
        _verify(sections, fill)
    return arrays


def _map(
    file: FileIO, sections: list[Section], verify: bool | None
) -> list[NDArray[Any]]:
    arrays = files.mapped(file, sections)
    pairs = [
        (section, _bytes(array))
        for section, array in zip(sections, arrays, strict=True)
        if (section.nbytes <= SMALL if verify is None else verify)
    ]
    _verify([section for section, _ in pairs], lambda i, piece: pairs[i][1][piece].data)
    return arrays


def _verify(sections: list[Section], visit: chunks.Visit) -> None:
    sums = chunks.checksums([section.nbytes for section in sections], visit)
    for section, found in zip(sections, sums, strict=True):
        if found != section.checksum:
            raise StorageError(
                f"array {section.name!r} must have the checksum "
                f"{section.checksum[:16]}…, got {found[:16]}…: the file is damaged"
            )


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return array.reshape(-1).view(np.uint8)


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    plain = np.asarray(array)
    return np.asarray(plain, plain.dtype.newbyteorder("<"), order="C")


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in the byte order of this machine, in the same memory."""
    if array.dtype.isnative:
        return array
    return array.byteswap(inplace=True).view(array.dtype.newbyteorder())
