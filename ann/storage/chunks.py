"""Arrays' bytes chunk by chunk on all cores, and their checksums."""

from collections.abc import Callable
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from ann import parallel

CHUNK = 1 << 20  # bytes; part of the format

Bytes = NDArray[np.uint8]
Work = Callable[[int, int, Bytes], None]


def each(views: list[Bytes], work: Work) -> None:
    """Call ``work(i, start, views[i][start : start + CHUNK])`` for every chunk."""
    pieces = [
        (i, start)
        for i, view in enumerate(views)
        for start in range(0, len(view), CHUNK)
    ]

    def some(ranges: parallel.Ranges) -> None:
        for a, b in ranges:
            for i, start in pieces[a:b]:
                work(i, start, views[i][start : start + CHUNK])

    parallel.run(some, len(pieces), 1, parallel.available())


def checksums(views: list[Bytes], work: Work) -> list[str]:
    """Return the checksum of each view, after ``work`` was done on its chunks.

    It is the SHA-256 of its chunks' SHA-256, so that cores share the work, and a chunk
    is summed while it is still in the cache from having been read.
    """
    digests = [[b""] * -(-len(view) // CHUNK) for view in views]

    def work_and_sum(i: int, start: int, view: Bytes) -> None:
        work(i, start, view)
        digests[i][start // CHUNK] = sha256(view.data).digest()

    each(views, work_and_sum)
    return [sha256(b"".join(chunks)).hexdigest() for chunks in digests]
