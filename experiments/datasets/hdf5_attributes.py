"""Print text attributes of an HDF5 file as JSON: a script, for a process of its own.

The HDF5 library follows the pointers of a damaged attribute into the void: it crashes
or never returns. Here that costs a child (`experiments.datasets.hdf5`).
"""

import json
import sys
from typing import Any

import h5py


def main(path: str, *names: str) -> None:
    """Print ``{name: [is it text, the text or what there is instead]}``."""
    with h5py.File(path, "r") as file:
        present = [name for name in names if name in file.attrs]
        print(json.dumps({name: _read(file.attrs, name) for name in present}))


def _read(attributes: Any, name: str) -> tuple[bool, str]:
    shape = attributes.get_id(name).shape
    if shape != ():
        return False, f"an array of shape {shape}"
    value = attributes[name]
    value = value.decode(errors="replace") if isinstance(value, bytes) else value
    return isinstance(value, str), str(value)


if __name__ == "__main__":
    main(*sys.argv[1:])
