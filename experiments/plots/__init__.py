"""Figures of one or several runs, drawn from their files alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def draw(
    dirs: Sequence[Path], out: Path, uses: Sequence[str] | None = None
) -> list[Path]:
    """Draw every figure that the rows of some result directories allow.

    For each data set in the rows: recall against latency (p50, p95 and p99; recall@10,
    @5 and @1), against throughput, against memory and against distance computations,
    the time to build, and latency under load. A figure whose columns are empty is left
    out.

    Parameters
    ----------
    dirs : result directories; the curves of several are overlaid, and those that
        share a label are told apart by the names of their runs
    out : the directory to write PNG and SVG files to; made when missing
    uses : names in ``ann.PRESETS``, whose regions are shaded where recall@10 stands
        against latency; by default those that the runs' configs name

    Returns
    -------
    The paths written: two for each figure.

    Raises
    ------
    FileNotFoundError
        When a directory holds no ``rows.csv``.
    ValueError
        When a file is malformed, or no row can be drawn; an unknown use.
    """
    from experiments.plots.figures import draw_runs  # imports Matplotlib

    return draw_runs(dirs, out, uses)
