"""From a config to a plan: an experiment for each index, a build for each variant."""

from __future__ import annotations

from collections.abc import Iterator

from ann import parallel
from ann.kernels.tricks import TRICKS
from experiments import indexes
from experiments.config import Ablation, AblationEntry, DatasetEntry
from experiments.plan import (
    Build,
    Experiment,
    Plan,
    Point,
    digest,
    require_datasets,
    require_distinct,
    written,
)
from experiments.strict import ConfigError, check, unknown

WHOLE = "all on"
BETWEEN = ": "  # index and variant, in a label


def make(config: Ablation) -> Plan:
    """Expand a config: an experiment for each dataset and index, a build a variant.

    Raises
    ------
    ConfigError
        When something in the config does not exist or does not fit.
    """
    require_datasets(config)
    require_distinct("label", [entry.label for entry in config.index])
    experiments = [
        Experiment(dataset, tuple(_builds(entry, dataset, config, f"index[{i}]")))
        for dataset in config.dataset
        for i, entry in enumerate(config.index)
    ]
    return Plan(config, config.threads or parallel.available(), tuple(experiments))


def _builds(
    entry: AblationEntry, dataset: DatasetEntry, config: Ablation, where: str
) -> Iterator[Build]:
    if BETWEEN in entry.label:
        raise ConfigError(f"{where}.label: must be without {BETWEEN!r}")
    for name in entry.without or ():
        if name not in TRICKS:
            raise ConfigError(f"{where}.without: {unknown('trick', name, TRICKS)}")
    tricks = TRICKS if entry.without is None else entry.without
    environments = {WHOLE: ""} | {f"without {name}": name for name in tricks}
    names = [*environments, *map(_level, entry.simd), *(v.name for v in entry.variant)]
    require_distinct(f"variant in {where}", names)
    for name, trick in environments.items():
        yield _build(entry, dataset, config, where, name, without=trick)
    for level in entry.simd:
        yield _build(entry, dataset, config, where, _level(level), simd=level)
    for i, variant in enumerate(entry.variant):
        chosen = entry.model_copy(
            update=variant.model_dump(include={"build", "search"}, exclude_none=True)
        )
        where_ = f"{where}.variant[{i}]"
        threads = variant.threads
        yield _build(chosen, dataset, config, where_, variant.name, threads=threads)


def _level(name: str) -> str:
    return f"SIMD {name}"


def _build(
    entry: AblationEntry,
    dataset: DatasetEntry,
    config: Ablation,
    where: str,
    name: str,
    *,
    without: str = "",
    simd: str = "",
    threads: int | None = None,
) -> Build:
    adapter = indexes.find("ann", entry.kind, where)
    params = check(adapter.Build, entry.build, f"{where}.build")
    search = check(adapter.Search, entry.search, f"{where}.search")
    environment = {"ANN_WITHOUT": without, "ANN_SIMD": simd}
    identity = {
        "dataset": dataset.model_dump(),
        "index": entry.label,
        "variant": name,
        "kind": entry.kind,
        "build": written(params),
        "seed": config.seed,
        "k": config.k,
        "environment": environment,
        "threads": threads,
    }
    return Build(
        build_id=digest(identity),
        adapter=adapter,
        label=f"{entry.label}{BETWEEN}{name}",
        params=params,
        points=(Point(digest(identity | {"search": written(search)}), search),),
        seed=config.seed,
        environment=environment,
        threads=threads,
    )
