"""Arrays' bytes chunk by chunk on all cores, and their checksums."""

from collections.abc import Callable
from hashlib import sha256

from ann import parallel

CHUNK = 1 << 20  # bytes; part of the format

# Of an array's number and a range of its bytes: moves them, and returns them.
Visit = Callable[[int, slice], bytes | memoryview]


def each(lengths: list[int], visit: Visit) -> None:
    """Call ``visit`` for every chunk of arrays that are so many bytes long."""
    pieces = [
        (i, slice(start, min(length, start + CHUNK)))
        for i, length in enumerate(lengths)
        for start in range(0, length, CHUNK)
    ]

    def some(ranges: parallel.Ranges) -> None:
        for a, b in ranges:
            for i, piece in pieces[a:b]:
                visit(i, piece)

    parallel.run(some, len(pieces), 1, parallel.available())


def checksums(lengths: list[int], visit: Visit) -> list[str]:
    """Return the checksum of each array, from what ``visit`` returns of it.

    It is the SHA-256 of its chunks' SHA-256, so that cores share the work, and a chunk
    is summed while it is still in the cache from having been moved.
    """
    # A core with instructions for it sums 1.83 GB/s: 0.35 s for a million vectors of
    # 128 dimensions with their links, shared among cores. BLAKE2b takes 1.9 times as
    # long, CRC-32 0.43 times, but one damage in four billion would escape it.
    digests = [[b""] * -(-length // CHUNK) for length in lengths]

    def visit_and_sum(i: int, piece: slice) -> bytes | memoryview:
        data = visit(i, piece)
        digests[i][piece.start // CHUNK] = sha256(data).digest()
        return data

    each(lengths, visit_and_sum)
    return [sha256(b"".join(chunks)).hexdigest() for chunks in digests]
