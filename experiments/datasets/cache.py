"""Where downloads and ground truth are kept, and how a file lands there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def default_cache() -> Path:
    """Return ``$ANN_CACHE``, or the user's cache folder for ``ann``."""
    override = os.environ.get("ANN_CACHE")
    if override:
        return Path(override).expanduser()
    return platformdirs.user_cache_path("ann")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its name on success only.

    The temporary name keeps the suffix, because numpy appends one where it misses it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
