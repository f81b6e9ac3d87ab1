"""Pictures of one traced search: where it went, and what each step brought."""

from __future__ import annotations

from pathlib import Path

from ann.traces import WalkTrace
from experiments.plots import scans, walks
from experiments.plots.canvas import settings
from experiments.tracing import Case


def draw(case: Case, stem: Path) -> list[Path]:
    """Draw a picture (PNG, SVG) and a film (GIF) of a search.

    Parameters
    ----------
    case : a search that scored something
    stem : of the files, in a directory that exists

    Returns
    -------
    The paths written.
    """
    film = stem.with_name(f"{stem.name}.gif")
    with settings():
        if isinstance(case.trace, WalkTrace):
            return [
                *walks.picture(case, case.trace, stem),
                walks.film(case, case.trace, film),
            ]
        return [
            *scans.picture(case, case.trace, stem),
            scans.film(case, case.trace, film),
        ]
