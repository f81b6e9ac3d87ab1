"""What the lines of a study come to: tables for the terminal, and figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.encoding import file_name
from experiments.plots.canvas import settings
from experiments.terminal import Plain
from experiments.trust import churn, filters, hostile
from experiments.trust.figures import draw_churn, draw_filters, draw_hostile
from experiments.trust.tables import churned, filtered, harmed

if TYPE_CHECKING:
    from rich.console import RenderableType

    from experiments.trust.subject import Subject

_TOLD: Mapping[type[Subject], Any] = {
    churn.Line: (churned, draw_churn),
    filters.Line: (filtered, draw_filters),
    hostile.Line: (harmed, draw_hostile),
}


def tables(lines: Sequence[Subject]) -> Iterator[RenderableType]:
    """Yield the tables of each data set, and what went wrong."""
    for own in _by_data(lines):
        yield from _TOLD[type(own[0])][0](own)
    for line in lines:
        if line.status != "ok":
            yield Plain(f"{line.dataset}, {line.name}: {line.status}")


def draw(
    lines: Sequence[Subject], provenance: Mapping[str, Any], out: Path
) -> list[Path]:
    """Draw the figures of each data set; return the paths of PNG and SVG files."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    with settings():
        for own in _by_data([line for line in lines if line.status == "ok"]):
            stem = out / file_name(f"{own[0].dataset}-{own[0].metric}")
            paths += _TOLD[type(own[0])][1](own, provenance, stem)
    return paths


def _by_data(lines: Sequence[Subject]) -> Iterator[Sequence[Subject]]:
    """Yield the lines of each data set."""
    keys = dict.fromkeys((line.dataset, line.metric) for line in lines)
    for key in keys:
        yield [line for line in lines if (line.dataset, line.metric) == key]
