"""Which indexes are tried, and which settings each is searched with.

Recall does not carry over from a sample of the vectors to all of them, so every
candidate is built on all. That is what takes long, and why there are few of them:
first one of each kind, with parameters that do well nearly everywhere, then the
neighbours of the best. Search settings cost next to nothing, and are tried finely.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from ann.codecs import PQ, SQ, Codec
from ann.flat import Flat
from ann.hnsw import HNSW
from ann.index import Index
from ann.ivf import IVF
from ann.tuning.wish import Wish

Structure = Literal["Flat", "HNSW", "IVF"]
Setting = dict[str, Any]
Ladder = Sequence[Setting]  # settings by rising effort, and so by rising recall

_STEP = 1.1  # from one setting to the next
_POOL = 2000  # the greatest ef_search, or 64 k
_CEILING = 1500  # ef_search where epsilon is what ends a search, or 64 k
_EPSILONS = [0.0, *(round(0.004 * 1.13**i, 4) for i in range(44))]  # up to 0.77
_SHORTEST = 10  # vectors of a list, on average
_FLOAT = 4  # bytes


class Candidate(NamedTuple):
    """An index that could be built."""

    structure: Structure
    codec: str | None = None  # SQ8, SQ4, PQ8 or PQ4; PQ have two columns a subspace
    refine: float | None = None
    M: int | None = None  # of HNSW
    per_root: float | None = None  # of IVF: lists for each sqrt(n)

    @property
    def name(self) -> str:
        """What it is called in a letter, such as "HNSW(M=16) on SQ4, refine=2"."""
        inside = f"(M={self.M})" if self.M else ""
        inside += f"(nlist={self.per_root:g}√n)" if self.per_root else ""
        codec = f" on {self.codec}" if self.codec else ""
        refine = f", refine={self.refine:g}" if self.refine else ""
        return f"{self.structure}{inside}{codec}{refine}"

    def make(self, metric: str, n: int, d: int, seed: int) -> Index:
        """Return the empty index; ValueError where it cannot be."""
        shared: dict[str, Any] = {
            "codec": _codec(self.codec, d),
            "refine": self.refine,
            "norm_check": "off",  # of all that are built, one is enough to warn
        }
        if self.structure == "Flat":
            return Flat(metric, **shared)
        if self.structure == "HNSW":
            return HNSW(metric, M=self.M or 16, seed=seed, **shared)
        return IVF(metric, nlist=self._lists(n), seed=seed, **shared)

    def ladders(self, n: int, k: int, metric: str) -> Iterator[Ladder]:
        """Yield settings by rising effort, once for each way to put effort in."""
        if self.structure == "Flat":
            yield [{}]
        elif self.structure == "IVF":
            yield [{"nprobe": p} for p in _rising(1, self._lists(n))]
        else:
            most = max(k, min(n, max(_POOL, 64 * k)))
            yield [{"ef_search": ef} for ef in _rising(k, most)]
            if metric != "ip":  # which has no distances to stop by
                ceiling = max(_CEILING, 64 * k)
                yield [{"ef_search": ceiling, "epsilon": e} for e in _EPSILONS]

    def least_bytes(self, d: int) -> float:
        """Return what a vector takes at least, by its rows and links alone."""
        whole = _FLOAT * d
        code = {None: whole, "SQ8": d, "SQ4": d / 2, "PQ8": d / 2, "PQ4": d / 4}
        links = 8 * (self.M or 0)
        return code[self.codec] + (whole if self.refine else 0) + links

    def _lists(self, n: int) -> int:
        wanted = round((self.per_root or 4) * math.sqrt(n))
        return max(1, min(wanted, n // _SHORTEST))


EXACT = Candidate("Flat")
FAST = (
    Candidate("HNSW", "SQ8", 1.5, M=16),
    Candidate("HNSW", "SQ4", 2, M=16),
    Candidate("HNSW", M=16),
    Candidate("IVF", "PQ4", 4, per_root=4),
    Candidate("IVF", per_root=4),
)
SMALL = (
    *(Candidate("Flat", codec) for codec in ("PQ4", "SQ4", "PQ8", "SQ8")),
    *(Candidate("IVF", codec, per_root=4) for codec in ("PQ4", "SQ4", "PQ8", "SQ8")),
    *(Candidate("HNSW", codec, M=M) for codec in ("SQ4", "SQ8") for M in (8, 16)),
    Candidate("IVF", per_root=4),
    Candidate("HNSW", M=8),
)


def first(asked: Wish, d: int) -> list[Candidate]:
    """Return the candidates to begin with, the most promising first."""
    if asked.objective == "memory":
        return sorted([EXACT, *SMALL], key=lambda each: each.least_bytes(d))
    limited = SMALL if math.isfinite(asked.most_bytes) else ()
    return [EXACT, *FAST, *limited]


def around(best: Candidate) -> list[Candidate]:
    """Return the neighbours of the quickest candidate so far."""
    near = []
    if best.M:
        near += [best._replace(M=M) for M in (best.M // 2, 2 * best.M) if 8 <= M <= 64]
    if best.per_root:
        near += [best._replace(per_root=best.per_root * times) for times in (0.5, 2)]
    if best.codec == "SQ4" and best.refine == 2:
        near.append(best._replace(refine=4))
    return near


def _codec(name: str | None, d: int) -> Codec | None:
    if name is None:
        return None
    bits = int(name[-1])
    if name.startswith("SQ"):
        return SQ(bits)
    return PQ(d // 2 if d % 2 == 0 else d, bits)


def _rising(low: int, high: int) -> list[int]:
    """Return whole numbers from ``low`` to ``high``, each some 10 % above the last."""
    numbers = [low]
    while numbers[-1] < high:
        numbers.append(min(high, max(numbers[-1] + 1, round(_STEP * numbers[-1]))))
    return numbers
