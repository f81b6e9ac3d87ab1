"""A sorted pool: the ``capacity`` best (key, id) pairs seen, best first.

Two parallel arrays, ``keys`` float32 and ``ids`` int32. Ties are broken by id, so a
pool's content does not depend on the order in which its members came. A graph search
marks a member as expanded by the sign bit of its id.
"""

import numpy as np

from ann.kernels import simd
from ann.kernels._jit import kernel
from ann.kernels.tricks import on

ID_MASK = np.int32(0x7FFFFFFF)
EXPANDED = np.int32(-0x80000000)  # the sign bit
NO_ID = np.int32(-1)
# Keys that are compared one and all: steps of a binary search cannot be predicted.
COUNTED = 256 if on("counting") else 0
INFINITY = np.float32(np.inf)


@kernel
def insert(keys, ids, size, capacity, key, i):
    """Insert (key, i) if it is among the ``capacity`` best; ``i`` must not be inside.

    Parameters
    ----------
    keys, ids : (>= capacity,) float32, integers    overwritten
    size : int                  members now
    capacity : int              members at most
    key, i : float32, integer

    Returns
    -------
    size, position : int        position is ``capacity`` where the pair was refused
    """
    if size == capacity:
        worst = keys[size - 1]
        if key > worst or (key == worst and i > (ids[size - 1] & ID_MASK)):
            return size, capacity
    low, high = 0, size
    while high - low > COUNTED:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    low += simd.count_below(keys, low, high - low, key)
    while low < size and keys[low] == key and (ids[low] & ID_MASK) < i:
        low += 1
    if size < capacity:
        size += 1
    simd.shift_right(keys, ids, low, size - 1)
    keys[low] = key
    ids[low] = i
    return size, low


@kernel
def name_of(row_ids, i):
    """Return the id of row ``i`` of a store: ``row_ids[i]``, or i where it is None."""
    return np.int32(i) if row_ids is None else row_ids[i]


@kernel
def passes(allowed, i):
    """Whether a filter lets vector ``i`` in.

    ``allowed`` (n,) uint8 is not 0 for those that pass; what it has no place for, as a
    file may name anything, does not.
    """
    return np.uint32(i) < np.uint32(allowed.size) and simd.at(allowed, i) != 0


@kernel
def clear(keys, ids):
    """Fill a pool with missing neighbours, (+inf, −1): worse than any that may come."""
    for j in range(keys.size):
        keys[j] = INFINITY
        ids[j] = NO_ID


@kernel
def package(keys, ids, size, out_keys, out_ids):
    """Copy the pool's best into result rows, padding with (+inf, −1)."""
    for j in range(out_ids.size):
        if j < size:
            out_keys[j] = keys[j]
            out_ids[j] = ids[j] & ID_MASK
        else:
            out_keys[j] = INFINITY
            out_ids[j] = NO_ID
