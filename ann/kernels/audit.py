"""Kernels that look at a graph without trusting it: any content is safe to read.

A vector's *height* is the highest layer on which it may be linked to: −1 for one that
is not alive, 0 where its rows in ``upper`` cannot be its own.
"""

import numpy as np

from ann.kernels._jit import kernel

# What may be wrong with a link; the first two lead somewhere.
FINE, BEHIND, NOBODY, SELF, DEAD, ABSENT, REPEATED = range(-1, 6)
FAULTS = 6  # BEHIND and after


@kernel
def row_of(graph, node, layer):
    """Return the row of a vector's links, in ``base`` or ``upper``."""
    return np.int64(node) if layer == 0 else np.int64(graph.upper_row[node]) + layer - 1


@kernel
def fault_of(node, other, ended, layer, heights, seen):
    """Return what is wrong with a link of a row, or FINE, and then note it in ``seen``.

    ``ended`` tells whether a −1 stood before it. ``seen`` (n,) int32 holds the vector
    whose row had a link to another last.
    """
    if other < 0 or other >= heights.size:
        return NOBODY
    if other == node:
        return SELF
    if heights[other] < 0:
        return DEAD
    if heights[other] < layer:
        return ABSENT
    if seen[other] == node:
        return REPEATED
    seen[other] = node
    return BEHIND if ended else FINE


@kernel
def examine(graph, layer, nodes, heights, seen, degrees, incoming, counts, firsts):
    """Count a layer's links and faults.

    Parameters
    ----------
    nodes : (b,) int32          members of the layer
    heights : (n,) int16
    seen : (n,) int32           −1 at first; overwritten
    degrees : (b,) int64        overwritten: links that a search can take
    incoming : (n,) int64       grows by such links to each vector
    counts : (FAULTS,) int64    grows by faults of each kind
    firsts : (FAULTS,) int64    set to the first vector with one, where none was before
    """
    links = graph.base if layer == 0 else graph.upper
    for i in range(nodes.size):
        node, ended = nodes[i], False
        degrees[i] = 0
        for other in links[row_of(graph, node, layer)]:
            if other == -1:
                ended = True
                continue
            fault = fault_of(node, other, ended, layer, heights, seen)
            if fault == FINE:
                degrees[i] += 1
                incoming[other] += 1
            else:
                if counts[fault] == 0:
                    firsts[fault] = node
                counts[fault] += 1


@kernel
def clean(graph, layer, nodes, heights, seen, thin):
    """Drop links at fault, and close the gaps in rows.

    ``thin`` (b,) bool is overwritten: which rows lost half of their links or more, or
    have none. Rows of different vectors can be cleaned at once, each thread with a
    ``seen`` of its own.
    """
    links = graph.base if layer == 0 else graph.upper
    for i in range(nodes.size):
        node = nodes[i]
        row = links[row_of(graph, node, layer)]
        kept = had = 0
        for j in range(row.size):
            other = row[j]
            if other == -1:
                continue
            had += 1
            fault = fault_of(node, other, had <= j, layer, heights, seen)
            if fault <= BEHIND:
                row[kept] = other
                kept += 1
        for t in range(kept, row.size):
            row[t] = -1
        thin[i] = 2 * kept < had or kept == 0
