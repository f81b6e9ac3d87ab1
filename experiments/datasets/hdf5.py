"""The HDF5 layout of ann-benchmarks, also used by VIBE."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from experiments.datasets.vectors import (
    Vectors,
    canonical_metric,
    check_expansion,
    check_matrix,
    from_arrays,
)

_NAMES = ("train", "test", "neighbors", "distances")


def read(path: Path) -> Vectors:
    """Read base vectors, queries and ground truth, in the types that are stored."""
    with _opened(path) as file:
        kind = _text(file, "type", "dense", path)
        if kind != "dense":
            raise ValueError(f"{path}: type must be 'dense', got {kind!r}")
        point = _text(file, "point_type", "float", path)
        if point not in ("float", "uint8", "int8"):
            raise ValueError(
                f"{path}: point_type must be float, uint8 or int8, got {point!r}"
            )
        stated = _text(file, "distance", None, path)
        metric = None if stated is None else canonical_metric(stated, str(path))
        arrays = {name: _read(d) for name, d in _datasets(file, path).items()}
    return from_arrays(arrays, metric, path)


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the datasets without reading them."""
    with _opened(path) as file:
        return {name: d.shape for name, d in _datasets(file, path).items()}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"{path}: must be a readable HDF5 file: {error}") from error


def _text(file: Any, name: str, default: str | None, path: Path) -> str | None:
    value = file.attrs.get(name, default)
    value = value.decode(errors="replace") if isinstance(value, bytes) else value
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{path}: attribute {name!r} must be text, got {value!r}")
    return value


def _datasets(file: Any, path: Path) -> dict[str, Any]:
    """Return the datasets that are there, refusing those that point elsewhere."""
    found = {}
    for name in _NAMES:
        link = file.get(name, getlink=True)
        if link is None:
            continue
        where = f"{path}: {name}"
        if not isinstance(link, h5py.HardLink):
            raise ValueError(
                f"{where} must be stored in the file, got {type(link).__name__}"
            )
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
            raise ValueError(f"{where} must be a dataset, got {dataset!r}")
        if dataset.is_virtual or dataset.external:
            raise ValueError(f"{where} must be stored in the file, got another file")
        check_matrix(dataset, where)
        check_expansion(dataset.nbytes, dataset.id.get_storage_size(), where)
        found[name] = dataset
    return found


def _read(dataset: Any) -> NDArray[Any]:
    out = np.empty(dataset.shape, dataset.dtype)
    dataset.read_direct(out)
    return out
