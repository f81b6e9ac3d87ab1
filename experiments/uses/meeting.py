"""Word vectors of the words' own company, learned in seconds.

Positive pointwise mutual information of words that stand near each other, compressed by
a singular value decomposition: what word2vec does, nearly (Levy & Goldberg, "Neural
Word Embedding as Implicit Matrix Factorization", NIPS 2014; "Improving Distributional
Similarity", TACL 2015, for the exponents).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from experiments.datasets.words import Words
from experiments.uses import sources

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW = 5  # words to either side; the nearer, the more they count
SMOOTHING = 0.75  # of how often a word is met by chance, which helps rare ones
_APART = -1  # a rare word, or the end of a text


def of_documentation(libraries: Sequence[str] = sources.LIBRARIES) -> Words:
    """Learn words from the documentation of Python's library, and of others."""
    return learn(dict.fromkeys(sources.prose(libraries)), columns=100, least=20)


def learn(texts: Iterable[str], columns: int, least: int) -> Words:
    """Learn vectors of the words that come at least so often, frequent ones first.

    Parameters
    ----------
    texts : a word beside the end of one has no neighbours in the next
    columns : of the vectors
    least : times that a word must come
    """
    from sklearn.utils.extmath import randomized_svd

    split = [re.findall(r"[a-z]+", text.lower()) for text in texts]
    counts = Counter(word for words in split for word in words)
    kept = [word for word, count in counts.most_common() if count >= least]
    row = {word: i for i, word in enumerate(kept)}
    rows: list[int] = []
    for words in split:
        rows += [row.get(word, _APART) for word in words] + [_APART] * WINDOW
    weights = information(met(np.array(rows), len(kept)))
    left, sizes, _ = randomized_svd(weights, columns, random_state=0)
    return Words(kept, (left * np.sqrt(sizes)).astype(np.float32))


def met(rows: NDArray[np.int64], n: int) -> Any:
    """Count how often two words stand near each other: sparse (n, n), symmetric."""
    total = sparse.csr_matrix((n, n))
    for apart in range(1, WINDOW + 1):
        left, right = rows[:-apart], rows[apart:]
        both = (left != _APART) & (right != _APART)
        ones = np.full(both.sum(), 1 / apart)
        total += sparse.coo_matrix((ones, (left[both], right[both])), (n, n)).tocsr()
    return total + total.T


def information(counts: Any) -> Any:
    """Return by how much, as a logarithm, words meet more often than by chance."""
    often = np.asarray(counts.sum(axis=1)).ravel()
    chance = often**SMOOTHING / (often**SMOOTHING).sum()
    pairs = counts.tocoo()
    gain = np.log(pairs.data / (often[pairs.row] * chance[pairs.col]))
    more = gain > 0
    places = pairs.row[more], pairs.col[more]
    return sparse.csr_matrix((gain[more], places), counts.shape)
