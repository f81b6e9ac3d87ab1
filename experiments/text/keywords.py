"""A search for words, to be seen beside a search by meaning.

BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, Sec. 3.2)
with the usual parameters. Plurals count as their singular (Harman, "How Effective Is
Suffixing?", 1991), and words that any sentence may have do not count.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

K1, B = 1.2, 0.75

_COMMON = """
a about after all am an and another any are as at be because been before between but by
can could did do does each every few for from had has have how i if in into is it its
just like may me might more most much must my no not of off on once one only onto or
other our out over own s same shall should so some such t than that the their them then
there these they this those through to too under until up upon us very was we were what
when where whether which while who whom whose why will with within without would you
your
"""
_SKIPPED = frozenset(_COMMON.split())


def words(text: str) -> list[str]:
    """Return the words of a text that a search may look for, in singular."""
    found = re.findall(r"[^\W_]+", text.lower())
    return [_singular(word) for word in found if word not in _SKIPPED]


def _singular(word: str) -> str:
    """Take the plural's ending off (Harman 1991, the S stemmer)."""
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    if word.endswith("s") and not word.endswith(("us", "ss")):
        return word[:-1]
    return word


class Keywords:
    """The words of some texts.

    Parameters
    ----------
    texts : at least 1
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._counts = [Counter(words(text)) for text in texts]
        self._lengths = [count.total() for count in self._counts]
        self._mean = sum(self._lengths) / len(texts) or 1.0
        self._with = Counter(word for count in self._counts for word in count)

    def __contains__(self, word: str) -> bool:
        return word in self._with

    def search(self, question: str, k: int) -> list[tuple[int, float]]:
        """Return the rows of at most k texts and their scores, the best first.

        A text is found if it has one of the question's words.
        """
        asked = [word for word in dict.fromkeys(words(question)) if word in self]
        scored = ((self._score(row, asked), row) for row in range(len(self._counts)))
        best = sorted((-score, row) for score, row in scored if score > 0)
        return [(row, -negative) for negative, row in best[:k]]

    def _score(self, row: int, asked: Sequence[str]) -> float:
        longer = 1 - B + B * self._lengths[row] / self._mean
        total = 0.0
        for word in asked:
            count = self._counts[row][word]
            total += self._weight(word) * count * (K1 + 1) / (count + K1 * longer)
        return total

    def _weight(self, word: str) -> float:
        """Return how much a word tells; the 1 keeps that of frequent ones above 0."""
        n, having = len(self._counts), self._with[word]
        return math.log(1 + (n - having + 0.5) / (having + 0.5))
