"""A question and the passages that answer it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box

from experiments.terminal import Plain, Table, stack
from experiments.text.encoders import checked
from experiments.text.keywords import Keywords, words

if TYPE_CHECKING:
    from rich.console import Group

    from experiments.text.corpus import Corpus
    from experiments.text.encoders import Encoder

SAME = 0.99
"""Least similarity of a passage to its own vector; half floats move it by 0.001."""

Hits = list[tuple[int, float]]
"""Rows of a corpus and their scores, the best first."""


def ask(corpus: Corpus, encoder: Encoder, question: str, k: int) -> Hits:
    """Return the k passages nearest in meaning, fewer where there are not as many.

    Scores are cosine similarities. The search is exact.

    Raises
    ------
    ValueError
        The encoder is not the one that the vectors are from, see `check`; or the
        question is blank.
    """
    import ann

    if not question.strip():
        raise ValueError(f"a question must have at least 1 word, got {question!r}")
    check(corpus, encoder)
    asked = checked(encoder.encode([question], "question"), 1, encoder.name)
    index = ann.Flat(metric="cosine").add(corpus.vectors)
    ids, distances = index.search(asked[0], k=min(k, len(corpus.passages)))
    scores = ann.similarity("cosine", distances)
    return [(int(row), float(score)) for row, score in zip(ids, scores, strict=True)]


def check(corpus: Corpus, encoder: Encoder) -> None:
    """Encode a few passages again; their vectors must be those of the corpus.

    Another model of the same width, or a new version of a library that prepares text
    in another way, would raise no error and find what has nothing to do with the
    question.

    Raises
    ------
    ValueError
        They are not.
    """
    rows = sorted({0, len(corpus.passages) // 2, len(corpus.passages) - 1})
    texts = [corpus.passages[row].text for row in rows]
    again = checked(encoder.encode(texts, "passage"), len(rows), encoder.name)
    rule = f"{corpus.path} is of the model {corpus.model}: {encoder.name} must give"
    if again.shape[1] != corpus.vectors.shape[1]:
        raise ValueError(
            f"{rule} vectors of d={corpus.vectors.shape[1]}, got d={again.shape[1]}"
        )
    similar = (again * corpus.vectors[rows]).sum(axis=1)
    worst = int(similar.argmin())
    if not similar[worst] >= SAME:
        line = corpus.passages[rows[worst]].line
        raise ValueError(
            f"{rule} the passage of line {line} the vector it has there, similarity "
            f"{SAME} at least, got {similar[worst]:.3f}"
        )


def by_words(corpus: Corpus, question: str, k: int) -> Hits:
    """Return the k passages that a search for the question's words ranks first."""
    return Keywords([passage.text for passage in corpus.passages]).search(question, k)


def table(corpus: Corpus, hits: Hits, title: str, score: str) -> Group:
    """Show hits with their passages, and labels where there are any."""
    labelled = any(passage.label for passage in corpus.passages)
    shown = Table(box=box.HEAVY_HEAD, pad_edge=True)
    shown.add_column("#", justify="right")
    shown.add_column(score, justify="right")
    if labelled:
        shown.add_column("label", style="bold", overflow="fold")
    shown.add_column("passage", overflow="fold")
    for rank, (row, value) in enumerate(hits, 1):
        passage = corpus.passages[row]
        told = [passage.label, passage.text] if labelled else [passage.text]
        shown.add_row(str(rank), f"{value:.3f}", *told)
    return stack(Plain(title, "bold"), shown)


def nothing(question: str) -> str:
    """Say that a search for words found nothing, and for which words."""
    asked: Sequence[str] = list(dict.fromkeys(words(question)))
    if not asked:
        return "words: the question has none that a search could look for"
    return f"words: no passage has any of {', '.join(asked)}"
