"""Files of word2vec and GloVe: every form read, and no damaged one believed."""

import gzip
import struct

import numpy as np
import pytest

from experiments import datasets
from experiments.datasets import words

X = np.array([[0.5, -1, 2e-3], [3, 4, 5], [-6.25, 7, 8]], np.float32)
NAMES = ["the", "king", "new york"]
LINES = [
    f"{name} {' '.join(map(repr, row.tolist()))}"
    for name, row in zip(NAMES, X, strict=True)
]


def text(*lines, end="\n"):
    return end.join([*lines, ""]).encode()


def binary(header=b"3 3\n", end=b"\n", names=NAMES):
    rows = (
        name.encode() + b" " + row.tobytes() + end
        for name, row in zip(names, X, strict=True)
    )
    return header + b"".join(rows)


@pytest.fixture(name="read")
def _read(tmp_path):
    def read(content, limit=None):
        path = tmp_path / "vectors.txt"
        path.write_bytes(content)
        return words.read(path, limit)

    return read


@pytest.mark.parametrize(
    "content",
    [
        text(*LINES),
        text("3 3", *LINES),
        text("3 3 ", *(f"{line} " for line in LINES)),  # as the C program ends lines
        text("3 3", *LINES, end="\r\n"),
        "\n".join(LINES).encode(),  # no line break at the end
    ],
    ids=["glove", "word2vec", "spaces", "windows", "unended"],
)
def test_text(read, content):
    found = read(content)
    assert found.words == NAMES
    np.testing.assert_array_equal(found.X, X)
    assert found.X.dtype == np.float32
    assert found.row("king") == 1
    assert "new york" in found
    assert "york" not in found


def names_without_spaces():
    return ["the", "king", "new_york"]


@pytest.mark.parametrize("end", [b"\n", b""], ids=["ended", "joined"])
def test_binary(read, end):
    found = read(binary(end=end, names=names_without_spaces()))
    assert found.words == names_without_spaces()
    np.testing.assert_array_equal(found.X, X)


def test_words_keep_what_other_readers_split_at_and_bytes_that_are_no_utf8(read):
    odd = ["a\u00a0b", "c\u0085d", "e\u2028f", "é"]
    lines = [f"{word} {i} 1".encode() for i, word in enumerate(odd)]
    found = read(b"\n".join([*lines, b"caf\xe9 9 1"]))
    assert found.words == [*odd, "caf\\xe9"]
    np.testing.assert_array_equal(found.X[:, 0], [0, 1, 2, 3, 9])


def test_a_limit_reads_the_first_words_alone(read):
    assert read(text("3 3", *LINES), 2).words == NAMES[:2]
    assert read(text(*LINES), 2).words == NAMES[:2]
    assert read(text(*LINES), 9).words == NAMES
    assert read(binary(names=names_without_spaces()), 1).words == ["the"]
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        read(text(*LINES), 0)


def test_a_word_that_comes_twice_is_the_first(read):
    found = read(b"a 1 2\nb 3 4\na 5 6\n")
    assert found.row("a") == 0
    assert len(found.words) == 3
    with pytest.raises(ValueError, match="a word must be one of 3, got 'c'"):
        found.row("c")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1 must be a word and its numbers"),
        (b"alone\n", "line 1 must be a word and its numbers"),
        (text(*LINES, "queen 1 2"), "line 4: must be a word and 3 numbers, got 3"),
        (text("3 3", LINES[0], "king 1 2"), "line 3: must be a word and 3 numbers"),
        (text(*LINES, "queen 1 two 3"), "line 4: .* could not convert .*two"),
        (text(*LINES, "queen 1 nan 3"), "line 4: values must be finite"),
        (text(*LINES, "queen 1 1e99 3"), "line 4: values must be finite"),
        (text(*LINES, " 1 2 3"), "line 4: must be a word and 3 numbers"),
        (text("4 3", *LINES), "must have 4 words, got 3"),
        (text("2 3", *LINES), "must have 2 words, got 3"),
        (text("3 3"), "must have 3 words, got 0"),
        (text("0 3"), "n and d must be at least 1, got n=0, d=3"),
        (gzip.compress(text(*LINES)), "must be unpacked first"),
        (binary(b"9999999 300\n"), "must have at least .* bytes for 9999999 words"),
        (binary(b"three 3\n"), "line 1 of a binary file must be 'n d'"),
        (binary()[:-9], "must have 3 values, got the end|at least"),
        (binary(b"2 3\n", names=names_without_spaces()), "must end after 2 words"),
        (b"1 1\n" + b"\x01" * 5000, "must be of 1 to 1999 bytes and a space"),
        (b"1 1\n " + struct.pack("<f", 1) + b"\x01\x01", "must be of 1 to 1999 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_damaged_is_refused_and_said(read, content, message):
    with pytest.raises(words.DataError, match=message):
        read(content)


def test_every_cut_of_a_file_is_noticed(read):
    whole = binary(names=names_without_spaces())
    for length in range(4, len(whole) - 1):
        with pytest.raises(words.DataError):
            read(whole[:length])


def test_they_are_datasets_too(tmp_path):
    path = tmp_path / "glove.txt"
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((300, 4)).round(3)
    lines = (f"w{i} {' '.join(map(str, row))}" for i, row in enumerate(rows))
    path.write_bytes(text(*lines))
    found = datasets.load(path, n=200, nq=20, metric="cosine", cache=tmp_path)
    assert found.train.shape == (200, 4)
    assert found.neighbors.shape == (20, 100)
