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
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import ann
from experiments.lessons.looks import BLACK, BLUE, ORANGE, draw, log_x, shares, style
from experiments.lessons.sets import Set
from experiments.plots.style import INK, SOFT
from experiments.uses import sources
from experiments.uses.shown import Shown, listing, names, say

if TYPE_CHECKING:
    from experiments.lessons.notebook import Notebook
    from experiments.plots.panel import Panel

RADIUS = 0.1  # where the histogram of nearest distances, on the left, levels off
RADII = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.3)
ALIKE = 0.8  # share of the words of two duplicates that agree, in order

_COPIES, _DROPPED = 10, 0.1  # one text in so many is copied, without this share
_SAMPLE = 200  # pairs of each radius that are judged for the figure


class Pair(NamedTuple):
    """Two texts by their rows, the first of them smaller, and their distance."""

    i: int
    j: int
    distance: float


def use(notes: Notebook) -> Shown:
    """Plant copies, find pairs by a radius, judge them, and keep one of each."""
    rng = np.random.default_rng(notes.seed)
    texts = dict(itertools.islice(_texts(), notes.n))  # the name of each text
    copied = rng.choice(len(texts), len(texts) // _COPIES, replace=False)
    rows = [*texts, *(_edited(list(texts)[i], rng) for i in copied)]
    planted = {(int(i), len(texts) + j) for j, i in enumerate(copied)}
    X = notes.use(_vectors(rows)).X

    index = ann.HNSW("cosine", seed=notes.seed).add(X, threads=notes.threads)
    near = index.range_search(X, RADII[-1], threads=notes.threads)
    pairs = list(_pairs(*near))

    read = [pair for pair in pairs if pair.distance <= RADIUS]
    judged = [pair for pair in read if _alike(rows[pair.i], rows[pair.j])]
    kept = _kept(len(rows), judged)

    recall, right = [], []
    for radius in RADII:
        inside = [pair for pair in pairs if pair.distance <= radius]
        some = [inside[at] for at in rng.permutation(len(inside))[:_SAMPLE]]
        recall.append(len(planted.intersection(p[:2] for p in inside)) / len(planted))
        right.append(float(np.mean([_alike(rows[i], rows[j]) for i, j, _ in some])))
    merits = {
        "texts": len(rows),
        "pairs of texts": len(rows) * (len(rows) - 1) // 2,
        "pairs to read": len(read),
        "of which duplicates": len(judged) / len(read),
        "planted copies found": len(planted.intersection(p[:2] for p in judged))
        / len(planted),
        "texts kept": len(kept),
    }
    nearest = [min(far[1:], default=1.0) for far in near[1]]
    own = [pair for pair in judged if pair.j < len(texts)]
    called = list(texts.values())
    own = [pair for pair in own if called[pair.i] != called[pair.j]]
    return Shown(
        f"{len(read):,} pairs to read, in place of {merits['pairs of texts']:,}",
        [f"{len(rows):,} docstrings", f"{len(planted)} of them planted copies",
         "TF-IDF, 256 columns", "HNSW, cosine"],
        "Left: the last bar is all that is farther. Middle: recall of the planted "
        f"copies, and of {_SAMPLE} pairs within a radius the share whose words agree to "
        f"{ALIKE:.0%} in order (difflib). Dotted: the radius within which all pairs are "
        "read. Right: the farthest pairs that the judge confirms and nobody planted.",
        merits,
        {
            "nearest – distance to the nearest other text": partial(
                _histogram, nearest, len(texts)
            ),
            "radius – what it finds, and is it right": partial(_curves, recall, right),
            "found – said twice in Python's library": partial(
                _examples, own, called
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


def _edited(text: str, rng: np.random.Generator) -> str:
    """Leave out a tenth of the words, and swap two."""
    words = [word for word in text.split() if rng.random() > _DROPPED]
    i = rng.integers(len(words) - 1)
    words[i], words[i + 1] = words[i + 1], words[i]
    return " ".join(words)


def _vectors(texts: Sequence[str]) -> Set:
    """Weigh words by how rare they are (TF-IDF), and compress to 256 columns."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    weights = TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(texts)
    X = TruncatedSVD(256, random_state=0).fit_transform(weights).astype(np.float32)
    source = "docstrings of functions of Python's library, TF-IDF, truncated SVD"
    return Set("docstrings", X, X[:0], source)


def _pairs(ids: Sequence[np.ndarray], distances: Sequence[np.ndarray]) -> Iterator[Pair]:
    for i, (near, far) in enumerate(zip(ids, distances, strict=True)):
        yield from (
            Pair(i, int(j), float(distance))
            for j, distance in zip(near, far, strict=True)
            if i < j
        )


def _alike(one: str, other: str) -> bool:
    """Read both texts word by word: slow, and right."""
    words = one.lower().split(), other.lower().split()
    return SequenceMatcher(None, *words, autojunk=False).ratio() >= ALIKE


def _kept(n: int, pairs: Sequence[Pair]) -> set[int]:
    """Keep the first of those that are duplicates of each other."""
    kept = set(range(n))
    for i, j, _ in sorted(pairs):
        if i in kept:
            kept.discard(j)
    return kept


def _histogram(nearest: Sequence[float], first: int, panel: Panel) -> None:
    edges = np.linspace(0, RADII[-1], 31)
    clipped = np.clip(nearest, 0, edges[-2])
    step = {"histtype": "step", "lw": 1.6}
    panel.ax.hist(clipped[:first], edges, color=BLACK, **step)
    panel.ax.hist(clipped[first:], edges, color=ORANGE, **step)
    panel.ax.axvline(RADIUS, color=BLUE, lw=1.2, ls=":")
    panel.ax.set_yscale("log")
    names(panel.ax, "cosine distance", "texts")
    above = {"xycoords": "axes fraction", "xytext": (0, 0)}
    say(panel.ax, (0.4, 0.93), "all others", BLACK, **above)
    say(panel.ax, (0.4, 0.86), "planted copies", ORANGE, **above)


def _curves(recall: Sequence[float], right: Sequence[float], panel: Panel) -> None:
    found, sound = style(ORANGE, "o"), style(BLACK, "s")
    draw(panel, found, list(zip(RADII, recall, strict=True)))
    draw(panel, sound, list(zip(RADII, right, strict=True)))
    panel.ax.axvline(RADIUS, color=BLUE, lw=1.2, ls=":")
    log_x(panel.ax, (0.01, 0.03, 0.1, 0.3))
    shares(panel.ax)
    names(panel.ax, "radius")
    below = {"xycoords": "axes fraction", "xytext": (0, 0)}
    say(panel.ax, (0.04, 0.13), "planted copies found", found.text, **below)
    say(panel.ax, (0.04, 0.06), "pairs that are duplicates", sound.text, **below)


def _examples(pairs: Sequence[Pair], of: Sequence[str], panel: Panel) -> None:
    lines = []
    for i, j, distance in sorted(pairs, key=lambda pair: -pair.distance)[:5]:
        lines += [(of[i], INK), (f"{of[j]}   {distance:.3f}", INK), ("", SOFT)]
    listing(panel, lines[:-1])
