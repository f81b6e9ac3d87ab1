"""From an algorithm file of ann-benchmarks or VIBE to a config of ours."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from experiments import datasets
from experiments.config import Config
from experiments.datasets import sizes, synthetic
from experiments.datasets.registry import SETS
from experiments.datasets.vectors import canonical_metric
from experiments.interop import documents
from experiments.interop.definitions import expand
from experiments.interop.wrappers import Entry, TranslationError, translate
from experiments.plan import canonical, make
from experiments.strict import ConfigError, check

# What ann-benchmarks and VIBE call our metrics, in the order they are looked for.
SPELLINGS = {
    "l2": ("euclidean",),
    "cosine": ("angular", "cosine", "normalized"),
    "ip": ("ip", "dot"),
    "l1": ("manhattan",),
}
_NAME = re.compile(r".*?-(\d+)-([a-z]+\d?)")  # glove-100-angular


class Target(NamedTuple):
    """The dataset that a config is made for."""

    name: str
    distance: str  # as ann-benchmarks or VIBE spells it
    d: int | None
    stated: bool  # by the user, not by the dataset


class Converted(NamedTuple):
    """A config, as plain tables, and why algorithms are not in it."""

    config: dict[str, Any]
    left_out: dict[str, str]


def target(name: str, metric: str | None = None, d: int | None = None) -> Target:
    """Say what is known of a dataset before it is loaded.

    Parameters
    ----------
    name : of a dataset, or of a file that is named as ann-benchmarks names them
    metric, d : what the name does not tell, or what goes before it

    Raises
    ------
    ConfigError
        When the metric is neither given nor known.
    """
    known_d, known = _known(name)
    if metric is None and known is None:
        raise ConfigError(f"--metric must be given: {name!r} does not tell it")
    distance = metric or known or ""
    try:
        names = SPELLINGS[canonical_metric(distance, "--metric")]
    except ValueError as error:
        raise ConfigError(str(error)) from None
    spelling = distance if distance in names else names[0]
    return Target(name, spelling, d or known_d, stated=metric is not None)


def _known(name: str) -> tuple[int | None, str | None]:
    """Return the width and the metric that a dataset's name stands for."""
    if name.startswith("synthetic-"):
        try:
            family = synthetic.parse(name)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        return family.d, family.metric
    match = _NAME.fullmatch(datasets.title(name))
    d, distance = (int(match[1]), match[2]) if match else (None, None)
    known_d, metric = _stated(name)
    if metric is not None:
        spellings = SPELLINGS[metric]
        return known_d, distance if distance in spellings else spellings[0]
    spelled = {spelling for names in SPELLINGS.values() for spelling in names}
    return known_d or d, distance if distance in spelled else None


def _stated(name: str) -> tuple[int | None, str | None]:
    """Return the width and the metric that a public set or a file has itself."""
    if name in SETS:
        return SETS[name].d, SETS[name].metric
    try:
        found = sizes.size(name)
        return found and found.d, sizes.metric(name)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--dataset: {error}") from None


def convert(
    path: Path,
    dataset: Target,
    *,
    k: int = 10,
    point_type: str = "float",
    disabled: bool = False,
) -> Converted:
    """Read an algorithm file and write what can be of it as a config.

    Parameters
    ----------
    path : a ``config.yml`` or an ``algos.yaml``
    dataset : what the config is to run on; it chooses the sections that count
    k : ``@count`` there
    point_type : the part of the file, "float" or in VIBE also "uint8", "int8"
    disabled : take algorithms that the file disables, too

    Raises
    ------
    ConfigError
        When the file is malformed, or nothing of it can be translated.
    """
    names = SPELLINGS[canonical_metric(dataset.distance, "metric")]
    distances = dict.fromkeys((dataset.distance, *names))
    values = {"@metric": dataset.distance, "@dimension": dataset.d, "@count": k}
    found = expand(documents.read(path), point_type, list(distances), values)
    entries: list[Entry] = []
    left_out: dict[str, str] = {}
    for definition in found:
        if definition.disabled and not disabled:
            left_out[definition.name] = "the file disables it"
            continue
        try:
            entries += translate(definition, dataset.d)
        except TranslationError as error:
            left_out[definition.name] = str(error)
    tables = list(gathered(entries, left_out))
    if not tables:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise ConfigError(f"{path}: nothing in it can be run here: {reasons}")
    entry: dict[str, Any] = {"name": dataset.name}
    if dataset.stated:
        entry["metric"] = canonical_metric(dataset.distance, "metric")
    folder = path.resolve().parent.name if path.stem == "config" else path.stem
    name = re.sub(r"[^\w.-]+", "-", folder)
    config = {"name": name, "k": k, "dataset": [entry], "index": tables}
    make(check(Config, config))
    return Converted(config, left_out)


def gathered(
    entries: Iterable[Entry], left_out: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield ``[[index]]`` tables; builds that are searched alike share one.

    Parameters
    ----------
    entries : single builds; one that occurs twice gets the settings of both
    left_out : why something is missing, to be added to
    """
    merged: dict[tuple[str, str, str], Entry] = {}
    for entry in entries:
        key = (entry.library, entry.kind, canonical(entry.build))
        known = merged.setdefault(key, entry)
        more = tuple(s for s in entry.searches if s not in known.searches)
        merged[key] = replace(known, searches=known.searches + more)
    alike: dict[tuple[str, str, str], list[Entry]] = {}
    for (library, kind, build), entry in merged.items():
        search = grid(entry.searches)
        if search is None:
            left_out[f"{library} {kind} {build}"] = "its search settings are no grid"
        else:
            alike.setdefault((library, kind, canonical(search)), []).append(entry)
    for (library, kind, search_text), group in alike.items():
        index: dict[str, Any] = {"library": library, "kind": kind}
        for build_grid in _grids(group):
            parts = ("build", build_grid), ("search", json.loads(search_text))
            yield index | {name: part for name, part in parts if part}


def _grids(entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    """Yield one grid of all builds, or one of each group of runs, or single builds."""
    whole = grid([entry.build for entry in entries])
    if whole is not None:
        yield whole
        return
    groups: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry.build)
    for builds in groups.values():
        part = grid(builds)
        yield from builds if part is None else [part]


def grid(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the lists whose product some tables are, or None if they are not one."""
    keys = list(tables[0])
    if any(set(table) != set(keys) for table in tables):
        return None
    columns = {key: _distinct([table[key] for table in tables]) for key in keys}
    product = [
        canonical(dict(zip(keys, choice, strict=True)))
        for choice in itertools.product(*columns.values())
    ]
    if sorted(product) != sorted(map(canonical, tables)):
        return None
    return {key: v[0] if len(v) == 1 else v for key, v in columns.items()}


def _distinct(values: list[Any]) -> list[Any]:
    return list({canonical(value): value for value in values}.values())


def toml(converted: Converted, source: str) -> str:
    """Return a config as the text of a TOML file, with what was left out on top."""
    config, left_out = converted
    lines = [f"# From {source}, by ann import."]
    reasons = (f"{name}: {why}" for name, why in left_out.items())
    lines += [f"# Left out: {' '.join(reason.split())}" for reason in reasons]
    lines += [f"{key} = {_value(config[key])}" for key in ("name", "k")]
    for what in ("dataset", "index"):
        for table in config[what]:
            lines += ["", f"[[{what}]]"]
            lines += [f"{key} = {_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    """Return a value in TOML; strings are escaped as JSON's, which TOML understands."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key} = {_value(each)}" for key, each in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)
