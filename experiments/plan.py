"""From a config to the frozen list of everything that will be built and measured."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ann import parallel
from experiments import datasets, indexes
from experiments.adapter import Adapter, Params
from experiments.config import Config, DatasetEntry, IndexEntry, Study
from experiments.datasets import synthetic
from experiments.strict import ConfigError, check, unknown


@dataclass(frozen=True)
class Point:
    """One search setting of a build: one row of the results."""

    row_id: str
    search: Params


@dataclass(frozen=True)
class Build:
    """One index to build, and everything to search it with."""

    build_id: str
    adapter: type[Adapter]
    label: str
    params: Params
    points: tuple[Point, ...]
    seed: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)  # of its process
    threads: int | None = None  # where they are not the plan's

    def columns(self) -> dict[str, Any]:
        """Return what a row says of it."""
        return {
            "library": self.adapter.library,
            "family": self.adapter.family(self.params),
            "index": self.adapter.spelling(self.params),
            "label": self.label,
            "build_params": canonical(written(self.params)),
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Experiment:
    """One dataset and the builds that are measured on it, interleaved."""

    dataset: DatasetEntry
    builds: tuple[Build, ...]


@dataclass(frozen=True)
class Plan:
    """All experiments of a config."""

    config: Study
    threads: int
    experiments: tuple[Experiment, ...]

    @property
    def n_points(self) -> int:
        """How many rows the run will have."""
        return sum(len(build.points) for build in self._builds())

    @property
    def steps(self) -> int:
        """How many builds and measurements there are."""
        return len(self._builds()) + self.n_points * self.config.rounds

    def _builds(self) -> list[Build]:
        return [build for each in self.experiments for build in each.builds]


def make(config: Config) -> Plan:
    """Expand every grid of a config and check every parameter in it.

    Raises
    ------
    ConfigError
        When an index, a parameter or a dataset of the config does not exist or does
        not fit, or when two builds would share a label.
    """
    names = require_datasets(config)
    for i, entry in enumerate(config.index):
        for name in entry.datasets or ():
            if name not in names:
                raise ConfigError(
                    f"index[{i}].datasets: {name!r} is none of this config's: {names}"
                )
    experiments = []
    for dataset in config.dataset:
        builds = [
            build
            for i, entry in enumerate(config.index)
            if entry.datasets is None or dataset.name in entry.datasets
            for seed in range(config.seed, config.seed + config.seeds)
            for build in _builds(entry, dataset, config, seed, f"index[{i}]")
        ]
        once = [build for build in builds if build.seed == config.seed]
        require_distinct("label", [build.label for build in once])
        require_distinct(
            "build and setting", [_measured(b, p) for b in once for p in b.points]
        )
        experiments.append(Experiment(dataset, tuple(_apart(builds))))
    labels = {build.label for each in experiments for build in each.builds}
    for i, pair in enumerate(config.compare):
        for label in pair:
            if label not in labels:
                hint = unknown("label", label, sorted(labels))
                raise ConfigError(f"compare[{i}]: {hint}")
    return Plan(config, config.threads or parallel.available(), tuple(experiments))


def canonical(value: Any) -> str:
    """Return JSON with sorted keys and no spaces, the same for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def written(params: Params) -> dict[str, Any]:
    """Return parameters as plain values, defaults included and absent ones left out."""
    return params.model_dump(exclude_none=True)


def require_datasets(config: Study) -> list[str]:
    """Return the names of the datasets, or raise ConfigError."""
    names = [dataset.name for dataset in config.dataset]
    for i, name in enumerate(names):
        _require_dataset(name, f"dataset[{i}].name")
    require_distinct("dataset", [canonical(d.model_dump()) for d in config.dataset])
    return names


def _require_dataset(name: str, where: str) -> None:
    known = datasets.names()
    try:
        if name in known or datasets.locate(name):
            return
    except (OSError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from None
    if name.startswith("synthetic-"):
        try:
            synthetic.parse(name)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from None
        return
    hint = unknown("dataset", name, [*known, *datasets.local()])
    raise ConfigError(
        f"{where}: {hint}, and no file here or in the folder "
        "ANN_DATA; 'ann datasets' lists the names"
    )


def _builds(
    entry: IndexEntry, dataset: DatasetEntry, config: Config, seed: int, where: str
) -> Iterator[Build]:
    adapter = indexes.find(entry.library, entry.kind, where)
    tables = _grid(entry.build, f"{where}.build")
    searches = [
        check(adapter.Search, table, f"{where}.search")
        for table in _grid(entry.search, f"{where}.search")
    ]
    for table in tables:
        params = check(adapter.Build, table, f"{where}.build")
        identity = {
            "dataset": dataset.model_dump(),
            "library": adapter.library,
            "kind": adapter.kind,
            "build": written(params),
            "seed": seed,
            "k": config.k,
        }
        points = [
            Point(digest(identity | {"search": written(search)}), search)
            for search in searches
        ]
        require_distinct(
            f"setting in {where}.search", [canonical(written(s)) for s in searches]
        )
        varying = [key for key in table if any(t[key] != table[key] for t in tables)]
        label = _label(adapter, entry.label, params, list(table), varying)
        yield Build(digest(identity), adapter, label, params, tuple(points), seed)


def _apart(builds: Iterable[Build]) -> Iterator[Build]:
    """Yield builds; one that occurs again, for another curve, gets its own name."""
    known = set[str]()
    for build in builds:
        if build.build_id in known:
            own = digest({"build": build.build_id, "label": build.label})
            build = replace(build, build_id=own)
        known.add(build.build_id)
        yield build


def _measured(build: Build, point: Point) -> str:
    adapter, both = build.adapter, (build.params, point.search)
    return " ".join(
        [adapter.library, adapter.kind, *(canonical(written(p)) for p in both)]
    )


def _grid(table: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = list(_expand(dict(table)))
    if not points:
        raise ConfigError(f"{where}: an empty list leaves nothing to run")
    return points


def _expand(value: Any) -> Iterator[Any]:
    """Yield every choice that a value with lists in it stands for."""
    if isinstance(value, list):
        for choice in value:
            yield from _expand(choice)
    elif isinstance(value, dict):
        for choices in itertools.product(*map(_expand, value.values())):
            yield dict(zip(value, choices, strict=True))
    else:
        yield value


def _label(
    adapter: type[Adapter],
    given: str | None,
    params: Params,
    named: list[str],
    varying: list[str],
) -> str:
    """Return the curve's name: the config's own, or one made of what it set."""
    kinds = [kind for library, kind in indexes.KINDS if library == adapter.library]
    name = adapter.library if len(kinds) == 1 else f"{adapter.library} {adapter.kind}"
    name = name.removeprefix("ann ")
    keys = varying if given else named
    parts = [_short(key, getattr(params, key)) for key in keys]
    return " ".join([given or name, *parts])


def _short(key: str, value: Any) -> str:
    match key:
        case "codec" | "transform" | "factory":
            return str(value)
        case "refine":
            return f"+refine {value:g}"
        case "ef_construction":
            return f"efc={value}"
        case _:
            return f"{key}={value}"


def digest(identity: Mapping[str, Any]) -> str:
    """Return a short name of whatever identifies a build or a row."""
    return hashlib.sha256(canonical(identity).encode()).hexdigest()[:16]


def require_distinct(what: str, names: list[str]) -> None:
    """Raise ConfigError when a name occurs twice."""
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise ConfigError(f"every {what} must occur once, got {count} times: {name}")
