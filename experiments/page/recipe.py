"""How to measure a point again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from experiments import indexes
from experiments.datasets import title
from experiments.plots.rows import Point
from experiments.strict import ConfigError, check

CONFIG = "point.toml"


def commands(provenance: Mapping[str, Any], config: str) -> str:
    """Return what to type: for the whole run and, with a config, for one point."""
    lines = []
    if commit := provenance.get("commit"):
        changed = "  # and what was not committed" if provenance.get("dirty") else ""
        lines.append(f"git checkout {commit}{changed}")
    if command := provenance.get("command"):
        lines.append(f"{command}  # the whole run")
    if config:
        lines.append(f"ann run {CONFIG}  # this point alone")
    return "\n".join(lines)


def config(point: Point, provenance: Mapping[str, Any]) -> str:
    """Return a config of this point alone; empty where no config can name it.

    The row that it gives has the same ``row_id``, as long as the parameters keep their
    names and defaults. Variants of an ablation are built in another environment, and
    old rows may have parameters that are gone: neither has a config.
    """
    if _is_ablation(provenance):
        return ""
    index = point.cells.get("index", "")
    kind = kind_of(point.library, index, point.build_params)
    if kind is None:
        return ""
    study = {
        "name": f"point-{point.row_id or 'again'}",
        "k": point.group.k,
        "seed": _whole(point, "seed", 0),
        "rounds": max(1, _whole(point, "rounds", 3)),
        "threads": point.threads,
    }
    entry = {
        "library": point.library,
        "kind": kind,
        "label": point.label,
        "build": point.build_params,
        "search": point.search_params,
    }
    parts = [*_lines(study), "", "[[dataset]]", *_lines(_dataset(point, provenance))]
    parts += ["", "[[index]]", *_lines({k: v for k, v in entry.items() if v != {}})]
    return "\n".join(parts)


def kind_of(library: str, index: str, build: Mapping[str, Any]) -> str | None:
    """Return the kind that a config calls an index by, or None.

    Parameters
    ----------
    library, index : the columns of the row
    build : its parameters
    """
    for (owner, kind), adapter in indexes.KINDS.items():
        if owner != library:
            continue
        try:
            params = check(adapter.Build, dict(build))
        except ConfigError:
            continue
        if adapter.spelling(params) == index:
            return kind
    return None


def toml(value: Any) -> str:
    """Return a value of a config in one line of TOML."""
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(key)} = {toml(each)}" for key, each in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    # TOML's strings are JSON's, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {toml(value)}" for key, value in table.items()]


def _dataset(point: Point, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run's own entry for a point's data set, or one made of its row."""
    group = point.group
    for entry in (provenance.get("config") or {}).get("dataset") or ():
        name = str(entry.get("name", ""))
        if group.dataset in (name, title(name)) and (entry.get("n") in (None, group.n)):
            return dict(entry)
    return {"name": group.dataset, "n": group.n, "nq": point.nq}


def _is_ablation(provenance: Mapping[str, Any]) -> bool:
    words = str(provenance.get("command") or "").split()
    return "ablation" in words[1:2]


def _whole(point: Point, column: str, default: int) -> int:
    text = point.cells.get(column, "")
    return int(float(text)) if text else default
