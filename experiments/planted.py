"""Whether ``ann compare`` finds a slow-down that was planted, and none where none was.

``python -m experiments.planted CONFIG --out DIR`` measures three runs, one after
another, each in a process of its own as those of a user are, and repeats that: a plain
one, the same once more, and one in which every search of ours goes on for so much
longer than it took. What the comparison says of the second and of the third against the
first is printed, and kept in ``planted.csv``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments import compare, indexes, ours, results
from experiments.adapter import Params

if TYPE_CHECKING:
    from experiments.adapter import Vectors

VARIABLE = "PLANTED"  # of the environment: the share that searches take longer
TABLE = "planted.csv"
_CHILD = "import sys; from experiments import planted; planted.measure(*sys.argv[1:])"


class _Slowed(ours._Ours):
    """Searches that take longer by a share of what they took."""

    def searcher(
        self, search: Params, k: int, threads: int
    ) -> Callable[[Vectors], Any]:
        find = super().searcher(search, k, threads)
        share = float(os.environ[VARIABLE])

        def call(Q: Vectors) -> Any:
            start = perf_counter_ns()
            answer = find(Q)
            now = perf_counter_ns()
            until = now + share * (now - start)
            while perf_counter_ns() < until:
                pass
            return answer

        return call


class Flat(_Slowed, ours.Flat):
    """Exact search."""


class IVF(_Slowed, ours.IVF):
    """Inverted lists."""


class HNSW(_Slowed, ours.HNSW):
    """Hierarchical navigable small worlds."""


@dataclass(frozen=True)
class Line:
    """What a comparison with the plain run said; the columns of ``planted.csv``.

    ``worse`` of so many ``readings`` were called worse; ``ratio`` is that of a reading,
    the median, the least and the greatest, and ``drift`` that of the yardstick.
    """

    repetition: int
    run: str
    readings: int
    worse: int
    ratio: tuple[float, float, float]
    drift: float

    def __str__(self) -> str:
        said = f"{self.worse} worse" if self.worse else "no regression"
        middle, low, high = (f"{ratio - 1:+.1%}" for ratio in self.ratio)
        return (
            f"{self.repetition + 1}, {self.run}: {said} of {self.readings} readings; "
            f"p50 {middle} ({low} … {high}), yardstick {self.drift - 1:+.1%}"
        )


def measure(config: str, out: str) -> None:
    """Run a config with searches that may be slowed; in a process of its own."""
    from rich.console import Console

    from experiments import config as configs
    from experiments import plan as plans
    from experiments import runner
    from experiments.provenance import command_line, config_table

    for adapter in (Flat, IVF, HNSW):
        indexes.KINDS[adapter.library, adapter.kind] = adapter
    plan = plans.make(configs.load(Path(config), configs.Config))
    results.claim(Path(out), config_table(plan.config))
    runner.run(plan, Path(out), Console(quiet=True), command_line())


def lines(
    config: Path, out: Path, repetitions: int, share: float, threshold: float
) -> Iterator[Line]:
    """Measure, and yield what every comparison says; finished runs are kept."""
    for repetition in range(repetitions):
        runs = {"plain": 0.0, "again": 0.0, "slowed": share}
        home = out / str(repetition)
        for name, longer in runs.items():
            _run(config, home / name, longer)
        for name in ("again", "slowed"):
            yield _compared(repetition, home / "plain", home / name, threshold)


def _run(config: Path, out: Path, share: float) -> None:
    stamp = out / results.PROVENANCE
    if stamp.exists() and json.loads(stamp.read_text())["status"] == "finished":
        return
    subprocess.run(
        [sys.executable, "-c", _CHILD, str(config), str(out)],
        env=os.environ | {VARIABLE: str(share)},
        check=True,
    )


def _compared(repetition: int, before: Path, after: Path, threshold: float) -> Line:
    import numpy as np

    runs = compare.Measured(before), compare.Measured(after)
    changes = compare.compare(*runs, threshold=threshold)
    ratios = [change.ratio.value for change in changes]
    return Line(
        repetition,
        after.name,
        readings=len(changes),
        worse=len(compare.regressions(changes)),
        ratio=(float(np.nanmedian(ratios)), np.nanmin(ratios), np.nanmax(ratios)),
        drift=changes[0].drift,
    )


def main(
    config: Annotated[Path, typer.Argument(help="A TOML file of indexes of ours.")],
    out: Annotated[Path, typer.Option(help="Where to keep the runs.")],
    repetitions: Annotated[int, typer.Option(min=1, help="Of the three runs.")] = 20,
    share: Annotated[
        float, typer.Option(min=0, help="How much longer the third's searches take.")
    ] = 0.15,
    threshold: Annotated[
        float, typer.Option(help="As that of 'ann compare'.")
    ] = compare.THRESHOLD,
) -> None:
    """Count how often 'ann compare' is right about code that is known."""
    said: list[Line] = []
    for line in lines(config, out, repetitions, share, threshold):
        said.append(line)
        print(line, flush=True)
        results.write_table(out / TABLE, said)
    silent = sum(not line.worse for line in said if line.run == "again")
    found = sum(line.worse > 0 for line in said if line.run == "slowed")
    print(f"the same code: no regression in {silent} of {repetitions}")
    print(f"{share:.0%} slower: a regression in {found} of {repetitions}")


if __name__ == "__main__":
    typer.run(main)
