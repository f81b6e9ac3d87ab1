"""The algorithm files of ann-benchmarks and VIBE: their grids, expanded.

A file says for each kind of points and each metric which algorithms run: a wrapper
class, the arguments of its constructor and those of ``set_query_arguments``, both as
grids. A list of lists is the product of their members by position, a mapping of lists
the product of its values by key; ``arg_groups`` is a list of such grids. Two layouts
are read: that of today, where the algorithms are a list, and that of the single
``algos.yaml`` of old, where names are keys and words are joined by dashes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.interop.documents import table
from experiments.strict import ConfigError

ANY = "any"  # metric


@dataclass(frozen=True)
class Definition:
    """One algorithm at one choice of constructor arguments, from a group of its runs.

    ``arguments`` are positional, mappings may be among them; ``queries`` are the search
    settings, each a list of positional arguments or a mapping of named ones.
    """

    name: str
    group: str
    constructor: str
    module: str
    disabled: bool
    arguments: Sequence[Any]
    queries: Sequence[Any]


def expand(
    document: Mapping[str, Any],
    point_type: str,
    distances: Sequence[str],
    values: Mapping[str, Any],
) -> list[Definition]:
    """Return every definition for one kind of points and one metric.

    Parameters
    ----------
    document : the file, as YAML reads it
    point_type : "float", for example
    distances : spellings of the metric; of the sections that bear one, the first
        counts, and so does the section "any"
    values : what ``@metric``, ``@dimension`` and ``@count`` stand for

    Raises
    ------
    ConfigError
        When there is no such section, or one is malformed.
    """
    if point_type not in document:
        raise ConfigError(
            f"the file must have algorithms for points of type {point_type!r}, it has "
            f"them for {sorted(map(str, document))}"
        )
    sections = table(document[point_type], point_type)
    named = [name for name in distances if name in sections]
    chosen = [ANY] * (ANY in sections) + named[:1]
    if not chosen:
        raise ConfigError(
            f"{point_type}: must have a section {ANY!r} or {distances[0]!r}, got "
            f"{sorted(map(str, sections))}"
        )
    return [
        definition
        for section in chosen
        for name, algorithm in _algorithms(sections[section], f"{point_type}.{section}")
        for definition in _definitions(name, algorithm, values)
    ]


def _algorithms(section: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name and the table of each algorithm, in either layout."""
    if isinstance(section, Mapping):
        for name, algorithm in section.items():
            yield str(name), _underscored(table(algorithm, f"{where}.{name}"))
    elif isinstance(section, list):
        for i, algorithm in enumerate(section):
            known = _underscored(table(algorithm, f"{where}[{i}]"))
            yield str(known.get("name", f"{where}[{i}]")).strip(), known
    else:
        raise ConfigError(f"{where}: must be a list or a mapping, got {section!r:.60}")


def _underscored(values: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key).replace("-", "_"): value for key, value in values.items()}


def _definitions(
    name: str, algorithm: Mapping[str, Any], values: Mapping[str, Any]
) -> Iterator[Definition]:
    groups = algorithm.get("run_groups", {"": algorithm})
    base = _sequence(algorithm.get("base_args") or [], f"{name}: base_args")
    for key, group in table(groups, f"{name}: run_groups").items():
        where = f"{name}: {key}".rstrip(": ")
        choices = _underscored(table(group, where))
        queries = _choices(choices, "query_arg", where)
        for choice in _choices(choices, "arg", where):
            own = choice if isinstance(choice, list) else [choice]
            yield Definition(
                name=name,
                group=str(key),
                constructor=str(algorithm.get("constructor", "")),
                module=str(algorithm.get("module", "")),
                disabled=bool(algorithm.get("disabled", False)),
                arguments=_substituted([*base, *own], values),
                queries=_substituted(queries, values),
            )


def _choices(group: Mapping[str, Any], what: str, where: str) -> list[Any]:
    """Return the choices of ``arg_groups``, which go first, or of ``args``."""
    if f"{what}_groups" in group:
        parts = _sequence(group[f"{what}_groups"], f"{where}: {what}_groups")
        grids = [_product(p, where) if isinstance(p, Mapping) else p for p in parts]
        return _product(grids, f"{where}: {what}_groups")
    return _product(group.get(f"{what}s", []), f"{where}: {what}s")


def _product(grid: Any, where: str) -> list[Any]:
    """Return lists of a list's members, or mappings of a mapping's values."""
    if isinstance(grid, Mapping):
        choices = itertools.product(*map(_members, grid.values()))
        return [dict(zip(grid, choice, strict=True)) for choice in choices]
    return [
        list(choice)
        for choice in itertools.product(*map(_members, _sequence(grid, where)))
    ]


def _members(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _sequence(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(f"{where}: must be a list, got {value!r:.60}")
    return value


def _substituted(value: Any, values: Mapping[str, Any]) -> Any:
    """Return a value with every ``@name`` in it replaced."""
    if isinstance(value, Mapping):
        return {key: _substituted(each, values) for key, each in value.items()}
    if isinstance(value, list):
        return [_substituted(each, values) for each in value]
    return values.get(value, value) if isinstance(value, str) else value
