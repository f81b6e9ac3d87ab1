"""A new file in the place of an old one: all of it or nothing, whatever happens."""

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from io import FileIO

from ann.storage.layout import StorageError

_LONGEST_NAME = 200  # bytes of a file's name that its temporary twin takes over


@contextmanager
def replacing(path: str) -> Iterator[FileIO]:
    """Yield an empty file that takes the name ``path`` when the block has ended.

    It is on the disk before it has the name, and its name before this returns. Where
    anything fails it is removed, and the file that was there is as it was. A symbolic
    link stays a link: what it points to is replaced. The permissions are those of the
    file replaced; of a new file, what the umask leaves.

    Raises
    ------
    StorageError
        There is something at ``path`` that is no regular file.
    OSError
        The folder is missing or cannot be written to, the disk is full, ….
    """
    with _explained(path, "nothing was saved, a file that was there is unchanged"):
        target, permissions = _look_at(path)
        _remove_abandoned(target)
        file = _new_temporary(target)
        with file, _removed_on_failure(file.name):
            if permissions is not None:  # before anybody could read what is in it
                os.fchmod(file.fileno(), permissions)
            yield file
            os.fsync(file.fileno())
            os.replace(file.name, target)
    with _explained(path, "saved, but a power cut may yet bring back what was there"):
        _sync_folder(os.path.dirname(target))


def write_at(file: FileIO, data: memoryview, offset: int) -> None:
    """Write all of ``data`` at ``offset``."""
    while len(data):
        count = os.pwrite(file.fileno(), data, offset)
        data, offset = data[count:], offset + count


@contextmanager
def _explained(path: str, outcome: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # of the same subclass: it goes by the number
        text = f"{error.strerror or error} ({outcome})"
        raise OSError(error.errno, text, path) from error


@contextmanager
def _removed_on_failure(temporary: str) -> Iterator[None]:
    try:
        yield
    except BaseException:  # Ctrl-C too
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _look_at(path: str) -> tuple[str, int | None]:
    """Return what a path leads to, and the permissions of the file that is there."""
    target = os.path.realpath(path)
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return target, None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else stat.filemode(mode)
        raise StorageError(f"{path}: must be a file or not exist, got {kind}")
    return target, mode & 0o777


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems have no such thing
            raise
    finally:
        os.close(descriptor)


# --- temporary files, and those that a killed process has left ------------------------


def _stem(target: str) -> str:
    name = os.path.basename(target)
    raw = os.fsencode(name)
    return name if len(raw) <= _LONGEST_NAME else sha256(raw).hexdigest()


def _new_temporary(target: str) -> FileIO:
    """Return a locked file beside the target: the lock says that somebody is at work.

    The kernel lifts it when the process ends, however it ends.
    """
    folder, stem = os.path.dirname(target), _stem(target)
    while True:
        name = os.path.join(folder, f".{stem}.{secrets.token_hex(8)}.tmp")
        file = FileIO(name, "x")
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.path.lexists(name):
            return file
        file.close()  # somebody took it for abandoned before it was locked


def _remove_abandoned(target: str) -> None:
    """Remove temporary files of saves to this target that were killed."""
    folder = os.path.dirname(target)
    ours = re.compile(rf"\.{re.escape(_stem(target))}\.[0-9a-f]{{16}}\.tmp")
    with suppress(OSError):  # a folder that may be written to and not listed
        for name in filter(ours.fullmatch, os.listdir(folder)):
            _remove_if_abandoned(os.path.join(folder, name))


def _remove_if_abandoned(temporary: str) -> None:
    with (
        suppress(OSError),  # it is locked, gone, no file, or not ours to remove
        FileIO(temporary, "r", opener=_open_itself) as file,
    ):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(temporary)  # if it still has the name: nobody else ever gets it


def _open_itself(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
