"""The schema of a config file and its reader."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

import ann.metrics
from experiments.encoding import read_text
from experiments.strict import ConfigError, Strict, check

Name = Annotated[str, Field(pattern=r"^[\w.-]+$")]
S = TypeVar("S", bound="Study")
Level = Literal["avx512", "avx2", "portable"]
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
    """One ``[[index]]``: a grid of builds, each searched with a grid of settings.

    ``library`` alone is enough for an index that has a name in one word, such as
    "faiss-hnsw", and for a library with one kind of index.
    """

    library: str = "ann"
    kind: str | None = None
    label: str | None = None
    build: dict[str, Any] = Field(default_factory=dict)
    search: dict[str, Any] = Field(default_factory=dict)
    datasets: list[str] | None = None


class Study(Strict):
    """What every config file says.

    ``k`` neighbours are asked for, at least the ten that recall@10 needs. ``rounds``
    is how often every point is measured, ``threads`` serves builds and batches (all
    cores when absent), and ``timeout_s`` ends a build or a measurement that hangs.
    """

    name: Name
    k: int = Field(10, ge=10, le=100)
    seed: int = Field(0, ge=0)
    rounds: int = Field(3, ge=1)
    threads: int | None = Field(None, ge=1)
    timeout_s: float | None = Field(None, gt=0)
    dataset: list[DatasetEntry] = Field(min_length=1)


class Load(Strict):
    """The ``[load]`` table: how latency grows with the queries that are offered.

    Of every build the quickest setting that reaches ``recall``@10 gets queries at
    random times, ``fractions`` of what it sustains one after another, each for
    ``seconds``; a third as long before each tells what it sustains.
    """

    recall: float = Field(0.95, gt=0, le=1)
    fractions: list[Annotated[float, Field(gt=0, le=2)]] = Field(
        default_factory=lambda: [0.3, 0.5, 0.7, 0.8, 0.9, 0.95], min_length=1
    )
    seconds: float = Field(3.0, gt=0)


class Config(Study):
    """A config of indexes to measure side by side.

    ``compare`` names pairs of labels, ours and a peer, for the table of ratios.
    ``seeds`` is how many times every index is built, each from a seed of its own.
    ``uses`` are names in ``ann.PRESETS``, to be shaded in figures of latency.
    """

    compare: list[Pair] = Field(default_factory=list)
    uses: list[str] | None = None
    seeds: int = Field(1, ge=1)
    load: Load | None = None
    index: list[IndexEntry] = Field(min_length=1)

    @field_validator("uses")
    @classmethod
    def _known(cls, uses: list[str] | None) -> list[str] | None:
        for use in uses or ():
            if use not in ann.PRESETS:
                raise ValueError(f"must be of {', '.join(ann.PRESETS)}, got {use!r}")
        return uses


class Variant(Strict):
    """One ``[[index.variant]]``: the same index but for what is given here."""

    name: str
    build: dict[str, Any] | None = None
    search: dict[str, Any] | None = None
    threads: int | None = Field(None, ge=1)


def _lower_levels() -> list[Level]:
    return ["avx2", "portable"]


class AblationEntry(Strict):
    """One ``[[index]]`` of ours, to be built once for every variant.

    ``without`` are the tricks to leave out, each alone (all when absent); ``simd`` are
    the vector levels to hold it to.
    """

    kind: str
    label: str
    build: dict[str, Any] = Field(default_factory=dict)
    search: dict[str, Any] = Field(default_factory=dict)
    without: list[str] | None = None
    simd: list[Level] = Field(default_factory=_lower_levels)
    variant: list[Variant] = Field(default_factory=list)


class Bulk(Study):
    """A config of work in bulk.

    Exact search of ``queries`` at once under each of ``metrics``, and k-means with each
    number of ``clusters``: so many ``iterations`` on ``per_cluster`` vectors a cluster.
    """

    queries: int = Field(1000, ge=1)
    metrics: list[Literal["l2", "cosine"]] = Field(default_factory=list)
    clusters: list[Annotated[int, Field(ge=2)]] = Field(default_factory=list)
    iterations: int = Field(10, ge=1)
    per_cluster: int = Field(256, ge=1, le=256)


class Churn(Strict):
    """The ``[churn]`` table: so many times a ``share`` goes, and comes back."""

    rounds: int = Field(20, ge=1)
    share: float = Field(0.2, gt=0, lt=1)


Share = Annotated[float, Field(gt=0, le=1)]
Shape = Literal["random", "near", "far"]
Form = Literal["mask", "ids", "function"]
Trouble = Literal["twice", "copies", "sorted", "constant", "outliers"]


class Filters(Strict):
    """The ``[filters]`` table: what ``shares`` of the vectors pass, and which.

    Those of a shape lie anywhere ("random"), or in the cells nearest to the queries or
    farthest from them. A filter is made ready before it is searched by; where what
    passes is random, ours get it in the ``forms`` that users have too.
    """

    shares: list[Share] = Field([0.5, 0.1, 0.01, 0.001], min_length=1)
    shapes: list[Shape] = Field(["random", "near", "far"], min_length=1)
    forms: list[Form] = Field(["mask", "ids", "function"])


class Hostile(Strict):
    """The ``[hostile]`` table: what is done to the data (experiments.trust.hostile).

    One vector has ``copies``, at most half of all; ``outliers`` is the share of vectors
    that are scaled by 1,000.
    """

    troubles: list[Trouble] = Field(
        ["twice", "copies", "sorted", "constant", "outliers"], min_length=1
    )
    copies: int = Field(10_000, ge=2)
    outliers: Share = 0.001


class Trust(Config):
    """A config of a study of trust: one of the three tables says which."""

    churn: Churn | None = None
    filters: Filters | None = None
    hostile: Hostile | None = None

    @model_validator(mode="after")
    def _one_study(self) -> Self:
        if sum(map(bool, (self.churn, self.filters, self.hostile))) != 1:
            raise ValueError("one of [churn], [filters] and [hostile] must be there")
        return self

    @property
    def study(self) -> str:
        """The name of the table that is there."""
        return next(s for s in ("churn", "filters", "hostile") if getattr(self, s))


class Ablation(Study):
    """A config of indexes to take apart, one trick at a time."""

    index: list[AblationEntry] = Field(min_length=1)


def load(path: Path, schema: type[S]) -> S:
    """Read a config file.

    Raises
    ------
    ConfigError
        When the file is missing, is not TOML or does not fit the schema.
    """
    try:
        tables = tomllib.loads(read_text(path))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return check(schema, tables)
