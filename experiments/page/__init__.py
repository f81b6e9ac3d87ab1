"""A run's report: one HTML file that needs no network, drawn by the browser."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

NEEDS = "the HTML report needs plotly: pip install 'plotly>=6'"


def available() -> bool:
    """Return whether Plotly is installed, whose JavaScript the report carries."""
    return importlib.util.find_spec("plotly") is not None


def write(dirs: Sequence[Path], out: Path) -> Path:
    """Write the report of some result directories.

    What a directory lacks, a column or a whole file of those that newer runs write, is
    left out of the report.

    Parameters
    ----------
    dirs : result directories; the curves of several are overlaid where they share a
        data set
    out : the HTML file

    Returns
    -------
    out

    Raises
    ------
    ModuleNotFoundError
        Without Plotly; the message says how to get it.
    FileNotFoundError
        When a directory holds no ``rows.csv``.
    ValueError
        When a file is malformed.
    """
    if not available():
        raise ModuleNotFoundError(NEEDS)
    from experiments.datasets.cache import atomic
    from experiments.encoding import write_text
    from experiments.page.document import document
    from experiments.page.material import gather

    text = document(gather(dirs))
    with atomic(out) as temporary:
        write_text(temporary, text)
    return out
