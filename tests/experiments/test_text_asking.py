from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from experiments.text import asking
from experiments.text.corpus import Corpus
from experiments.text.passages import Passage
from tests.experiments.fakes_text import Hashing

TEXTS = ["red [bold]apples", "green pears and red apples", "blue sky", "grey sea"]


def corpus(encoder=None, labels=("", "", "", "")):
    passages = [
        Passage(10 + row, label, text)
        for row, (label, text) in enumerate(zip(labels, TEXTS, strict=True))
    ]
    vectors = (encoder or Hashing()).encode(TEXTS, "passage")
    return Corpus(passages, vectors, "hashing", Path("fruit.parquet"))


def test_the_nearest_passages_with_their_cosines():
    encoder = Hashing()
    found = asking.ask(corpus(), encoder, "apples that are red", 2)
    assert encoder.encoded[-1] == ("question", ["apples that are red"])
    assert [row for row, _ in found] == [0, 1]
    # 2 of 3 words and 2 of 4
    scores = [score for _, score in found]
    assert scores == pytest.approx([np.sqrt(2 / 3), np.sqrt(2 / 4)], abs=1e-6)


def test_no_more_are_found_than_there_are():
    assert len(asking.ask(corpus(), Hashing(), "sea", 99)) == 4


def test_a_blank_question_is_refused():
    with pytest.raises(ValueError, match="at least 1 word, got ' '"):
        asking.ask(corpus(), Hashing(), " ", 1)


def test_another_model_is_told_by_what_it_makes_of_the_passages():
    with pytest.raises(ValueError, match=r"vectors of d=64, got d=32"):
        asking.check(corpus(), Hashing(d=32))
    with pytest.raises(ValueError, match=r"similarity 0\.99 at least, got") as told:
        asking.check(corpus(), Hashing("other", seed=1))
    assert str(told.value).startswith(
        "fruit.parquet is of the model hashing: other must give the passage of line 10 "
    )
    with pytest.raises(ValueError, match="norms must be within"):
        asking.check(corpus(), Hashing(scale=40))


def test_halved_floats_are_the_same_model():
    encoder = Hashing()
    half = encoder.encode(TEXTS, "passage").astype(np.float16).astype(np.float32)
    asking.check(Corpus(corpus().passages, half, "hashing", Path("a")), encoder)


def shown(table):
    console = Console(width=70)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_tables_show_ranks_scores_and_passages_as_they_are():
    text = shown(asking.table(corpus(), [(0, 0.5), (3, 0.25)], "by meaning", "cosine"))
    rows = [line.strip("│").split("│") for line in text.splitlines() if "0." in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["1", "0.500", "red [bold]apples"],
        ["2", "0.250", "grey sea"],
    ]
    assert "label" not in text


def test_labels_are_shown_where_there_are_some():
    labelled = corpus(labels=("a", "b", "c", "d"))
    text = shown(asking.table(labelled, [(2, 0.5)], "by meaning", "cosine"))
    assert [cell.strip() for cell in text.splitlines()[-2].strip("│").split("│")] == [
        "1", "0.500", "c", "blue sky",
    ]  # fmt: skip


def test_a_search_for_words_finds_words_alone():
    assert [row for row, _ in asking.by_words(corpus(), "an apple", 5)] == [0, 1]
    assert asking.by_words(corpus(), "what about fruit?", 5) == []
    assert asking.nothing("what about Fruit and fruit?").endswith("has any of fruit")
    assert "none that a search could look for" in asking.nothing("what?")
