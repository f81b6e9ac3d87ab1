"""A file that is read: opened without surprises, into memory or mapped."""

import mmap
import os
import platform
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann.storage.layout import Section, StorageError

_COMMON = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")
# Without it Linux refuses a private mapping of a file that is larger than the memory.
# Python 3.11 has no name for it.
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if _COMMON else 0)


@contextmanager
def opened(path: str) -> Iterator[FileIO]:
    """Yield a regular file, to be read.

    Raises
    ------
    StorageError
        A folder, a pipe, a device.
    """
    try:
        file = FileIO(path, "r", opener=_open_at_once)
    except IsADirectoryError:
        raise StorageError("must be a file, got a folder") from None
    with file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise StorageError(f"must be a regular file, got {stat.filemode(mode)}")
        yield file


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # do not wait for a pipe's other end


def read_at(file: FileIO, offset: int, size: int) -> bytes:
    """Return ``size`` bytes, fewer where the file ends."""
    buffer = memoryview(bytearray(size))
    return bytes(buffer[: _fill(file, buffer, offset)])


def read_into(file: FileIO, view: memoryview, offset: int) -> None:
    """Fill a view with the bytes at ``offset``."""
    found = _fill(file, view, offset)
    if found < len(view):
        raise StorageError(
            f"must have {len(view)} bytes at {offset}, got {found}: "
            "it was cut short while it was read"
        )


def _fill(file: FileIO, view: memoryview, offset: int) -> int:
    done = 0
    while done < len(view):
        count = os.preadv(file.fileno(), [view[done:]], offset + done)
        if count == 0:
            break
        done += count
    return done


def mapped(file: FileIO, sections: list[Section]) -> list[NDArray[Any]]:
    """Return arrays that are the file's pages until they are written to.

    What is written stays in this process and never reaches the file.
    """
    flags, prot = mmap.MAP_PRIVATE | _NORESERVE, mmap.PROT_READ | mmap.PROT_WRITE
    pages = mmap.mmap(file.fileno(), 0, flags=flags, prot=prot)  # 0: to its end
    if sections and len(pages) < sections[-1].end:
        raise StorageError(
            f"must be {sections[-1].end} bytes long, got {len(pages)}: "
            "it was cut short while it was mapped"
        )
    return [
        np.ndarray(s.shape, s.dtype, buffer=pages, offset=s.offset)
        if s.nbytes
        else np.empty(s.shape, s.dtype)
        for s in sections
    ]
