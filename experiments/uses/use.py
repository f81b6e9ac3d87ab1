"""A use from its name to its figure and its numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from experiments import provenance, results
from experiments.lessons.notebook import Notebook
from experiments.plots.canvas import settings
from experiments.terminal import Table
from experiments.uses import (
    analogies,
    anomalies,
    classification,
    clusters,
    duplicates,
    patches,
    recommendation,
    shown,
    zero_shot,
)

if TYPE_CHECKING:
    from experiments.uses.shown import Shown

FEWEST = 500  # rows of a set

USES: dict[str, Callable[[Notebook], Shown]] = {
    "duplicates": duplicates.use,
    "classification": classification.use,
    "zero-shot": zero_shot.use,
    "anomalies": anomalies.use,
    "clusters": clusters.use,
    "recommendation": recommendation.use,
    "analogies": analogies.use,
    "patches": patches.use,
}


def about(name: str) -> str:
    """Return what a use is, in one line: the first of its module."""
    module = inspect.getmodule(USES[name])
    return (inspect.getdoc(module) or "").partition("\n")[0]


def check(names: list[str], n: int | None) -> None:
    """Raise ValueError where a name is none, or ``n`` below 500."""
    for name in names:
        if name not in USES:
            raise ValueError(f"a use must be one of {', '.join(USES)}, got {name!r}")
    if n is not None and n < FEWEST:
        raise ValueError(f"n must be at least {FEWEST}, got {n}")


def run(
    name: str,
    of: Callable[[Notebook], Shown],
    notes: Notebook,
    out: Path,
    command: str,
) -> Shown:
    """Do what a use does; write ``NAME.png`` and ``NAME.json`` into a directory."""
    limit = {} if notes.n is None else {"n": notes.n}
    config = {"name": name, **limit, "seed": notes.seed}
    stamp = provenance.stamp(config, notes.seed, notes.threads, command)
    done = of(notes)
    out.mkdir(parents=True, exist_ok=True)
    with settings():
        shown.save(done.canvas(stamp), out / f"{name}.png", done.told())
    stamp |= {"ended": provenance.now(), "datasets": notes.used}
    stamp |= {"left_out": notes.left_out, "merits": dict(done.merits)}
    results.write_json(out / f"{name}.json", stamp)
    return done


def table(done: Shown) -> Table:
    """Return the numbers of a use, for the terminal."""
    found = Table()
    for head in ("what", "came to"):
        found.add_column(head)
    for merit, value in done.merits.items():
        found.add_row(merit, f"{value:,.0f}" if value > 1 else f"{value:.3f}")
    return found
