"""Runbooks as big-ann-benchmarks writes them: numbered steps, by dataset.

A vector is a row of the dataset and goes by a tag. ``insert`` of ``[start, end)`` gives
those rows the tags of the same numbers, ``delete`` takes tags away, ``replace`` lets
the tags ``[tags_start, tags_end)`` stand for the rows ``[ids_start, ids_end)`` from
then on, and ``search`` asks all queries for tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from experiments.interop import documents
from experiments.strict import ConfigError, Strict, check

Operation = Literal["insert", "delete", "replace", "search"]
_BOUNDS = {
    "insert": ("start", "end"),
    "delete": ("start", "end"),
    "replace": ("tags_start", "tags_end", "ids_start", "ids_end"),
    "search": (),
}


class Entry(Strict):
    """A step as the file has it."""

    operation: Operation
    start: int | None = Field(None, ge=0)
    end: int | None = Field(None, ge=0)
    tags_start: int | None = Field(None, ge=0)
    tags_end: int | None = Field(None, ge=0)
    ids_start: int | None = Field(None, ge=0)
    ids_end: int | None = Field(None, ge=0)


@dataclass(frozen=True)
class Step:
    """One step; ``tags`` and ``rows`` are ranges, empty where they play no part."""

    number: int
    operation: Operation
    tags: range = range(0)
    rows: range = range(0)


@dataclass(frozen=True)
class Runbook:
    """The steps for one dataset; at no time more than ``max_pts`` vectors live."""

    section: str
    max_pts: int
    steps: tuple[Step, ...]

    @property
    def vectors(self) -> int:
        """How many vectors are inserted in all."""
        return sum(len(step.rows) for step in self.steps)

    @property
    def tags(self) -> int:
        """The least number that no tag reaches."""
        return max((step.tags.stop for step in self.steps), default=0)

    @property
    def rows(self) -> int:
        """How many rows the dataset must have."""
        return max((step.rows.stop for step in self.steps), default=0)


def sections(path: Path) -> list[str]:
    """Return the names of the datasets that a file has steps for."""
    return list(map(str, documents.read(path)))


def read(path: Path, section: str) -> Runbook:
    """Read the steps for one dataset.

    Raises
    ------
    ConfigError
        When the section or a bound is missing, or there is something unknown.
    """
    document = documents.read(path)
    if section not in document:
        raise ConfigError(
            f"{path}: must have steps for {section!r}, it has them for "
            f"{sorted(map(str, document))}"
        )
    table = documents.table(document[section], f"{path}: {section}")
    where = f"{path}: {section}"
    max_pts = table.get("max_pts")
    if not isinstance(max_pts, int) or max_pts < 1:
        raise ConfigError(f"{where}: max_pts must be at least 1, got {max_pts!r}")
    numbers = [key for key in table if isinstance(key, int)]
    if sorted(numbers) != list(range(1, len(numbers) + 1)) or not numbers:
        raise ConfigError(
            f"{where}: steps must be numbered 1, 2, 3, …, got {sorted(numbers)[:5]}"
        )
    steps = [_step(n, table[n], f"{where}: {n}") for n in sorted(numbers)]
    return Runbook(section, max_pts, tuple(steps))


def _step(number: int, table: Mapping[str, Any], where: str) -> Step:
    entry = check(Entry, table, where)
    bounds = {
        name: value
        for name, value in entry.model_dump(exclude={"operation"}).items()
        if value is not None
    }
    needed = _BOUNDS[entry.operation]
    if set(bounds) != set(needed):
        listed = ", ".join(needed) or "no bounds"
        raise ConfigError(
            f"{where}: {entry.operation} must have {listed}, got {sorted(bounds)}"
        )
    names = list(zip(needed[::2], needed[1::2], strict=True))
    ranges = [range(bounds[start], bounds[end]) for start, end in names]
    for (start, end), each in zip(names, ranges, strict=True):
        if not each:
            raise ConfigError(
                f"{where}: {end} must be above {start}={each.start}, got {each.stop}"
            )
    match entry.operation:
        case "insert":
            return Step(number, "insert", ranges[0], ranges[0])
        case "replace":
            if len(ranges[0]) != len(ranges[1]):
                raise ConfigError(
                    f"{where}: must replace as many tags as there are ids, got "
                    f"{len(ranges[0])} and {len(ranges[1])}"
                )
            return Step(number, "replace", ranges[0], ranges[1])
        case "delete":
            return Step(number, "delete", ranges[0])
        case _:
            return Step(number, "search")
