"""Vectors that are equal, bit for bit: one of them, the leader, stands for all.

The others are its followers, a linked list: ``same[i]`` is the next of vector i's
group, −1 at its end. Only leaders have links in a graph.
"""

import numpy as np

from ann.kernels._jit import kernel
from ann.kernels.pool import ID_MASK, clear, insert, passes

NONE = np.int32(-1)


@kernel
def find_leaders(words, table, first, leaders):
    """Find for each new vector an equal one that came before it.

    Parameters
    ----------
    words : (n, w) uint32 or uint8      all vectors, as integers
    table : (2**b,) int32       a hash table of positions that lead, else −1; with room
                                for the new ones, which are entered
    first : int                 position of the first new vector
    leaders : (n - first,) int32    overwritten: a position, or −1 for a vector that
                                leads; those of −2 are passed over
    """
    mask = table.size - 1
    for i in range(first, first + leaders.size):
        if leaders[i - first] == -2:
            continue
        slot = np.int64(_hash(words[i]) & np.uint64(mask))
        while table[slot] >= 0 and not _equal(words[table[slot]], words[i]):
            slot = (slot + 1) & mask
        leaders[i - first] = table[slot]
        if table[slot] < 0:
            table[slot] = np.int32(i)


@kernel
def _hash(row):
    """Mix a row's integers by multiplication (FNV-1a, 64 bits, a word at a time)."""
    value = np.uint64(14695981039346656037)
    for j in range(row.size):
        value = (value ^ np.uint64(row[j])) * np.uint64(1099511628211)
    return value ^ (value >> np.uint64(32))


@kernel
def _equal(a, b):
    same = True
    for j in range(a.size):
        same &= a[j] == b[j]
    return same


@kernel
def follow(same, first, leaders):
    """Put new vectors behind their leaders; see ``find_leaders``."""
    for j in range(leaders.size):
        leader = leaders[j]
        if leader >= 0:
            same[first + j] = same[leader]
            same[leader] = np.int32(first + j)


@kernel
def take_out(same, dead, heads, successors):
    """Take vectors out of their groups.

    A leader that goes hands its place to a follower, whose vector is the same.

    Parameters
    ----------
    same : (n,) int32           overwritten
    dead : (n,) bool            those to be taken out
    heads : (h,) int32          leaders that have followers
    successors : (h,) int32     overwritten: who takes a leader's place, or −1
    """
    for h in range(heads.size):
        head, successors[h] = heads[h], NONE
        last, i = head, same[head]
        while i >= 0:
            following = same[i]
            if dead[i]:
                same[last], same[i] = following, NONE
            else:
                last = i
            i = following
        i = same[head]
        if dead[head] and i >= 0:
            successors[h] = i
            same[head], same[i] = same[i], NONE


@kernel
def lead(same, heads, leaders):
    """Write to ``leaders`` (n,) int32 who leads each follower of ``heads``."""
    for head in heads:
        i = same[head]
        while i >= 0:
            leaders[i] = head
            i = same[i]


@kernel
def package_groups(keys, ids, size, same, out_keys, out_ids, allowed=None):
    """As ``pool.package``, of all members of the groups that a pool's leaders lead.

    ``allowed`` (n,) uint8 is not 0 for those that a filter lets in, None for all.
    """
    clear(out_keys, out_ids)
    k, n = out_ids.size, np.uint32(same.size)
    for j in range(size):
        if keys[j] > out_keys[k - 1]:
            break
        i, left = ids[j] & ID_MASK, same.size  # a damaged file's list may be a circle
        while np.uint32(i) < n and left > 0:
            if allowed is None or passes(allowed, i):
                insert(out_keys, out_ids, k, k, keys[j], i)
            i, left = same[i], left - 1
