"""Near-duplicates: find texts that were copied and edited, and keep one of each.

The data are the docstrings of Python's own library, and copies of some of them with
words left out and swapped. The index answers ``range_search``: not the ten nearest, but
all that is nearer than a radius. The trick: a radius that finds nearly every copy finds
much else, so a slow judge reads the pairs, which are few in place of n² / 2.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import ann
from experiments.lessons.sets import Set
from experiments.uses import panels, sources
from experiments.uses.shown import Shown

if TYPE_CHECKING:
    from experiments.lessons.notebook import Notebook

RADIUS = 0.1  # where the histogram of nearest distances, on the left, levels off
RADII = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.3)
ALIKE = 0.8  # share of the words of two duplicates that agree, in order
COPIES, DROPPED = 10, 0.1  # one text in so many is copied, without this share
SAMPLE = 200  # pairs of each radius that are judged for the figure


class Pair(NamedTuple):
    """Two texts by their rows, the first of them smaller, and their distance."""

    i: int
    j: int
    distance: float


def use(notes: Notebook) -> Shown:
    """Plant copies, find pairs by a radius, judge them, and keep one of each."""
    rng = np.random.default_rng(notes.seed)
    names = dict(itertools.islice(_texts(), notes.n))  # by their texts
    copied = rng.choice(len(names), len(names) // COPIES, replace=False)
    texts = [*names, *(edited(list(names)[i], rng) for i in copied)]
    planted = {(int(i), len(names) + j) for j, i in enumerate(copied)}
    X = notes.use(vectors(texts)).X

    index = ann.HNSW("cosine", seed=notes.seed).add(X, threads=notes.threads)
    ids, distances = index.range_search(X, RADII[-1], threads=notes.threads)
    near = [
        Pair(i, int(j), float(distance))
        for i, (row, far) in enumerate(zip(ids, distances, strict=True))
        for j, distance in zip(row, far, strict=True)
        if i < j
    ]

    read = [pair for pair in near if pair.distance <= RADIUS]
    judged = [pair for pair in read if alike(texts[pair.i], texts[pair.j])]
    kept = firsts(len(texts), judged)

    found, sound = [], []
    for radius in RADII:
        within = [pair for pair in near if pair.distance <= radius]
        some = [within[at] for at in rng.permutation(len(within))[:SAMPLE]]
        right = [alike(texts[i], texts[j]) for i, j, _ in some]
        found.append((radius, share(planted, within)))
        sound.append((radius, float(np.mean(right))))
    nearest = np.array([min(far[1:], default=1.0) for far in distances])
    pairs = len(texts) * (len(texts) - 1) // 2
    return Shown(
        f"{len(read):,} pairs to read, in place of {pairs:,}",
        [f"{len(texts):,} docstrings", f"{len(planted)} of them planted copies",
         "TF-IDF, 256 columns", "HNSW, cosine"],
        "Left: the last bar is all that is farther. Middle: of the planted copies, "
        f"those found; of {SAMPLE} pairs within a radius, those whose words agree to "
        f"{ALIKE:.0%} in order (difflib). Dotted: the radius within which all pairs "
        "are read. Right: the farthest that the judge confirms and nobody planted.",
        {
            "texts": len(texts),
            "pairs to read": len(read),
            "of which duplicates": len(judged) / len(read),
            "planted copies found": share(planted, judged),
            "texts kept": len(kept),
        },
        {
            "nearest – distance to the nearest other text": panels.histogram(
                {"planted copies": nearest[len(names) :],
                 "all others": nearest[: len(names)]},
                np.linspace(0, RADII[-1], 31), "cosine distance", "texts",
                log=True, rule=RADIUS,
            ),
            "radius – what it finds, and is it right": panels.curves(
                {"pairs that are duplicates": sound, "planted copies found": found},
                "radius", key=(0.05, 0.06), ticks=(0.01, 0.03, 0.1, 0.3), rule=RADIUS,
            ),
            "found – said twice in Python's library": panels.listing(
                _examples(judged, list(names.values()))
            ),
        },
    )  # fmt: skip


def _texts() -> Iterator[tuple[str, str]]:
    """Yield docstrings of ten words and more, each once, with a function's name."""
    seen = set()
    for name, text in sources.described():
        if len(text.split()) >= 10 and text not in seen:
            seen.add(text)
            yield text, name


def edited(text: str, rng: np.random.Generator) -> str:
    """Leave out a tenth of the words, and swap two."""
    words = [word for word in text.split() if rng.random() > DROPPED]
    i = rng.integers(len(words) - 1)
    words[i], words[i + 1] = words[i + 1], words[i]
    return " ".join(words)


def vectors(texts: Sequence[str]) -> Set:
    """Weigh words by how rare they are (TF-IDF), and compress to 256 columns."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    weights = TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(texts)
    X = TruncatedSVD(256, random_state=0).fit_transform(weights).astype(np.float32)
    source = "docstrings of functions of Python's library, TF-IDF, truncated SVD"
    return Set("docstrings", X, X[:0], source)


def alike(one: str, other: str) -> bool:
    """Read both texts word by word: slow, and right."""
    words = one.lower().split(), other.lower().split()
    return SequenceMatcher(None, *words, autojunk=False).ratio() >= ALIKE


def firsts(n: int, pairs: Sequence[Pair]) -> set[int]:
    """Keep the first of those that are duplicates of each other."""
    kept = set(range(n))
    for i, j, _ in sorted(pairs):
        if i in kept:
            kept.discard(j)
    return kept


def share(planted: set[tuple[int, int]], pairs: Sequence[Pair]) -> float:
    """Return the share of the planted pairs that are among these."""
    return len(planted.intersection((i, j) for i, j, _ in pairs)) / len(planted)


def _examples(pairs: Sequence[Pair], names: Sequence[str]) -> list[tuple[str, str]]:
    own = [(distance, i, j) for i, j, distance in pairs if j < len(names)]
    far = [
        each for each in sorted(own, reverse=True) if names[each[1]] != names[each[2]]
    ]
    return [(names[i], f"{names[j]}   {distance:.3f}") for distance, i, j in far[:6]]
