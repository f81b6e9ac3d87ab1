"""Every index that a config can name: ``(library, kind)`` to its adapter."""

from __future__ import annotations

import importlib.util

from experiments import ours, peers
from experiments.adapter import Adapter
from experiments.peers import dummy
from experiments.strict import ConfigError, unknown

KINDS: dict[tuple[str, str], type[Adapter]] = {
    (adapter.library, adapter.kind): adapter
    for adapter in (
        ours.Flat,
        ours.IVF,
        ours.HNSW,
        ours.QG,
        dummy.Nothing,
        *peers.ADAPTERS,
    )
}


def find(library: str, kind: str | None, where: str) -> type[Adapter]:
    """Return the adapter of an index.

    Parameters
    ----------
    library, kind : as a config has them; without a kind, ``library`` is the name of an
        index ("faiss-hnsw") or that of a library that has only one
    where : the entry's place in the config

    Raises
    ------
    ConfigError
        When there is no such library, or no such kind in it.
    """
    if kind is None:
        return _named(library, where)
    libraries = sorted({name for name, _ in KINDS})
    if library not in libraries:
        raise ConfigError(f"{where}.library: {unknown('library', library, libraries)}")
    if (library, kind) not in KINDS:
        kinds = [name for owner, name in KINDS if owner == library]
        raise ConfigError(f"{where}.kind: {unknown('kind', kind, kinds)}")
    return KINDS[library, kind]


def _named(name: str, where: str) -> type[Adapter]:
    found = [adapter for adapter in KINDS.values() if name == adapter.name]
    found = found or [adapter for adapter in KINDS.values() if name == adapter.library]
    if len(found) > 1:
        kinds = [adapter.kind for adapter in found]
        raise ConfigError(
            f"{where}.kind: {name} must be told which of {kinds} is meant"
        )
    if not found:
        names = sorted({adapter.name or adapter.library for adapter in KINDS.values()})
        raise ConfigError(f"{where}.library: {unknown('index', name, names)}")
    return found[0]


def why_not(adapter: type[Adapter], metric: str) -> str | None:
    """Return why an index cannot be measured here, or None if it can."""
    if importlib.util.find_spec(adapter.module or adapter.library) is None:
        package = adapter.package or adapter.library
        return f"{adapter.library} is not installed: pip install {package}"
    if metric not in adapter.metrics:
        listed = ", ".join(adapter.metrics)
        return f"{adapter.library} {adapter.kind} cannot answer {metric}, only {listed}"
    return None
