"""The schema of a config file and its reader."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

import ann.metrics
from experiments.strict import ConfigError, Strict, check

Name = Annotated[str, Field(pattern=r"^[\w.-]+$")]
Pair = Annotated[list[str], Field(min_length=2, max_length=2)]


class DatasetEntry(Strict):
    """One ``[[dataset]]``: a name or a file, or a seeded sample of it."""

    name: str
    n: int | None = Field(None, ge=1)
    nq: int | None = Field(None, ge=1)
    metric: str | None = None

    @field_validator("metric")
    @classmethod
    def _canonical(cls, metric: str | None) -> str | None:
        return metric and ann.metrics.metric(metric).name


class IndexEntry(Strict):
    """One ``[[index]]``: a grid of builds, each searched with a grid of settings."""

    library: str = "ann"
    kind: str
    label: str | None = None
    build: dict[str, Any] = Field(default_factory=dict)
    search: dict[str, Any] = Field(default_factory=dict)
    datasets: list[str] | None = None


class Config(Strict):
    """A whole config file.

    ``k`` neighbours are asked for, at least the ten that recall@10 needs. ``rounds``
    is how often every point is measured, ``threads`` serves builds and batches (all
    cores when absent), and ``timeout_s`` ends a build or a measurement that hangs.
    ``compare`` names pairs of labels, ours and a peer, for the table of ratios.
    """

    name: Name
    k: int = Field(10, ge=10, le=100)
    seed: int = Field(0, ge=0)
    rounds: int = Field(3, ge=1)
    threads: int | None = Field(None, ge=1)
    timeout_s: float | None = Field(None, gt=0)
    compare: list[Pair] = Field(default_factory=list)
    dataset: list[DatasetEntry] = Field(min_length=1)
    index: list[IndexEntry] = Field(min_length=1)


def load(path: Path) -> Config:
    """Read a config file.

    Raises
    ------
    ConfigError
        When the file is missing, is not TOML or does not fit the schema.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return check(Config, tables)
