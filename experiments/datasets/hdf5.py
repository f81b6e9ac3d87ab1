"""The HDF5 layout of ann-benchmarks, also used by VIBE."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from experiments.datasets.vectors import (
    DataError,
    Vectors,
    canonical_metric,
    check_expansion,
    check_matrix,
    from_arrays,
    parsing,
)

_NAMES = ("train", "test", "neighbors", "distances")
_CHILD_S = 120  # usually 0.2


def read(path: Path) -> Vectors:
    """Read base vectors, queries and ground truth, in the types that are stored."""
    with _opened(path) as file:
        stated = metric(path)
        arrays = {name: _read(d) for name, d in _datasets(file, path).items()}
    return from_arrays(arrays, stated, path)


def metric(path: Path) -> str | None:
    """Return the metric that a file states, or None; refuse what is no dense matrix."""
    attributes = _attributes(path)
    kind = attributes.get("type", "dense")
    if kind != "dense":
        raise DataError(f"{path}: type must be 'dense', got {kind!r}")
    point = attributes.get("point_type", "float")
    if point not in ("float", "uint8", "int8"):
        raise DataError(
            f"{path}: point_type must be float, uint8 or int8, got {point!r}"
        )
    stated = attributes.get("distance")
    return None if stated is None else canonical_metric(stated, str(path))


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the datasets without reading them."""
    with _opened(path) as file:
        return {name: d.shape for name, d in _datasets(file, path).items()}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with parsing(path, "HDF5"), h5py.File(path, "r") as file:
        yield file


def _attributes(path: Path) -> dict[str, str]:
    """Return the text attributes, read by a child that a damaged file may kill."""
    script = Path(__file__).with_name("hdf5_attributes.py")
    names = ("type", "point_type", "distance")
    try:
        child = subprocess.run(
            [sys.executable, "-P", str(script), str(path), *names],
            capture_output=True,
            timeout=_CHILD_S,
        )
        problem = "" if child.returncode == 0 else f"exit status {child.returncode}"
    except subprocess.TimeoutExpired:
        problem = f"no answer in {_CHILD_S} s"
    if problem:
        raise DataError(
            f"{path}: must have readable attributes, the HDF5 library gave {problem}"
        )
    found = json.loads(child.stdout)
    for name, (is_text, value) in found.items():
        if not is_text:
            raise DataError(f"{path}: attribute {name!r} must be text, got {value}")
    return {name: value for name, (_, value) in found.items()}


def _datasets(file: Any, path: Path) -> dict[str, Any]:
    """Return the datasets that are there, refusing those that point elsewhere."""
    found = {}
    for name in _NAMES:
        link = file.get(name, getlink=True)
        if link is None:
            continue
        where = f"{path}: {name}"
        if not isinstance(link, h5py.HardLink):
            raise DataError(
                f"{where} must be stored in the file, got {type(link).__name__}"
            )
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
            raise DataError(f"{where} must be a dataset, got {dataset!r}")
        if dataset.is_virtual or dataset.external:
            raise DataError(f"{where} must be stored in the file, got another file")
        check_matrix(dataset, where)
        check_expansion(dataset.nbytes, dataset.id.get_storage_size(), where)
        found[name] = dataset
    return found


def _read(dataset: Any) -> NDArray[Any]:
    out = np.empty(dataset.shape, dataset.dtype)
    dataset.read_direct(out)
    return out
