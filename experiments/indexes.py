"""Every index that a config can name: ``(library, kind)`` to its adapter."""

from __future__ import annotations

import importlib.util

from experiments import ours, peers
from experiments.adapter import Adapter
from experiments.strict import ConfigError, unknown

KINDS: dict[tuple[str, str], type[Adapter]] = {
    (adapter.library, adapter.kind): adapter
    for adapter in (ours.Flat, ours.IVF, ours.HNSW, *peers.ADAPTERS)
}
# Where pip's name is not the module's.
_PACKAGES = {"faiss": "faiss-cpu", "svs": "scalable-vs"}


def find(library: str, kind: str, where: str) -> type[Adapter]:
    """Return the adapter of an index.

    Raises
    ------
    ConfigError
        When there is no such library, or no such kind in it.
    """
    libraries = sorted({name for name, _ in KINDS})
    if library not in libraries:
        raise ConfigError(f"{where}.library: {unknown('library', library, libraries)}")
    if (library, kind) not in KINDS:
        kinds = [name for owner, name in KINDS if owner == library]
        raise ConfigError(f"{where}.kind: {unknown('kind', kind, kinds)}")
    return KINDS[library, kind]


def why_not(adapter: type[Adapter], metric: str) -> str | None:
    """Return why an index cannot be measured here, or None if it can."""
    if importlib.util.find_spec(adapter.library) is None:
        package = _PACKAGES.get(adapter.library, adapter.library)
        return f"{adapter.library} is not installed: pip install {package}"
    if metric not in adapter.metrics:
        listed = ", ".join(adapter.metrics)
        return f"{adapter.library} {adapter.kind} cannot answer {metric}, only {listed}"
    return None
