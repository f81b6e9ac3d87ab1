"""Print text attributes of an HDF5 file as JSON: a script, for a process of its own.

MATLAB and others write a text as an array of one; some keep it as a dataset.

The HDF5 library follows the pointers of a damaged attribute into the void: it crashes
or never returns. Here that costs a child (`experiments.datasets.hdf5`).
"""

import json
import math
import sys
from typing import Any

import h5py


def main(path: str, *names: str) -> None:
    """Print ``{name: [is it text, the text or what there is instead]}``."""
    with h5py.File(path, "r") as file:
        found = {name: _read(file, name) for name in names}
        print(json.dumps({name: of for name, of in found.items() if of}))


def _read(file: h5py.File, name: str) -> tuple[bool, str] | None:
    if name in file.attrs:
        shape = file.attrs.get_id(name).shape
        return _text(file.attrs[name]) if _size(shape) == 1 else _no_text(shape)
    dataset = file.get(name)
    if isinstance(dataset, h5py.Dataset) and _size(dataset.shape) == 1:
        is_text, text = _text(dataset[()])
        return (is_text, text) if is_text else None
    return None


def _text(value: Any) -> tuple[bool, str]:
    """Return whether a value, or the only one of an array, is text, and the text."""
    value = value.item() if hasattr(value, "item") else value
    value = value.decode(errors="replace") if isinstance(value, bytes) else value
    return isinstance(value, str), str(value)


def _no_text(shape: Any) -> tuple[bool, str]:
    return False, f"an array of shape {shape}"


def _size(shape: Any) -> int:
    return -1 if shape is None else math.prod(shape)


if __name__ == "__main__":
    main(*sys.argv[1:])
