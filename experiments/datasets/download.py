"""Download a large file once: resumed where it broke, checked before it has a name."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from rich.progress import Progress

_CHUNK = 1 << 16  # a chunk that the transfer breaks in is lost
_TIMEOUT_S = (10, 60)  # to connect, between two chunks
_PASSING = (408, 429)  # statuses worth another try, besides those from 500


def download(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    check: Callable[[Path], None] | None = None,
    progress: "Progress | None" = None,
    attempts: int = 5,
    pause_s: float = 1.0,
) -> None:
    """Fetch `url` into `path`, which appears whole or not at all.

    What arrives is kept in ``<path>.part``. A later attempt, in this process or another
    one, asks for the rest, and only on the condition that the remote file is still the
    one that was begun (``If-Range`` with its ETag or date).

    Parameters
    ----------
    sha256, size
        What the file must be, where it is known. The sha256 that was found is written
        to ``<path>.sha256`` in either case, for `verify`.
    check
        Called with the complete file before it gets its name; refuses by ValueError.
    attempts
        Failures in a row, without a byte of progress, before giving up.
    pause_s
        Seconds before the second attempt; doubled after each failure.

    Raises
    ------
    OSError
        The server refuses, or cannot be reached. What was received stays.
    ValueError
        The file is not the one expected. Nothing of it stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(path.with_name(path.name + ".part"))
    with _only_one(path.with_name(path.name + ".lock")):
        if path.exists():  # another process was quicker
            return
        _persist(url, part, size, progress, attempts, pause_s)
        try:
            actual = file_sha256(part.path)
            if sha256 is not None and actual != sha256:
                raise ValueError(f"{url}: sha256 must be {sha256}, got {actual}")
            if check is not None:
                check(part.path)
        except ValueError:
            part.discard()
            raise
        _record(path, actual)
        part.path.replace(path)
        part.discard()


def verify(path: Path, sha256: str | None = None) -> None:
    """Check a file against `sha256`, or else against the hash of its first use.

    Raises
    ------
    ValueError
        The file has changed since.
    """
    beside = _hash_file(path)
    if sha256 is None and beside.exists():
        sha256 = beside.read_text(encoding="utf-8").split(" ")[0]
    actual = file_sha256(path)
    if sha256 is None:
        _record(path, actual)
    elif actual != sha256:
        raise ValueError(
            f"{path}: sha256 must be {sha256}, got {actual}; delete the file and "
            f"{beside.name} to download it again"
        )


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _record(path: Path, sha256: str) -> None:
    """Write the hash in the format of ``sha256sum --check``."""
    _hash_file(path).write_text(f"{sha256}  {path.name}\n", encoding="utf-8")


@dataclass(frozen=True)
class _Part:
    """The bytes received so far, and beside them what they are the beginning of."""

    path: Path

    @property
    def _note(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def origin(self, url: str) -> dict[str, Any]:
        """Return validator and total of the file begun, if it is that of `url`."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        matches = isinstance(note, dict) and note.get("url") == url
        return note if matches else {}

    def begin(self, url: str, validator: str | None, total: int | None) -> None:
        self.discard()
        note = {"url": url, "validator": validator, "total": total}
        self._note.write_text(json.dumps(note), encoding="utf-8")

    def discard(self) -> None:
        self._note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


class _PassingError(OSError):
    """The server has trouble that may pass."""


def _persist(
    url: str,
    part: _Part,
    size: int | None,
    progress: "Progress | None",
    attempts: int,
    pause_s: float,
) -> None:
    """Attempt until complete, or until `attempts` in a row have brought nothing."""
    task = progress.add_task(f"download {url.rsplit('/', 1)[-1]}") if progress else None

    def show(done: int, total: int | None) -> None:
        if progress is not None and task is not None:
            progress.update(task, completed=done, total=total)

    failures, furthest = 0, part.size()
    while True:
        problem: object = "the transfer was cut short"
        try:
            if _attempt(url, part, size, show):
                return
        except (requests.ConnectionError, requests.Timeout, _PassingError) as error:
            problem = error
        except requests.exceptions.ChunkedEncodingError as error:
            problem = error
        failures = 0 if part.size() > furthest else failures + 1
        furthest = max(furthest, part.size())
        if failures >= attempts:
            raise OSError(
                f"{url}: gave up after {attempts} attempts without progress: {problem}"
            )
        time.sleep(pause_s * 2**failures / 2)


def _attempt(
    url: str, part: _Part, size: int | None, show: Callable[[int, int | None], None]
) -> bool:
    """Ask for what is missing and append it; return whether the file is complete."""
    origin, have = part.origin(url), part.size()
    if have and have == origin.get("total"):
        return True
    headers = {
        "User-Agent": f"ann/{version('ann')} (nearest-neighbour experiments)",
        "Accept-Encoding": "identity",
    }
    if have and origin.get("validator"):
        headers |= {"Range": f"bytes={have}-", "If-Range": origin["validator"]}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as reply:
        status, validator = reply.status_code, _validator(reply.headers)
        if status in _PASSING or status >= 500:
            raise _PassingError(f"HTTP status {status} {reply.reason}")
        resumed = (
            status == 206
            and "Range" in headers
            and reply.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            and validator in (None, origin["validator"])
        )
        if status == 416 or (status == 206 and not resumed):
            part.discard()  # it is not the file that was begun
            return False
        if status not in (200, 206):
            raise OSError(f"{url}: must answer 200, got {status} {reply.reason}")
        length = reply.headers.get("Content-Length", "")
        have = have if resumed else 0
        total = have + int(length) if length.isdecimal() else None
        if size is not None and total not in (None, size):
            part.discard()
            raise ValueError(f"{url}: size must be {size} bytes, got {total}")
        if not resumed:
            part.begin(url, validator, total)
        with part.path.open("ab") as file:
            for chunk in reply.iter_content(_CHUNK):
                have += file.write(chunk)
                show(have, total)
            file.flush()
            os.fsync(file.fileno())
    return have == (size if total is None else total) or (total is size is None)


def _validator(headers: Any) -> str | None:
    """Return what identifies this version of the file: a strong ETag, or a date."""
    etag = headers.get("ETag", "")
    found = etag if etag.startswith('"') else headers.get("Last-Modified")
    return None if found is None else str(found)


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold a lock that ends with the process; two would append to one part."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
