"""What a run has measured so far, in pieces on disk, so that a killed run goes on.

A piece is a build's cost, one round of one search setting, or what is known of a
setting's answers. Each is a file of its own that appears whole or not at all, in a
folder named by everything that its content depends on: the data, the code, the
libraries, the machine, the threads. A run that finds its pieces there does not measure
them again; under any other circumstances it finds none. A finished run has its tables,
and needs no pieces.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

import ann
from experiments.datasets.cache import atomic
from experiments.measure import Built, Sample
from experiments.results import Found

if TYPE_CHECKING:
    from experiments.results import Record

SCHEMA = 1
# Files that decide what is measured and how; those that show it do not.
_MEASURING = (
    "adapter", "compilation", "fairness", "measure", "ours", "recall", "worker",
    "yardstick",
)  # fmt: skip


def code_hash() -> str:
    """Return the hash of all sources that a measurement depends on."""
    home, library = Path(__file__).parent, Path(ann.__file__).parent
    harness = [home / f"{name}.py" for name in _MEASURING]
    peers = sorted((home / "peers").glob("*.py"))
    digest = hashlib.sha256()
    for path in (*sorted(library.rglob("*.py")), *harness, *peers):
        root = home if path.is_relative_to(home) else library
        digest.update(f"{root.name}/{path.relative_to(root)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def context(stamp: Mapping[str, Any], fingerprint: str) -> str:
    """Return the name of the circumstances: of the data and of a provenance."""
    names = ("threads", "python", "libraries", "cpu", "thread_environment")
    depends = {name: stamp[name] for name in names}
    depends |= {"schema": SCHEMA, "code": code_hash(), "data": fingerprint}
    text = json.dumps(depends, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """Yield a folder for vectors and logs; those of runs that were killed are removed.

    Parameters
    ----------
    folder : of the pieces of the run, where they can be found again
    """
    for stale in folder.glob("work-*"):
        shutil.rmtree(stale, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="work-", dir=folder) as name:
        yield Path(name)


class Store:
    """The pieces of a run on one dataset.

    Parameters
    ----------
    folder : of all pieces of the run
    context : see :func:`context`
    """

    def __init__(self, folder: Path, context: str) -> None:
        self._folder = folder / context

    def recover(self, records: list[Record]) -> int:
        """Give records what is known of them; return how many rounds that is.

        Rounds are taken in order: those after one that is missing are measured anew.
        """
        rounds = 0
        for record in records:
            record.built = self._read_built(record.build.build_id)
            record.found = self._read_found(record.point.row_id)
            if record.built is None or record.found is None:
                continue
            while (piece := self._read_sample(record)) is not None:
                turn, instance, sample = piece
                record.take(sample, turn, instance)
                rounds += 1
        return rounds

    def keep_built(self, build_id: str, built: Built) -> None:
        """Keep what a build cost."""
        with atomic(self._folder / f"{build_id}.json") as temporary:
            temporary.write_text(json.dumps(asdict(built)), encoding="utf-8")

    def keep_found(self, row_id: str, found: Found) -> None:
        """Keep what is known of a setting's answers."""
        parts = {name: part for name, part in asdict(found).items() if part is not None}
        with atomic(self._folder / f"{row_id}.npz") as temporary:
            np.savez(temporary, **parts)

    def keep_sample(self, record: Record) -> None:
        """Keep a record's latest round."""
        sample, number = record.samples[-1], len(record.samples) - 1
        scalars = asdict(sample) | {"turn": record.turns[-1]}
        del scalars["latency_us"], scalars["ids"], scalars["distances"]
        scalars["instance"] = record.instances[-1]
        path = self._folder / f"{record.point.row_id}.{number}.npz"
        with atomic(path) as temporary:
            np.savez(
                temporary,
                latency_us=sample.latency_us,
                scalars=np.array(json.dumps(scalars)),
            )

    def _read_built(self, build_id: str) -> Built | None:
        try:
            text = (self._folder / f"{build_id}.json").read_text(encoding="utf-8")
            return Built(**json.loads(text))
        except (OSError, ValueError, TypeError):
            return None

    def _read_found(self, row_id: str) -> Found | None:
        arrays = _read_arrays(self._folder / f"{row_id}.npz")
        names = {field.name for field in fields(Found)}
        if arrays is None or not arrays.keys() <= names or "recalls" not in arrays:
            return None
        return Found(**arrays)

    def _read_sample(self, record: Record) -> tuple[int, str, Sample] | None:
        name = f"{record.point.row_id}.{len(record.samples)}.npz"
        arrays = _read_arrays(self._folder / name)
        if arrays is None:
            return None
        try:
            scalars = json.loads(str(arrays["scalars"]))
            turn, instance = scalars.pop("turn"), scalars.pop("instance")
            nothing = np.empty((0, 0), np.int64)
            sample = Sample(
                latency_us=arrays["latency_us"], ids=nothing, distances=None, **scalars
            )
        except (KeyError, TypeError, ValueError):
            return None
        return turn, instance, sample


def discard(folder: Path) -> None:
    """Remove all pieces of a run."""
    shutil.rmtree(folder, ignore_errors=True)


def _read_arrays(path: Path) -> dict[str, Any] | None:
    """Return the arrays of a piece, or None where there is none or it is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
