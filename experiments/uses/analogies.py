"""Word analogies: king − man + woman is near queen, or so they say.

The vectors are those of a file of word2vec or GloVe, or, without one, learned in
seconds from the documentation of this machine's Python libraries: how much more often
two words meet than chance has it (PPMI), compressed. That knows no kings, but arrays
and rows. The trick is to be fair: the words that were asked with are left out, and
beside each analogy stands what the neighbours of the third word alone would have said.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import ann
from experiments.datasets import words as word_files
from experiments.lessons.looks import BLUE, ORANGE
from experiments.lessons.sets import Set
from experiments.peers.common import normalised
from experiments.plots.style import INK, SOFT
from experiments.uses import meeting, panels
from experiments.uses.shown import Shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.datasets.words import Words
    from experiments.lessons.notebook import Notebook
    from experiments.plots.panel import Panel
    from experiments.uses.panels import Painter

    Pairs = list[tuple[str, str]]

FEWEST = 4  # pairs of a family
MOST = 400_000  # words of a file: the frequent ones come first
K = 5
ASKED = [
    ("man", "king", "woman"),
    ("paris", "france", "berlin"),
    ("minimum", "min", "maximum"),
    ("cosine", "cos", "sine"),
    ("column", "columns", "matrix"),
    ("create", "created", "raise"),
    ("left", "right", "top"),
]
FAMILIES = {
    "man, woman": "man woman|king queen|father mother|brother sister|son daughter|"
    "uncle aunt|boy girl|husband wife|he she|actor actress",
    "capital": "paris france|berlin germany|rome italy|madrid spain|tokyo japan|"
    "london england|moscow russia|athens greece|cairo egypt|vienna austria",
    "plural": "array arrays|column columns|file files|function functions|"
    "module modules|argument arguments|value values|line lines|class classes|key keys|"
    "matrix matrices|row rows|index indices|error errors|parameter parameters|"
    "element elements|method methods|color colors|number numbers|point points",
    "past": "return returned|compute computed|call called|create created|raise raised|"
    "use used|define defined|give given|convert converted|remove removed|"
    "require required|apply applied|write written|add added|draw drawn",
    "adverb": "recursive recursively|automatic automatically|explicit explicitly|"
    "direct directly|correct correctly|efficient efficiently|numerical numerically|"
    "uniform uniformly|random randomly|implicit implicitly|independent independently",
    "opposite": "encode decode|first last|min max|minimum maximum|upper lower|"
    "left right|start end|top bottom|true false|before after|input output|"
    "smaller larger|open close|positive negative|horizontal vertical|dense sparse|"
    "even odd|row column",
}


class Score(NamedTuple):
    """How many questions a family has, and the shares that are right."""

    asked: int
    first: float
    beside: float  # by the neighbours of the third word alone


class Analogies:
    """Words, searched by cosine."""

    def __init__(self, words: Words, seed: int = 0, threads: int | None = None) -> None:
        self.words, self.X = words, normalised(words.X)
        self.index = ann.HNSW("cosine", seed=seed).add(self.X, threads=threads)

    def answers(self, questions: Sequence[tuple[str, ...]]) -> list[list[str]]:
        """Answer "a is to b as c is to": five words each, none of the three."""
        rows = np.array([[self.words.row(word) for word in q] for q in questions])
        a, b, c = (self.X[rows[:, i]] for i in range(3))
        return self._named(b - a + c, rows)

    def beside(self, questions: Sequence[tuple[str, ...]]) -> list[list[str]]:
        """Return five neighbours of c, none of the three."""
        rows = np.array([[self.words.row(word) for word in q] for q in questions])
        return self._named(self.X[rows[:, 2]], rows)

    def _named(self, Q: NDArray[Any], rows: NDArray[Any]) -> list[list[str]]:
        ids, _ = self.index.search(Q, k=K + 3, ef_search=100)
        return [
            [self.words.words[i] for i in row if i >= 0 and i not in asked][:K]
            for row, asked in zip(ids, rows, strict=True)
        ]


def use(notes: Notebook, vectors: Path | None = None) -> Shown:
    """Ask every family of analogies of which there are words enough."""
    if vectors is None:
        words, source = meeting.of_documentation(), "documentation of Python libraries"
    else:
        words, source = word_files.read(vectors, notes.n or MOST), vectors.name
    notes.use(Set("words", words.X, words.X[:0], source))
    asked = Analogies(words, notes.seed, notes.threads)

    families = {name: _known(text, words) for name, text in FAMILIES.items()}
    for name, pairs in families.items():
        if len(pairs) < FEWEST:
            notes.leave_out(f"{name}: {len(pairs)} of its pairs are in these vectors")
    held = {name: pairs for name, pairs in families.items() if len(pairs) >= FEWEST}
    if not held:
        raise ValueError(
            f"{source}: must have both words of {FEWEST} pairs of a family, such as "
            f"{', '.join(FAMILIES['man, woman'].split('|')[:2])}; got too few of each"
        )
    scores = {name: _score(pairs, asked) for name, pairs in held.items()}
    shown = "past" if "past" in held else next(iter(held))
    questions = [q for q in ASKED if all(word in words for word in q)][:K]
    answers = asked.answers(questions) if questions else []
    merits = {"words": float(len(words.words))}
    for name, score in scores.items():
        merits[f"{name}, right"] = score.first
        merits[f"{name}, right by neighbours alone"] = score.beside
    return Shown(
        "Arithmetic with words helps in some families, and in others only seems to",
        [f"{len(words.words):,} words of {source}", f"{words.X.shape[1]} columns",
         "HNSW, cosine"],
        "Left: all questions of a family, such as return : returned as write : ? Right "
        "if the first word is; the three that were asked with do not count. Middle: "
        "from the first word of each pair to the second, on the plane of their first "
        "two principal components. Right: some answers, picked; the shares are of all.",
        merits,
        {
            "families – how many are right": panels.bars(
                [*scores],
                {"by arithmetic": [score.first for score in scores.values()],
                 "by neighbours of the third word alone":
                    [score.beside for score in scores.values()]},
            ),
            f"steps – {shown}": _arrows(held[shown][:8], asked),
            "answers – the first three": panels.listing(
                [(f"{b} − {a} + {c}", ", ".join(answer[:3]))
                 for (a, b, c), answer in zip(questions, answers, strict=True)]
            ),
        },
        gap=1.0,
        left=1.0,
    )  # fmt: skip


def _known(text: str, words: Words) -> Pairs:
    split = (pair.split() for pair in text.split("|"))
    return [(a, b) for a, b in split if a in words and b in words]


def _score(pairs: Pairs, asked: Analogies) -> Score:
    both = list(itertools.permutations(pairs, 2))
    questions = [(a, b, c) for (a, b), (c, _) in both]
    wanted = [d for _, (_, d) in both]
    found = list(zip(asked.answers(questions), wanted, strict=True))
    alone = list(zip(asked.beside(questions), wanted, strict=True))
    return Score(
        len(both),
        first=float(np.mean([answer[:1] == [d] for answer, d in found])),
        beside=float(np.mean([answer[:1] == [d] for answer, d in alone])),
    )


def _arrows(pairs: Pairs, asked: Analogies) -> Painter:
    rows = np.array([[asked.words.row(word) for word in pair] for pair in pairs])
    V = asked.X[rows].astype(np.float64)
    flat = V.reshape(-1, V.shape[-1])
    axes = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)[2][:2]
    places = (V - flat.mean(axis=0)) @ axes.T

    def paint(panel: Panel) -> None:
        panel.ax.plot(*places.reshape(-1, 2).T, ".", color=SOFT, ms=3)
        panel.ax.margins(0.14)
        panel.ax.set_axis_off()
        arrow: dict[str, Any] = {"arrowstyle": "-|>", "color": ORANGE, "lw": 1.2}
        for (first, _), (start, end) in zip(pairs, places, strict=True):
            panel.ax.annotate("", end, start, arrowprops=arrow)
            panels.say(panel.ax, tuple(start), first, INK, xytext=(3, -9))
        panels.say(panel.ax, tuple(places[0, 1]), pairs[0][1], BLUE, xytext=(3, 3))

    return paint
