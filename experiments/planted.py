"""Whether ``ann compare`` finds a slow-down that was planted, and none where none was.

``python -m experiments.planted CONFIG --out DIR`` races three runs, as ``ann race``
does, and repeats that: a plain one, the same once more, and one in which every search
of ours goes on for so much longer than it took. What the comparison says of the second
and of the third against the first, and of the first against that of the repetition
before, which took no turns with it, is printed, and kept in ``planted.csv``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments import compare, indexes, ours, race, results
from experiments.adapter import Params

if TYPE_CHECKING:
    from experiments.adapter import Vectors

VARIABLE = "PLANTED"  # of the environment: the share that searches take longer
TABLE = "planted.csv"
_RUNNER = "import sys; from experiments import planted; planted.ride(*sys.argv[1:])"


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
    """What a comparison with a plain run said; the columns of ``planted.csv``.

    ``run`` is "again" or "slowed", in one race with it, or "apart", a plain run after
    it. ``worse`` of so many ``readings`` were called worse; ``ratio`` is that of a
    reading, the median, the least and the greatest, and ``drift`` the yardstick's.
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


def ride(*arguments: str) -> None:
    """Be one side of a race, with searches that may be slowed."""
    for adapter in (Flat, IVF, HNSW):
        indexes.KINDS[adapter.library, adapter.kind] = adapter
    race.ride(*arguments)


def lines(
    config: Path, out: Path, repetitions: int, share: float, threshold: float
) -> Iterator[Line]:
    """Measure, and yield what every comparison says; finished races are kept."""
    for repetition in range(repetitions):
        home = out / str(repetition)
        _race(config, home, share)
        for name in ("again", "slowed"):
            yield _compared(repetition, name, home / "plain", home / name, threshold)
        if repetition:
            earlier = out / str(repetition - 1) / "plain"
            yield _compared(repetition, "apart", earlier, home / "plain", threshold)


def _race(config: Path, home: Path, share: float) -> None:
    longer = {"plain": 0.0, "again": 0.0, "slowed": share}
    if all(_finished(home / name) for name in longer):
        return
    sides = [
        race.Side(home / name, _RUNNER, {VARIABLE: str(each)})
        for name, each in longer.items()
    ]
    race.run(config, sides)


def _finished(out: Path) -> bool:
    stamp = out / results.PROVENANCE
    if not stamp.exists():
        return False
    told = json.loads(stamp.read_text(encoding="utf-8"))
    return bool(told["status"] == "finished")


def _compared(
    repetition: int, name: str, before: Path, after: Path, threshold: float
) -> Line:
    import numpy as np

    runs = compare.Measured(before), compare.Measured(after)
    changes = compare.compare(*runs, threshold=threshold)
    ratios = [change.ratio.value for change in changes]
    return Line(
        repetition,
        name,
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
    for name, what in (
        ("again", "the same code, in turns: no regression"),
        ("apart", "the same code, one after another: no regression"),
        ("slowed", f"{share:.0%} slower, in turns: a regression"),
    ):
        right = [
            (line.worse > 0) == (name == "slowed") for line in said if line.run == name
        ]
        print(f"{what} in {sum(right)} of {len(right)}")


if __name__ == "__main__":
    typer.run(main)
