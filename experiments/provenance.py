"""Where a result comes from: everything that is needed to judge or to repeat it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

import ann
from ann import parallel
from experiments.config import Study
from experiments.measure import clock_us
from experiments.worker import thread_environment

if TYPE_CHECKING:
    from experiments.datasets import Dataset

_LIBRARIES = (
    "numpy",
    "numba",
    "llvmlite",
    "scikit-learn",
    "scipy",
    "threadpoolctl",
    "annoy",
    "faiss-cpu",
    "hnswlib",
    "pyglass-portable",
    "pynndescent",
    "rabitqlib",
    "scalable-vs",
    "usearch",
    "voyager",
)
_SIMD = ("sse4", "avx", "fma", "f16c", "amx", "neon", "sve", "dotprod", "fullfp16")


def collect(config: Study, threads: int, command: str) -> dict[str, Any]:
    """Return what is known when a run starts; folders of this machine are left out."""
    known = stamp(config_table(config), config.seed, threads, command)
    return known | {"thread_environment": thread_environment(threads)}


def stamp(
    config: Mapping[str, Any], seed: int, threads: int, command: str
) -> dict[str, Any]:
    """Return what ``collect`` does but for workers, of a config that is a table."""
    return {
        "command": command,
        "config": dict(config),
        "seed": seed,
        "threads": threads,
        **code(),
        "os": platform.platform(),
        **_machine(),
        "load_average": list(os.getloadavg()),
        "clock_us": clock_us(),
        "started": now(),
    }


def config_table(config: Study) -> dict[str, Any]:
    """Return a config as plain values; datasets that are files, by their names."""
    table = config.model_dump(exclude_none=True)
    for dataset in table["dataset"]:
        dataset["name"] = Path(dataset["name"]).name
    return table


def dataset(data: Dataset, name: str) -> dict[str, str]:
    """Say which data these are; a file by its name, without this machine's folders."""
    path = Path(name).expanduser()
    return {
        "name": data.name,
        "metric": data.metric,
        "fingerprint": data.fingerprint,
        "source": data.source.replace(str(path), path.name),
    }


def code() -> dict[str, Any]:
    """Return the commit that runs, and the versions of what it runs on."""
    python = platform.python_version()
    return {**_commit(), "python": python, "libraries": _versions()}


def now() -> str:
    """Return the time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def command_line() -> str:
    """Return the command that is running, without the folder it is installed in."""
    import shlex

    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _commit() -> dict[str, Any]:
    """Return the commit of this code; earlier results do not make it dirty."""
    commit = _git("rev-parse", "HEAD")
    status = _git("status", "--porcelain", "--", ":/", ":(exclude,top)results")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=Path(ann.__file__).resolve().parent,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _machine() -> dict[str, Any]:
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    return {
        "cpu": _cpu_model(),
        "cpu_microarchitecture": llvm.get_host_cpu_name(),
        "simd": sorted(f for f, on in features.items() if on and f.startswith(_SIMD)),
        "cores": parallel.available(),
        "cores_physical": psutil.cpu_count(logical=False),
        "memory_bytes": psutil.virtual_memory().total,
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    versions = {}
    for name in ("ann", *_LIBRARIES):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
