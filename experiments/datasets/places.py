"""Files of vectors by their names, here or in the folder that ``ANN_DATA`` names."""

import os
from collections.abc import Iterator
from pathlib import Path

from experiments.datasets import files
from experiments.encoding import check_name


def locate(name: str | Path) -> Path | None:
    """Return the file of that name, or None; its suffix may be left out.

    Raises
    ------
    ValueError
        When several files differ from the name in the suffix alone, or when the
        system can have no such name.
    """
    path = Path(name).expanduser()
    check_name(path)
    places = [folder / path for folder in _folders()]
    for place in places:
        if place.is_file():
            return place
    for place in places:
        found = [each for each in _files(place.parent) if _stem(each) == place.name]
        if len(found) > 1:
            listed = ", ".join(sorted(each.name for each in found))
            raise ValueError(
                f"{name}: must be named with its suffix, as several files fit: {listed}"
            )
        if found:
            return found[0]
    return None


def local() -> list[str]:
    """Return the names of the files that can be read, here and in ``ANN_DATA``."""
    return [path.name for folder in _folders() for path in _files(folder)]


def title(name: str | Path) -> str:
    """Return what to call a dataset: its name; of a file, that without its suffix."""
    return _stem(Path(name)) if isinstance(name, Path) or is_path(name) else name


def origin(source: str) -> str:
    """Return a source as others may read it: a file by its name, not its folder."""
    return source if "://" in source or not is_path(source) else Path(source).name


def is_path(name: str) -> bool:
    """Return whether a name can only be that of a file."""
    return files.suffix(Path(name)) in files.READERS or Path(name).name != name


def _folders() -> list[Path]:
    folder = os.environ.get("ANN_DATA")
    return [Path(), *([Path(folder).expanduser()] if folder else [])]


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        for path in folder.iterdir():
            if files.suffix(path) in files.READERS and path.is_file():
                yield path


def _stem(path: Path) -> str:
    return path.name[: len(path.name) - len(files.suffix(path))]
