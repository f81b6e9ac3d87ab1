"""Which version of a library is measured, and which vector instructions it runs."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import TYPE_CHECKING

from experiments.peers import objdump

if TYPE_CHECKING:
    from experiments.adapter import Adapter

UNKNOWN = "unknown"
#: The best level in a published wheel for Linux on x86-64, which chooses when it is
#: loaded: ``python -m experiments.peers.objdump`` says it, once for each version.
WHEELS = {
    ("pyglass-portable", "2.1.0"): "avx2",
    ("rabitqlib", "0.7.1"): "avx512",
    ("scalable-vs", "0.5.0"): "avx512",
    ("voyager", "2.2.3"): "sse2",
}
_PUBLISHED = "manylinux"  # in the tag of such a wheel; one that pip built has none
_FEATURES = {"avx512": "avx512f", "avx2": "avx2", "sse2": "sse2"}


def version(adapter: type[Adapter]) -> str:
    """Return the version of the package that an index comes from, or "unknown"."""
    try:
        return importlib.metadata.version(adapter.package or adapter.library)
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN


def vector_level(index: Adapter) -> str:
    """Return the vector level that a built index runs at on this host.

    That is what the library itself reports; or else the best level in its machine code
    that this host has, from the table of published wheels, or from ``objdump`` for a
    version that is not in the table or that was compiled here; or else "unknown".
    """
    return index.vector_level() or _of_package(type(index)) or UNKNOWN


def _of_package(adapter: type[Adapter]) -> str | None:
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    package = adapter.package or adapter.library
    try:
        wheel = importlib.metadata.distribution(package).read_text("WHEEL") or ""
    except importlib.metadata.PackageNotFoundError:
        return None
    known = WHEELS.get((package, version(adapter))) if _PUBLISHED in wheel else None
    best = known or objdump.best_level(package)
    return best and _on_this_host(best)


def _on_this_host(best: str) -> str:
    """Return the best level that a binary has and that the processor can run."""
    features, levels = host_features(), list(_FEATURES)
    lower = levels[levels.index(best) :]
    return next(level for level in lower if _FEATURES[level] in features)


def host_features() -> set[str]:
    """Return what this host's processor can do, by LLVM's names."""
    import llvmlite.binding as llvm

    return {name for name, on in llvm.get_host_cpu_features().items() if on}
