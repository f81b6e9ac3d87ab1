"""Switches that leave out one trick each, so that a study can show what it pays.

``ANN_WITHOUT=prefetch,huge-pages`` in the environment of a process turns tricks off in
it. Kernels read a switch while they are compiled, so one that is on costs nothing; the
disk cache keeps each choice apart. Results stay right whatever is off: only time,
memory or work counters change.
"""

import os

TRICKS = {
    "prefetch": "vectors are asked for before they are scored",
    "look-ahead": "a graph walk asks for what its next step is likely to need",
    "shadow": "8-bit bounds spare most float32 rows of IVF's lists",
    "huge-pages": "large arrays lie in 2 MiB pages",
    "integer-products": "batches are filtered by products of 8-bit integers",
}


def _switched_off() -> frozenset[str]:
    names = frozenset(filter(None, os.environ.get("ANN_WITHOUT", "").split(",")))
    if unknown := sorted(names - TRICKS.keys()):
        raise ValueError(
            f"ANN_WITHOUT must name tricks among {sorted(TRICKS)}, got {unknown}"
        )
    return names


OFF = _switched_off()


def on(name: str) -> bool:
    """Whether a trick is in use in this process."""
    if name not in TRICKS:
        raise KeyError(name)
    return name not in OFF
