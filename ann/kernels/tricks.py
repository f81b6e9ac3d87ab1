"""Switches that leave out one trick each, so that a study can show what it pays.

``ANN_WITHOUT=prefetch,huge-pages`` in the environment of a process turns tricks off in
it. Kernels read a switch while they are compiled, so one that is on costs nothing; the
disk cache keeps each choice apart. Results stay right whatever is off: time, memory and
work counters change, and by a little what "build-on-codes", "fast-scan" and those of a
quantized graph find.
"""

import os

TRICKS = {
    # memory
    "prefetch": "vectors are asked for before they are scored",
    "look-ahead": "a graph walk asks for what its next step is likely to need",
    "huge-pages": "large arrays lie in 2 MiB pages",
    # less to read
    "shadow": "8-bit bounds spare most float32 rows of IVF's lists and centroids",
    "list-major": "a batch reads each list of an IVF once for all its queries",
    "build-on-codes": "a graph of scalar codes is built on them, not on float32",
    # less to do
    "integer-products": "exact search is filtered by products of 8-bit integers",
    "fast-scan": "4-bit PQ is looked up in registers, 32 codes at a time",
    "counting": "a place in a sorted pool is counted, not searched by halves",
    "direct-calls": "a lone query runs through three kernels, by their machine code",
    # a quantized graph
    "learned-axes": "bits of neighbours' codes go to the axes along which these differ",
    "filled-rows": "rows of a quantized graph are filled with neighbours' neighbours",
    "newer-estimates": "who is met again on a walk gets the newer estimate",
    "one-behind": "a walk takes its next step before it knows what this one finds",
}


def _switched_off() -> frozenset[str]:
    names = frozenset(filter(None, os.environ.get("ANN_WITHOUT", "").split(",")))
    if unknown := sorted(names - TRICKS.keys()):
        raise ValueError(
            f"ANN_WITHOUT must name tricks among {sorted(TRICKS)}, got {unknown}"
        )
    return names


OFF = _switched_off()
COMPILED = {  # tricks inside of kernels
    "prefetch",
    "look-ahead",
    "counting",
    "filled-rows",
    "newer-estimates",
    "one-behind",
}


def on(name: str) -> bool:
    """Whether a trick is in use in this process."""
    if name not in TRICKS:
        raise KeyError(name)
    return name not in OFF
