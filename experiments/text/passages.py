"""A text file, one passage a line."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from experiments.encoding import read_text


class Passage(NamedTuple):
    """One line of text.

    Parameters
    ----------
    line : its number in the file, from 1; blank lines count, and are no passages
    label : shown with it, and neither embedded nor searched; may be empty
    text : what is embedded
    """

    line: int
    label: str
    text: str


def read(path: Path, labels: bool = False) -> list[Passage]:
    """Read the passages of a file in UTF-8, in its order.

    Parameters
    ----------
    labels : what stands before the first tab of a line is its label

    Raises
    ------
    ValueError
        Other encodings, a file without passages, a line without a label where there
        must be one.
    """
    try:
        text = read_text(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    lines = [
        (number, line.strip())
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip()
    ]
    if not lines:
        raise ValueError(f"{path}: must hold at least 1 passage, got 0")
    return [
        _labelled(path, *line) if labels else Passage(line[0], "", line[1])
        for line in lines
    ]


def _labelled(path: Path, number: int, line: str) -> Passage:
    label, tab, text = line.partition("\t")
    if not tab or not label.strip() or not text.strip():
        raise ValueError(
            f"{path}: every line must be a label, a tab and a passage, "
            f"got {line[:40]!r} in line {number}"
        )
    return Passage(number, label.strip(), text.strip())
