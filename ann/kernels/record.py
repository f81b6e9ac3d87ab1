"""What a traced search writes down.

A search kernel takes a ``recorder`` that is None unless the search is traced. Numba
drops what stands under ``if recorder is not None`` by the argument's type, before it
compiles: tracing is of the very search that runs, and costs nothing where it does not.

What a recorder has no room for is counted but not written, so that the caller can
search again with enough.
"""

from typing import NamedTuple

import numpy as np

from ann.kernels._jit import kernel

STEPS, SCORED, POOL = range(3)  # places in ``Walked.used``


class Walked(NamedTuple):
    """A walk on a graph: the nodes it expanded, and those it scored."""

    used: np.ndarray  #: (3,) int64: steps, nodes scored, members of the last pool
    layers: np.ndarray  #: (steps,) int32, where a step was
    nodes: np.ndarray  #: (steps,) int32, whose neighbours it looked at
    firsts: np.ndarray  #: (steps,) int64, how many nodes had been scored before
    worst: np.ndarray  #: (steps,) float32, key beyond which the pool takes nothing in
    scored: np.ndarray  #: (room,) int32, in order …
    keys: np.ndarray  #: (room,) float32, … and their keys


class Visited(NamedTuple):
    """A search of lists; there is room for all that it may visit."""

    used: np.ndarray  #: (1,) int64: lists visited
    lists: np.ndarray  #: (nprobe,) int32
    keys: np.ndarray  #: (nprobe,) float32, of their centroids
    last_keys: np.ndarray  #: (nprobe,) float32: the pool's last after the list …
    last_ids: np.ndarray  #: (nprobe,) int32 … (+inf, −1) while it has room


@kernel
def begin_step(walked, layer, node):
    """Note a node whose neighbours are looked at next."""
    step = walked.used[STEPS]
    if step < walked.nodes.size:
        walked.layers[step] = layer
        walked.nodes[step] = node
        walked.firsts[step] = walked.used[SCORED]


@kernel
def end_step(walked, worst):
    """Note the key beyond which the pool takes nothing in, +inf while it has room."""
    step = walked.used[STEPS]
    if step < walked.nodes.size:
        walked.worst[step] = worst
    walked.used[STEPS] = step + 1


@kernel
def note_scored(walked, node, key):
    """Note a node that was scored."""
    at = walked.used[SCORED]
    if at < walked.scored.size:
        walked.scored[at] = node
        walked.keys[at] = key
    walked.used[SCORED] = at + 1


@kernel
def note_all_scored(walked, nodes, keys, n):
    """``note_scored`` for the first ``n`` of some nodes and their keys."""
    for j in range(n):
        note_scored(walked, nodes[j], keys[j])


@kernel
def note_list(visited, which, key, last_key, last_id):
    """Note a list that was scanned, and the pool's last after it."""
    at = visited.used[0]
    visited.lists[at] = which
    visited.keys[at] = key
    visited.last_keys[at] = last_key
    visited.last_ids[at] = last_id
    visited.used[0] = at + 1
