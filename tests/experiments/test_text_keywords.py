import math

import pytest

from experiments.text.keywords import K1, B, Keywords, words

TEXTS = [
    "Read and write ZIP files.",
    "Filename globbing utility.",
    "Utilities for comparing files and directories: files, files.",
    "The debugger",
]


def test_words_are_lower_case_and_singular_and_not_common():
    assert words("Classes of the Utilities' glass_bus: John's 3 boxes, don't!") == [
        "classe", "utility", "glass", "bus", "john", "3", "boxe", "don",
    ]  # fmt: skip
    assert words("How do I use... the Übung?") == ["use", "übung"]


def test_scores_are_bm25():
    # By hand: "file" stands in 2 of 4 texts; lengths 4, 3, 6, 1, so 3.5 in the mean.
    weight = math.log(1 + (4 - 2 + 0.5) / (2 + 0.5))

    def score(count, length):
        return weight * count * (K1 + 1) / (count + K1 * (1 - B + B * length / 3.5))

    found = Keywords(TEXTS).search("which file?", 10)
    assert [row for row, _ in found] == [2, 0]
    assert [value for _, value in found] == pytest.approx([score(3, 6), score(1, 4)])


def test_any_word_finds_and_rare_ones_count_more():
    keywords = Keywords(TEXTS)
    assert [row for row, _ in keywords.search("glob files in zip", 2)] == [0, 2]
    assert keywords.search("how do penguins sleep", 5) == []
    assert keywords.search("", 5) == []
    assert [row for row, _ in Keywords(["twin", "twin"]).search("twin", 5)] == [0, 1]
