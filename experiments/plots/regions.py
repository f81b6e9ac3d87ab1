"""What a use asks for, as a region of recall against latency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ann.presets import PRESETS, Use
from experiments.plots.scales import RecallAxis, format_us
from experiments.plots.style import USES

if TYPE_CHECKING:
    from experiments.plots.panel import Panel
    from experiments.plots.rows import Run

K = 10  # the recall that uses are stated in
NOTE = (
    " Shaded: the recall that a use asks for, up to the latency that it allows, both "
    "for guidance."
)


def named(names: Sequence[str]) -> list[Use]:
    """Return uses by their names.

    Raises
    ------
    ValueError
        When there is no such use.
    """
    for name in names:
        if name not in PRESETS:
            raise ValueError(f"a use must be one of {', '.join(PRESETS)}, got {name!r}")
    return [PRESETS[name] for name in dict.fromkeys(names)]


def wanted(runs: Sequence[Run]) -> list[Use]:
    """Return the uses that the configs of some runs name."""
    configs = [run.provenance.get("config") or {} for run in runs]
    return named([name for config in configs for name in config.get("uses", ())])


def told(uses: Sequence[Use]) -> list[str]:
    """Say what is shaded, in a sentence; none where nothing is."""
    words = [
        f"{use.name}, recall {use.recall[0]:g} to {use.recall[1]:g}{_limit(use)}"
        for use in uses
    ]
    return [f"Shaded: {'; '.join(words)}."] if words else []


def _limit(use: Use, lead: str = ", at most ") -> str:
    most_us = 1e3 * use.latency_ms[1]
    return f"{lead}{format_us(most_us)}" if most_us < float("inf") else ""


def shade(panel: Panel, axis: RecallAxis, uses: Sequence[Use]) -> None:
    """Shade the regions of some uses on a panel of recall@10 against latency in µs."""
    for i, use in enumerate(uses):
        low, high = use.recall
        across = axis(low), axis.high if high == 1 else axis(high)
        name = f"{use.name}{_limit(use, ' ≤ ')}"
        panel.region(across, 1e3 * use.latency_ms[1], name, USES[i % len(USES)])
